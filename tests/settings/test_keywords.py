"""Keyword arguments have the names of the options, and the types that are converted."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_type_hints

import pytest

from impasto.settings import fields, keywords, options

#: What turns a value into an option -> the type of such values.
CONVERTED = {
    fields.parse_device: str,
    fields.parse_size: int | Literal["original"],
    fields.parse_scales: int | Literal["auto"],
    fields.parse_weight: float | Literal["auto"],
    fields.parse_extent: int | tuple[int, int] | str,
    fields.parse_layers: Mapping[str, float] | Sequence[str] | str,
    fields.parse_numbers: Sequence[float] | float | str,
    fields.parse_masks: Mapping[str, Any] | Sequence[str] | str,
    fields.parse_bytes: int | str,
}
KINDS = ("Fast", "Stylize", "Texture", "Reconstruct", "Video", "Audio", "SoundTexture")


@pytest.mark.parametrize("name", KINDS)
def test_names_and_types(name):
    expected = {}
    for field in fields.fields_of(getattr(options, f"{name}Options")).values():
        kind = CONVERTED.get(field.metadata.get("parse"), field.type)
        expected[field.name] = kind | None if fields.is_optional(field) else kind
    assert get_type_hints(getattr(keywords, f"{name}Keywords")) == {"preset": str, **expected}
