"""`impasto explain`: reports on features, statistics and runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli import signals
from impasto.cli.display import err, out, set_up_logging
from impasto.cli.flags import Quiet, output_flag
from impasto.progress import Progress, ProgressCallback, StepBar

if TYPE_CHECKING:
    from impasto.explain import Report

app = typer.Typer(
    help="Write reports on features, style statistics and runs, as HTML, PNG and CSV.", no_args_is_help=True
)

ReportFolder = Annotated[Path, output_flag("Folder for report.html and its figures and tables.")]
PhotoFile = Annotated[str, typer.Argument(help="The photo.")]
Painting = Annotated[str, typer.Argument(help="The painting: a file, or a name from 'impasto styles'.")]
Layer = Annotated[str, typer.Option(help="Layer of VGG-19, relu1_1 to relu5_4.")]
Size = Annotated[int, typer.Option(help="Long side of the pictures, in pixels.", min=64)]


def register(parent: typer.Typer) -> None:
    for command in (representations, units, gram, statistics, run):
        app.command()(command)
    parent.add_typer(app, name="explain")


def representations(
    photo: PhotoFile,
    painting: Painting,
    folder: ReportFolder = Path("report"),
    size: Size = 256,
    iterations: Annotated[int, typer.Option(help="Evaluations for each reconstruction.", min=1)] = 150,
    quiet: Quiet = False,
) -> None:
    """Reconstruct PHOTO from one layer at a time, and synthesise textures of PAINTING from more and more layers."""
    with _progress_bar(quiet) as report_progress:
        from impasto import explain

        _write(explain.representations(photo, painting, size, iterations, report_progress), folder, quiet)


def units(
    pictures: Annotated[Path, typer.Argument(help="Folder of pictures.")],
    folder: ReportFolder = Path("report"),
    layer: Layer = "relu3_1",
    unit: Annotated[
        int | None, typer.Option(help="A single unit; by default the most strongly activated.", min=0)
    ] = None,
    top: Annotated[int, typer.Option(help="Number of units.", min=1)] = 16,
    several: Annotated[bool, typer.Option(help="Allow several patches from one picture.")] = False,
    quiet: Quiet = False,
) -> None:
    """Show what activates units of a layer: patches of PICTURES, guided backpropagation, and synthesised pictures."""
    with _progress_bar(quiet) as report_progress:
        from impasto import explain

        _write(explain.unit_report(pictures, layer, unit, top, several, report_progress), folder, quiet)


def gram(
    first: Annotated[str, typer.Argument(help="A picture.")],
    second: Annotated[str, typer.Argument(help="Another picture.")],
    folder: ReportFolder = Path("report"),
    layer: Layer = "relu3_1",
    paintings: Annotated[Path | None, typer.Option(help="Folder of paintings, for a map of their styles.")] = None,
    quiet: Quiet = False,
) -> None:
    """Compare the Gram matrices of two pictures, show correlated channels, and map the styles of paintings."""
    with _progress_bar(quiet) as report_progress:
        from impasto import explain

        _write(explain.gram_report(first, second, layer, paintings, report_progress), folder, quiet)


def statistics(
    photo: PhotoFile,
    painting: Painting,
    folder: ReportFolder = Path("report"),
    size: Size = 256,
    iterations: Annotated[int, typer.Option(help="Evaluations at the last scale.", min=1)] = 40,
    quiet: Quiet = False,
) -> None:
    """Stylise PHOTO with several style statistics, side by side, and measure each result by all of them."""
    with _progress_bar(quiet) as report_progress:
        from impasto import explain

        _write(explain.statistics_report(photo, painting, size, iterations, report_progress), folder, quiet)


def run(
    picture: Annotated[Path, typer.Argument(help="A picture made by 'impasto stylize', or a checkpoint.")],
    folder: ReportFolder = Path("report"),
    snapshots: Annotated[int, typer.Option(help="Number of intermediate pictures.", min=1)] = 6,
    quiet: Quiet = False,
) -> None:
    """Repeat the run that made PICTURE, with its stored settings, and show losses and intermediate pictures.

    For a checkpoint: show how far its run has come, without computing anything.
    """
    with _progress_bar(quiet) as report_progress:
        import impasto
        from impasto import explain, images, record
        from impasto.settings.options import StylizeOptions

        if picture.suffix == ".checkpoint":
            _write(explain.checkpoint_report(picture), folder, quiet)
            return
        stored = images.read_settings(picture)
        if stored is None or stored.get("operation") != "stylize":
            raise ValueError(f"{picture} carries no settings of 'impasto stylize'")
        options = record.stored_options(stored, StylizeOptions)
        content, *styles = stored["pictures"]
        steps = impasto.iterate(content, styles, options)
        _write(explain.run_report(steps, snapshots, report_progress), folder, quiet)


def _write(report: Report, folder: Path, quiet: bool) -> None:
    with signals.deferred():
        path = report.write(folder)
    if not quiet:
        out.print(str(path), markup=False)


@contextmanager
def _progress_bar(quiet: bool) -> Iterator[ProgressCallback]:
    """What draws the progress of a report, and raises KeyboardInterrupt after a signal."""
    set_up_logging(quiet)
    with StepBar(err, hidden=quiet).running() as bar:

        def report_progress(progress: Progress) -> None:
            signals.check()
            bar.report(progress)

        yield report_progress
