"""A picture in tiles that overlap by the receptive-field radius, so that results equal whole-image evaluation.

A position of a layer depends on the pixels of its receptive field. A tile owns the positions of every layer whose
pixels lie inside it; its window extends a halo further on each side, so that no owned position depends on the window's
edge. Both are multiples of the deepest layer's stride, so that the pooling grids coincide. Sums over the owned
positions of all tiles are the sums over the whole picture, exactly.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator

from torch import Tensor

from impasto.vgg.encoder import Encoder
from impasto.vgg.tiles import Tile, grid, grid_pixels, whole
from impasto.vgg.workspace import Workspace


def halo(encoder: Encoder, taps: Collection[str]) -> int:
    """The receptive-field radius of the deepest tap, in pixels, rounded up to its stride: how far a window extends
    beyond its tile."""
    layers = [encoder.layers[encoder.depth(tap)] for tap in taps]
    stride = encoder.least_size(taps)
    reach = max(((layer.field - layer.stride) / 2 for layer in layers), default=0)
    return math.ceil(reach / stride) * stride


def divide(encoder: Encoder, taps: Collection[str], height: int, width: int, most: int) -> tuple[Tile, ...]:
    """Tiles that together own a picture, their windows large enough for `taps`; a single one where it fits.

    Of all grids whose windows hold at most `most` pixels, the one whose windows overlap least; where no window can be
    so small, because even one position has its receptive field, the one with the smallest windows.

    Args:
        height, width: of the picture, in pixels.
        most: pixels of a window.

    Raises:
        ValueError: a periodic picture (`circular` padding) whose sides are not multiples of the deepest layer's
            stride: the pooling grids could not coincide.
    """
    if height * width <= most:
        return (whole(height, width),)
    return grid(height, width, most, *_grid(encoder, taps, height, width))


def measure(encoder: Encoder, taps: Collection[str], height: int, width: int, most: int) -> tuple[int, int]:
    """Pixels of the largest window of `divide`, and of all windows together.

    Raises:
        ValueError: as `divide` does.
    """
    if height * width <= most:
        return height * width, height * width
    return grid_pixels(height, width, most, *_grid(encoder, taps, height, width))


def _grid(encoder: Encoder, taps: Collection[str], height: int, width: int) -> tuple[int, int, bool]:
    """Of the tiles of a picture: the stride, how far windows extend beyond them, and whether they wrap around it."""
    stride, wraps = encoder.least_size(taps), encoder.padding == "circular"
    if wraps and (height % stride or width % stride):
        raise ValueError(
            f"the picture is {width}×{height} px and seamless; to be computed in tiles both sides must be multiples "
            f"of {stride}, such as {round(width / stride) * stride}×{round(height / stride) * stride}"
        )
    return stride, halo(encoder, taps), wraps


def walk(
    encoder: Encoder, image: Tensor, taps: Collection[str], tiles: Collection[Tile], workspace: Workspace | None = None
) -> Iterator[tuple[Tile, str, Tensor]]:
    """(tile, layer, the features that the tile owns) at `taps`, tile after tile, each as soon as it is computed.

    In a `workspace` features are valid only until the next ones are computed.
    """
    for tile in tiles:
        for layer, features, _ in encoder.walk(tile.window(image), taps, workspace):
            yield tile, layer, tile.inside(features, encoder.stride(layer))
