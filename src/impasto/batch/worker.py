"""What a worker does: one picture after another, remembering what the next may need."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import platform
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto import devices, fast, images, record
from impasto.batch.pools import use_threads
from impasto.errors import CheckpointError
from impasto.images import Picture
from impasto.inputs.read import Memo, read_content
from impasto.operations.stylize import iterate
from impasto.optim import memory
from impasto.optim.checkpoints import Checkpoints
from impasto.optim.steps import Step
from impasto.settings.options import BatchOptions

log = logging.getLogger(__name__)

#: What is remembered from picture to picture: what depends on the paintings and the network alone.
KEPT = ("encoder", "model", "style", "styles", "code")
#: Of so many entries at most: photos come in many sizes, and styles are measured anew for each.
MOST = 64
#: Seconds between two checkpoints.
EVERY = 60.0


@dataclass(frozen=True)
class Job:
    """A picture to be made.

    Attributes:
        photo, style: what a person calls them.
        content: the photo's file, as bytes; None for a photo that comes along.
        suffix: of the format of the result.
        checkpoint: where the run may be put away, if this process sees the caller's files.
    """

    photo: str
    style: str
    content: bytes | None
    options: BatchOptions
    suffix: str
    bits: int
    threads: int
    checkpoint: Path | None = None


@dataclass(frozen=True)
class Made:
    """A picture that was made.

    Attributes:
        file: as it is to be written.
        size: height and width in pixels.
        evaluations: of the objective; tiles, where a network painted it.
        loss: the last one; 0 of a network.
        seconds: that it took.
        worker: host and number of the process.
    """

    file: bytes
    size: tuple[int, int]
    evaluations: int
    loss: float
    seconds: float
    worker: str


class _Known:
    """What this process remembers."""

    def __init__(self) -> None:
        self.memo: Memo = {}
        self.style: tuple[str, str | Picture] | None = None

    def manner(self, name: str, painting: bytes | None) -> str | Picture:
        """The painting of this name, decoded once as long as it stays the same."""
        mark = name + ("" if painting is None else hashlib.sha256(painting).hexdigest())
        if self.style is None or self.style[0] != mark:
            self.memo = {key: value for key, value in self.memo.items() if _kind(key) in ("encoder", "model")}
            self.style = (mark, name if painting is None else images.read(painting, name))
        return self.style[1]

    def tidy(self, colored: bool) -> None:
        """Forget what only the last photo needed; where paintings took its colours, what was known of them too."""
        lasting = ("encoder", "model") if colored or len(self.memo) > MOST else KEPT
        self.memo = {key: value for key, value in self.memo.items() if _kind(key) in lasting}


def _kind(key: Any) -> Any:
    return key[0] if isinstance(key, tuple) else key


_known = _Known()


def paint(job: Job, painting: bytes | None) -> Made:
    """Make a picture; `painting` is the style's file, None for a built-in one.

    Raises:
        What `stylize` raises.
    """
    started = time.monotonic()
    use_threads(job.threads)
    options = job.options
    if options.memory is None:  # others paint beside
        beside = max(1, devices.cores() // job.threads)
        options = dataclasses.replace(options, memory=round(memory.SHARE * devices.available() / beside))
    content = read_content(job.photo) if job.content is None else images.read(job.content, job.photo)
    style = _known.manner(job.style, painting)
    try:
        last = _through(job, options, content, style)
        picture = last.picture
    finally:
        _known.tidy(options.color in ("match", "both") or content.alpha is not None)
    settings = record.settings(
        "fast" if options.fast else "stylize",
        [job.photo, job.style],
        job.options.fast_options if options.fast else job.options.stylize_options,
        job.bits,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"made{job.suffix}"
        images.write(path, picture, job.bits, settings)
        file = path.read_bytes()
    worker = f"{platform.node()}:{os.getpid()}"
    return Made(file, picture.size, last.evaluations, last.loss, time.monotonic() - started, worker)


def _through(job: Job, options: BatchOptions, content: Picture, style: str | Picture) -> Step:
    """The last step of a job; from where an earlier run came to, if it left something."""
    if options.fast:
        (last,) = deque(fast.iterate(content, [style], options.fast_options, _known.memo), maxlen=1)
        return last
    way, path = options.stylize_options, job.checkpoint
    kept = None if path is None else Checkpoints(path, EVERY, resume=path.exists())
    try:
        steps = iterate(content, [style], way, _known.memo, kept)
    except CheckpointError as error:
        log.info("beginning anew: %s", error)
        assert path is not None  # there was one
        path.unlink(missing_ok=True)
        steps = iterate(content, [style], way, _known.memo, Checkpoints(path, EVERY))
    (last,) = deque(steps, maxlen=1)
    return last
