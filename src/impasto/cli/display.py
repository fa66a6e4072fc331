"""Console output: progress bars, durations and logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, Progress, TextColumn

#: Results go to standard output, everything else to standard error.
out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def set_up_logging(quiet: bool) -> None:
    """Print warnings, or with `quiet` only errors, above the progress bar."""
    handler = RichHandler(console=err, show_time=False, show_path=False)
    logging.basicConfig(level=logging.ERROR if quiet else logging.WARNING, format="%(message)s", handlers=[handler])
    for library in ("pyvips", "matplotlib"):  # which warn of harmless flaws in files, and of a missing home folder
        logging.getLogger(library).setLevel(logging.ERROR)


def count_bar(hidden: bool) -> Progress:
    """A progress bar over a known number of items, with the time left in the field `left`."""
    return Progress(
        TextColumn("{task.description}", markup=False),  # file names have brackets
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
        TextColumn(name, markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err) as progress:
        yield progress
