"""`impasto preset`: options in files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from impasto import presets
from impasto.cli.display import out, set_up_logging
from impasto.cli.parameters import with_options
from impasto.settings.options import StylizeOptions

app = typer.Typer(help="Save options to a preset file, or show a preset.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    app.command()(with_options(StylizeOptions)(save))
    app.command()(show)
    parent.add_typer(app, name="preset")


def save(
    file: Annotated[Path, typer.Argument(help="The file to write, NAME.toml; an existing one is replaced.")],
    options: StylizeOptions,
) -> None:
    """Save options of 'stylize' to FILE, for use with --preset FILE.

    --preset gives the preset or picture to start from, the other options override it. The file is text to edit: it
    lists every option with its help; defaults are commented out.
    """
    presets.save(file, options)
    out.print(f"{file}  use it with --preset {file}", markup=False)


def show(
    preset: Annotated[
        str | None,
        typer.Argument(help="A name, a .toml file, or a picture made by impasto.", show_default=False),
    ] = None,
) -> None:
    """Show the options of PRESET as a preset file; without PRESET, list the names."""
    set_up_logging(False)
    if preset is None:
        for name, values in presets.PRESETS.items():
            settings = ", ".join(f"{key} = {value}" for key, value in values.items())
            out.print(f"[bold]{name:10}[/] {settings or 'the defaults of stylize'}")
        return
    if preset in presets.PRESETS or not Path(preset).is_file():
        options = presets.options_of(StylizeOptions, preset)
        out.print(presets.to_toml(options), markup=False)
        return
    operation, values = presets.load(Path(preset))
    out.print(presets.to_toml(presets.KINDS[operation](**values)), markup=False)
