"""`impasto fast`: one picture by a feed-forward network."""

from __future__ import annotations

from typing import Annotated

import typer

from impasto.cli.display import set_up_logging
from impasto.cli.flags import FastOutput
from impasto.cli.parameters import with_options
from impasto.cli.render import check_output, input_files, render
from impasto.cli.stylize import Photo
from impasto.settings.options import FastOptions

OptionalPaintings = Annotated[
    list[str] | None,
    typer.Argument(
        help="One painting or several: files, or names from 'impasto styles'. None for a model of one painting.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    app.command(no_args_is_help=True)(with_options(FastOptions)(fast))


def fast(content: Photo, options: FastOptions, output: FastOutput, style: OptionalPaintings = None) -> int:
    """Repaint the photo CONTENT in the style of the painting STYLE, in one pass of a feed-forward network.

    The bundled network takes any painting. 'stylize' takes a hundred times as long and reproduces more brush strokes;
    with '--init fast' it starts from the network's result.
    """
    set_up_logging(output.quiet)
    import impasto.fast
    from impasto import record

    pictures = [content, *(style or [])]
    check_output(output, input_files(pictures, options))
    settings = record.settings("fast", pictures, options, output.bits, store_paths=output.store_paths)
    return render(impasto.fast.iterate(content, style or [], options), output, settings)
