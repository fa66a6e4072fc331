"""The styles that the page offers."""

import pytest

pytest.importorskip("gradio")
from impasto import images
from impasto.inputs.gallery import PAINTINGS
from impasto.inputs.styles import STYLES, paint
from impasto.web import gallery


def test_folders_without_styles(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        gallery.collect(tmp_path, tmp_path / "none")
    with pytest.raises(ValueError, match="no picture"):
        gallery.collect(tmp_path, tmp_path)


def test_paintings_stand_beside_the_built_in_styles(tmp_path):
    found = gallery.collect(tmp_path)
    assert [style.source for style in found] == [*PAINTINGS, *STYLES]
    assert found[0].name == "The Starry Night"
    assert found[0].painter == "Vincent van Gogh, 1889"
    assert all(style.thumbnail.exists() for style in found)


@pytest.mark.parametrize("name", STYLES)
def test_thumbnails_are_those_of_the_styles(name):
    shown = images.read(gallery.THUMBNAILS / f"{name}.webp")
    painted = images.read(paint(name, gallery.THUMBNAIL, gallery.THUMBNAIL))
    assert (shown.rgb - painted.rgb).abs().mean() < 0.05, "run browser/gallery.py"


def test_captions_are_unique(tmp_path):
    folder = tmp_path / "paintings"
    folder.mkdir()
    first = next(iter(gallery.collect(tmp_path)))
    for name in ("mosaic.jpg", "a_b.jpg", "a b.jpg"):
        (folder / name).write_bytes(first.thumbnail.read_bytes())
    names = [style.name for style in gallery.collect(tmp_path, folder)]
    assert names[:3] == ["a b", "a_b.jpg", "mosaic.jpg"]
    assert len(set(names)) == len(names)
