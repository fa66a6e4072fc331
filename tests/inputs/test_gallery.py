"""The paintings of the gallery: small copies in the public domain, read by their names."""

import pytest

from impasto import images
from impasto.errors import PictureError
from impasto.inputs.gallery import PAINTINGS, path_of
from impasto.inputs.memo import Memo
from impasto.inputs.photos import PHOTOS
from impasto.inputs.read import read_content, read_styles
from impasto.inputs.styles import STYLES


@pytest.mark.parametrize("name", list(PAINTINGS))
def test_a_small_copy(name):
    picture = images.read(path_of(name))
    assert max(picture.shape) == 256
    assert min(picture.shape) >= 100
    assert picture.alpha is None
    assert picture.rgb.std() > 0.05
    assert path_of(name).stat().st_size < 30_000
    assert all((PAINTINGS[name].title, PAINTINGS[name].artist, PAINTINGS[name].year))


def test_there_is_no_copy_without_a_name():
    folder = path_of("udnie").parent
    assert {path.stem for path in folder.glob("*.webp")} == set(PAINTINGS)


def test_names_are_those_of_nothing_else():
    assert not set(PAINTINGS) & (set(STYLES) | set(PHOTOS))


def test_no_such_painting():
    with pytest.raises(KeyError, match="mona-lisa"):
        path_of("mona-lisa")


def test_are_styles_by_name():
    ((name, picture),) = read_styles("great-wave", 64 * 64)
    assert name == "great-wave"
    assert (picture.rgb == images.read(path_of("great-wave")).rgb).all()


def test_a_file_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images.write("udnie.png", images.read(path_of("carceri")))
    (tmp_path / "udnie.png").rename("udnie")
    ((_, picture),) = read_styles("udnie", 64 * 64)
    assert (picture.rgb == images.read(path_of("carceri")).rgb).all()


def test_are_no_photos():
    with pytest.raises(PictureError, match="great-wave is a style, not a photo: the content comes first"):
        read_content("great-wave")


def test_are_named_to_those_who_mistype():
    with pytest.raises(ValueError, match="unknown style 'great-wav'; did you mean 'great-wave'"):
        read_styles("great-wav", 64 * 64)


class TestKnownStyles:
    """Those of a model, whose pictures are not needed."""

    def test_have_a_blank_picture(self):
        ((name, blank), (_, wave)) = read_styles(["mine", "great-wave"], 64 * 64, known=["mine"])
        assert name == "mine"
        assert max(blank.shape) < 64
        assert max(wave.shape) == 256

    def test_are_read_for_those_who_share_a_memo(self):
        memo = Memo()
        ((_, blank),) = read_styles("great-wave", 64 * 64, memo, known=["great-wave"])
        ((_, picture),) = read_styles("great-wave", 64 * 64, memo)
        assert max(blank.shape) < 64
        assert max(picture.shape) == 256
