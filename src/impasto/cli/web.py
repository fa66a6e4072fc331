"""`impasto web`: the app on a page of this machine's own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Annotated

import typer

from impasto.cli.display import err, out, set_up_logging
from impasto.settings.fields import parse_bytes

#: Where `--auth` may be given instead, since everyone on a machine sees the arguments of its programs.
AUTH = "IMPASTO_WEB_AUTH"


def register(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(web)


def web(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for every machine that reaches this one.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 7860,
    styles: Annotated[
        Path | None, typer.Option(help="Offer the paintings in this folder too.", show_default=False)
    ] = None,
    auth: Annotated[
        str | None,
        typer.Option(help="Ask for this name and password.", metavar="NAME:PASSWORD", envvar=AUTH, show_default=False),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Pictures painted at a time.", min=1)] = 1,
    waiting: Annotated[int, typer.Option(help="Jobs that may wait in line; more are turned away.", min=1)] = 16,
    max_size: Annotated[int, typer.Option(help="Long side of a result at most, in pixels.", min=128)] = 1024,
    max_upload: Annotated[str, typer.Option(help="Largest file that is taken.", metavar="AMOUNT")] = "20MB",
    max_pixels: Annotated[float, typer.Option(help="Most millions of pixels of a file.", min=0.1)] = 40,
    max_seconds: Annotated[float, typer.Option(help="Seconds that one picture may take.", min=1)] = 600,
    memory: Annotated[
        str | None,
        typer.Option(help="Memory for all jobs together, such as 4GB. By default most of what is free."),
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
) -> None:
    """Open a page on which anyone repaints photos, without a terminal.

    Drop a photo, pick a style, and watch. Everything stays on this machine and the page asks no other. With --host
    others can come in: each sees their own pictures only.
    """
    set_up_logging(False)
    name, colon, password = (auth or "").partition(":")
    if auth and not (name and colon and password):
        raise ValueError("--auth is given as NAME:PASSWORD")
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
        err.print(f"everyone who reaches {host}:{port} can use this server; --auth asks for a password", style="yellow")

    def ready(address: str) -> None:
        out.print(f"impasto is at [bold]{address}[/]; Ctrl-C ends it")
        if browser and os.environ.get("DISPLAY", os.name != "posix"):
            import webbrowser

            webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):
        serve(limits, host, port, styles, (name, password) if auth else None, ready)


def _amount(option: str, text: str | None) -> int | None:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise ValueError(f"{option}: {error}") from error
