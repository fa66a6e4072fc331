"""A dataclass of options as command-line options: declared once, read here."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any

import typer

from impasto.cli import render
from impasto.presets import PRESETS, options_of
from impasto.settings.fields import default_of, fields_of, flag_of, text_of, value_type
from impasto.settings.options import BatchOptions, Options, StylizeOptions

Command = Callable[..., Any]

#: The parameters of every command that makes a picture, by the fields of `Output`.
_OUTPUT = {
    "output": render.OUTPUT,
    "bits": render.BITS,
    "save_every": render.SAVE_EVERY,
    "plot": render.PLOT,
    "checkpoint_every": render.CHECKPOINT_EVERY,
    "resume": render.RESUME,
    "as_json": render.AS_JSON,
    "quiet": render.QUIET,
}


def with_options(
    kind: type[Options], fixed: Mapping[str, Any] = MappingProxyType({}), **defaults: Any
) -> Callable[[Command], Command]:
    """Give a command an option for every field of the dataclass `kind`, and `--preset`.

    The command receives what they make together as its argument `options`: the preset's values, and over them
    those that were given on the command line. `defaults` replace the dataclass's own. A command that has an
    argument `output` is given the options of `Output` too, but for those that are `fixed`.
    """
    fields = fields_of(kind)

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True).parameters
        writes = "output" in signature and signature["output"].annotation is render.Output

        def run(**given: Any) -> Any:
            changes = {name: given.pop(name) for name in fields}
            changes = {name: value for name, value in changes.items() if value not in (None, [])}
            name = given.pop("preset")
            if name == "default":
                changes = {**defaults, **changes}
            if writes:
                given["output"] = render.Output(**{part: given.pop(part, fixed.get(part)) for part in _OUTPUT})
            return command(options=options_of(kind, name, **changes), **given)

        own = [p for p in signature.values() if p.name != "options" and not (writes and p.name == "output")]
        parameters = [
            *own,
            *([p for p in _output_parameters() if p.name not in fixed] if writes else []),
            _preset_parameter(kind),
            *(_parameter(field, defaults) for field in fields.values()),
        ]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        # Paragraphs as paragraphs: the terminal breaks lines where it must.
        paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
        run.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        run.__name__ = command.__name__
        return run

    return decorate


def _output_parameters() -> list[inspect.Parameter]:
    fields = {field.name: field for field in dataclasses.fields(render.Output)}
    empty = dataclasses.MISSING
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if fields[name].default is empty else fields[name].default,
            annotation=annotation,
        )
        for name, annotation in _OUTPUT.items()
    ]


def _preset_parameter(kind: type[Options]) -> inspect.Parameter:
    names = ", ".join(PRESETS) if kind in (StylizeOptions, BatchOptions) else "default"
    option = typer.Option(
        help=f"Start from the options of: {names}; or of a FILE: a .toml, or a picture that impasto made. "
        "[dim]\\[default][/]",
        rich_help_panel="Picture",
        show_default=False,
        metavar="NAME|FILE",
    )
    return inspect.Parameter(
        "preset", inspect.Parameter.KEYWORD_ONLY, default="default", annotation=Annotated[str, option]
    )


def _parameter(field: dataclasses.Field[Any], defaults: dict[str, Any]) -> inspect.Parameter:
    metadata, flag = field.metadata, flag_of(field)
    annotation = _annotation(field)
    default = defaults.get(field.name, default_of(field))
    shown: Any = default if default in (None, {}, ()) else text_of(field, default)
    if annotation is bool:
        flag += "/--no-" + flag.removeprefix("--")
        shown = "on" if default else "off"
    option = typer.Option(
        flag,
        *metadata.get("aliases", ()),
        help=metadata["help"] + (f" [dim]\\[{shown}][/]" if shown not in (None, {}, ()) else ""),
        rich_help_panel=metadata["group"],
        show_default=False,
        metavar=metadata.get("metavar"),
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation | None, option]
    )


def _annotation(field: dataclasses.Field[Any]) -> Any:
    """The type that the command line reads: choices, a number, a switch, or text that the field parses."""
    if "parse" in field.metadata:
        return list[str] if field.metadata.get("repeatable") else str
    return value_type(field)
