"""Presets: named options, options in TOML files, and options stored in the pictures that they made."""

from __future__ import annotations

import dataclasses
import textwrap
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, Unpack

import tomlkit
import tomlkit.items

from impasto.errors import PresetError
from impasto.files import StrPath, atomic_write, check_writable
from impasto.settings.fields import GROUPS, default_of, fields_of, text_of, unknown
from impasto.settings.keywords import StylizeKeywords
from impasto.settings.options import (
    AudioOptions,
    BatchOptions,
    FastOptions,
    Options,
    ReconstructOptions,
    StylizeOptions,
    TextureOptions,
    TrainOptions,
    VideoOptions,
)

Kind = TypeVar("Kind", bound=Options)

#: Operation -> its options class.
KINDS: dict[str, type[Options]] = {
    kind.operation: kind
    for kind in (
        StylizeOptions,
        FastOptions,
        BatchOptions,
        VideoOptions,
        AudioOptions,
        TextureOptions,
        ReconstructOptions,
        TrainOptions,
    )
}

#: Command -> its defaults where they differ from those of its options.
COMMAND_DEFAULTS: dict[str, dict[str, Any]] = {"sheet": {"size": 256}, "live": {"size": 320}}

#: Name -> what it sets, over the defaults of `StylizeOptions`.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # A quick look at the defaults: a quarter of the pixels, and fewer evaluations.
    "preview": {"size": 256, "iterations": 30},
    # The photo's own colours, under gentle strokes.
    "faithful": {"strength": 0.6, "color": "luminance"},
    # Strokes twice as large.
    "painterly": {"strength": 1.2, "style_scale": (2.0,)},
    # The painting's forms at their own size, and little left of the photo.
    "bold": {"strength": 2.0},
    # Every detail is the most similar one of the painting (Kolkin et al. 2022): its own strokes, less of its forms.
    "nearest": {"statistic": "nearest"},
    # Gatys, Ecker & Bethge, CVPR 2016, alpha/beta = 1e-3. The paper also scales VGG's filters to a mean
    # activation of 1 over ImageNet; ours are not scaled, which changes the meaning of the layers' weights, not the
    # method. It resizes the style to the size of the content; we keep the painting's aspect ratio and resize it to
    # as many pixels.
    "gatys2016": {
        "content_weight": 1e-3,
        "style_weight": 1.0,
        "content_norm": "half",
        "style_norm": "gatys",
        "pooling": "average",
        "padding": "zeros",
        "init": "noise",
        "match_colors": False,
        "saliency": 0.0,
        "scales": 1,
        "iterations": 500,
    },
    # As taught in the deep learning course: alpha = 10, beta = 40, Adam, starting from the photo plus noise.
    "course": {
        "size": 400,
        "content_weight": 10.0,
        "style_weight": 40.0,
        "content_norm": "course",
        "style_norm": "gatys",
        "padding": "zeros",
        "init": "mixed",
        "match_colors": False,
        "saliency": 0.0,
        "scales": 1,
        "iterations": 500,
        "optimizer": "adam",
    },
}


def preset(name: str = "default", /, **changes: Unpack[StylizeKeywords]) -> StylizeOptions:
    """The options of a preset for `stylize`, with changes: `preset("gatys2016", size=400)`.

    Args:
        name: of `PRESETS`; or a file, either TOML or a picture made by impasto.
        changes: fields of `StylizeOptions`.

    Raises:
        ValueError: an unknown preset or option (the nearest known one is suggested), or a wrong value.
        PresetError: a file that is damaged, or a preset of another operation.
        PictureError: a picture that cannot be read.
    """
    return options_from(StylizeOptions, None, {"preset": name, **changes})


def options_of(
    kind: type[Kind], name: str = "default", defaults: Mapping[str, Any] | None = None, **changes: Any
) -> Kind:
    """Options of any operation from a preset, with changes; see `preset`.

    Args:
        defaults: of what neither the preset nor the changes set, instead of those of `kind`.
    """
    named = PRESETS if kind in (StylizeOptions, BatchOptions) else {"default": PRESETS["default"]}
    if name in named:
        values = named[name]
    elif Path(name).is_file():
        operation, values = load(Path(name))
        if not issubclass(kind, KINDS[operation]):
            raise PresetError(f"{name} holds settings of {operation!r}; expected those of {kind.operation!r}")
    else:
        raise unknown("preset", name, named, ", or give a file")
    _check_keys(kind, changes, "option")
    return kind(**{**(defaults or {}), **values, **changes})


def options_from(kind: type[Kind], given: Kind | None, keywords: Mapping[str, object]) -> Kind:
    """The options of a call: those given, or of the preset that the keywords name, changed by the other keywords.

    Raises:
        TypeError: what was given is no such options; says what to give.
        ValueError, PresetError, PictureError: see `preset`.
    """
    changes: dict[str, Any] = dict(keywords)
    name = changes.pop("preset", None)
    if given is None:
        return options_of(kind, "default" if name is None else str(name), **changes)
    if not isinstance(given, kind):
        raise TypeError(_wrong_options(kind, given))
    if name is not None:
        raise ValueError(f"both options and preset={name!r} are given; give one, changed by keywords")
    _check_keys(kind, changes, "option")
    return dataclasses.replace(given, **changes) if changes else given


def _wrong_options(kind: type[Options], given: object) -> str:
    if isinstance(given, Mapping):
        return f"the options are a {type(given).__name__}; give its entries as keywords, as in f(…, **options)"
    if isinstance(given, str):
        return f"the options are the text {given!r}; name a preset by a keyword: preset={given!r}"
    return f"the options are {type(given).__name__}; expected {kind.__name__}, or keywords such as size=512"


def load(path: StrPath) -> tuple[str, dict[str, Any]]:
    """The operation and the options of a preset file: TOML, or a picture made by impasto.

    From a picture, options that belong to the inputs of that run (masks, weights of styles) are left out.

    Raises:
        PresetError: a TOML file that cannot be read, unknown keys (the nearest known one is suggested), wrong values.
        PictureError: a picture that cannot be read.
    """
    path = Path(path)
    operation, values = _from_toml(path) if path.suffix.lower() == ".toml" else _from_picture(path)
    kind = KINDS.get(operation)
    if kind is None:
        raise PresetError(f"{path}: {unknown('operation', operation, KINDS)}")
    try:
        _check_keys(kind, values, "key")
        if path.suffix.lower() != ".toml":
            fields = fields_of(kind)
            values = {name: value for name, value in values.items() if not fields[name].metadata.get("per_run")}
        kind(**values)
    except ValueError as error:
        raise PresetError(f"{path}: {error}") from error
    return operation, values


def _from_toml(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PresetError(f"{path} is not TOML: {error}") from error
    except OSError as error:
        raise PresetError(f"cannot read {path}: {error.strerror or error}") from error
    return str(values.pop("operation", "stylize")), values


def _from_picture(path: Path) -> tuple[str, dict[str, Any]]:
    from impasto import images

    stored = images.read_settings(path)
    if stored is None:
        raise PresetError(
            f"{path} carries no settings of impasto; a preset is a .toml file, or a picture made by impasto"
        )
    return str(stored.get("operation")), dict(stored.get("options", {}))


def _check_keys(kind: type[Options], values: dict[str, Any], what: str) -> None:
    known = fields_of(kind)
    for key in values:
        if key not in known:
            raise unknown(what, key, known)


def save(path: StrPath, options: Options) -> None:
    """Write a preset file, atomically.

    Raises:
        PresetError: a name that does not end in .toml, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".toml":
        raise PresetError(f"cannot save a preset as {path.name!r}: its name must end in .toml")
    check_writable(path, PresetError)
    with atomic_write(path, PresetError) as draft:
        draft.write_text(to_toml(options), encoding="utf-8")


def to_toml(options: Options) -> str:
    """The text of a preset file: every option with its help; those left at their defaults are commented out."""
    document = tomlkit.document()
    document.add(tomlkit.comment("Settings of impasto. Lines that begin with # are help texts and defaults."))
    document.add("operation", tomlkit.item(options.operation))
    fields = [field for field in fields_of(options).values() if not field.metadata.get("per_run")]
    for group in GROUPS:
        members = [field for field in fields if field.metadata["group"] == group]
        if members:
            document.add(tomlkit.nl())
            document.add(tomlkit.comment(f"---- {group} ----"))
        for field in members:
            document.add(tomlkit.nl())
            for line in textwrap.wrap(field.metadata["help"], 100):
                document.add(tomlkit.comment(line))
            value = getattr(options, field.name)
            if value != default_of(field):
                document.add(field.name, _item(text_of(field, None) if value is None else value))
            elif value is not None:
                document.add(tomlkit.comment(f"{field.name} = {_item(value).as_string()}"))
            else:
                document.add(tomlkit.comment(f"{field.name} is not set"))
    return tomlkit.dumps(document)


def _item(value: Any) -> tomlkit.items.Item:
    if isinstance(value, Mapping):
        table = tomlkit.inline_table()
        table.update(value)
        return table
    return tomlkit.item(list(value) if isinstance(value, tuple) else value)
