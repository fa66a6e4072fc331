"""impasto: neural style transfer.

    picture = impasto.stylize("photo.jpg", "painting.jpg", impasto.preset("default", size=512))
    impasto.write("out.png", picture)

Names are loaded when they are first used: importing impasto is cheap and does nothing else.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from impasto.errors import ImpastoError, PictureError, WeightsError
    from impasto.images import Picture, read, write
    from impasto.options import PRESETS, StylizeOptions, preset
    from impasto.transfer import Step, iterate, stylize

__version__ = "0.1.0"

_ROOMS = {
    "errors": ("ImpastoError", "PictureError", "WeightsError"),
    "images": ("Picture", "read", "write"),
    "options": ("PRESETS", "StylizeOptions", "preset"),
    "transfer": ("Step", "iterate", "stylize"),
}

__all__ = [
    "PRESETS",
    "ImpastoError",
    "Picture",
    "PictureError",
    "Step",
    "StylizeOptions",
    "WeightsError",
    "iterate",
    "preset",
    "read",
    "stylize",
    "write",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"impasto.{room}"), name)
    raise AttributeError(f"module 'impasto' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
