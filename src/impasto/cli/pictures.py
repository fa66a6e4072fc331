"""`impasto styles` and `impasto info`: the built-in styles, stored settings, and the installation."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track
from rich.table import Table

from impasto.cli.display import err, out, set_up_logging
from impasto.cli.flags import output_flag
from impasto.extras import EXTRAS, is_installed


def register(app: typer.Typer) -> None:
    app.command()(styles)
    app.command()(info)


def styles(
    output: Annotated[Path, output_flag("Output file for the contact sheet.")] = Path("styles.png"),
    size: Annotated[int, typer.Option(help="Side length of each style, in pixels.", min=64)] = 320,
) -> None:
    """List the built-in styles, the paintings of the gallery and those learnt, and draw a contact sheet.

    Built-in styles are painted at any size. The paintings come as small copies, which suffice for 'impasto fast'. For
    'impasto stylize', a large picture of the painting gives a better result.
    """
    set_up_logging(False)
    from impasto import images
    from impasto.fast.learning import learnt_styles
    from impasto.images import sheets
    from impasto.inputs.gallery import PAINTINGS, path_of
    from impasto.inputs.styles import STYLES, paint

    images.check_output(output)
    for name, painter in STYLES.items():
        out.print(f"[bold]{name:17}[/] {painter.__doc__}")
    for name, painting in PAINTINGS.items():
        out.print(f"[bold]{name:17}[/] {painting.title} ({painting.artist}, {painting.year})")
    for learnt in learnt_styles():
        out.print(f"learnt: {learnt.name}", markup=False)
    names = track(STYLES, "painting", console=err, transient=True, disable=not err.is_terminal)
    entries = [(name, images.read(paint(name, size, size))) for name in names]
    entries += [(name, images.read(path_of(name))) for name in PAINTINGS]
    images.write(output, sheets.contact_sheet(entries, columns=6, cell=size))
    out.print(f"\n{output}", markup=False)


def info(
    picture: Annotated[Path | None, typer.Argument(help="A picture made by impasto.", show_default=False)] = None,
) -> None:
    """Show the command that made PICTURE; without PICTURE, describe the installation."""
    set_up_logging(False)
    if picture is not None:
        _show_picture(picture)
    else:
        _show_installation()


def _show_picture(path: Path) -> None:
    from impasto import images, record

    stored = images.read_settings(path)
    if stored is None:
        raise ValueError(f"{path} carries no settings of impasto: another program made it or saved it again")
    out.print(f"Made by impasto {stored['impasto']}.", markup=False)
    for name, value in stored.get("found", {}).items():
        out.print(f"Found for these pictures: {name.replace('_', ' ')} {value:g}.", markup=False)
    out.print("The command that reproduces it:\n", markup=False)
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
    if native.library() is not None:
        table.add_row("convolutions", f"Winograd, {native.LEVELS[native.level()]}")
    else:
        table.add_row("convolutions", "PyTorch's: ours was not built, or is switched off")
    found = [name for name, source in weights.CATALOGUE.items() if weights.locate(source)]
    table.add_row("weights", ", ".join(found) or "none")
    table.add_row(
        "cache", str(weights.cache_folder() or "none: there is no home folder; set IMPASTO_CACHE to a folder")
    )
    table.add_row("extras", ", ".join(extra for extra in EXTRAS if is_installed(extra)) or "none")
    out.print(table)
