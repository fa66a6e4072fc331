"""Explanations of the network, from the reports of `impasto.explain` on a visitor's own pictures."""

from __future__ import annotations

import queue
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread, get_ident
from typing import TYPE_CHECKING, Any

import impasto
from impasto import images
from impasto.errors import ExtraError
from impasto.inputs.read import read_styles
from impasto.progress import Progress, ProgressCallback
from impasto.settings.options import StylizeOptions
from impasto.vgg.encoder import layers
from impasto.web.jobs import JobRequest
from impasto.web.runner import JobRunner
from impasto.web.visitors import Visitor

if TYPE_CHECKING:
    from impasto.explain.report import Report

#: Long side of the pictures that are analysed, in pixels, and evaluations of each optimisation.
SIZE, ITERATIONS = 192, 60
#: Long side of the pictures in which patches are searched.
PATCH_SOURCE_SIZE = 384
#: Seconds without an open request after which an explanation ends.
MAX_IDLE = 30
LAYERS = [layer.name for layer in layers("vgg19") if layer.kind == "relu"]


@dataclass(frozen=True)
class ExplanationRequest:
    """What a visitor requests.

    Attributes:
        question: a key of `QUESTIONS`.
        photo: path of a file.
        style: path of a file, or name of a built-in style.
        all_styles: sources of all styles on the page.
        layer: for the questions about one layer.
    """

    question: str
    photo: str
    style: str
    all_styles: Sequence[str]
    layer: str


@dataclass(frozen=True)
class Question:
    """A question, and how it is answered.

    Attributes:
        description: what the answer shows.
        report: makes it: (the package `impasto.explain`, request, folder for pictures, progress callback) -> report.
    """

    description: str
    report: Callable[[Any, ExplanationRequest, Path, ProgressCallback], Report]


QUESTIONS = {
    "What does each layer encode?": Question(
        "The photo reconstructed from each layer, and textures from more and more layers of the style.",
        lambda explain, request, _, progress: explain.representations(
            request.photo, request.style, SIZE, ITERATIONS, progress
        ),
    ),
    "What does a Gram matrix say?": Question(
        "Which channels are active together in the photo and in the style, and where.",
        lambda explain, request, _, progress: explain.gram_report(
            request.photo, request.style, request.layer, None, progress
        ),
    ),
    "How do other measures of style compare?": Question(
        "The photo in the style under five statistics, each result measured by all of them.",
        lambda explain, request, _, progress: explain.statistics_report(
            request.photo, request.style, SIZE, ITERATIONS // 2, progress
        ),
    ),
    "What activates a channel?": Question(
        "The channels of a layer that respond most, each with the patches of your photo and of the styles here that "
        "activate it.",
        lambda explain, request, folder, progress: explain.unit_report(
            _copy_small([request.photo, *request.all_styles], folder), request.layer, None, 6, True, progress
        ),
    ),
    "How does the picture take shape?": Question(
        "An optimisation of the photo in the style: its loss curve, the share of each term, and snapshots.",
        lambda explain, request, _, progress: explain.run_report(
            impasto.iterate(request.photo, [request.style], StylizeOptions(size=SIZE)), 6, progress
        ),
    ),
}


def run(
    runner: JobRunner, request: ExplanationRequest, visitor: Visitor, stop: Event
) -> Iterator[tuple[str, float] | Path]:
    """Answer a question: yields (what is being done, fraction done), and at the end the path of the report.

    If it is stopped, the last item is `("stopped", 0.0)`.

    Raises:
        ValueError, ImpastoError: the request is not accepted or cannot be carried out.
    """
    if request.question not in QUESTIONS:
        raise ValueError(f"unknown question {request.question!r}; choose from {' '.join(QUESTIONS)}")
    if request.layer not in LAYERS:
        raise ValueError(f"unknown layer {request.layer!r}; choose from {', '.join(LAYERS)}")
    try:
        from impasto import explain
    except ExtraError as error:
        raise ValueError(f"this server cannot explain: {error}") from error
    options = StylizeOptions(size=min(SIZE, runner.limits.size))
    with runner.running_job(JobRequest(request.photo, [request.style], options)):
        yield from _run(explain, request, visitor, stop)


class _StoppedError(Exception):
    """Ends a report that was stopped, or whose visitor left."""


def _run(
    explain: Any, request: ExplanationRequest, visitor: Visitor, stop: Event
) -> Iterator[tuple[str, float] | Path]:
    reported: queue.Queue[tuple[str, float] | Path | BaseException] = queue.Queue()

    def progress(progress: Progress) -> None:
        if stop.is_set() or visitor.idle_seconds > MAX_IDLE:
            raise _StoppedError
        reported.put((f"{progress.stage}…", progress.fraction))

    def work() -> None:
        folder = visitor.folder / f"report-{get_ident()}"
        try:
            shutil.rmtree(folder, ignore_errors=True)
            report = QUESTIONS[request.question].report(explain, request, folder / "pictures", progress)
            reported.put(report.write(folder))
        except BaseException as error:
            reported.put(error)

    # `explain` reports progress by a callback; a thread and a queue turn that into an iterator.
    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item = reported.get()
            if isinstance(item, BaseException):
                raise item
            yield item
            if isinstance(item, Path):
                return
    except _StoppedError:
        yield ("stopped", 0.0)
    finally:
        stop.set()
        thread.join()


def _copy_small(pictures: Sequence[str], folder: Path) -> Path:
    """Write small copies of the pictures to a folder of their own; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, source in enumerate(pictures):
        ((_, picture),) = read_styles(source, PATCH_SOURCE_SIZE**2)
        images.write(folder / f"{number:03}.png", picture.resized(*images.fit(picture.shape, PATCH_SOURCE_SIZE)))
    return folder
