"""What made a picture: the settings that are stored in it, and the command that makes it again."""

from __future__ import annotations

import dataclasses
import shlex
from typing import Any

import impasto
from impasto.options import StylizeOptions, to_arguments


def settings(content: str, styles: list[str], options: StylizeOptions, bits: int = 8) -> dict[str, Any]:
    """The settings of a picture, ready for JSON."""
    fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {
        "impasto": impasto.__version__,
        "operation": "stylize",
        "content": content,
        "styles": styles,
        "bits": bits,
        "options": fields,
    }


def command(stored: dict[str, Any], output: str) -> str:
    """The command line that makes a picture with these settings again.

    Raises:
        ValueError: settings of another operation, or that this version does not know.
    """
    if stored.get("operation") != "stylize":
        raise ValueError(f"the picture was made by {stored.get('operation')!r}, which this version does not know")
    try:
        options = StylizeOptions(**stored["options"])
        content, styles, bits = stored["content"], stored["styles"], stored.get("bits", 8)
        words = ["impasto", "stylize", content, *styles, "-o", output, *to_arguments(options)]
        return shlex.join([*words, *(["--bits", str(bits)] if bits != 8 else [])])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"the picture's settings are of impasto {stored.get('impasto')}, not of this version ({error})"
        ) from None
