"""Masks drawn over the photo, in one colour per style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

#: Colour of a brush -> number of the style that is painted there, or `keep` for the photo itself.
BRUSHES = {"#e63946": "keep", "#2a9d8f": "1", "#457b9d": "2", "#f4a261": "3", "#9d4edd": "4"}


def masks_of(strokes: Mapping[str, Any] | None) -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    """The value of the mask editor as masks, `(h, w)` in 0–255, by what is painted there; empty ones are left out.

    A pixel belongs to the brush of the nearest colour, with its opacity.
    """
    layers = [layer for layer in (strokes or {}).get("layers") or () if layer is not None and layer.shape[-1] == 4]
    if not any(layer[..., 3].any() for layer in layers):
        return {}
    layer = layers[0]
    colors = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in BRUSHES])
    nearest = ((layer[..., None, :3].astype(int) - colors) ** 2).sum(-1).argmin(-1)
    masks = {
        key: np.where(nearest == index, layer[..., 3], 0).astype(np.uint8) for index, key in enumerate(BRUSHES.values())
    }
    return {key: mask for key, mask in masks.items() if (mask > 127).any()}
