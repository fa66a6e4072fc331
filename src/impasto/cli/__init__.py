"""The command line: adapters without mathematics. Heavy modules are imported when a command runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from impasto import allocator
from impasto._version import __version__
from impasto.cli import (
    audio,
    batch,
    explain,
    fast,
    pictures,
    presets,
    sheet,
    signals,
    streams,
    stylize,
    train,
    video,
    web,
    weights,
)
from impasto.cli.display import err, out
from impasto.errors import ImpastoError


class _Commands(TyperGroup):
    """Reports Ctrl-C as an `Abort`: Typer would return 130, as commands do that have told what they made."""

    def make_context(self, *given: Any, **more: Any) -> Any:
        with _aborting():
            return super().make_context(*given, **more)

    def invoke(self, ctx: Any) -> Any:
        with _aborting():
            return super().invoke(ctx)


@contextmanager
def _aborting() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        raise typer.Abort from error


app = typer.Typer(
    name="impasto",
    cls=_Commands,
    help="Neural style transfer: repaint a photo in the style of a painting.",
    epilog="Try: impasto demo · impasto styles · impasto stylize photo.jpg swirls -o out.png",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(f"impasto {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Options of the program itself."""


stylize.register(app)
fast.register(app)
video.register(app)
audio.register(app)
explain.register(app)
sheet.register(app)
batch.register(app)
pictures.register(app)
presets.register(app)
weights.register(app)
train.register(app)
web.register(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 is success, 1 a result that is incomplete or was written elsewhere, 2 an error, 128 + N the signal N: 130 Ctrl-C,
    143 SIGTERM.
    """
    with signals.handled():
        return _run_unless_interrupted(sys.argv[1:] if arguments is None else arguments)


def _run_unless_interrupted(arguments: Sequence[str]) -> int:
    allocator.tame()
    try:
        return _run(arguments)
    except (KeyboardInterrupt, typer.Abort):
        with signals.deferred():
            err.print("impasto: interrupted before there was a result")
        return signals.exit_code()


def _run(arguments: Sequence[str]) -> int:
    try:
        result = app(list(arguments), prog_name="impasto", standalone_mode=False)
    except typer.TyperException as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            err.print(error.format_message())
            return 2
        if type(error).__name__ == "MissingParameter":
            return _fail(*_missing(error, arguments))
        return _fail(error.format_message())
    except (ImpastoError, ValueError, OSError) as error:
        return _fail(str(error))
    except (MemoryError, RuntimeError) as error:
        from impasto.devices import ran_out

        if not ran_out(error):
            raise
        return _fail("out of memory: close other programs, or make a smaller picture")
    return result if isinstance(result, int) else 0


def _missing(error: Any, arguments: Sequence[str]) -> tuple[str, str]:
    """What is missing on the command line, and what must be given."""
    context, first = error.ctx, error.param
    required = [parameter for parameter in context.command.params if parameter.required]
    words = [_word(parameter) for parameter in required]
    positional = [parameter for parameter in required if parameter.param_type_name == "argument"]
    missing = positional[positional.index(first) :] if first in positional else []
    missing += [option for option in required if option not in positional and not _is_given(option, arguments)]
    usage = " ".join([context.command_path, *words])
    return (
        f"missing {_listed([_word(parameter) for parameter in missing or [first]])}",
        f"usage: {usage}   ('{context.command_path} --help' explains all options)",
    )


def _word(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"{parameter.name.upper()}{'...' if parameter.nargs == -1 else ''}"
    return f"{parameter.opts[0]} {(parameter.metavar or 'FILE').upper()}"


def _is_given(option: Any, arguments: Sequence[str]) -> bool:
    return any(argument == flag or argument.startswith(f"{flag}=") for argument in arguments for flag in option.opts)


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _fail(message: str, *more: str) -> int:
    err.print(f"impasto: {' '.join(message.split())}", style="red", markup=False)
    for line in more:
        err.print(line, markup=False)
    return 2


def main() -> None:
    """Entry point of the console script, whose process is ours."""
    streams.guard()
    with signals.handled():
        code = _run_unless_interrupted(sys.argv[1:])
        signals.exit_at_once(code)
    streams.report_failure()
    sys.exit(code)
