"""Runs jobs, step by step: previews while they run, and the finished files at the end."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock

import impasto
from impasto import fast, images, record
from impasto.errors import ImpastoError
from impasto.fast.stylizer import bytes_needed
from impasto.images import Picture
from impasto.inputs.memo import Memo
from impasto.optim.checkpoints import LossRecord
from impasto.optim.steps import Step
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.web.jobs import JobProgress, JobRequest, JobResult, Limits, check_request
from impasto.web.visitors import ABANDONED_AFTER, Visitor

#: Seconds between two previews.
PREVIEW_INTERVAL = 0.8
#: Previews that are kept, since the page may still be fetching the last few.
PREVIEWS_KEPT = 3
#: Long side of the thumbnail of a result, in pixels.
THUMBNAIL = 240
#: Bytes of pictures and targets that jobs share, besides networks.
MEMO_CAPACITY = 256 << 20


class JobRunner:
    """Runs jobs within the limits of a server; they share networks, styles and targets.

    Args:
        public_styles: sources of the server's own styles.
    """

    def __init__(self, limits: Limits, public_styles: frozenset[str] = frozenset()) -> None:
        self.limits = limits
        self.running = 0
        self._public_styles = public_styles
        self.memo = Memo(MEMO_CAPACITY)
        self._lock = Lock()

    def accept(self, request: JobRequest) -> JobRequest:
        """The request with the device and memory that the server gives it.

        Raises:
            ValueError, PictureError: see `check_request`.
        """
        check_request(request, self.limits, self._public_styles)
        memory = None
        if self.limits.memory is not None:  # all but what an instant picture may need meanwhile
            reserved = min(bytes_needed(self.limits.size**2), self.limits.memory // 4)
            memory = (self.limits.memory - reserved) // self.limits.running
        return self._on_this_machine(request, memory)

    def check(self, request: JobRequest) -> None:
        """Raise what `accept` raises; messages name files without their folders."""
        with _without_folders(request):
            self.accept(request)

    @contextmanager
    def accepted_instant(self, request: JobRequest) -> Iterator[JobRequest]:
        """Accept the request of an instant picture, which is painted beside the jobs.

        Raises:
            ValueError, ImpastoError: as `running_job`.
        """
        with _without_folders(request):
            check_request(request, self.limits, self._public_styles)
            yield self._on_this_machine(request, self.limits.memory)

    def _on_this_machine(self, request: JobRequest, memory: int | None) -> JobRequest:
        return dataclasses.replace(request, options=dataclasses.replace(request.options, memory=memory, device="auto"))

    @contextmanager
    def running_job(self, request: JobRequest) -> Iterator[JobRequest]:
        """Accept the request and count it as a running job; error messages name files without their folders.

        Raises:
            ValueError, ImpastoError: see `accept`, and whatever the job raises.
        """
        with _without_folders(request):
            request = self.accept(request)
            with self._lock:
                self.running += 1
            try:
                yield request
            finally:
                with self._lock:
                    self.running -= 1

    def run(self, request: JobRequest, visitor: Visitor, stop: Event) -> Iterator[JobProgress | JobResult]:
        """Run a job: yields its progress from time to time, then its result.

        When `stop` is set, the time is up, or the visitor has been away for `ABANDONED_AFTER` seconds, the result is
        the picture so far.

        Raises:
            ValueError, ImpastoError: the request is not accepted or cannot be carried out.
        """
        # All steps run in one thread, whichever thread iterates: PyTorch creates a thread pool for each caller.
        with self.running_job(request) as accepted, ThreadPoolExecutor(1) as executor:
            yield from self._run(accepted, visitor, stop, executor)

    def _run(
        self, request: JobRequest, visitor: Visitor, stop: Event, executor: ThreadPoolExecutor
    ) -> Iterator[JobProgress | JobResult]:
        folder = visitor.new_folder()
        masks = write_masks(request, folder)
        options = with_files(request, masks)
        steps = executor.submit(self._start, request, options).result()
        losses: list[LossRecord] = []
        previews: list[Path] = []
        last_preview, step, note = 0.0, None, ""
        try:
            while (next_step := executor.submit(next, steps, None).result()) is not None:
                step = next_step
                if step.losses:
                    losses.append((step.evaluations, step.scale, step.loss, step.losses))
                if stop.is_set():
                    note = "stopped"
                    break
                if visitor.idle_seconds > ABANDONED_AFTER:
                    note = f"stopped, as nobody was here for {ABANDONED_AFTER / 60:.0f} minutes"
                    break
                if step.seconds > self.limits.seconds:
                    note = f"stopped after {self.limits.seconds:.0f} seconds, the limit here"
                    break
                if time.monotonic() - last_preview >= PREVIEW_INTERVAL:
                    last_preview = time.monotonic()
                    previews.append(write_preview(step.picture, visitor.folder))
                    yield progress_of(step, previews[-1], list(losses))
                    delete_files(previews[:-PREVIEWS_KEPT])
                    del previews[:-PREVIEWS_KEPT]
            assert step is not None  # every operation yields at least one step
            previews.append(write_preview(step.picture, visitor.folder))
            yield progress_of(step, previews[-1], list(losses), True, note)
            before = images.read(request.photo).resized(*step.shape)
            result = write_result(request, options, step, before, folder, list(masks.values()))
            visitor.add_result(result)
            yield result
        finally:
            if isinstance(steps, Generator):
                executor.submit(steps.close).result()
            delete_files(previews[:-1])

    def _start(self, request: JobRequest, options: StylizeOptions | FastOptions) -> Iterator[Step]:
        """The steps of a job; errors in the arguments are raised here."""
        pictures = (request.photo, list(request.styles))
        if isinstance(options, FastOptions):
            return fast.iterate(*pictures, options, memo=self.memo)
        return impasto.iterate(*pictures, options, memo=self.memo)


def progress_of(step: Step, preview: Path, losses: list[LossRecord], done: bool = False, note: str = "") -> JobProgress:
    """A report on a step; it does not keep the step's tensors."""
    scale, iteration = (step.scale, step.scales), (step.iteration, step.iterations)
    counts = (scale, iteration, step.evaluations)
    return JobProgress(step.seconds, step.eta, *counts, step.size, preview, losses, done, note)


@contextmanager
def _without_folders(request: JobRequest) -> Iterator[None]:
    """Errors raised in the block name the files of the request without their folders."""
    try:
        yield
    except (ValueError, ImpastoError) as error:
        text = str(error)
        for path in request.pictures:
            text = text.replace(path, Path(path).name)
        raise type(error)(text) from error


def write_masks(request: JobRequest, folder: Path) -> dict[str, Path]:
    """Write the masks that were drawn; what is painted there -> path."""
    paths = {key: folder / f"mask-{key}.png" for key in request.masks}
    for key, path in paths.items():
        images.write(path, images.read(request.masks[key]))
    return paths


def with_files(request: JobRequest, masks: Mapping[str, Path]) -> StylizeOptions | FastOptions:
    """The options with the paths of the masks and of the picture to start from."""
    options = dataclasses.replace(
        request.options,
        content_mask={key: str(path) for key, path in masks.items()},
        style_mask={str(number): path for number, path in enumerate(request.style_masks, start=1)},
    )
    if isinstance(options, StylizeOptions):
        options = dataclasses.replace(options, init=request.init_image or options.init)
    return options


def write_preview(picture: Picture, folder: Path) -> Path:
    """Write a JPEG; returns its path."""
    path = folder / f"{secrets.token_hex(16)}.jpg"
    images.write(path, picture)
    return path


def delete_files(paths: Sequence[Path]) -> None:
    """Delete files, if they are still there."""
    for path in paths:
        path.unlink(missing_ok=True)


def write_result(
    request: JobRequest,
    options: StylizeOptions | FastOptions,
    step: Step,
    before: Picture,
    folder: Path,
    masks: Sequence[Path],
) -> JobResult:
    """Write the files of the picture of a last step; `before` is the photo at its size."""
    picture = step.picture
    # The settings for a visitor's own machine: file names without folders, and no limit of memory.
    settings = record.settings(
        options.operation,
        [request.photo, *request.styles],
        dataclasses.replace(options, memory=None),
        found=step.found,
    )
    stem = f"{Path(request.photo).stem}-impasto"
    files = [folder / f"{stem}.png", folder / f"{stem}.jpg"]
    for path in files:
        images.write(path, picture, 8, settings)
    before_path, thumbnail = folder / "before.jpg", folder / "thumbnail.jpg"
    images.write(before_path, before)
    images.write(thumbnail, picture.on_white().resized(*images.fit(picture.shape, THUMBNAIL)))
    return JobResult([*files, *masks], before_path, thumbnail, settings, record.command(settings, f"{stem}.png"))
