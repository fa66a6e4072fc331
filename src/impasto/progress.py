"""Progress of an operation, for whoever waits: bars in terminals, bars with a preview in notebooks, callbacks."""

from __future__ import annotations

import base64
import dataclasses
import html
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

if TYPE_CHECKING:
    from impasto.optim.steps import Step

Item = TypeVar("Item")

#: Kind of a value that a run prepares, see `inputs.memo.Memo` -> what it does meanwhile.
STAGES = {
    "encoder": "loading VGG",
    "model": "loading the network",
    "content": "reading the photo",
    "style": "reading the style",
    "styles": "measuring the style",
    "photo": "measuring the photo",
    "saliency": "measuring the photo",
    "calibrated": "calibrating the strength",
    "predicted": "predicting the style",
}
PREPARING = "preparing"
#: Seconds between two updates of a notebook, between two of its previews, and their long side in pixels.
UPDATE_INTERVAL, PREVIEW_INTERVAL, PREVIEW_SIDE = 0.3, 2.0, 320


@dataclass(frozen=True, eq=False)
class Progress:
    """How far an operation is.

    Attributes:
        stage: what it does now, for people: `reading the style`, `scale 2/3 256×171, iteration 7/100`.
        fraction: the part of the time that is over, estimated, in [0, 1]; 0 while it prepares.
        eta: seconds left, estimated; None while it prepares.
        step: the last step, with the picture so far; None while it prepares.
    """

    stage: str
    fraction: float = 0.0
    eta: float | None = None
    step: Step | None = None


#: Is called from the moment that an operation begins; what it raises ends the operation, and reaches the caller.
ProgressCallback = Callable[[Progress], object]
#: What operations take as `progress`: True shows a bar, where a person can see it; or a callback.
ProgressOption = bool | ProgressCallback


def last_step(start: Callable[[Callable[[str], object]], Iterator[Step]], progress: ProgressOption) -> Step:
    """The last step of a run, whose progress is shown.

    Args:
        start: begins the run; it is given what to call, while it prepares, with the kind of every value that it
            computes.
    """
    with shown(progress) as report:
        report(Progress(PREPARING))
        reached = 0.0
        with closed_afterwards(start(lambda kind: report(Progress(STAGES.get(kind, PREPARING))))) as steps:
            for step in steps:
                reached = max(reached, step.fraction)  # where the estimate grew, it waits
                report(dataclasses.replace(progress_of(step), fraction=reached))
    return step


@contextmanager
def closed_afterwards(steps: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """The same steps, closed when the block ends, if they can be."""
    try:
        yield steps
    finally:
        if isinstance(steps, Generator):
            steps.close()


@contextmanager
def shown(progress: ProgressOption) -> Iterator[ProgressCallback]:
    """What to call with every `Progress` in the block.

    Raises:
        ValueError: neither a truth value nor a function.
    """
    if not (callable(progress) or progress in (True, False, None)):
        raise ValueError(f"progress is {progress!r}; expected True, False, or a function that takes a Progress")
    if callable(progress):
        yield progress
    elif not progress:
        yield lambda progress: None
    elif in_notebook():
        bar = _NotebookBar()
        try:
            yield bar.show
        finally:
            bar.close()
    else:
        with StepBar(Console(stderr=True, highlight=False, soft_wrap=True)).running() as terminal_bar:
            yield terminal_bar.report


def in_notebook() -> bool:
    """Whether this runs in a notebook, or another front end of Jupyter's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def progress_of(step: Step) -> Progress:
    """How far an operation is after a step."""
    return Progress(description(step), step.fraction, step.eta, step)


def description(step: Step) -> str:
    """What a step does, for people."""
    height, width = step.image_shape
    count = f"{step.iteration}/{step.iterations}"
    if step.note.startswith("learning"):
        return step.note
    if not step.losses:
        return f"{width}×{height}, layer {count}"
    if height == 1:  # a sound
        return f"iteration {count}"
    return f"scale {step.scale}/{step.scales} {width}×{height}, iteration {count}"


def counted(number: int, noun: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """`0.7` -> `0.7 s`, `75` -> `1:15`, `3700` -> `1:01:40`."""
    if 0 < seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class StepBar:
    """A progress bar in a terminal, with what a run does, its losses and the time left.

    Args:
        console: where to show it; nothing is shown if that is no terminal.
    """

    def __init__(self, console: Console, hidden: bool = False) -> None:
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),  # file names have brackets
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[left]}"),
            TextColumn("[dim]{task.fields[losses]}"),
            console=console,
            disable=hidden or not console.is_terminal,
            transient=True,
        )
        self._task = self._bars.add_task(PREPARING, total=1, left="", losses="")

    @contextmanager
    def running(self) -> Iterator[StepBar]:
        """Show the bar until the block ends."""
        with self._bars:
            yield self

    def report(self, progress: Progress) -> None:
        """Update the bar."""
        sums: dict[str, float] = {}
        for name, value in progress.step.losses.items() if progress.step else ():
            kind = name.partition(" ")[0]
            sums[kind] = sums.get(kind, 0) + value
        self._bars.update(
            self._task,
            description=progress.stage,
            completed=max(progress.fraction, self._bars.tasks[self._task].completed),  # the bar never goes back
            left="" if progress.eta is None else f"{duration(progress.eta)} left",
            losses="  ".join(f"{kind} {value:.4g}" for kind, value in sums.items()),
        )

    def show(self, step: Step) -> None:
        """Update the bar with a step."""
        self.report(progress_of(step))


class _NotebookBar:
    """A progress bar in the output of a notebook's cell, with a preview of the picture; gone when the run ends."""

    def __init__(self) -> None:
        from IPython.display import display

        self._handle: Any = display({"text/html": "", "text/plain": ""}, raw=True, display_id=True)
        self._preview, self._drawn, self._updated = "", 0.0, 0.0

    def show(self, progress: Progress) -> None:
        """Update the bar, unless that was done a moment ago."""
        step = progress.step
        if step is not None and time.monotonic() - self._updated < UPDATE_INTERVAL:
            return
        self._updated = time.monotonic()
        if step is not None and step.losses and step.height > 1 and time.monotonic() - self._drawn > PREVIEW_INTERVAL:
            self._preview, self._drawn = _preview_html(step), time.monotonic()
        left = "" if progress.eta is None else f" · {duration(progress.eta)} left"
        text = f"{progress.stage} · {progress.fraction:.0%}{left}"
        bar = f'<progress max="1" value="{progress.fraction:.3f}"></progress>'
        self._update({"text/html": f"<div>{bar} {html.escape(text)}</div>{self._preview}", "text/plain": text})

    def close(self) -> None:
        """Remove the bar."""
        self._update({"text/html": "", "text/plain": ""})

    def _update(self, content: dict[str, str]) -> None:
        self._handle.update(content, raw=True)


def _preview_html(step: Step) -> str:
    picture = step.picture
    factor = min(1.0, PREVIEW_SIDE / max(picture.shape))
    small = picture.on_white().resized(*(max(1, round(side * factor)) for side in picture.shape))
    file = BytesIO()
    small.to_pil().save(file, "JPEG", quality=85)
    return f'<img alt="preview" src="data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}">'
