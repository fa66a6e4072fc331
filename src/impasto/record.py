"""The settings stored in a result, and the command that reproduces it from them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from impasto._version import __version__
from impasto.presets import COMMAND_DEFAULTS, KINDS
from impasto.settings.fields import result_settings, to_arguments
from impasto.settings.options import Options

Kind = TypeVar("Kind", bound=Options)

#: Options that name files.
_FILES = {"content_mask", "style_mask", "init", "weights", "model"}


def settings(
    operation: str,
    pictures: Sequence[str],
    options: Options,
    bits: int = 8,
    more: Sequence[str] = (),
    store_paths: bool = False,
    found: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The settings of a result, ready for JSON; `more` are command-line arguments beside the options.

    `found` are values of options that the run found for its inputs, such as a calibrated style weight.

    Files are named without their folders, which are nobody else's business, unless `store_paths`.
    """
    fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    if not store_paths:
        pictures = [os.path.basename(picture) for picture in pictures]
        more = [re.sub(r"[^=,;]*/", "", word.replace(os.sep, "/")) for word in more]
        for name in fields.keys() & _FILES:
            value = fields[name]
            if isinstance(value, Mapping):
                fields[name] = {os.path.basename(key): os.path.basename(mask) for key, mask in value.items()}
            elif value is not None:
                fields[name] = os.path.basename(value)
    return {
        "impasto": __version__,
        "operation": operation,
        "pictures": list(pictures),
        "bits": bits,
        "more": list(more),
        "options": fields,
        "found": dict(found or {}),
    }


def is_same_run(stored: Mapping[str, Any], settings: Mapping[str, Any]) -> bool:
    """Whether two settings make the same result."""
    first, second = (json.loads(json.dumps(each, default=repr)) for each in (stored, settings))
    if any(first.get(key) != second.get(key) for key in ("impasto", "operation", "pictures", "bits", "more")):
        return False
    kind = KINDS[first["operation"]]
    try:
        return result_settings(kind(**first["options"])) == result_settings(kind(**second["options"]))
    except (TypeError, ValueError):
        return False


def stored_options(stored: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """The options of this kind in stored settings.

    Raises:
        ValueError: they do not fit this version.
    """
    try:
        return kind(**stored["options"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _misfit(stored, error) from error


def command(stored: dict[str, Any], output: str) -> str:
    """The command line that makes a result with these settings again.

    Raises:
        ValueError: the operation or the settings are unknown to this version.
    """
    operation = stored.get("operation")
    kind = KINDS["stylize" if operation == "sheet" else operation] if operation in (*KINDS, "sheet") else None
    if kind is None:
        raise ValueError(f"the picture was made by {operation!r}, an operation unknown to this version")
    options = stored_options(stored, kind)
    try:
        words = ["impasto", str(operation), *stored["pictures"], "-o", output, *stored["more"]]
        bits = [] if stored["bits"] == 8 else ["--bits", str(stored["bits"])]
        return shlex.join([*words, *to_arguments(options, COMMAND_DEFAULTS.get(str(operation))), *bits])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _misfit(stored, error) from error


def _misfit(stored: Mapping[str, Any], error: Exception) -> ValueError:
    return ValueError(f"the settings are from impasto {stored.get('impasto')} and do not fit this version ({error})")
