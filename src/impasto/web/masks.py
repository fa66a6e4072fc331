"""Masks drawn over the photo, in one colour per style."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

#: Colour of a brush -> number of the style that is painted there, or `keep` for the photo itself.
BRUSHES = {"#e63946": "keep", "#2a9d8f": "1", "#457b9d": "2", "#f4a261": "3", "#9d4edd": "4"}
#: Rows whose distances to all brushes are computed at a time, which takes 300 bytes for each pixel.
BAND = 16


def masks_of(strokes: Mapping[str, Any] | None) -> dict[str, np.ndarray[Any, np.dtype[np.uint8]]]:
    """The value of the mask editor as masks, `(h, w)` in 0–255, by what is painted there; empty ones are left out.

    A pixel belongs to the brush of the nearest colour, with its opacity.
    """
    layers = [layer for layer in (strokes or {}).get("layers") or () if layer is not None and layer.shape[-1] == 4]
    if not any(layer[..., 3].any() for layer in layers):
        return {}
    layer = layers[0]
    nearest = np.concatenate([_nearest_brushes(rows) for rows in np.array_split(layer, 1 + len(layer) // BAND)])
    masks = {key: np.where(nearest == index, layer[..., 3], np.uint8(0)) for index, key in enumerate(BRUSHES.values())}
    return {key: mask for key, mask in masks.items() if (mask > 127).any()}


def _nearest_brushes(layer: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Of the colours of a layer, `(h, w, 4)`, the index in `BRUSHES` of the nearest one, `(h, w)`."""
    colors = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in BRUSHES])
    return ((layer[..., None, :3].astype(int) - colors) ** 2).sum(-1).argmin(-1).astype(np.uint8)
