"""`impasto sheet`: a contact sheet comparing settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli import signals
from impasto.cli.display import err, out, set_up_logging
from impasto.cli.flags import Output, PicturePath, Quiet, StorePaths
from impasto.cli.parameters import with_options
from impasto.cli.render import check_output, input_files, picture_writer, write_result
from impasto.cli.stylize import Photo
from impasto.presets import COMMAND_DEFAULTS
from impasto.progress import StepBar, counted, duration
from impasto.settings.options import StylizeOptions

if TYPE_CHECKING:
    from impasto.operations.sheet import Variation


def register(app: typer.Typer) -> None:
    app.command()(with_options(StylizeOptions, **COMMAND_DEFAULTS["sheet"])(sheet))


def sheet(
    content: Photo,
    vary: Annotated[
        list[str],
        typer.Option(
            help="Option to vary and its values: any option of 'stylize', or style or preset. Repeat it to combine "
            "several options. Separate values that contain commas by semicolons.",
            metavar="OPTION=A,B,…",
        ),
    ],
    options: StylizeOptions,
    style: Annotated[
        list[str] | None,
        typer.Argument(
            help="One painting or several: files, or names from 'impasto styles'. [dim]\\[swirls][/]",
            show_default=False,
        ),
    ] = None,
    output: PicturePath = Path("sheet.png"),
    store_paths: StorePaths = False,
    quiet: Quiet = False,
) -> int:
    """Draw a contact sheet comparing settings: the photo CONTENT under every combination of the options that vary.

    The first option varies from row to row, the last along a row. Ctrl-C writes the sheet with the pictures so far.

    Example: impasto sheet photo.jpg painting.jpg --vary strength=0.5,1,2 --vary statistic=gram,nearest
    """
    set_up_logging(quiet)
    from impasto import record
    from impasto.operations import sheet

    axes: dict[str, list[str]] = {}
    for text in vary:
        name, values = sheet.parse_axis(text)
        if name in axes:
            raise ValueError(f"--vary {name} is given twice; give all its values at once")
        axes[name] = values
    styles = style or ["swirls"]
    pictures = [content, *styles]
    check_output(Output(path=output), input_files([*pictures, *axes.get("style", ())], options))
    more = [word for text in vary for word in ("--vary", text)]
    settings = record.settings("sheet", pictures, options, more=more, store_paths=store_paths)

    latest: dict[int, Variation] = {}  # number of the cell -> its last step so far
    interrupted = False
    failure: Exception | None = None
    try:
        with StepBar(err, hidden=quiet).running() as bar:
            for cell in sheet.iterate_variations(content, styles, axes, options):
                latest[cell.number] = cell
                bar.report(cell.progress)
                signals.check()
    except KeyboardInterrupt:
        interrupted = True
    except Exception as error:
        failure = error
    if not latest:
        if failure is not None:
            raise failure
        raise KeyboardInterrupt
    with signals.deferred():
        cells = [(cell.label, cell.step.picture) for cell in latest.values()]
        written = write_result(picture_writer(), output, sheet.lay_out(cells, axes), 8, settings)
    if failure is not None:
        raise failure
    if interrupted:
        err.print(f"impasto: interrupted; the pictures so far are in {written}", markup=False)
        return signals.exit_code()
    if not quiet:
        last = latest[len(latest)]
        out.print(f"{written}  {counted(len(latest), 'picture')} in {duration(last.seconds)}", markup=False)
    return 0 if written == output else 1
