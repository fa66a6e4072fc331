"""`impasto web`: the web app."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from impasto.cli import signals
from impasto.cli.display import err, out, set_up_logging
from impasto.settings.fields import parse_bytes

#: Environment variable for `--auth`: other users of a machine can read the arguments of its processes.
AUTH = "IMPASTO_WEB_AUTH"

#: The port that is tried first.
PORT = 7860


def register(app: typer.Typer) -> None:
    app.command()(web)


def web(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 accepts connections from other machines.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            help=f"Port to listen on; by default {PORT}, or the next one that is free.",
            min=1,
            max=65535,
            show_default=False,
        ),
    ] = None,
    styles: Annotated[
        Path | None, typer.Option(help="Folder of pictures to offer as further styles.", show_default=False)
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(
            help="User name and password to require.", metavar="NAME:PASSWORD", envvar=AUTH, show_default=False
        ),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Jobs that run at the same time.", min=1)] = 1,
    waiting: Annotated[int, typer.Option(help="Jobs that may wait in the queue; more are rejected.", min=1)] = 16,
    max_size: Annotated[int, typer.Option(help="Largest long side of a result, in pixels.", min=128)] = 1024,
    max_upload: Annotated[str, typer.Option(help="Largest file that may be uploaded.", metavar="AMOUNT")] = "20MB",
    max_pixels: Annotated[float, typer.Option(help="Megapixels of the largest picture taken.", min=0.1)] = 40,
    max_seconds: Annotated[float, typer.Option(help="Seconds that a job may take before it is stopped.", min=1)] = 600,
    memory: Annotated[
        str | None,
        typer.Option(help="Memory for all jobs together, such as 4GB; by default most of the free memory."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> int:
    """Open a page in the browser to repaint photos without a terminal.

    Everything runs on this machine, and the page loads nothing from other hosts. With --host, others can use it too;
    each visitor sees only their own pictures.
    """
    set_up_logging(False)
    name, colon, password = (auth or "").partition(":")
    if auth and not (name and colon and password):
        raise ValueError("--auth must have the form NAME:PASSWORD")
    from impasto.web import Limits, serve

    limits = Limits(
        running=concurrency,
        waiting=waiting,
        size=max_size,
        upload=_amount("--max-upload", max_upload) or Limits.upload,
        pixels=round(max_pixels * 1e6),
        seconds=max_seconds,
        memory=_amount("--memory", memory),
    )
    if host not in ("127.0.0.1", "localhost", "::1") and not auth:
        where = host if port is None else f"{host}:{port}"
        err.print(f"anyone who can reach {where} can use this server; --auth sets a password", style="yellow")

    def ready(address: str) -> None:
        out.print(f"impasto is running at [bold]{address}[/]; press Ctrl-C to stop it")
        if browser and has_display():
            import webbrowser

            webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):
        serve(limits, host, port or range(PORT, PORT + 20), styles, (name, password) if auth else None, ready)
    return signals.exit_code(usual=True)


def has_display() -> bool:
    """Whether a browser that is opened here would be seen."""
    if sys.platform in ("darwin", "win32"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _amount(option: str, text: str | None) -> int | None:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
