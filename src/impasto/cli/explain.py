"""`impasto explain`: reports of what the network sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from impasto.cli.display import err, out, set_up_logging

if TYPE_CHECKING:
    from impasto.explain import Report

app = typer.Typer(help="Reports of what the network sees, as HTML, PNG and CSV.", no_args_is_help=True)

FOLDER = Annotated[Path, typer.Option("--output", "-o", help="Folder for report.html and the files beside it.")]
QUIET = Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing but errors.")]
LAYER = Annotated[str, typer.Option(help="The layer, relu1_1 to relu5_4.")]
SIZE = Annotated[int, typer.Option(help="Long side of the pictures, in pixels.", min=64)]


def register(parent: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (representations, units, gram, statistics, run):
        app.command(no_args_is_help=True)(command)
    parent.add_typer(app, name="explain")


def representations(
    photo: Annotated[str, typer.Argument(help="The photo.")],
    painting: Annotated[str, typer.Argument(help="The painting, or a name of 'impasto styles'.")],
    folder: FOLDER = Path("report"),
    size: SIZE = 256,
    iterations: Annotated[int, typer.Option(help="Evaluations of each reconstruction.", min=1)] = 150,
    quiet: QUIET = False,
) -> None:
    """Content by layer and style by depth: what each layer knows of PHOTO and PAINTING."""
    with _telling(quiet) as tell:
        from impasto import explain

        _write(explain.representations(photo, painting, size, iterations, tell), folder, quiet)


def units(
    pictures: Annotated[Path, typer.Argument(help="A folder of pictures.")],
    folder: FOLDER = Path("report"),
    layer: LAYER = "relu3_1",
    unit: Annotated[int | None, typer.Option(help="Which unit; by default the strongest.", min=0)] = None,
    top: Annotated[int, typer.Option(help="How many units.", min=1)] = 16,
    several: Annotated[bool, typer.Option(help="Let one picture give more than one patch.")] = False,
    quiet: QUIET = False,
) -> None:
    """What excites units: the patches of PICTURES that do most, what in them matters, a picture made for each."""
    with _telling(quiet) as tell:
        from impasto import explain

        _write(explain.unit_report(pictures, layer, unit, top, several, tell), folder, quiet)


def gram(
    first: Annotated[str, typer.Argument(help="A picture.")],
    second: Annotated[str, typer.Argument(help="Another.")],
    folder: FOLDER = Path("report"),
    layer: LAYER = "relu3_1",
    paintings: Annotated[Path | None, typer.Option(help="A folder of paintings, for a map of their styles.")] = None,
    quiet: QUIET = False,
) -> None:
    """Gram matrices made visible: of two pictures, their difference, channels that fire together, a map of styles."""
    with _telling(quiet) as tell:
        from impasto import explain

        _write(explain.gram_report(first, second, layer, paintings, tell), folder, quiet)


def statistics(
    photo: Annotated[str, typer.Argument(help="The photo.")],
    painting: Annotated[str, typer.Argument(help="The painting, or a name of 'impasto styles'.")],
    folder: FOLDER = Path("report"),
    size: SIZE = 256,
    iterations: Annotated[int, typer.Option(help="Evaluations at the last scale.", min=1)] = 40,
    quiet: QUIET = False,
) -> None:
    """One PHOTO and PAINTING under several statistics, side by side, each judged by all."""
    with _telling(quiet) as tell:
        from impasto import explain

        _write(explain.statistics_report(photo, painting, size, iterations, tell), folder, quiet)


def run(
    picture: Annotated[Path, typer.Argument(help="A picture that 'impasto stylize' made, or a checkpoint.")],
    folder: FOLDER = Path("report"),
    snapshots: Annotated[int, typer.Option(help="Pictures to show on the way.", min=1)] = 6,
    quiet: QUIET = False,
) -> None:
    """How PICTURE came about: it is made once more by its own settings, and looked at on the way.

    Of a checkpoint: how far the run has come, at once.
    """
    with _telling(quiet) as tell:
        import impasto
        from impasto import explain, images
        from impasto.settings.options import StylizeOptions

        if picture.suffix == ".checkpoint":
            _write(explain.checkpoint_report(picture), folder, quiet)
            return
        stored = images.read_settings(picture)
        if stored is None or stored.get("operation") != "stylize":
            raise ValueError(f"{picture} carries no settings of 'impasto stylize'")
        content, *styles = stored["pictures"]
        steps = impasto.iterate(content, styles, StylizeOptions(**stored["options"]))
        _write(explain.run_report(steps, snapshots, tell), folder, quiet)


def _write(report: Report, folder: Path, quiet: bool) -> None:
    path = report.write(folder)
    if not quiet:
        out.print(str(path), markup=False)


@contextmanager
def _telling(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A bar that tells how far an explanation is."""
    set_up_logging(quiet)
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(bar_width=24), TimeRemainingColumn()]
    with Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal) as bar:
        task = bar.add_task("getting ready", total=None)
        yield lambda done, total, what: bar.update(task, completed=done, total=total, description=what)
