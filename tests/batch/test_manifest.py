"""The lines that say what was made."""

import json

import pytest

from impasto.batch import Manifest
from impasto.errors import PictureError

ENTRY = {"event": "done", "output": "a.png", "settings": "0", "photo_sha256": "1", "bytes": 3}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.png").write_bytes(b"123")
    return tmp_path


def opened(folder):
    return Manifest(folder)


def test_what_was_made_is_known_the_next_time(folder):
    manifest = opened(folder)
    manifest.add(ENTRY)
    manifest.close()
    again = opened(folder)
    assert again.has("a.png", {"settings": "0", "photo_sha256": "1"})
    assert not again.has("a.png", {"settings": "0", "photo_sha256": "2"})
    assert not again.has("b.png", {})
    again.close()


def test_a_picture_that_is_gone_or_cut_short_is_to_be_made_again(folder):
    manifest = opened(folder)
    manifest.add(ENTRY)
    (folder / "a.png").write_bytes(b"12")
    assert not manifest.has("a.png", {})
    (folder / "a.png").unlink()
    assert not manifest.has("a.png", {})
    manifest.close()


def test_a_line_that_a_crash_cut_short_spoils_no_other(folder, caplog):
    manifest = opened(folder)
    manifest.add(ENTRY)
    manifest.close()
    path = folder / "manifest.jsonl"
    path.write_text(path.read_text() + '{"event": "do')
    again = opened(folder)
    assert "left out of account" in caplog.text
    again.add(ENTRY | {"output": "b.png"})
    again.close()
    assert [json.loads(line)["output"] for line in path.read_text().splitlines() if line.endswith("}")] == [
        "a.png",
        "b.png",
    ]


def test_settings_are_said_once(folder):
    manifest = opened(folder)
    first, second = manifest.begin({"size": 1}), manifest.begin({"size": 1})
    other = manifest.begin({"size": 2})
    manifest.close()
    assert first == second != other
    assert len((folder / "manifest.jsonl").read_text().splitlines()) == 2


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PictureError, match="cannot write to"):
        opened(tmp_path / "file" / "below")
