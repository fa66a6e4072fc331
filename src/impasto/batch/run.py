"""A batch from beginning to end: what is there already is left, what fails is noted, and nothing is lost."""

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
from impasto.batch.items import Item
from impasto.batch.manifest import Manifest
from impasto.batch.pools import Pool, Processes
from impasto.batch.worker import Job, Made, paint
from impasto.errors import FileError, ImpastoError
from impasto.fast import stylizer
from impasto.files import StrPath, atomic_write, check_space
from impasto.optim import memory
from impasto.settings.fields import result_settings
from impasto.settings.options import BatchOptions
from impasto.vgg import weights

#: How often a picture is begun whose workers are lost.
TRIES = 3
#: Bytes that a worker takes before it has seen anything: Python, PyTorch, the network.
IDLE = 700 << 20
#: What a size that nobody named is taken to be, in pixels of the long side.
LONG_SIDE = 4000


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes:
        status: `done`, `failed`, or `there` if it was made before.
        error: what was wrong, if it failed.
        number, count: how many are behind us, this one included, of all.
        seconds: since the batch began; `eta`: seconds left.
    """

    item: Item
    status: str
    error: str
    number: int
    count: int
    seconds: float
    eta: float


def run(
    todo: Sequence[Item],
    folder: StrPath,
    options: BatchOptions | None = None,
    bits: int = 8,
    pool: Pool | None = None,
) -> Iterator[Outcome]:
    """Make the pictures of `todo` in `folder`, by the workers of `pool`: the outcomes, as they come.

    What the folder's manifest has already, made of the same files with the same options, is left as it is. A picture
    that fails is noted there, and tried again the next time; a worker that is lost costs nothing but the time. Who
    stops asking finds what is finished, and the same call goes on.

    Args:
        todo: see `items`.
        folder: made where there is none.
        options: see `BatchOptions`.
        bits: per channel, 8 or 16.
        pool: by default, processes of this machine.

    Raises:
        ValueError: options that fit no batch.
        FileError: the folder cannot be written to, or the disk is full.
    """
    options, folder = options or BatchOptions(), Path(folder)
    _check(todo, folder, options, bits)
    return _run(todo, folder, options, bits, pool)


def _check(todo: Sequence[Item], folder: Path, options: BatchOptions, bits: int) -> None:
    if not todo:
        raise ValueError("there is nothing to make: no photos, or no styles")
    suffix = Path(todo[0].name).suffix
    images.check_output(Path.cwd() / f"made{suffix}", bits=bits)
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is a file; needed is a folder to write to")
    for item in todo:
        if Path(item.photo).is_file() and folder.absolute() in Path(item.photo).absolute().parents:
            raise ValueError(f"{item.photo} lies in {folder}, where results go; write to another folder")


def _run(todo: Sequence[Item], folder: Path, options: BatchOptions, bits: int, given: Pool | None) -> Iterator[Outcome]:
    manifest = Manifest(folder)
    settings = record.settings("batch", [], options, bits)
    settings["options"] = result_settings(options)
    digest = manifest.begin(settings)
    if given is None:
        workers, threads = shares(options, _largest(todo, options))
        pool: Pool = Processes(workers, threads, _gpus(options))
    else:  # who has workers knows how many there is room for
        threads, pool = options.threads or 1, given
    batch = _Batch(todo, manifest, options, bits, digest, pool, threads)
    try:
        yield from batch.outcomes()
    finally:
        manifest.close()
        if given is None:
            pool.close()


class _Batch:
    """A batch on its way."""

    def __init__(
        self,
        todo: Sequence[Item],
        manifest: Manifest,
        options: BatchOptions,
        bits: int,
        digest: str,
        pool: Pool,
        threads: int,
    ) -> None:
        self._todo, self._manifest, self._options, self._bits = todo, manifest, options, bits
        self._digest, self._pool, self._threads = digest, pool, threads
        self._started, self._behind, self._made = time.monotonic(), 0, 0
        self._hashes: dict[str, str] = {}
        self._shared: dict[str, Any] = {}

    def outcomes(self) -> Iterator[Outcome]:
        """As they come."""
        waiting: deque[tuple[Item, int]] = deque((item, 1) for item in self._todo)
        under_way: dict[Future[Made], tuple[Item, int]] = {}
        while waiting or under_way:
            while waiting and len(under_way) < max(1, self._pool.room):
                item, attempt = waiting.popleft()
                try:
                    if attempt == 1 and self._manifest.has(item.name, self._like(item)):
                        yield self._outcome(item, "there")
                        continue
                    under_way[self._begin(item)] = (item, attempt)
                except (ImpastoError, OSError) as error:
                    yield self._failed(item, error)
            done, _ = wait(under_way, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                item, attempt = under_way.pop(future)
                failure = future.exception()
                if failure is None:
                    yield self._keep(item, future.result())
                elif isinstance(failure, self._pool.lost):
                    if attempt < TRIES:
                        waiting.appendleft((item, attempt + 1))
                    else:
                        why = f"its worker was lost {attempt} times, for want of memory perhaps"
                        yield self._failed(item, RuntimeError(why))
                elif isinstance(failure, Exception):
                    yield self._failed(item, failure)
                else:
                    raise failure

    def _like(self, item: Item) -> dict[str, Any]:
        """What tells that a picture was made of this."""
        return {
            "settings": self._digest,
            "photo": item.photo,
            "photo_sha256": self._hash(item.photo),
            "style": item.style,
            "style_sha256": self._hash(item.style),
        }

    def _hash(self, name: str) -> str:
        """Of a file; of what comes along, the version that has it."""
        if name not in self._hashes:
            path = Path(name)
            if not path.is_file():
                self._hashes[name] = f"impasto {__version__}"
            else:
                with open(path, "rb") as file:
                    self._hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashes[name]

    def _begin(self, item: Item) -> Future[Made]:
        photo = Path(item.photo)
        if item.style not in self._shared:
            path = Path(item.style)
            self._shared = {item.style: self._pool.share(path.read_bytes() if path.is_file() else None)}
        checkpoint = None
        if self._pool.near and not self._options.fast:
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
        )
        return self._pool.submit(paint, job, self._shared[item.style])

    def _keep(self, item: Item, made: Made) -> Outcome:
        path = self._manifest.folder / item.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot write {path}: {error.strerror or error}") from error
        check_space(path, len(made.file))
        with atomic_write(path) as draft:
            draft.write_bytes(made.file)
        path.with_name(path.name + ".checkpoint").unlink(missing_ok=True)
        height, width = made.size
        self._manifest.add(
            {"event": "done", "output": item.name}
            | self._like(item)
            | {
                "width": width,
                "height": height,
                "bytes": len(made.file),
                "sha256": hashlib.sha256(made.file).hexdigest(),
                "evaluations": made.evaluations,
                "loss": made.loss,
                "seconds": round(made.seconds, 3),
                "worker": made.worker,
                "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            }
        )
        self._made += 1
        return self._outcome(item, "done")

    def _failed(self, item: Item, error: Exception) -> Outcome:
        known = isinstance(error, (ImpastoError, ValueError, OSError))
        text = " ".join((str(error) if known else f"{type(error).__name__}: {error}").split())
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
        self._made += 1
        return self._outcome(item, "failed", text)

    def _outcome(self, item: Item, status: str, error: str = "") -> Outcome:
        self._behind += 1
        seconds = time.monotonic() - self._started
        left = len(self._todo) - self._behind
        eta = seconds / self._made * left if self._made else 0.0
        return Outcome(item, status, error, self._behind, len(self._todo), seconds, eta)


# -- how many workers --------------------------------------------------------------------------------------------


def shares(options: BatchOptions, long_side: int) -> tuple[int, int]:
    """Processes, and threads of each: as many of one thread as there are cores, so far as memory goes.

    Measured (`benchmarks.spreading`): two processes of one thread paint more than one of two, since nothing between
    layers waits for anything. Where memory does not go so far, there are fewer of more threads.
    """
    cores = devices.cores()
    if gpus := _gpus(options):
        return options.workers or gpus, options.threads or max(1, cores // gpus)
    if options.workers:
        return options.workers, options.threads or max(1, cores // options.workers)
    each = IDLE + need(options, long_side)
    most = max(1, int(memory.SHARE * devices.available() // each))
    threads = options.threads or max(1, cores // most)
    return max(1, min(cores // threads, most)), threads


def need(options: BatchOptions, long_side: int) -> int:
    """Bytes that a picture takes while it is painted."""
    pixels = long_side * long_side
    if options.fast:
        return stylizer.bytes_needed(pixels)
    if options.memory is not None:
        return options.memory
    encoder = weights.load(options.weights, options.pooling, options.padding, options.preprocessing)
    rate = memory.per_pixel(encoder, {**options.content_layers, **options.resolved_style_layers})
    history = (4 + 2 * options.history) * memory.IMAGE
    return round(pixels * (rate + history) + memory.FIXED_COST)


def _largest(todo: Sequence[Item], options: BatchOptions) -> int:
    if options.size is not None:
        return options.size
    sides = []
    for photo in {item.photo for item in todo}:
        try:
            sides.append(max(images.size_of(photo)))
        except (ImpastoError, OSError):
            continue
    return max(sides, default=LONG_SIDE)


def _gpus(options: BatchOptions) -> int:
    return torch.cuda.device_count() if options.device in ("auto", "cuda") and torch.cuda.is_available() else 0
