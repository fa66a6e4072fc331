"""Finished frames in a folder beside the output, until they are written as a clip: what an interrupted run resumes."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from impasto import images
from impasto.errors import CheckpointError
from impasto.images import Picture
from impasto.settings.fields import first_difference
from impasto.settings.options import VideoOptions
from impasto.video import clips
from impasto.video.clips import Clip

log = logging.getLogger(__name__)


class FrameStore:
    """The finished frames of one pass over a clip.

    Args:
        folder: holds the frames as PNG files, and a line of JSON for each in `frames.jsonl`.
        settings: what a resumed run must have in common with the interrupted one.
        resume: keep the frames that are in the folder.

    Attributes:
        finished: (time, duration, whether it begins a scene) of each finished frame, in the order of the pass.

    Raises:
        CheckpointError: the folder is from a run with other settings, or damaged.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], resume: bool) -> None:
        self.folder, self._log = folder, folder / "frames.jsonl"
        self.finished: list[tuple[int, int, bool]] = []
        current, stored = json.loads(json.dumps(settings)), folder / "settings.json"
        if resume and stored.exists():
            try:
                before = json.loads(stored.read_text())
            except ValueError as error:
                raise CheckpointError(f"cannot read {stored}: damaged ({error})") from error
            if name := first_difference(before, current):
                raise CheckpointError(
                    f"{folder} was made with another {name}; give the same, or omit --resume to start from the "
                    "beginning"
                )
            self._load()
            return
        if resume:
            log.warning("there is no %s to resume from: starting from the beginning", folder)
        elif folder.exists():
            log.warning("%s is from an interrupted run; it is replaced", folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        stored.write_text(json.dumps(current))

    def _load(self) -> None:
        """Read the log up to its first broken line, and cut it there."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        for line in lines:
            try:
                time, duration, is_cut = json.loads(line)
            except (ValueError, TypeError):
                break
            self.finished.append((time, duration, is_cut))
        self._log.write_text("".join(json.dumps(entry) + "\n" for entry in self.finished))

    def path(self, number: int) -> Path:
        """The file of a stylised frame; numbers start at 1."""
        return self.folder / f"{number:08}.png"

    def source_path(self, number: int) -> Path:
        """The file of the source frame, which later passes read."""
        return self.folder / f"source-{number:08}.png"

    def open_pass(self, number: int) -> FrameStore:
        """The store of a later pass, with its finished frames."""
        folder = self.folder / f"pass-{number}"
        return FrameStore(folder, {}, folder.exists())

    def add(self, number: int, picture: Picture, entry: tuple[int, int, bool]) -> None:
        """Save a finished frame; `entry` is its item of `finished`."""
        images.write(self.path(number), picture)
        self.finished.append(entry)
        with open(self._log, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def frames_folder(output: Path) -> Path:
    """The folder for the finished frames of the clip `output`."""
    return output.with_name(output.name + ".frames")


@contextmanager
def write_on_exit(output: Path, passes: Sequence[FrameStore], clip: Clip, options: VideoOptions) -> Iterator[None]:
    """Write the finished frames as a clip when the block ends, even by an error; delete the folder after success.

    `passes` has a store for each pass, and may grow in the block.
    """
    first = passes[0]
    try:
        yield
    finally:  # also on Ctrl-C, and when the iterator is closed
        if first.finished:
            clips.write(output, _newest_pictures(passes), clip, options.crf)
        else:
            shutil.rmtree(first.folder)
    shutil.rmtree(first.folder, ignore_errors=True)


def _newest_pictures(passes: Sequence[FrameStore]) -> list[tuple[Path, int, int]]:
    """(file, time, duration) of each frame, from the last pass that has finished it."""
    found = []
    for number, (time, duration, _) in enumerate(passes[0].finished, start=1):
        files = [path for store in passes if (path := store.path(number)).exists()]
        found.append((files[-1], time, duration))
    return found
