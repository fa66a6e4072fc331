"""The pictures of a batch, and their names."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.batch import items
from impasto.batch.items import _labels
from impasto.errors import PictureError


@pytest.fixture
def folders(tmp_path):
    for name in ("photos/a.jpg", "photos/sea/b.png", "photos/notes.txt", "paintings/night.jpg", "paintings/day.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def test_every_photo_in_every_style(folders):
    found = items([str(folders / "photos")], [str(folders / "paintings")])
    assert [item.name for item in found] == [
        "a--day.png",
        "sea/b--day.png",
        "a--night.png",
        "sea/b--night.png",
    ]


@pytest.mark.parametrize("style", ["swirls", "starry-night"])
def test_names_of_bundled_pictures(style):
    (found,) = items(["chelsea"], [style], ".jpg")
    assert (found.photo, found.style, found.name) == ("chelsea", style, f"chelsea--{style}.jpg")


def test_the_output_folder_is_not_searched(folders):
    """Results of an interrupted run are neither photos nor paintings."""
    for name in ("photos/out/a--day.png", "paintings/out/a--day.png"):
        (folders / name).parent.mkdir()
        (folders / name).write_bytes(b"")
    given = [str(folders / "photos")], [str(folders / "paintings")]
    for place in ("photos", "paintings", "photos/sea/../../photos"):
        found = items(*given, output=folders / place / "out")
        assert not any("out" in Path(item.photo if "photos" in place else item.style).parts for item in found)
    for place in ("photos", "paintings", "."):
        with pytest.raises(PictureError, match="are in the output folder"):
            items(*given, output=folders / place)


def test_clashing_names_are_made_unique(tmp_path):
    for name in ("one/a.jpg", "one/a.png", "two/a.jpg", "one/A.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    names = [item.name for item in items([str(tmp_path / "one"), str(tmp_path / "two")], ["swirls"])]
    assert names == ["A-tif--swirls.png", "a-jpg--swirls.png", "a-png--swirls.png", "a-jpg-2--swirls.png"]


@given(st.lists(st.text("aAb.-1", min_size=1, max_size=6).filter(lambda name: name.strip(".")), max_size=8))
def test_names_are_unique(names):
    found = {f"{number}/{name}": Path(name) for number, name in enumerate(names)}
    labels = [label.lower() for label in _labels(found, subfolders=True).values()]
    assert len(set(labels)) == len(found)


@pytest.mark.parametrize("missing", ["nowhere", "nowhere.jpg"])
def test_missing_files(missing):
    with pytest.raises(PictureError, match="no such file or folder: nowhere"):
        items([missing], ["swirls"])


def test_a_folder_without_pictures(tmp_path):
    with pytest.raises(PictureError, match="no pictures in"):
        items([str(tmp_path)], ["swirls"])
