"""Paintings of our own to style with: drawn by code, the same at every size, free for any use."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from impasto.inputs.styles.field import Array, Canvas
from impasto.inputs.styles.painters import facets, mosaic, pointillism, stained_glass, swirls, watercolour, woodcut

#: The least side that `paint` draws, in pixels: smaller, and the strokes are finer than the pixels.
LEAST_SIDE = 64

#: Name -> painter.
STYLES: dict[str, Callable[[Canvas], Array]] = {
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

    The same seed gives the same picture at every size: strokes grow with the shorter side.

    Args:
        name: a key of `STYLES`.
        height, width: in pixels, at least `LEAST_SIDE`.
        seed: another seed, another picture in the same manner.

    Returns:
        `(height, width, 3)`, float32 sRGB in [0, 1].

    Raises:
        ValueError: an unknown name, or too small a size.
    """
    if name not in STYLES:
        raise ValueError(f"unknown style {name!r}; choose from {', '.join(STYLES)}")
    if min(height, width) < LEAST_SIDE:
        raise ValueError(f"{width}×{height} px is too small; a style needs at least {LEAST_SIDE} on each side")
    painted = STYLES[name](Canvas(height, width, seed))
    return np.clip(painted, 0, 1).astype(np.float32)
