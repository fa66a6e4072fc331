"""Runs jobs, step by step: previews while they run, and the finished files at the end."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections import deque
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock
from typing import Any

import impasto
from impasto import fast, images, record
from impasto.errors import ImpastoError
from impasto.inputs.read import Memo
from impasto.optim.checkpoints import LossRecord
from impasto.optim.steps import Step
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.web.jobs import JobProgress, JobRequest, JobResult, Limits, check_request
from impasto.web.visitors import ABANDONED_AFTER, Visitor

#: Seconds between two previews.
PREVIEW_INTERVAL = 0.8
#: Previews that are kept, since the page may still be fetching the last few.
PREVIEWS_KEPT = 3


class JobRunner:
    """Runs jobs within the limits of a server; they share the networks.

    Args:
        public_styles: sources of the server's own styles.
    """

    def __init__(self, limits: Limits, public_styles: frozenset[str] = frozenset()) -> None:
        self.limits = limits
        self.running = 0
        self._public_styles = public_styles
        self._networks: dict[Hashable, Any] = {}
        self._lock = Lock()

    def accept(self, request: JobRequest) -> JobRequest:
        """The request with the device and memory that the server gives it.

        Raises:
            ValueError, PictureError: see `check_request`.
        """
        check_request(request, self.limits, self._public_styles)
        memory = None if self.limits.memory is None else self.limits.memory // self.limits.running
        return dataclasses.replace(request, options=dataclasses.replace(request.options, memory=memory, device="auto"))

    @contextmanager
    def running_job(self, request: JobRequest) -> Iterator[JobRequest]:
        """Accept the request and count it as a running job; error messages name files without their folders.

        Raises:
            ValueError, ImpastoError: see `accept`, and whatever the job raises.
        """
        try:
            request = self.accept(request)
            with self._lock:
                self.running += 1
            try:
                yield request
            finally:
                with self._lock:
                    self.running -= 1
        except (ValueError, ImpastoError) as error:
            text = str(error)
            for path in request.pictures:
                text = text.replace(path, Path(path).name)
            raise type(error)(text) from error

    def run(self, request: JobRequest, visitor: Visitor, stop: Event) -> Iterator[JobProgress | JobResult]:
        """Run a job: yields its progress from time to time, then its result.

        When `stop` is set or the time is up, the result is the picture so far. When the visitor leaves, the job ends
        without a result.

        Raises:
            ValueError, ImpastoError: the request is not accepted or cannot be carried out.
        """
        # All steps run in one thread, whichever thread iterates: PyTorch creates a thread pool for each caller.
        with self.running_job(request) as accepted, ThreadPoolExecutor(1) as executor:
            yield from self._run(accepted, visitor, stop, executor)

    def _run(
        self, request: JobRequest, visitor: Visitor, stop: Event, executor: ThreadPoolExecutor
    ) -> Iterator[JobProgress | JobResult]:
        folder = visitor.folder / secrets.token_hex(16)
        folder.mkdir()
        masks = _write_masks(request, folder)
        options = _with_files(request, masks)
        steps = executor.submit(self._start, request, options).result()
        drafts_first = isinstance(options, StylizeOptions) and options.color != "palette"
        losses: list[LossRecord] = []
        previews: list[Path] = []
        last_preview, step, note = 0.0, None, ""
        try:
            while (next_step := executor.submit(next, steps, None).result()) is not None:
                step = next_step
                if step.losses:
                    losses.append((step.evaluations, step.scale, step.loss, step.losses))
                is_draft = drafts_first and not losses
                if visitor.idle_seconds > ABANDONED_AFTER:
                    return
                if stop.is_set() and not is_draft:
                    note = "stopped"
                    break
                if step.seconds > self.limits.seconds:
                    note = f"stopped after {self.limits.seconds:.0f} seconds, the limit here"
                    break
                if time.monotonic() - last_preview >= PREVIEW_INTERVAL:
                    last_preview = time.monotonic()
                    previews.append(_write_preview(step, visitor.folder))
                    yield JobProgress(step, previews[-1], list(losses), is_draft=is_draft)
                    _delete(previews[:-PREVIEWS_KEPT])
                    del previews[:-PREVIEWS_KEPT]
            assert step is not None  # every operation yields at least one step
            previews.append(_write_preview(step, visitor.folder))
            yield JobProgress(step, previews[-1], list(losses), True, note)
            yield _write_result(request, options, step, folder, list(masks.values()))
        finally:
            if isinstance(steps, Generator):
                executor.submit(steps.close).result()
            _delete(previews[:-1])

    def _start(self, request: JobRequest, options: StylizeOptions | FastOptions) -> Iterator[Step]:
        """The steps of a job, after those of a draft if it is optimised; errors in the arguments are raised here."""
        with self._lock:
            memo: Memo = dict(self._networks)
        pictures = (request.photo, list(request.styles))
        if isinstance(options, FastOptions):
            steps = fast.iterate(*pictures, options, memo)
        else:
            steps = impasto.iterate(*pictures, options, memo)
            if options.color != "palette":
                with suppress(ImpastoError, ValueError):  # optimisation may succeed where the network cannot
                    steps = _draft_first(fast.iterate(*pictures, options.fast_options, memo), steps)
        with self._lock:  # only the networks are shared with other jobs
            self._networks = {
                key: value for key, value in memo.items() if isinstance(key, tuple) and key[0] in ("encoder", "model")
            }
        return steps


def _draft_first(draft: Iterator[Step], steps: Iterator[Step]) -> Iterator[Step]:
    """The last step of the draft, then all others."""
    with suppress(ImpastoError):
        yield from deque(draft, maxlen=1)
    yield from steps


def _write_masks(request: JobRequest, folder: Path) -> dict[str, Path]:
    paths = {key: folder / f"mask-{key}.png" for key in request.masks}
    for key, path in paths.items():
        images.write(path, images.read(request.masks[key]))
    return paths


def _with_files(request: JobRequest, masks: Mapping[str, Path]) -> StylizeOptions | FastOptions:
    """The options with the paths of the masks and of the picture to start from."""
    options = dataclasses.replace(
        request.options,
        content_mask={key: str(path) for key, path in masks.items()},
        style_mask={str(number): path for number, path in enumerate(request.style_masks, start=1)},
    )
    if isinstance(options, StylizeOptions):
        options = dataclasses.replace(options, init=request.init_image or options.init)
    return options


def _write_preview(step: Step, folder: Path) -> Path:
    path = folder / f"{secrets.token_hex(16)}.jpg"
    images.write(path, step.picture)
    return path


def _delete(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _write_result(
    request: JobRequest, options: StylizeOptions | FastOptions, step: Step, folder: Path, masks: Sequence[Path]
) -> JobResult:
    picture = step.picture
    # The settings for a visitor's own machine: file names without folders, and no limit of memory.
    settings = record.settings(
        options.operation, [request.photo, *request.styles], dataclasses.replace(options, memory=None)
    )
    stem = f"{Path(request.photo).stem}-impasto"
    files = [folder / f"{stem}.png", folder / f"{stem}.jpg"]
    for path in files:
        images.write(path, picture, 8, settings)
    before = folder / "before.jpg"
    images.write(before, images.read(request.photo).resized(*step.size))
    return JobResult([*files, *masks], before, settings, record.command(settings, f"{stem}.png"))
