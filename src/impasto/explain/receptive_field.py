"""Receptive fields: which pixels a position of a layer depends on, exactly, from the table of layers."""

from __future__ import annotations

from dataclasses import dataclass

from impasto.vgg.encoder import Encoder


@dataclass(frozen=True)
class Square:
    """Rows and columns of pixels; they may lie beyond the picture.

    Attributes:
        top, left: the first row and column.
        side: how many there are of each.
    """

    top: int
    left: int
    side: int


def receptive_field(encoder: Encoder, layer: str, row: int, column: int) -> Square:
    """The pixels that one position of a layer depends on.

    A 3×3 convolution looks one position further on each side, at its stride; a 2×2 pooling begins at twice its place.
    """
    rows = encoder.layers[: encoder.depth(layer) + 1]
    first = -sum(part.stride for part in rows if part.kind == "conv")
    side = rows[-1].field
    stride = rows[-1].stride
    return Square(row * stride + first, column * stride + first, side)
