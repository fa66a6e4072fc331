"""What a worker does: paint one picture after another, caching what the next ones may need."""

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

from impasto import devices, fast, images, record
from impasto.batch.pools import use_threads
from impasto.errors import CheckpointError
from impasto.images import Picture
from impasto.inputs.memo import Memo
from impasto.inputs.read import read_content
from impasto.operations.stylize import iterate
from impasto.optim import memory
from impasto.optim.checkpoints import Checkpoints
from impasto.optim.steps import Step
from impasto.settings.options import BatchOptions

log = logging.getLogger(__name__)

#: Kinds of memo entries that depend on the network alone, and those that depend on the painting too.
NETWORK_ENTRIES = ("encoder", "model")
STYLE_ENTRIES = (*NETWORK_ENTRIES, "style", "styles", "learnt", "predicted", "key")
#: Bytes that the memo keeps, besides networks: there is a set of targets for every size of photo.
MEMO_CAPACITY = 1 << 30
#: Seconds between two checkpoints.
CHECKPOINT_INTERVAL = 60.0


@dataclass(frozen=True)
class Job:
    """A picture to be made.

    Attributes:
        photo, style: names, as given by the user.
        content: the bytes of the photo's file; None for a bundled photo.
        suffix: of the result's file, which sets its format.
        checkpoint: where to save checkpoints, if this process can write the caller's files.
        store_paths: whether the result names its input files with their folders.
    """

    photo: str
    style: str
    content: bytes | None
    options: BatchOptions
    suffix: str
    bits: int
    threads: int
    checkpoint: Path | None = None
    store_paths: bool = False


@dataclass(frozen=True)
class JobResult:
    """A finished picture.

    Attributes:
        file: its bytes.
        size: height and width in pixels.
        evaluations: of the objective; tiles, for a feed-forward network.
        loss: the last one; 0 for a feed-forward network.
        seconds: how long it took.
        worker: host and process number.
    """

    file: bytes
    size: tuple[int, int]
    evaluations: int
    loss: float
    seconds: float
    worker: str


class _Cache:
    """What this process keeps from one job to the next: the painting, and a memo for `iterate`."""

    def __init__(self) -> None:
        self.memo = Memo(MEMO_CAPACITY)
        self._style: tuple[str, str | Picture] | None = None

    def painting(self, name: str, file: bytes | None, long_side: int | None) -> str | Picture:
        """The painting in this file, decoded once; the name of a built-in style if there is no file."""
        key = name + ("" if file is None else hashlib.sha256(file).hexdigest())
        if self._style is None or self._style[0] != key:
            self.memo.keep_only(*NETWORK_ENTRIES)
            self._style = (key, name if file is None else images.read(file, name, long_side))
        return self._style[1]

    def prune(self, style_depends_on_photo: bool) -> None:
        """Drop the entries that depend on the last photo."""
        self.memo.keep_only(*(NETWORK_ENTRIES if style_depends_on_photo else STYLE_ENTRIES))


_cache = _Cache()


def paint(job: Job, painting: bytes | None) -> JobResult:
    """Make a picture; `painting` is the style's file, None for a built-in style.

    Raises:
        What `stylize` raises.
    """
    started = time.monotonic()
    use_threads(job.threads)
    options = job.options
    if options.memory is None:  # shared with the other workers on this machine
        workers = max(1, devices.cores() // job.threads)
        options = dataclasses.replace(options, memory=round(memory.SHARE * devices.available() / workers))
    content = read_content(job.photo) if job.content is None else images.read(job.content, job.photo, options.size)
    style = _cache.painting(job.style, painting, options.size)
    try:
        last = _last_step(job, options, content, style)
        picture = last.picture
    finally:
        _cache.prune(options.color in ("match", "both") or content.alpha is not None)
    settings = record.settings(
        "fast" if options.fast else "stylize",
        [job.photo, job.style],
        job.options.fast_options if options.fast else job.options.stylize_options,
        job.bits,
        store_paths=job.store_paths,
        found=last.found,
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"result{job.suffix}"
        images.write(path, picture, job.bits, settings)
        file = path.read_bytes()
    worker = f"{platform.node()}:{os.getpid()}"
    return JobResult(file, picture.shape, last.evaluations, last.loss, time.monotonic() - started, worker)


def _last_step(job: Job, options: BatchOptions, content: Picture, style: str | Picture) -> Step:
    """The last step of a job, resumed from its checkpoint if there is a valid one."""
    if options.fast:
        (last,) = deque(fast.iterate(content, [style], options.fast_options, memo=_cache.memo), maxlen=1)
        return last
    stylize_options, path = options.stylize_options, job.checkpoint
    checkpoints = None if path is None else Checkpoints(path, CHECKPOINT_INTERVAL, resume=path.exists())
    try:
        steps = iterate(content, [style], stylize_options, checkpoints=checkpoints, memo=_cache.memo)
    except CheckpointError as error:
        log.info("starting from the beginning: %s", error)
        assert path is not None  # without checkpoints there is no such error
        path.unlink(missing_ok=True)
        checkpoints = Checkpoints(path, CHECKPOINT_INTERVAL)
        steps = iterate(content, [style], stylize_options, checkpoints=checkpoints, memo=_cache.memo)
    (last,) = deque(steps, maxlen=1)
    return last
