"""The options of an operation as a form: one component per field, and options from what a visitor filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from impasto.settings.fields import GROUPS, choices_of, default_of, fields_of, text_of, typed, value_type
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.web.jobs import OPTION_MAXIMA, check_maxima

#: Fields that the server sets.
SERVER_FIELDS = ("memory", "device", "preprocessing")
#: Fields that have components of their own elsewhere on the page.
PAGE_FIELDS = ("size", "strength", "content_mask", "style_mask")
#: Fields that feed-forward networks have too, and that an instant picture depends on.
FAST_FIELDS = tuple(name for name in fields_of(FastOptions) if name in fields_of(StylizeOptions))
#: Field -> its help, where that of the command line speaks of commands and files.
HELP = {
    "init": "Start from: content, noise, mixed (the photo plus noise), style, or fast (the instant picture).",
    "weights": "Weights of the network.",
}


def build(choices: Mapping[str, Callable[[], list[str]]]) -> dict[str, gr.components.Component]:
    """The components for all other fields, in one accordion per group; called within a layout.

    Args:
        choices: field -> what to choose from, where the field's type does not say.
    """
    components: dict[str, gr.components.Component] = {}
    fields = [field for name, field in fields_of(StylizeOptions).items() if name not in (*SERVER_FIELDS, *PAGE_FIELDS)]
    for group in GROUPS:
        members = [field for field in fields if field.metadata["group"] == group]
        if members:
            with gr.Accordion(group, open=group == "Picture", elem_id=f"group-{group.lower()}"):
                for field in members:
                    components[field.name] = _component(field, choices.get(field.name))
    return components


def _component(field: dataclasses.Field[Any], choices: Callable[[], list[str]] | None) -> gr.components.Component:
    metadata, kind = field.metadata, value_type(field)
    label = field.name.replace("_", " ").capitalize()
    properties = {
        "label": label,
        "info": HELP.get(field.name, metadata["help"]),
        "value": _component_value(field, default_of(field)),
    }
    if choices or choices_of(field):
        return gr.Dropdown(choices=choices() if choices else list(choices_of(field)), **properties)
    if kind is bool:
        return gr.Checkbox(**properties)
    if field.type in (int, float) and "parse" not in metadata:
        minimum = metadata.get("least", metadata.get("above"))
        precision = {"precision": 0} if kind is int else {}
        return gr.Number(minimum=minimum, maximum=OPTION_MAXIMA.get(field.name), **precision, **properties)
    # gr.Number cannot be empty, so optional numbers are entered as text.
    placeholder = "automatic" if default_of(field) is None else ""
    return gr.Textbox(max_lines=1, max_length=2000, placeholder=placeholder, **properties)


def _component_value(field: dataclasses.Field[Any], value: Any) -> Any:
    """A field's value as its component holds it: text if the field is parsed from text."""
    return value if value is None or "parse" not in field.metadata else text_of(field, value)


def values_of(options: StylizeOptions, names: Mapping[str, Any]) -> list[Any]:
    """The values that the components with these names hold for `options`."""
    fields = fields_of(StylizeOptions)
    return [_component_value(fields[name], getattr(options, name)) for name in names]


def options_from(values: Mapping[str, Any]) -> StylizeOptions:
    """Options from field name -> value; empty values stand for the default.

    Raises:
        ValueError: an invalid value; the message names the field.
    """
    options = StylizeOptions(**_given(values))
    check_maxima(options)
    return options


def fast_options_from(values: Mapping[str, Any]) -> FastOptions:
    """Likewise those of feed-forward networks; other fields are left out, and may be invalid.

    Raises:
        ValueError: an invalid value; the message names the field.
    """
    return FastOptions(**_given({name: value for name, value in values.items() if name in FAST_FIELDS}))


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    fields = fields_of(StylizeOptions)
    return {name: typed(fields[name], value) for name, value in values.items() if value not in (None, "")}
