"""A dataclass of options as command-line options: declared once, read here."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from impasto.options import PRESETS, default_of, format_layers


def with_options(options: type, preset_of: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command an option for every field of the dataclass `options`, and `--preset`.

    The command receives what they make together as its argument `options`: the preset's values, and over them
    those that were given on the command line.
    """
    fields = {field.name: field for field in dataclasses.fields(options)}

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        def run(**given: Any) -> Any:
            changes = {name: given.pop(name) for name in fields}
            changes = {
                name: fields[name].metadata.get("parse", lambda value: value)(value)
                for name, value in changes.items()
                if value is not None
            }
            return command(options=preset_of(given.pop("preset"), **changes), **given)

        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != "options"]
        preset = inspect.Parameter(
            "preset",
            inspect.Parameter.KEYWORD_ONLY,
            default="default",
            annotation=Annotated[
                str,
                typer.Option(
                    help=f"Start from the options of: {', '.join(PRESETS)}. [dim]\\[default][/]",
                    rich_help_panel="Picture",
                    show_default=False,
                ),
            ],
        )
        parameters = [*own, preset, *(_parameter(field) for field in fields.values())]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        # Paragraphs as paragraphs: the terminal breaks lines where it must.
        paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
        run.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        run.__name__ = command.__name__
        return run

    return decorate


def _parameter(field: dataclasses.Field[Any]) -> inspect.Parameter:
    metadata, flag = field.metadata, "--" + field.name.replace("_", "-")
    kind = _kind(field, metadata)
    default = default_of(field)
    shown = format_layers(default) if isinstance(default, dict) else default
    if kind is bool:
        flag += "/--no-" + flag.removeprefix("--")
        shown = "on" if default else "off"
    option = typer.Option(
        flag,
        help=metadata["help"] + (f" [dim]\\[{shown}][/]" if shown is not None else ""),
        rich_help_panel=metadata["group"],
        show_default=False,
        metavar=metadata.get("metavar"),
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
    )


def _kind(field: dataclasses.Field[Any], metadata: Any) -> Any:
    """The type that the command line reads: choices, a number, a switch, or text that the field parses."""
    if "choices" in metadata:
        return Literal[tuple(metadata["choices"])]
    if "parse" in metadata:
        return str
    return {"int": int, "float": float, "bool": bool, "str": str}[str(field.type).removesuffix(" | None")]
