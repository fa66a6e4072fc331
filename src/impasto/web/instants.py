"""Instant pictures, painted by the feed-forward network beside the jobs, and learning the paintings of visitors."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import torch

from impasto import fast, images
from impasto.devices import choose_device
from impasto.fast import stylizer
from impasto.fast.learning import Learner, LearningProgress, Vectors
from impasto.fast.models import ANY, Model
from impasto.images import Picture
from impasto.inputs.memo import Memo
from impasto.inputs.prepare import Inputs
from impasto.inputs.read import read_content
from impasto.settings.options import FastOptions
from impasto.web.jobs import JobRequest, JobResult
from impasto.web.runner import (
    PREVIEWS_KEPT,
    JobRunner,
    delete_files,
    with_files,
    write_masks,
    write_preview,
    write_result,
)
from impasto.web.visitors import ABANDONED_AFTER, Visitor

#: Seconds between two previews of a painting that is being learnt.
PREVIEW_INTERVAL = 2.0
#: A painting counts as learnt if that took this part of the time that is given to it now.
ENOUGH = 0.9


@dataclass(frozen=True)
class Instant:
    """An instant picture.

    Attributes:
        result: its files.
        size: height and width.
        seconds: that it took.
        not_learnt: the file names of paintings that were not learnt yet: their style was predicted.
        learnt_briefly: of paintings that were learnt, but for less time than is given to them now -> seconds.
    """

    result: JobResult
    size: tuple[int, int]
    seconds: float
    not_learnt: Sequence[str]
    learnt_briefly: dict[str, float]

    @property
    def folder(self) -> Path:
        """The folder of the files."""
        return self.result.folder


@dataclass(frozen=True)
class Learning:
    """The state of learning.

    Attributes:
        name: the file name of the painting.
        fraction: of the time that is done, in [0, 1].
        eta: seconds left, estimated.
        preview: path of a JPEG: the photo as it would be painted now; None before the first.
        stopped: why learning ended early; otherwise empty.
    """

    name: str
    fraction: float
    eta: float
    preview: Path | None
    stopped: str = ""


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A request, read."""

    options: FastOptions
    device: torch.device
    model: Model
    photo: Picture
    inputs: Inputs

    @property
    def learners(self) -> list[Learner]:
        """One for each painting and scale whose style the network does not have in its gallery."""
        if self.options.color == "palette":  # which needs no network
            return []
        return Vectors(self.model, self.options, self.device, Memo(0)).learners(self.inputs.regions)


class InstantRunner:
    """Paints instant pictures, one at a time, and learns paintings as jobs of `runner`."""

    def __init__(self, runner: JobRunner) -> None:
        self._runner = runner
        self._executor = ThreadPoolExecutor(1)  # PyTorch creates a thread pool for each thread

    def paint(self, request: JobRequest, visitor: Visitor) -> Instant:
        """Paint a picture at once: paintings that were not learnt yet are predicted.

        Raises:
            ValueError, ImpastoError: the request is not accepted or cannot be carried out.
        """
        with self._runner.accepted_instant(request) as accepted:
            return self._executor.submit(self._paint, accepted, visitor).result()

    def learn(self, request: JobRequest, visitor: Visitor, stop: Event) -> Iterator[Learning]:
        """Learn the request's paintings, each for `options.learn_seconds`, and keep them; reports from time to time.

        When `stop` is set, the time is up or the visitor is away, what was learnt so far is kept.

        Raises:
            ValueError, ImpastoError: as `paint`.
        """
        with self._runner.running_job(request) as accepted, ThreadPoolExecutor(1) as executor:
            yield from self._learn(accepted, visitor, stop, executor)

    def _prepare(self, request: JobRequest, masks: dict[str, Path], visitor: Visitor) -> _Prepared:
        options, memo = with_files(request, masks), self._runner.memo
        assert isinstance(options, FastOptions)
        device = choose_device(options.device)
        photo = _photo_at_size(request, visitor)
        model = stylizer.load_model(options, device, memo)
        inputs = stylizer.read_inputs(model, photo, list(request.styles), options, device, memo)
        return _Prepared(options, device, model, photo, inputs)

    def _paint(self, request: JobRequest, visitor: Visitor) -> Instant:
        folder = visitor.new_folder()
        try:
            return self._paint_into(folder, request, visitor)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _paint_into(self, folder: Path, request: JobRequest, visitor: Visitor) -> Instant:
        started = time.monotonic()
        masks = write_masks(request, folder)
        prepared = self._prepare(request, masks, visitor)
        unknown, seconds = self._unknown(prepared.learners)
        options = dataclasses.replace(prepared.options, model=ANY if unknown else None)
        for step in fast.iterate(prepared.photo, list(request.styles), options, memo=self._runner.memo):
            last = step
        briefly = {name: time for name, time in seconds.items() if time < ENOUGH * options.learn_seconds}
        result = write_result(request, options, last, prepared.inputs.photo, folder, list(masks.values()))
        return Instant(result, last.shape, time.monotonic() - started, unknown, briefly)

    def _unknown(self, learners: Sequence[Learner]) -> tuple[list[str], dict[str, float]]:
        """The names of paintings that were not learnt, and for how many seconds the others were."""
        unknown: dict[str, None] = {}
        seconds: dict[str, float] = {}
        for learner in learners:
            name = Path(learner.painting.name).name
            if (kept := learner.kept()) is not None and not kept[1].left:
                seconds[name] = min(kept[1].seconds, seconds.get(name, float("inf")))
            elif self._runner.memo.find(("learnt", learner.key)) is None:
                unknown[name] = None
        return list(unknown), {name: time for name, time in seconds.items() if name not in unknown}

    def _learn(
        self, request: JobRequest, visitor: Visitor, stop: Event, executor: ThreadPoolExecutor
    ) -> Iterator[Learning]:
        folder = visitor.new_folder()
        masks = write_masks(request, folder)
        prepared = executor.submit(self._prepare, request, masks, visitor).result()
        started, limit = time.monotonic(), self._runner.limits.seconds
        painter = stylizer.FramePainter(prepared.model, prepared.inputs, prepared.options, prepared.device)
        learners, stopped = prepared.learners, ""
        previews: list[Path] = []

        def preview(progress: LearningProgress) -> Path:
            canvas = painter.preview(prepared.inputs.content.to(prepared.device), progress.vector)
            return write_preview(painter.finish(canvas), visitor.folder)

        try:
            for number, learner in enumerate(learners):
                name, steps, shown = Path(learner.painting.name).name, learner.steps(), time.monotonic()
                try:
                    while not stopped and (progress := executor.submit(next, steps, None).result()) is not None:
                        if stop.is_set() or visitor.idle_seconds > ABANDONED_AFTER:
                            stopped = "stopped"
                        elif time.monotonic() - started > limit:
                            stopped = f"stopped after {limit:.0f} seconds, the limit here"
                        if not previews or time.monotonic() - shown > PREVIEW_INTERVAL:
                            previews.append(executor.submit(preview, progress).result())
                            shown = time.monotonic()
                        fraction = (number + progress.fraction) / len(learners)
                        eta = progress.eta + (len(learners) - number - 1) * learner.options.seconds
                        yield Learning(name, fraction, eta, previews[-1], stopped)
                        delete_files(previews[:-PREVIEWS_KEPT])
                        del previews[:-PREVIEWS_KEPT]
                finally:
                    if isinstance(steps, Generator):
                        executor.submit(steps.close).result()
                learner.save()
                if learner.vector is not None:
                    self._runner.memo.put(("learnt", learner.key), learner.vector)
                if stopped:
                    return
        finally:
            delete_files(previews[:-1])


def _photo_at_size(request: JobRequest, visitor: Visitor) -> Picture:
    """The photo at the size of the result; the last one is remembered with its visitor."""
    size = request.options.size
    assert size is not None  # see `check_request`
    key = (request.photo, size)
    if (found := visitor.photo.get(key)) is None:
        photo = read_content(request.photo, long_side=size)
        found = photo.resized(*images.fit(photo.shape, size))
        visitor.photo = {key: found}
    return found
