"""The manifest of an output folder."""

import json

import pytest

from impasto.batch import Manifest
from impasto.errors import FileError

ENTRY = {"event": "done", "output": "a.png", "settings": "0", "photo_sha256": "1", "bytes": 3}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.png").write_bytes(b"123")
    return tmp_path


def test_entries_are_read_again(folder):
    manifest = Manifest(folder)
    manifest.add(ENTRY)
    manifest.close()
    again = Manifest(folder)
    assert again.is_up_to_date("a.png", {"settings": "0", "photo_sha256": "1"})
    assert not again.is_up_to_date("a.png", {"settings": "0", "photo_sha256": "2"})
    assert not again.is_up_to_date("b.png", {})
    again.close()


def test_a_missing_or_truncated_picture_is_not_up_to_date(folder):
    manifest = Manifest(folder)
    manifest.add(ENTRY)
    (folder / "a.png").write_bytes(b"12")
    assert not manifest.is_up_to_date("a.png", {})
    (folder / "a.png").unlink()
    assert not manifest.is_up_to_date("a.png", {})
    manifest.close()


def test_a_truncated_line_spoils_no_other(folder, caplog):
    manifest = Manifest(folder)
    manifest.add(ENTRY)
    manifest.close()
    path = folder / "manifest.jsonl"
    path.write_text(path.read_text() + '{"event": "do')
    again = Manifest(folder)
    assert "ignored a line" in caplog.text
    again.add(ENTRY | {"output": "b.png"})
    again.close()
    assert [json.loads(line)["output"] for line in path.read_text().splitlines() if line.endswith("}")] == [
        "a.png",
        "b.png",
    ]


def test_settings_are_written_once(folder):
    manifest = Manifest(folder)
    first, second = manifest.add_settings({"size": 1}), manifest.add_settings({"size": 1})
    other = manifest.add_settings({"size": 2})
    manifest.close()
    assert first == second != other
    assert len((folder / "manifest.jsonl").read_text().splitlines()) == 2


def test_a_folder_that_cannot_be_created(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot write to"):
        Manifest(tmp_path / "file" / "below")
