"""How an option is declared, checked, parsed from text and formatted.

The command line, forms, presets and the settings stored in pictures are all derived from dataclass fields: from the
type of a field, and from its metadata (help text, group, parser, bounds). Imports no torch.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from types import NoneType
from typing import Any, Literal, get_args, get_origin

#: The groups of options, in the order in which they are shown.
GROUPS = ("Picture", "Sound", "Video", "Style", "Regions", "Time", "Objective", "Network", "Optimiser", "Machine")
_SWITCH = {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}
#: Type of a field -> its parser.
_READ: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: lambda text: _SWITCH[text.lower()]}

Field = dataclasses.Field[Any]


def option(default: Any, group: str, about: str, **metadata: Any) -> Any:
    """A dataclass field with metadata for the command line, forms and presets.

    Args:
        default: its default value.
        group: its heading in help texts and forms, one of `GROUPS`.
        about: the help text, a sentence or two.
        metadata: `parse` converts text and other types to the value, `format` is its inverse; `repeatable` options
            may be given several times; `least` (inclusive) and `above` (exclusive) are lower bounds of a number;
            `none` is the word for None, required if the default is another value; `aliases` are further flags;
            `metavar` stands for the value in help texts; `per_run` options belong to the inputs of one run, and are
            not taken from a preset; `result_neutral` options do not change the result: a run may be resumed with
            another value.
    """
    metadata = {"group": group, "help": about, **metadata}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def is_optional(field: Field) -> bool:
    """Whether the type of a field is `… | None`."""
    return NoneType in get_args(field.type)


def value_type(field: Field) -> Any:
    """The type of a field without None: `int | None` -> `int`."""
    if not is_optional(field):
        return field.type
    (kind,) = (part for part in get_args(field.type) if part is not NoneType)
    return kind


def choices_of(field: Field) -> tuple[str, ...]:
    """The choices of a field whose type is a `Literal`; empty for other types."""
    kind = value_type(field)
    return get_args(kind) if get_origin(kind) is Literal else ()


def check(options: Any) -> None:
    """Check every field of a frozen dataclass, and convert its value to the type of the field.

    Raises:
        ValueError: a value has the wrong type, is not one of the choices, or out of bounds; names the field.
    """
    for field in dataclasses.fields(options):
        object.__setattr__(options, field.name, _checked(field, getattr(options, field.name)))


def _checked(field: Field, value: Any) -> Any:
    name, metadata, kind = field.name, field.metadata, value_type(field)
    if "parse" in metadata:
        try:
            value = metadata["parse"](value)
        except ValueError as error:
            joint = " is " if str(error).startswith(repr(value)) else ": "
            raise ValueError(f"{name}{joint}{error}") from error
        except TypeError as error:
            raise ValueError(f"{name} is {value!r}, which has the wrong type") from error
    if value is None:
        if is_optional(field):
            return None
        raise ValueError(f"{name} is None; leave it out for its default")
    if choices := choices_of(field):
        if value not in choices:
            raise unknown(name, value, choices)
        return value
    if kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{name} is {value!r}; expected a number")
        if not math.isfinite(value):
            raise ValueError(f"{name} is {value}; expected a finite number")
        value = float(value)
        if "above" in metadata and value <= metadata["above"]:
            raise ValueError(f"{name} is {value:g}; it must be above {metadata['above']}")
        if "least" in metadata and value < metadata["least"]:
            raise ValueError(f"{name} is {value:g}; it must be at least {metadata['least']}")
    elif kind is int:
        least = metadata.get("least")
        if isinstance(value, bool) or not isinstance(value, int) or (least is not None and value < least):
            bound = "" if least is None else f" of at least {least}"
            raise ValueError(f"{name} is {value!r}; expected a whole number{bound}")
    elif kind in (bool, str) and not isinstance(value, kind):
        raise ValueError(f"{name} is {value!r}; expected {'true or false' if kind is bool else 'text'}")
    return value


# -- parsing and formatting values -------------------------------------------------------------------------


def parse_device(given: Any) -> str:
    """`auto`, `cpu`, `cuda` or `mps`, or one of several GPUs: `cuda:1`. Whether it is there, the machine must tell."""
    if not isinstance(given, str):
        raise TypeError
    if not re.fullmatch(r"auto|cpu|(cuda|mps)(:[0-9]{1,3})?", given):
        raise ValueError(f"unknown device {given!r}; choose from auto, cpu, cuda, mps, or number a GPU, as in cuda:1")
    return given


def parse_size(given: Any) -> int | None:
    """`512` -> 512, `original` -> None."""
    if given is None or given == "original":
        return None
    try:
        size = int(given)
    except (ValueError, TypeError):
        size = 0
    if size < 1 or isinstance(given, (bool, float)):
        raise ValueError(f"{given!r}; expected a whole number of pixels, at least 1, or 'original'")
    return size


def parse_scales(given: Any) -> int | None:
    """`3` -> 3, `auto` -> None."""
    if given is None or given == "auto":
        return None
    try:
        return int(given) if isinstance(given, str) else given
    except ValueError as error:
        raise ValueError(f"{given!r}; expected a whole number, at least 1, or 'auto'") from error


def parse_weight(given: Any) -> float | None:
    """`7.5` -> 7.5, `auto` -> None."""
    if given is None or given == "auto":
        return None
    try:
        return float(given) if isinstance(given, str) else given
    except ValueError as error:
        raise ValueError(f"{given!r}; expected a number, at least 0, or 'auto'") from error


def parse_extent(given: Any) -> tuple[int, int]:
    """`1024x512` -> (1024, 512), width and height; `512` -> (512, 512)."""
    parts = given.lower().replace("×", "x").split("x") if isinstance(given, str) else given
    parts = [parts] if isinstance(parts, int) else list(parts)
    try:
        width, height = (int(part) for part in (parts * 2 if len(parts) == 1 else parts))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{given!r}; expected WIDTHxHEIGHT in pixels, such as 1024x512") from error
    if width < 1 or height < 1:
        raise ValueError(f"{given!r}; width and height must be at least 1")
    return width, height


def format_extent(extent: tuple[int, int]) -> str:
    """The inverse of `parse_extent`."""
    return f"{extent[0]}x{extent[1]}"


def parse_layers(given: Any) -> dict[str, float] | None:
    """`relu3_1,relu4_1=0.5` -> {"relu3_1": 1.0, "relu4_1": 0.5}; also from a mapping, or a sequence of such text."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        pairs = [(str(name), weight) for name, weight in given.items()]
    else:
        texts = given.split(",") if isinstance(given, str) else [str(part) for part in given]
        split = [text.strip().partition("=") for text in texts]
        pairs = [(name, weight if equals else 1.0) for name, equals, weight in split]
    layers: dict[str, float] = {}
    for name, weight in pairs:
        try:
            layers[name] = float(weight)
        except (ValueError, TypeError) as error:
            raise ValueError(f"the weight of layer {name!r} is {weight!r}; expected a number") from error
        if not (math.isfinite(layers[name]) and layers[name] >= 0):
            raise ValueError(f"the weight of layer {name!r} is {weight}; it must not be negative")
    return layers


def format_layers(layers: Mapping[str, float]) -> str:
    """The inverse of `parse_layers`."""
    return ",".join(name if weight == 1 else f"{name}={weight!r}" for name, weight in layers.items())


def parse_numbers(given: Any) -> tuple[float, ...]:
    """`0.7,0.3` -> (0.7, 0.3); also from a number or a sequence. They must not be negative."""
    parts = given.split(",") if isinstance(given, str) else given
    parts = [parts] if isinstance(parts, (int, float)) else list(parts)
    try:
        numbers = tuple(float(part) for part in parts)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{given!r}; expected numbers with commas between them") from error
    if not all(math.isfinite(number) and number >= 0 for number in numbers):
        raise ValueError(f"{given!r}; none may be negative or infinite")
    return numbers


def format_numbers(numbers: Sequence[float]) -> str:
    """The inverse of `parse_numbers`."""
    return ",".join(f"{number:g}" if float(f"{number:g}") == number else repr(number) for number in numbers)


def parse_masks(given: Any) -> dict[str, Any]:
    """`["1=sky.png", "keep=face.png"]` -> {"1": "sky.png", "keep": "face.png"}; also from a mapping.

    The n-th mask belongs to the n-th style unless it names one.
    """
    if isinstance(given, Mapping):
        return {str(style): mask for style, mask in given.items()}
    masks: dict[str, Any] = {}
    for number, mask in enumerate([given] if isinstance(given, (str, os.PathLike)) else given, start=1):
        style, picture = str(number), mask
        if isinstance(mask, str) and "=" in mask and not os.path.exists(mask):
            style, _, picture = mask.partition("=")
        if style in masks:
            raise ValueError(f"style {style} has two masks; join them into one picture")
        masks[style] = picture
    return masks


def format_masks(masks: Mapping[str, Any]) -> list[str]:
    """The inverse of `parse_masks`."""
    return [f"{style}={mask}" for style, mask in masks.items()]


def parse_bytes(given: Any) -> int | None:
    """`2GB`, `500 MB`, `1.5GiB` -> bytes; also from a number of bytes, or None."""
    if given is None or (isinstance(given, int) and not isinstance(given, bool) and given > 0):
        return given
    units = {
        "kb": 10**3,
        "mb": 10**6,
        "gb": 10**9,
        "tb": 10**12,
        "kib": 2**10,
        "mib": 2**20,
        "gib": 2**30,
        "tib": 2**40,
    }
    units |= {"k": 10**3, "m": 10**6, "g": 10**9, "b": 1}
    text = str(given).strip().lower()
    for unit in sorted(units, key=len, reverse=True):
        if text.endswith(unit):
            try:
                amount = float(text.removesuffix(unit)) * units[unit]
            except ValueError:
                break
            if 0 < amount < float("inf"):
                return round(amount)
            break
    raise ValueError(f"{given!r}; expected an amount of memory such as 2GB or 500MB")


def format_bytes(amount: int) -> str:
    """The inverse of `parse_bytes`."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if amount % size == 0:
            return f"{amount // size}{unit}"
    return f"{amount}B"


#: What `option` takes for values that are more than a number.
DEVICE = {"parse": parse_device, "metavar": "auto|cpu|cuda[:N]|mps"}
SIZE = {"parse": parse_size, "none": "original"}
WEIGHT = {"parse": parse_weight, "none": "auto", "least": 0, "metavar": "X|auto"}
SCALES = {"parse": parse_scales, "none": "auto", "least": 1, "metavar": "N|auto"}
EXTENT = {"parse": parse_extent, "format": format_extent, "metavar": "WxH"}
LAYERS = {"parse": parse_layers, "format": format_layers}
NUMBERS = {"parse": parse_numbers, "format": format_numbers}
MASKS = {
    "parse": parse_masks,
    "format": format_masks,
    "repeatable": True,
    "per_run": True,
    "metavar": "STYLE=FILE",
}
BYTES = {"parse": parse_bytes, "format": format_bytes, "least": 1, "metavar": "AMOUNT", "result_neutral": True}
SECONDS = {"above": 0, "metavar": "SECONDS", "result_neutral": True}


# -- names, defaults and text ------------------------------------------------------------------------------


#: As many choices are listed in an error, even if one of them is suggested.
FEW = 8


def unknown(what: str, given: object, known: Collection[str], more: str = "") -> ValueError:
    """The error for an unknown name: lists the known ones, and suggests the nearest.

    Args:
        what: kind of the name: `preset`, `style`.
        more: what else could be given, as in `, or give a file`.
    """
    suggestion = suggested(str(given), known)
    if not suggestion:
        return ValueError(f"unknown {what} {given!r}; choose from {', '.join(known)}{more}")
    if len(known) > FEW:
        return ValueError(f"unknown {what} {given!r}; {suggestion}")
    return ValueError(f"unknown {what} {given!r}; choose from {', '.join(known)}{more} ({suggestion})")


def suggested(given: str, known: Collection[str]) -> str:
    """`did you mean 'swirls'?` for the nearest of the known names; empty if none is near."""
    near = difflib.get_close_matches(given, known, 1)
    return f"did you mean {near[0]!r}?" if near else ""


def fields_of(kind: Any) -> dict[str, Field]:
    """Name -> field of an options dataclass, or an instance of it, group by group."""
    fields = sorted(dataclasses.fields(kind), key=lambda field: GROUPS.index(field.metadata["group"]))
    return {field.name: field for field in fields}


def default_of(field: Field) -> Any:
    """The default of a field; a new copy if it is a mapping."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def typed(field: Field, value: Any) -> Any:
    """A value of a number or boolean field, converted from text; other values are returned unchanged.

    Raises:
        ValueError: the text cannot be converted; names the field.
    """
    kind = value_type(field)
    if not isinstance(value, str) or "parse" in field.metadata or kind not in _READ:
        return value
    try:
        return _READ[kind](value)
    except (ValueError, KeyError) as error:
        expected = {bool: "on or off", int: "a whole number"}.get(kind, "a number")
        raise ValueError(f"{field.name} is {value!r}; expected {expected}") from error


def text_of(field: Field, value: Any) -> str | list[str] | None:
    """A field's value as text for the command line, for repeatable options a list of texts.

    None if the value is None and the field has no word for it.
    """
    if value is None:
        word: str | None = field.metadata.get("none")
        return word
    text: str | list[str] = field.metadata.get("format", str)(value)
    return text


def flag_of(field: Field) -> str:
    """`style_scale` -> `--style-scale`."""
    return "--" + field.name.replace("_", "-")


def to_arguments(options: Any, defaults: Mapping[str, Any] | None = None) -> list[str]:
    """The command-line arguments that give these options.

    Args:
        defaults: of the command, where they differ from those of the options.

    Raises:
        ValueError: an option is None, which is not its default, and has no word for it.
    """
    arguments: list[str] = []
    for field in fields_of(options).values():
        value = getattr(options, field.name)
        if value == (defaults or {}).get(field.name, default_of(field)):
            continue
        flag = flag_of(field)
        if isinstance(value, bool):
            arguments.append(flag if value else flag.replace("--", "--no-", 1))
            continue
        text = text_of(field, value)
        if text is None:
            raise ValueError(f"{field.name} is None, which cannot be given on the command line")
        for part in [text] if isinstance(text, str) else text:
            arguments += [flag, part]
    return arguments


# -- comparing settings ------------------------------------------------------------------------------------


def result_settings(options: Any) -> dict[str, Any]:
    """The options that the result depends on, as JSON values: all but the `result_neutral` ones.

    Of masks only the keys are included; their pictures are hashed with the inputs.
    """
    values: dict[str, Any] = {}
    for name, field in fields_of(options).items():
        if not field.metadata.get("result_neutral"):
            value = getattr(options, name)
            values[name] = sorted(value) if field.metadata.get("repeatable") else value
    return dict(json.loads(json.dumps(values, default=repr)))


def first_difference(stored: Mapping[str, Any], current: Mapping[str, Any]) -> str | None:
    """The first key, in the order of `current`, at which the settings differ; None if they are equal."""
    return next((name for name in {**current, **stored} if stored.get(name) != current.get(name)), None)
