"""Receptive fields, computed exactly from the table of layers."""

from __future__ import annotations

from dataclasses import dataclass

from impasto.vgg.encoder import Encoder


@dataclass(frozen=True)
class Square:
    """A square of pixels, which may reach beyond the picture.

    Attributes:
        top, left: its first row and column.
        side: in pixels.
    """

    top: int
    left: int
    side: int


def receptive_field(encoder: Encoder, layer: str, row: int, column: int) -> Square:
    """The pixels that one position of a layer depends on.

    Raises:
        ValueError: there is no such layer.
    """
    layers = encoder.layers[: encoder.depth(layer) + 1]
    stride, side = layers[-1].stride, layers[-1].field
    # A 3×3 convolution reaches one position of its own stride further up and left; a 2×2 pooling does not.
    offset = -sum(part.stride for part in layers if part.kind == "conv")
    return Square(row * stride + offset, column * stride + offset, side)
