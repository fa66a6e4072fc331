"""The options of an operation as a form: a component for every field, and options from what was filled in."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from impasto.settings.fields import GROUPS, choices_of, default_of, fields_of, text_of, typed, value_type
from impasto.settings.options import StylizeOptions
from impasto.web.jobs import MOST, check_most

#: Fields that the server decides on.
OWNED = ("memory", "device", "preprocessing")
#: Fields that the page asks for in a way of its own.
OWN = ("size", "strength", "content_mask", "style_mask")


def build(choices: Mapping[str, Callable[[], list[str]]]) -> dict[str, gr.components.Component]:
    """The components for all other fields, a heading for every group: to be called within a layout.

    Args:
        choices: field -> what to choose from, where the field itself does not say.
    """
    components: dict[str, gr.components.Component] = {}
    fields = [field for name, field in fields_of(StylizeOptions).items() if name not in (*OWNED, *OWN)]
    for group in GROUPS:
        members = [field for field in fields if field.metadata["group"] == group]
        if members:
            with gr.Accordion(group, open=group == "Picture", elem_id=f"group-{group.lower()}"):
                for field in members:
                    components[field.name] = _component(field, choices.get(field.name))
    return components


def _component(field: dataclasses.Field[Any], choices: Callable[[], list[str]] | None) -> gr.components.Component:
    metadata, kind = field.metadata, value_type(field)
    shown: dict[str, Any] = {"label": label_of(field), "info": metadata["help"], "value": shown_of(field)}
    if choices or choices_of(field):
        return gr.Dropdown(choices=choices() if choices else list(choices_of(field)), **shown)
    if kind is bool:
        return gr.Checkbox(**shown)
    if field.type in (int, float) and "parse" not in metadata:
        least = metadata.get("least", metadata.get("above"))
        precision = {"precision": 0} if kind is int else {}
        return gr.Number(minimum=least, maximum=MOST.get(field.name), **precision, **shown)
    # A field for numbers cannot be empty: where none may be given, it is one for text.
    hint = "automatic" if default_of(field) is None else ""
    return gr.Textbox(max_lines=1, max_length=2000, placeholder=hint, **shown)


def label_of(field: dataclasses.Field[Any]) -> str:
    """`style_scale` -> `Style scale`."""
    return field.name.replace("_", " ").capitalize()


def shown_of(field: dataclasses.Field[Any], options: StylizeOptions | None = None) -> Any:
    """What the component shows for a value: the default's, or that of `options`."""
    value = default_of(field) if options is None else getattr(options, field.name)
    if value is None or "parse" not in field.metadata:
        return value
    return text_of(field, value)


def show(options: StylizeOptions, names: Mapping[str, Any]) -> list[Any]:
    """What the components of these names show for `options`."""
    fields = fields_of(StylizeOptions)
    return [shown_of(fields[name], options) for name in names]


def read(filled: Mapping[str, Any]) -> StylizeOptions:
    """The options that were filled in; what was left empty is the default.

    Raises:
        ValueError: a value that will not do; the field is named.
    """
    fields = fields_of(StylizeOptions)
    values = {name: typed(fields[name], value) for name, value in filled.items() if value not in (None, "")}
    options = StylizeOptions(**values)
    check_most(options)
    return options
