"""`impasto styles` and `impasto info`: what is there, and what made a picture."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track
from rich.table import Table

from impasto.cli.display import err, out, set_up_logging
from impasto.extras import EXTRAS, is_installed


def register(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command()(styles)
    app.command()(info)


def styles(
    output: Annotated[Path, typer.Option("--output", "-o", help="Write the contact sheet here.")] = Path("styles.png"),
    size: Annotated[int, typer.Option(help="Side of each style, in pixels.", min=64)] = 320,
) -> None:
    """List the built-in styles and draw a contact sheet of them."""
    set_up_logging(False)
    from impasto import images
    from impasto.images import sheets
    from impasto.inputs.styles import STYLES, paint

    images.check_output(output)
    for name, painter in STYLES.items():
        out.print(f"[bold]{name:14}[/] {painter.__doc__}")
    names = track(STYLES, "painting", console=err, transient=True, disable=not err.is_terminal)
    entries = [(name, images.read(paint(name, size, size))) for name in names]
    images.write(output, sheets.contact_sheet(entries, columns=4, cell=size))
    out.print(f"\n{output}", markup=False)


def info(
    picture: Annotated[Path | None, typer.Argument(help="A picture that impasto made.", show_default=False)] = None,
) -> None:
    """Show the command that made PICTURE; without one, what this installation has."""
    set_up_logging(False)
    if picture is not None:
        _show_picture(picture)
    else:
        _show_installation()


def _show_picture(path: Path) -> None:
    from impasto import images, record

    stored = images.read_settings(path)
    if stored is None:
        raise ValueError(f"{path} carries no settings of impasto: it was made, or saved again, by something else")
    out.print(f"Made by impasto {stored['impasto']}. The command that makes it again:\n", markup=False)
    out.print(record.command(stored, str(path)), markup=False)


def _show_installation() -> None:
    import torch

    import impasto
    from impasto import devices
    from impasto.vgg import native, weights

    table = Table.grid(padding=(0, 2))
    table.add_row("impasto", impasto.__version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.platform()}")
    table.add_row("PyTorch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    table.add_row("device", str(devices.choose_device("auto")))
    ours = native.library() is not None
    kind = native.LEVELS[native.level()] if ours else ""
    table.add_row("convolutions", f"Winograd, {kind}" if ours else "PyTorch's: ours was not built, or is switched off")
    here = [name for name, source in weights.CATALOGUE.items() if weights.locate(source)]
    table.add_row("weights", ", ".join(here) or "none")
    table.add_row("cache", str(weights.cache_folder()))
    there = [extra for extra in EXTRAS if is_installed(extra)]
    table.add_row("extras", ", ".join(there) or "none")
    out.print(table)
