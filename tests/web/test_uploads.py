"""Pictures that visitors upload."""

import PIL.Image
import pytest

from impasto import images
from impasto.errors import PictureError
from impasto.web import uploads
from impasto.web.jobs import Limits
from impasto.web.visitors import Visitor


@pytest.fixture
def visitor(tmp_path):
    folder = tmp_path / "visitor"
    folder.mkdir()
    return Visitor(folder)


@pytest.fixture
def saved(tmp_path):
    def save(name, mode="RGB", size=(40, 30)):
        path = tmp_path / name
        PIL.Image.new(mode, size, (0, 120, 120, 90)[: len(mode)]).save(path)
        return str(path)

    return save


@pytest.mark.parametrize("name", ["a.jpg", "b.PNG", "c.webp"])
def test_photos_that_browsers_show_stay_as_they_are(visitor, saved, name):
    path = saved(name)
    assert uploads.accept_photo(path, visitor, Limits()) == path


@pytest.mark.parametrize(("mode", "suffix"), [("RGB", ".jpg"), ("RGBA", ".png")])
def test_other_photos_are_converted(visitor, saved, mode, suffix):
    path = uploads.accept_photo(saved("photo.tiff", mode), visitor, Limits())
    assert path.endswith(f"photo{suffix}")
    assert images.read(path).size == (40, 30)


def test_too_large_and_damaged_files_are_refused(visitor, saved, tmp_path):
    with pytest.raises(ValueError, match=r"large\.png has 4000×3000 pixels, 12 million; at most 4 million"):
        uploads.accept_photo(saved("large.png", size=(4000, 3000)), visitor, Limits(pixels=4_000_000))
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    for accept in (
        lambda: uploads.accept_photo(str(damaged), visitor, Limits()),
        lambda: uploads.accept_painting(str(damaged), visitor, Limits(), set()),
    ):
        with pytest.raises(PictureError, match="damaged"):
            accept()
    assert not visitor.paintings


def test_paintings_have_captions_of_their_own_and_the_newest_are_kept(visitor, saved, monkeypatch):
    monkeypatch.setattr(uploads, "PAINTINGS_KEPT", 2)
    first = uploads.accept_painting(saved("udnie.png"), visitor, Limits(), {"udnie"})
    assert first.name == "udnie (2)"
    assert images.read(first.thumbnail).size == (240, 180)
    uploads.accept_painting(saved("b.png"), visitor, Limits(), {"udnie"})
    again = uploads.accept_painting(first.source, visitor, Limits(), {"udnie"})
    assert [style.name for style in visitor.paintings] == [again.name, "b"]
    uploads.accept_painting(saved("c.png"), visitor, Limits(), {"udnie"})
    assert [style.name for style in visitor.paintings] == ["c", "udnie (2)"]
