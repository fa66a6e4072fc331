"""What a batch has made: a line of JSON for every picture, as it is finished."""

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

#: What it is called in the output folder.
NAME = "manifest.jsonl"


class Manifest:
    """The manifest of an output folder: read when it is opened, and written on to.

    Each line is an object. `{"event": "settings", …}` says with which options what follows was made; every other
    line is a picture: `event` is `done` or `failed`, and `settings` the hash of those.
    """

    def __init__(self, folder: StrPath) -> None:
        folder = Path(folder)
        self.folder, self._path = folder, folder / NAME
        self._done: dict[str, dict[str, Any]] = {}
        self._settings: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
            # A line that a crash cut short is ended, or the next one would be lost with it.
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115
            if text and not text.endswith("\n"):
                self._file.write("\n")
        except OSError as error:
            raise FileError(f"cannot write to {folder}: {error.strerror or error}") from error
        for line in text.splitlines():
            try:
                self._note(json.loads(line))
            except (ValueError, KeyError, TypeError):
                log.warning("%s: a line that is no entry was left out of account", self._path)

    def _note(self, entry: dict[str, Any]) -> None:
        if entry["event"] == "settings":
            self._settings.add(entry["settings"])
        elif entry["event"] == "done":
            self._done[entry["output"]] = entry

    def begin(self, settings: dict[str, Any]) -> str:
        """Say with which settings what follows is made; their hash."""
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
        if digest not in self._settings:
            self.add({"event": "settings", "settings": digest, **settings})
        return digest

    def has(self, name: str, like: dict[str, Any]) -> bool:
        """Whether a picture of this name was made before, of what `like` says, and is still there."""
        entry = self._done.get(name)
        if entry is None or any(entry.get(key) != value for key, value in like.items()):
            return False
        path = self.folder / name
        return path.is_file() and path.stat().st_size == entry.get("bytes")

    def add(self, entry: dict[str, Any]) -> None:
        """Write an entry, to the disk.

        Raises:
            FileError: it cannot be.
        """
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise FileError(f"cannot write {self._path}: {error.strerror or error}") from error
        self._note(entry)

    def close(self) -> None:
        """No more will be written."""
        self._file.close()
