"""Finished frames in a folder beside the output, until they are written as a clip: what an interrupted run resumes."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.errors import CheckpointError
from impasto.files import atomic_write
from impasto.images import Picture
from impasto.settings.fields import first_difference
from impasto.settings.options import VideoOptions
from impasto.video import clips
from impasto.video.clips import Clip

log = logging.getLogger(__name__)

#: Written first and removed first: a folder without it is what a killed process left behind.
SETTINGS = "settings.json"
#: The names of all files in such a folder.
_NAMES = re.compile(r"settings\.json|frames\.jsonl|(source-)?\d{8}\.png|canvas-\d{8}\.npy|pass-\d+|\.impasto-.*")


class FrameStore:
    """The finished frames of one pass over a clip.

    Args:
        folder: holds the frames as PNG files, and a line of JSON for each in `frames.jsonl`.
        settings: what a resumed run must have in common with the interrupted one.
        resume: keep the frames that are in the folder.

    Attributes:
        finished: (time, duration, whether it begins a scene) of each finished frame, in the order of the pass.

    Raises:
        CheckpointError: the folder is from a run with other settings, is damaged, or holds other files.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], resume: bool) -> None:
        self.folder, self._log = folder, folder / "frames.jsonl"
        self.finished: list[tuple[int, int, bool]] = []
        current, stored = json.loads(json.dumps(settings)), folder / SETTINGS
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
        if folder.exists() and not (folder.is_dir() and all(_NAMES.fullmatch(path.name) for path in folder.iterdir())):
            raise CheckpointError(f"{folder} is needed for finished frames, and is something else; rename it")
        if resume:
            log.warning("there is no %s to resume from: starting from the beginning", folder)
        elif stored.exists():
            log.warning("%s is from an interrupted run; it is replaced", folder)
        self.remove()
        folder.mkdir(parents=True)
        with atomic_write(stored, CheckpointError) as draft:
            draft.write_text(json.dumps(current))

    def _load(self) -> None:
        """Read the log up to its first broken line, or to a frame whose file is missing, and cut it there."""
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        for line in lines:
            try:
                number, time, duration, is_cut = json.loads(line)
                if not self.path(number).exists():
                    break
            except (ValueError, TypeError):
                break
            self.finished.append((time, duration, is_cut))
        with atomic_write(self._log, CheckpointError) as draft:
            draft.write_text("".join(line + "\n" for line in lines[: len(self.finished)]))

    def remove(self) -> None:
        """Remove the folder."""
        (self.folder / SETTINGS).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, number: int) -> Path:
        """The file of a stylised frame; numbers start at 1."""
        return self.folder / f"{number:08}.png"

    def source_path(self, number: int) -> Path:
        """The file of the source frame, which later passes read."""
        return self.folder / f"source-{number:08}.png"

    def open_pass(self, number: int) -> FrameStore:
        """The store of a later pass, with its finished frames."""
        folder = self.folder / f"pass-{number}"
        return FrameStore(folder, {}, (folder / SETTINGS).exists())

    def add(self, number: int, picture: Picture, entry: tuple[int, int, bool]) -> None:
        """Save a finished frame; `entry` is its item of `finished`."""
        images.write(self.path(number), picture)
        self.finished.append(entry)
        with open(self._log, "a", encoding="utf-8") as file:
            file.write(json.dumps([number, *entry]) + "\n")

    def canvas(self, number: int) -> Tensor:
        """The canvas of a finished frame, `(3, h, w)`; its picture if `save_canvas` did not save it."""
        path = self._canvas_path(number)
        return torch.from_numpy(np.load(path)) if path.exists() else images.read(self.path(number)).rgb

    def save_canvas(self, number: int, canvas: Tensor) -> None:
        """Save the canvas `(3, h, w)` of a frame that later ones start from."""
        with atomic_write(self._canvas_path(number), CheckpointError) as draft:
            np.save(draft, canvas.numpy())

    def remove_canvas(self, number: int) -> None:
        """Remove the canvas of a frame, if it was saved."""
        self._canvas_path(number).unlink(missing_ok=True)

    def _canvas_path(self, number: int) -> Path:
        return self.folder / f"canvas-{number:08}.npy"


def frames_folder(output: Path) -> Path:
    """The folder for the finished frames of the clip `output`."""
    return output.with_name(output.name + ".frames")


def check_output(output: Path, clip: Path) -> None:
    """Check that a stylised clip can be written, before the work.

    Raises:
        ValueError: the suffix names no supported format; the output, or the folder of its frames, is the clip itself.
        ClipError: the output cannot be written.
    """
    clips.check_output(output)
    for written in (output, frames_folder(output)):
        if written.exists() and written.samefile(clip):
            raise ValueError(f"{written} is the input clip; write to another name")


@contextmanager
def write_on_exit(output: Path, passes: Sequence[FrameStore], clip: Clip, options: VideoOptions) -> Iterator[None]:
    """Write the finished frames as a clip when the block ends, even by an error; delete the folder after success.

    `passes` has a store for each pass, and may grow in the block.
    """
    first, complete = passes[0], False
    try:
        yield
        complete = True
    finally:  # also on Ctrl-C, and when the iterator is closed
        if first.finished:
            clips.write(output, _newest_pictures(passes), clip, options.crf, complete)
        else:
            first.remove()
    first.remove()


def _newest_pictures(passes: Sequence[FrameStore]) -> list[tuple[Path, int, int]]:
    """(file, time, duration) of each frame, from the last pass that has finished it."""
    found = []
    for number, (time, duration, _) in enumerate(passes[0].finished, start=1):
        files = [path for store in passes if (path := store.path(number)).exists()]
        found.append((files[-1], time, duration))
    return found
