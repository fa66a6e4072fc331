"""What of a clip is finished: its frames, in a folder beside it until they are written as a clip."""

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


class Work:
    """The folder in which the finished frames of a clip lie.

    Attributes:
        done: for each finished frame of the pass, its time and duration, and whether it begins a scene.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], resume: bool) -> None:
        self.folder, self._log = folder, folder / "frames.jsonl"
        self.done: list[tuple[int, int, bool]] = []
        known, stored = json.loads(json.dumps(settings)), folder / "settings.json"
        if resume and stored.exists():
            if name := first_difference(json.loads(stored.read_text()), known):
                raise CheckpointError(
                    f"{folder} is from a run with another {name}; give the same, or leave --resume away to start from "
                    "the beginning"
                )
            self._find()
            return
        if resume:
            log.warning("there is no %s to resume: beginning anew", folder)
        elif folder.exists():
            log.warning("%s is of an interrupted run; it is replaced", folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        stored.write_text(json.dumps(known))

    def _find(self) -> None:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        for line in lines:
            try:
                moment, duration, cut = json.loads(line)
            except (ValueError, TypeError):
                break
            self.done.append((moment, duration, cut))
        kept = [json.dumps(entry) + "\n" for entry in self.done]
        self._log.write_text("".join(kept))

    def path(self, number: int) -> Path:
        """Of a frame's picture."""
        return self.folder / f"{number:08}.png"

    def source(self, number: int) -> Path:
        """Of the frame as it was, for further passes."""
        return self.folder / f"source-{number:08}.png"

    def next_pass(self, turn: int) -> Work:
        """The folder of a further pass, with what of it is finished."""
        folder = self.folder / f"pass-{turn}"
        return Work(folder, {}, folder.exists())

    def add(self, number: int, picture: Picture, entry: tuple[int, int, bool]) -> None:
        """Put a finished frame away, with its time, its duration, and whether it begins a scene."""
        images.write(self.path(number), picture)
        self.done.append(entry)
        with open(self._log, "a", encoding="utf-8") as file:
            file.write(json.dumps(self.done[-1]) + "\n")

    def pictures(self, turns: Sequence[Work]) -> list[tuple[Path, int, int]]:
        """(file, time, duration) of all that are finished, each of the last pass that came to it."""
        found = []
        for number, (moment, length, _) in enumerate(self.done, start=1):
            files = [path for work in turns if (path := work.path(number)).exists()]
            found.append((files[-1], moment, length))
        return found


def work_of(output: Path) -> Path:
    """The folder of a clip's finished frames."""
    return output.with_name(output.name + ".frames")


@contextmanager
def finishing(output: Path, turns: Sequence[Work], clip: Clip, options: VideoOptions) -> Iterator[None]:
    """Write what is finished when the block ends, however it does; after a good end the frames go."""
    work = turns[0]
    try:
        yield
    finally:  # Ctrl-C too, or that nobody asks for more: what is done is a clip
        if work.done:
            clips.write(output, work.pictures(turns), clip, options.crf)
        else:
            shutil.rmtree(work.folder)
    shutil.rmtree(work.folder, ignore_errors=True)
