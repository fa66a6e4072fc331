"""`impasto preset`: options kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from impasto import presets
from impasto.cli.display import out, set_up_logging
from impasto.cli.parameters import with_options
from impasto.settings.options import StylizeOptions

app = typer.Typer(help="Options in files: save them, show them.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.command(no_args_is_help=True)(with_options(StylizeOptions)(save))
    app.command()(show)
    parent.add_typer(app, name="preset")


def save(
    file: Annotated[Path, typer.Argument(help="The file to write: NAME.toml. One that is there is replaced.")],
    options: StylizeOptions,
) -> None:
    """Save options of 'stylize' to FILE, for --preset FILE.

    Options are those of 'stylize': --preset to start from a preset or a picture, the rest over it. The file is text
    to edit: every option with its help, those left at their defaults commented out.
    """
    presets.save(file, options)
    out.print(f"{file}  use it with --preset {file}", markup=False)


def show(
    preset: Annotated[
        str | None,
        typer.Argument(help="A name, a .toml file, or a picture that impasto made.", show_default=False),
    ] = None,
) -> None:
    """Show what PRESET sets, as the file it would be; without one, list the names."""
    set_up_logging(False)
    if preset is None:
        for name, values in presets.PRESETS.items():
            settings = ", ".join(f"{key} = {value}" for key, value in values.items())
            out.print(f"[bold]{name:10}[/] {settings or 'what stylize does if nothing is said'}")
        return
    if preset in presets.PRESETS or not Path(preset).is_file():
        options = presets.options_of(StylizeOptions, preset)
        out.print(presets.to_toml(options), markup=False)
        return
    operation, values = presets.load(Path(preset))
    out.print(presets.to_toml(presets.KINDS[operation](**values)), markup=False)
