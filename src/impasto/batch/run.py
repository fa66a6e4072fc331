"""A batch from beginning to end: skips results that are up to date, records failures, replaces lost workers."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from impasto import devices, images, record
from impasto._version import __version__
from impasto.batch.items import Item, is_inside
from impasto.batch.manifest import Manifest
from impasto.batch.pools import Pool, Processes
from impasto.batch.worker import Job, JobResult, paint
from impasto.errors import FileError, ImpastoError
from impasto.fast import stylizer
from impasto.files import StrPath, atomic_write, check_space
from impasto.isolation import isolated
from impasto.optim import memory
from impasto.settings.fields import result_settings
from impasto.settings.options import BatchOptions
from impasto.vgg import weights

#: How often a picture is tried whose workers are lost.
MAX_ATTEMPTS = 3
#: Bytes that a worker takes before it paints: Python, PyTorch, the network.
WORKER_BYTES = 700 << 20
#: Long side in pixels that is assumed for photos of unknown size.
DEFAULT_LONG_SIDE = 4000


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes:
        status: `done`, `failed`, or `skipped` if the result was up to date already.
        error: what was wrong, if it failed.
        number, count: items finished so far, this one included, and items in all.
        seconds, eta: since the batch began, and left.
    """

    item: Item
    status: str
    error: str
    number: int
    count: int
    seconds: float
    eta: float


@isolated
def run(
    items: Sequence[Item],
    folder: StrPath,
    options: BatchOptions | None = None,
    bits: int = 8,
    pool: Pool | None = None,
    store_paths: bool = False,
) -> Iterator[Outcome]:
    """Make the pictures of `items` in `folder`: the outcomes, as they come.

    A result is skipped if the folder's manifest says that it was made from the same files with the same options. A
    picture that fails is recorded there, and tried again by the next call. If the iterator is closed, finished
    pictures are kept, and the same call continues after them.

    Args:
        items: see `batch.items`.
        folder: created if necessary.
        options: see `BatchOptions`.
        bits: per channel, 8 or 16.
        pool: the workers; by default, processes on this machine.
        store_paths: whether the pictures name their input files with their folders.

    Raises:
        ValueError: there are no items, a photo lies in the output folder, or a format or depth cannot be written.
        FileError: the folder cannot be written to, or the disk is full.
    """
    options, folder = options or BatchOptions(), Path(folder)
    _check(items, folder, bits)
    return _run(items, folder, options, bits, pool, store_paths)


def _check(items: Sequence[Item], folder: Path, bits: int) -> None:
    if not items:
        raise ValueError("there is nothing to make: no photos, or no styles")
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is a file; give a folder to write to")
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    images.check_output(existing / f"result{Path(items[0].name).suffix}", bits=bits)
    for item in items:
        if Path(item.photo).is_file() and is_inside(item.photo, folder):
            raise ValueError(f"{item.photo} is in the output folder {folder}; write to another folder")


def _run(
    items: Sequence[Item], folder: Path, options: BatchOptions, bits: int, given: Pool | None, store_paths: bool
) -> Iterator[Outcome]:
    manifest = Manifest(folder)
    settings = record.settings("batch", [], options, bits)
    settings["options"] = result_settings(options)
    digest = manifest.add_settings(settings)
    if given is None:
        workers, threads = plan_workers(options, _largest_side(items, options))
        pool: Pool = Processes(workers, threads, 0 if ":" in options.device else _gpu_count(options))
    else:
        threads, pool = options.threads or 1, given
    batch = _Batch(items, manifest, options, bits, digest, pool, threads, store_paths)
    try:
        yield from batch.outcomes()
    finally:
        manifest.close()
        if given is None:
            pool.close()


class _Batch:
    """A batch while it runs. `digest` is the hash of its settings in the manifest."""

    def __init__(
        self,
        items: Sequence[Item],
        manifest: Manifest,
        options: BatchOptions,
        bits: int,
        digest: str,
        pool: Pool,
        threads: int,
        store_paths: bool,
    ) -> None:
        self._items, self._manifest, self._options, self._bits = items, manifest, options, bits
        self._digest, self._pool, self._threads = digest, pool, threads
        self._store_paths = store_paths
        self._started, self._finished = time.monotonic(), 0
        self._attempted = 0  # finished items that were not skipped
        self._hashes: dict[str, str] = {}
        self._shared: dict[str, Any] = {}  # the style of the latest jobs -> its file, as shared with the pool

    def outcomes(self) -> Iterator[Outcome]:
        queue: deque[tuple[Item, int]] = deque((item, 1) for item in self._items)
        running: dict[Future[JobResult], tuple[Item, int]] = {}
        while queue or running:
            while queue and len(running) < max(1, self._pool.capacity):
                item, attempt = queue.popleft()
                try:
                    if attempt == 1 and self._manifest.is_up_to_date(item.name, self._inputs(item)):
                        yield self._outcome(item, "skipped")
                        continue
                    running[self._submit(item)] = (item, attempt)
                except (ImpastoError, OSError) as error:
                    yield self._failed(item, error)
            done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                item, attempt = running.pop(future)
                failure = future.exception()
                if failure is None:
                    yield self._store(item, future.result())
                elif isinstance(failure, self._pool.lost):
                    if attempt < MAX_ATTEMPTS:
                        queue.appendleft((item, attempt + 1))
                    else:
                        reason = f"its worker was lost {attempt} times; it may have run out of memory"
                        yield self._failed(item, RuntimeError(reason))
                elif isinstance(failure, Exception):
                    yield self._failed(item, failure)
                else:
                    raise failure

    def _inputs(self, item: Item) -> dict[str, Any]:
        """The part of a manifest entry that must be the same for the result to be up to date."""
        return {
            "settings": self._digest,
            "photo": item.photo,
            "photo_sha256": self._hash(item.photo),
            "style": item.style,
            "style_sha256": self._hash(item.style),
        }

    def _hash(self, name: str) -> str:
        """The hash of a file; for a bundled picture, impasto's version."""
        if name not in self._hashes:
            path = Path(name)
            if not path.is_file():
                self._hashes[name] = f"impasto {__version__}"
            else:
                with open(path, "rb") as file:
                    self._hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashes[name]

    def _submit(self, item: Item) -> Future[JobResult]:
        photo = Path(item.photo)
        if item.style not in self._shared:
            path = Path(item.style)
            self._shared = {item.style: self._pool.share(path.read_bytes() if path.is_file() else None)}
        checkpoint = None
        if self._pool.shares_files and not self._options.fast:
            target = self._manifest.folder / item.name
            target.parent.mkdir(parents=True, exist_ok=True)
            checkpoint = target.with_name(target.name + ".checkpoint").absolute()
        job = Job(
            item.photo,
            item.style,
            photo.read_bytes() if photo.is_file() else None,
            self._options,
            Path(item.name).suffix,
            self._bits,
            self._threads,
            checkpoint,
            self._store_paths,
        )
        return self._pool.submit(paint, job, self._shared[item.style])

    def _store(self, item: Item, result: JobResult) -> Outcome:
        """Write a finished picture, and its manifest entry."""
        path = self._manifest.folder / item.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror or error}") from error
        check_space(path, len(result.file))
        with atomic_write(path) as draft:
            draft.write_bytes(result.file)
        path.with_name(path.name + ".checkpoint").unlink(missing_ok=True)
        height, width = result.size
        self._manifest.add(
            {"event": "done", "output": item.name}
            | self._inputs(item)
            | {
                "width": width,
                "height": height,
                "bytes": len(result.file),
                "sha256": hashlib.sha256(result.file).hexdigest(),
                "evaluations": result.evaluations,
                "loss": result.loss,
                "seconds": round(result.seconds, 3),
                "worker": result.worker,
                "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            }
        )
        self._attempted += 1
        return self._outcome(item, "done")

    def _failed(self, item: Item, error: Exception) -> Outcome:
        expected = isinstance(error, (ImpastoError, ValueError, OSError))
        text = " ".join((str(error) if expected else f"{type(error).__name__}: {error}").split())
        self._manifest.add(
            {
                "event": "failed",
                "output": item.name,
                "settings": self._digest,
                "photo": item.photo,
                "style": item.style,
                "error": text,
                "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            }
        )
        self._attempted += 1
        return self._outcome(item, "failed", text)

    def _outcome(self, item: Item, status: str, error: str = "") -> Outcome:
        self._finished += 1
        seconds = time.monotonic() - self._started
        left = len(self._items) - self._finished
        eta = seconds / self._attempted * left if self._attempted else 0.0
        return Outcome(item, status, error, self._finished, len(self._items), seconds, eta)


# -- how many workers --------------------------------------------------------------------------------------------


def plan_workers(options: BatchOptions, long_side: int) -> tuple[int, int]:
    """How many processes, and threads of each: one process per core, as far as memory allows.

    Measured (`benchmarks.spreading`): two processes of one thread paint more than one process of two threads, since
    no layer waits for its slowest thread. If memory does not suffice, there are fewer processes of more threads.
    """
    cores = devices.cores()
    if gpus := _gpu_count(options):
        return options.workers or gpus, options.threads or max(1, cores // gpus)
    if options.workers:
        return options.workers, options.threads or max(1, cores // options.workers)
    worker_bytes = WORKER_BYTES + bytes_needed(options, long_side)
    most = max(1, int(memory.SHARE * devices.available() // worker_bytes))
    threads = options.threads or max(1, cores // most)
    return max(1, min(cores // threads, most)), threads


def bytes_needed(options: BatchOptions, long_side: int) -> int:
    """Bytes that painting one picture takes."""
    pixels = long_side * long_side
    if options.fast:
        return stylizer.bytes_needed(pixels)
    if options.memory is not None:
        return options.memory
    encoder = weights.load(options.weights, options.pooling, options.padding, options.preprocessing)
    rate = memory.per_pixel(encoder, {**options.content_layers, **options.resolved_style_layers})
    history = (4 + 2 * options.history) * memory.IMAGE
    return round(pixels * (rate + history) + memory.FIXED_COST)


def _largest_side(items: Sequence[Item], options: BatchOptions) -> int:
    if options.size is not None:
        return options.size
    sides = []
    for photo in {item.photo for item in items}:
        try:
            sides.append(max(images.size_of(photo)))
        except (ImpastoError, OSError):
            continue
    return max(sides, default=DEFAULT_LONG_SIDE)


def _gpu_count(options: BatchOptions) -> int:
    if not torch.cuda.is_available() or options.device.partition(":")[0] not in ("auto", "cuda"):
        return 0
    return 1 if ":" in options.device else torch.cuda.device_count()
