"""impasto: neural style transfer.

    picture = impasto.stylize("photo.jpg", "painting.jpg", impasto.preset("default", size=512))
    impasto.write("out.png", picture)

Names are loaded when they are first used: importing impasto is cheap and does nothing else.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from impasto import fast
    from impasto.checkpoints import Checkpoints
    from impasto.errors import (
        BudgetError,
        CheckpointError,
        ClusterError,
        ExtraError,
        ImpastoError,
        PictureError,
        PresetError,
        WeightsError,
    )
    from impasto.images import Picture, read, write
    from impasto.options import (
        BatchOptions,
        FastOptions,
        ReconstructOptions,
        StylizeOptions,
        TextureOptions,
        TrainOptions,
    )
    from impasto.presets import PRESETS, preset
    from impasto.reconstructions import iterate_reconstruction, reconstruct
    from impasto.steps import Step
    from impasto.textures import iterate_texture, texture
    from impasto.transfer import iterate, stylize
    from impasto.variations import iterate_variations, sheet

__version__ = "0.1.0"

_ROOMS = {
    "checkpoints": ("Checkpoints",),
    "errors": (
        "BudgetError",
        "CheckpointError",
        "ClusterError",
        "ExtraError",
        "ImpastoError",
        "PictureError",
        "PresetError",
        "WeightsError",
    ),
    "images": ("Picture", "read", "write"),
    "options": (
        "BatchOptions",
        "FastOptions",
        "ReconstructOptions",
        "StylizeOptions",
        "TextureOptions",
        "TrainOptions",
    ),
    "presets": ("PRESETS", "preset"),
    "reconstructions": ("iterate_reconstruction", "reconstruct"),
    "steps": ("Step",),
    "textures": ("iterate_texture", "texture"),
    "transfer": ("iterate", "stylize"),
    "variations": ("iterate_variations", "sheet"),
}

__all__ = [
    "PRESETS",
    "BatchOptions",
    "BudgetError",
    "CheckpointError",
    "Checkpoints",
    "ClusterError",
    "ExtraError",
    "FastOptions",
    "ImpastoError",
    "Picture",
    "PictureError",
    "PresetError",
    "ReconstructOptions",
    "Step",
    "StylizeOptions",
    "TextureOptions",
    "TrainOptions",
    "WeightsError",
    "fast",
    "iterate",
    "iterate_reconstruction",
    "iterate_texture",
    "iterate_variations",
    "preset",
    "read",
    "reconstruct",
    "sheet",
    "stylize",
    "texture",
    "write",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "fast":
        return import_module("impasto.fast")
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"impasto.{room}"), name)
    raise AttributeError(f"module 'impasto' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
