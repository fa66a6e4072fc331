"""Built-in styles: procedural paintings, the same picture at every size, free for any use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from impasto.inputs.styles.field import Array, PaintingGrid
from impasto.inputs.styles.painters import facets, mosaic, pointillism, stained_glass, swirls, watercolour, woodcut
from impasto.settings.fields import unknown

#: The smallest side that `paint` accepts, in pixels: in smaller pictures the strokes are finer than the pixels.
LEAST_SIDE = 64

#: Name -> the function that paints it.
STYLES: dict[str, Callable[[PaintingGrid], Array]] = {
    "swirls": swirls,
    "mosaic": mosaic,
    "woodcut": woodcut,
    "pointillism": pointillism,
    "stained-glass": stained_glass,
    "watercolour": watercolour,
    "facets": facets,
}


def paint(name: str, height: int, width: int, seed: int = 0) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """Paint a built-in style.

    The same seed gives the same picture at every size: strokes scale with the shorter side.

    Args:
        name: a key of `STYLES`.
        height, width: in pixels, at least `LEAST_SIDE`.
        seed: selects another picture in the same style.

    Returns:
        `(height, width, 3)`, float32 sRGB in [0, 1].

    Raises:
        ValueError: an unknown name, or a size that is too small.
    """
    if name not in STYLES:
        raise unknown("style", name, STYLES)
    if min(height, width) < LEAST_SIDE:
        raise ValueError(f"{width}×{height} px is too small; a style needs at least {LEAST_SIDE} on each side")
    painted = STYLES[name](PaintingGrid(height, width, seed))
    return np.clip(painted, 0, 1).astype(np.float32)
