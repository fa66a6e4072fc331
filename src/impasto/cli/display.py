"""Console output: progress bars, durations and logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from impasto.operations.sheet import Variation
    from impasto.optim.steps import Step

#: Results go to standard output, everything else to standard error.
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def set_up_logging(quiet: bool) -> None:
    """Print warnings, or with `quiet` only errors, above the progress bar."""
    handler = RichHandler(console=err, show_time=False, show_path=False)
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, format="%(message)s", handlers=[handler])
    for library in ("pyvips", "matplotlib"):  # which warn of harmless flaws in files, and of a missing home folder
        logging.getLogger(library).setLevel(logging.ERROR)


def duration(seconds: float) -> str:
    """`0.7` -> `0.7 s`, `75` -> `1:15`, `3700` -> `1:01:40`."""
    if 0 < seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _description(step: Step, height: int, width: int) -> str:
    count = f"{step.iteration}/{step.iterations}"
    if step.note.startswith("learning"):
        return step.note
    if not step.losses:
        return f"{width}×{height}, layer {count}"
    if height == 1:  # a sound
        return f"iteration {count}"
    return f"scale {step.scale}/{step.scales} {width}×{height}, iteration {count}"


class StepBar:
    """A progress bar over the steps of a run, with scale, iteration, losses and time left."""

    def __init__(self, shown: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[left]}"),
            TextColumn("[dim]{task.fields[losses]}"),
            console=err,
            disable=not (shown and err.is_terminal),
            transient=True,
        )
        self._task = self._progress.add_task("preparing", total=1, left="", losses="")

    @contextmanager
    def running(self) -> Iterator[StepBar]:
        """Show the bar until the block ends."""
        with self._progress:
            yield self

    def show(self, step: Step) -> None:
        """Update the bar with a step."""
        height, width = step.image_size
        sums: dict[str, float] = {}
        for name, value in step.losses.items():
            kind = name.partition(" ")[0]
            sums[kind] = sums.get(kind, 0) + value
        self._progress.update(
            self._task,
            description=_description(step, height, width),
            completed=step.seconds / max(step.seconds + step.eta, 1e-9),
            left=f"{duration(step.eta)} left",
            losses="  ".join(f"{kind} {value:.4g}" for kind, value in sums.items()),
        )

    def show_cell(self, cell: Variation, before: float) -> None:
        """Update the bar with a step of one cell of a contact sheet; the cells before took `before` seconds.

        Cells are assumed to take equally long.
        """
        own = cell.step.seconds + cell.step.eta
        eta = cell.step.eta + (cell.count - cell.number) * own
        seconds = before + cell.step.seconds
        self._progress.update(
            self._task,
            description=f"{cell.number}/{cell.count} {cell.label}",
            completed=seconds / max(seconds + eta, 1e-9),
            left=f"{duration(eta)} left",
        )


def count_bar(hidden: bool) -> Progress:
    """A progress bar over a known number of items, with the time left in the field `left`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:3.0f}%"),
        TextColumn("{task.fields[left]}"),
        console=err,
        disable=hidden or not err.is_terminal,
        transient=True,
    )


@contextmanager
def byte_bar(name: str) -> Iterator[Progress]:
    """A progress bar for a download."""
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn(name),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield progress
