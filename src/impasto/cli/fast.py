"""`impasto fast`: one picture, at once."""

from __future__ import annotations

from typing import Annotated

import typer

from impasto.cli.display import set_up_logging
from impasto.cli.parameters import with_options
from impasto.cli.render import Output, check, files_of, render
from impasto.cli.stylize import Photo
from impasto.settings.options import FastOptions

Paintings = Annotated[
    list[str] | None,
    typer.Argument(
        help="The painting, or several: files, or names of 'impasto styles'. None for a model of one painting.",
        show_default=False,
    ),
]
#: What there is of an output's options only for work that takes long.
FIXED = {"save_every": None, "plot": None, "checkpoint_every": 0.0, "resume": False}


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(no_args_is_help=True)(with_options(FastOptions, FIXED)(fast))


def fast(content: Photo, options: FastOptions, output: Output, style: Paintings = None) -> int:
    """Repaint the photo CONTENT in the manner of the painting STYLE at once, by one pass of a network.

    Any painting does: the network was trained on a thousand of them. 'stylize' takes a hundred times as long and
    gives more of the painting's strokes; '--init fast' lets it start from here.
    """
    set_up_logging(output.quiet)
    from impasto import fast as feedforward
    from impasto import record

    pictures = [content, *(style or [])]
    check(output, files_of(pictures, options))
    settings = record.settings("fast", pictures, options, output.bits)
    return render(feedforward.iterate(content, style or [], options), output, settings)
