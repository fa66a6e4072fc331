"""impasto: neural style transfer.

    picture = impasto.stylize("photo.jpg", "painting.jpg", size=512, progress=True)
    picture.save("out.png")

Names are loaded when they are first used: importing impasto is cheap and does nothing else.
"""

from typing import TYPE_CHECKING

from impasto._version import __version__

if TYPE_CHECKING:
    from impasto import audio as audio
    from impasto import batch as batch
    from impasto import fast
    from impasto import video as video
    from impasto.errors import (
        BudgetError,
        CheckpointError,
        ClipError,
        ClusterError,
        ExtraError,
        FileError,
        ImpastoError,
        PictureError,
        PresetError,
        SoundError,
        WeightsError,
    )
    from impasto.images import Picture, read, write
    from impasto.operations.painter import Painter
    from impasto.operations.reconstruct import iterate_reconstruction, reconstruct
    from impasto.operations.sheet import iterate_variations, sheet
    from impasto.operations.stylize import iterate, stylize
    from impasto.operations.texture import iterate_texture, texture
    from impasto.optim.checkpoints import Checkpoints
    from impasto.optim.steps import Step
    from impasto.presets import PRESETS, preset
    from impasto.progress import Progress
    from impasto.settings.options import (
        BatchOptions,
        FastOptions,
        ReconstructOptions,
        StylizeOptions,
        TextureOptions,
        TrainOptions,
    )


_MODULES = {
    "optim.checkpoints": ("Checkpoints",),
    "errors": (
        "BudgetError",
        "CheckpointError",
        "ClipError",
        "ClusterError",
        "ExtraError",
        "FileError",
        "ImpastoError",
        "PictureError",
        "PresetError",
        "SoundError",
        "WeightsError",
    ),
    "images": ("Picture", "read", "write"),
    "settings.options": (
        "BatchOptions",
        "FastOptions",
        "ReconstructOptions",
        "StylizeOptions",
        "TextureOptions",
        "TrainOptions",
    ),
    "presets": ("PRESETS", "preset"),
    "operations.painter": ("Painter",),
    "progress": ("Progress",),
    "operations.reconstruct": ("iterate_reconstruction", "reconstruct"),
    "optim.steps": ("Step",),
    "operations.texture": ("iterate_texture", "texture"),
    "operations.stylize": ("iterate", "stylize"),
    "operations.sheet": ("iterate_variations", "sheet"),
}

__all__ = [
    "PRESETS",
    "BatchOptions",
    "BudgetError",
    "CheckpointError",
    "Checkpoints",
    "ClipError",
    "ClusterError",
    "ExtraError",
    "FastOptions",
    "FileError",
    "ImpastoError",
    "Painter",
    "Picture",
    "PictureError",
    "PresetError",
    "Progress",
    "ReconstructOptions",
    "SoundError",
    "Step",
    "StylizeOptions",
    "TextureOptions",
    "TrainOptions",
    "WeightsError",
    "__version__",
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


#: Packages for programs that are loaded when they are first used, as the names are.
_SUBPACKAGES = ("fast", "batch", "video", "audio")


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _SUBPACKAGES:
        return import_module(f"impasto.{name}")
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"impasto.{module}"), name)
    raise AttributeError(f"module 'impasto' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
