"""`impasto sheet`: one photo under every combination of some options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli.display import StepBar, duration, err, out, set_up_logging
from impasto.cli.parameters import with_options
from impasto.cli.render import OUTPUT, QUIET, Output, check, files_of
from impasto.cli.stylize import Photo
from impasto.settings.options import StylizeOptions

if TYPE_CHECKING:
    from impasto.operations.sheet import Variation


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(no_args_is_help=True)(with_options(StylizeOptions, size=256)(sheet))


def sheet(
    content: Photo,
    vary: Annotated[
        list[str],
        typer.Option(
            help="What varies: OPTION=VALUE,VALUE,… with any option of 'stylize', or style or preset. May be "
            "repeated for every combination. Values that hold commas are parted by semicolons.",
            metavar="OPTION=A,B,…",
        ),
    ],
    options: StylizeOptions,
    style: Annotated[
        list[str] | None,
        typer.Argument(help="The painting, or several: files, or names of 'impasto styles'. [dim]\\[swirls][/]"),
    ] = None,
    output: OUTPUT = Path("sheet.png"),
    quiet: QUIET = False,
) -> int:
    """Draw a labelled contact sheet of the photo CONTENT under every combination of the options that vary.

    The first option varies from row to row, the last along a row. Ctrl-C draws those that are done.

    Say: impasto sheet photo.jpg painting.jpg --vary strength=0.5,1,2 --vary statistic=gram,nearest
    """
    set_up_logging(quiet)
    from impasto import images, record
    from impasto.operations import sheet

    axes: dict[str, list[str]] = {}
    for text in vary:
        name, values = sheet.parse_axis(text)
        if name in axes:
            raise ValueError(f"{name} is to vary twice; give all its values at once")
        axes[name] = values
    styles = style or ["swirls"]
    pictures = [content, *styles]
    check(Output(output=output), files_of([*pictures, *axes.get("style", ())], options))
    more = [word for text in vary for word in ("--vary", text)]
    settings = record.settings("sheet", pictures, options, more=more)

    done: dict[int, Variation] = {}
    interrupted = False
    failure: Exception | None = None
    seconds = 0.0
    try:
        with StepBar(shown=not quiet).running() as bar:
            for cell in sheet.iterate_variations(content, styles, axes, options):
                if cell.number not in done and done:
                    seconds += done[cell.number - 1].step.seconds
                done[cell.number] = cell
                bar.show_cell(cell, seconds)
    except KeyboardInterrupt:
        interrupted = True
    except Exception as error:
        failure = error
    if not done:
        if failure is not None:
            raise failure
        raise KeyboardInterrupt
    cells = [(cell.label, cell.step.picture) for cell in done.values()]
    images.write(output, sheet.lay_out(cells, axes), settings=settings)
    if failure is not None:
        raise failure
    if interrupted:
        err.print(f"impasto: interrupted; what was done is in {output}", markup=False)
        return 130
    if not quiet:
        last = done[len(done)]
        out.print(f"{output}  {len(done)} pictures in {duration(seconds + last.step.seconds)}", markup=False)
    return 0
