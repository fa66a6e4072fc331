"""The manifest of a batch: a line of JSON for every picture, written as soon as it is finished."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

from impasto.errors import FileError
from impasto.files import StrPath

log = logging.getLogger(__name__)

#: The manifest's file in the output folder.
FILE_NAME = "manifest.jsonl"


class Manifest:
    """The manifest of an output folder: read when it is opened, then appended to.

    Each line is an object. `{"event": "settings", …}` holds the options of the pictures that refer to it by its hash;
    every other line is a picture, with `event` either `done` or `failed`, and that hash as `settings`.

    Raises:
        FileError: the folder cannot be created, or written to.
    """

    def __init__(self, folder: StrPath) -> None:
        folder = Path(folder)
        self.folder, self._path = folder, folder / FILE_NAME
        self._done: dict[str, dict[str, Any]] = {}
        self._settings: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
            # End a line that a crash cut short: the next entry would be lost with it.
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
            if text and not text.endswith("\n"):
                self._file.write("\n")
        except OSError as error:
            raise FileError(f"cannot write to {folder}: {error.strerror or error}") from error
        for line in text.splitlines():
            try:
                self._index(json.loads(line))
            except (ValueError, KeyError, TypeError):
                log.warning("%s: ignored a line that is not a valid entry", self._path)

    def _index(self, entry: dict[str, Any]) -> None:
        if entry["event"] == "settings":
            self._settings.add(entry["settings"])
        elif entry["event"] == "done":
            self._done[entry["output"]] = entry

    def add_settings(self, settings: dict[str, Any]) -> str:
        """Write the settings, unless they are there already; returns their hash."""
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        if digest not in self._settings:
            self.add({"event": "settings", "settings": digest, **settings})
        return digest

    def is_up_to_date(self, name: str, inputs: dict[str, Any]) -> bool:
        """Whether the picture `name` was made with these inputs, and its file still exists."""
        entry = self._done.get(name)
        if entry is None or any(entry.get(key) != value for key, value in inputs.items()):
            return False
        path = self.folder / name
        return path.is_file() and path.stat().st_size == entry.get("bytes")

    def add(self, entry: dict[str, Any]) -> None:
        """Append an entry, flushed to the disk.

        Raises:
            FileError: it cannot be written.
        """
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise FileError(f"cannot write {self._path}: {error.strerror or error}") from error
        self._index(entry)

    def close(self) -> None:
        self._file.close()
