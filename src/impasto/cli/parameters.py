"""Options dataclasses as command-line flags: each field becomes a flag."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_origin, get_type_hints

import typer

from impasto.cli.flags import Output
from impasto.presets import PRESETS, options_of
from impasto.settings.fields import choices_of, default_of, fields_of, flag_of, text_of, typed, value_type
from impasto.settings.options import BatchOptions, Options, StylizeOptions

Command = Callable[..., Any]


def with_options(kind: type[Options], **defaults: Any) -> Callable[[Command], Command]:
    """Give a command a flag for every field of the options dataclass `kind`, and `--preset`.

    The command receives them as its argument `options`: the values of the preset, overridden by those given on the
    command line. `defaults` replace defaults of the dataclass. If the command's argument `output` is an `Output`, it
    gets the flags of that, too.
    """
    fields = fields_of(kind)

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True).parameters
        output: Any = signature["output"].annotation if "output" in signature else None
        output_flags = _output_parameters(output) if isinstance(output, type) and issubclass(output, Output) else {}

        def run(**given: Any) -> Any:
            changes = {name: given.pop(name) for name in fields}
            changes = {name: typed(fields[name], value) for name, value in changes.items() if value not in (None, [])}
            name = given.pop("preset")
            if output_flags:
                given["output"] = output(**{flag: given.pop(flag) for flag in output_flags})
            return command(options=options_of(kind, name, defaults, **changes), **given)

        replaced = {"options", "output"} if output_flags else {"options"}
        parameters = [
            *(p for p in signature.values() if p.name not in replaced),
            *output_flags.values(),
            _preset_parameter(kind),
            *(_parameter(field, defaults) for field in fields.values()),
        ]
        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        # One line per paragraph: the terminal wraps them.
        paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
        run.__doc__ = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        run.__name__ = command.__name__
        return run

    return decorate


def _output_parameters(kind: type[Output]) -> dict[str, inspect.Parameter]:
    """Name -> parameter of each field that is a flag."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(kind)
        if get_origin(hints[field.name]) is Annotated
    }


def _preset_parameter(kind: type[Options]) -> inspect.Parameter:
    names = ", ".join(PRESETS) if kind in (StylizeOptions, BatchOptions) else "default"
    option = typer.Option(
        help=f"Preset to start from: {names}; or a FILE: a .toml, or a picture made by impasto. [dim]\\[default][/]",
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
    shown = text_of(field, default)
    if annotation is bool:
        flag += "/--no-" + flag.removeprefix("--")
        shown = "on" if default else "off"
    option = typer.Option(
        flag,
        *metadata.get("aliases", ()),
        help=metadata["help"] + (f" [dim]\\[{shown}][/]" if shown else ""),
        rich_help_panel=metadata["group"],
        show_default=False,
        metavar=metadata.get("metavar") or _metavar(field),
        autocompletion=(lambda: [*choices]) if (choices := choices_of(field)) else None,
    )
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[annotation | None, option]
    )


def _annotation(field: dataclasses.Field[Any]) -> Any:
    """What the command line reads: a switch, or text, which the field converts: so all its errors are worded alike."""
    if field.metadata.get("repeatable"):
        return list[str]
    return bool if value_type(field) is bool else str


def _metavar(field: dataclasses.Field[Any]) -> str | None:
    if choices := choices_of(field):
        return f"<{'|'.join(choices)}>"
    return {int: "<int>", float: "<float>"}.get(value_type(field))
