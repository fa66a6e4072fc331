"""A picture in tiles, each seen through a window wide enough that what it owns is seen as in the whole.

A position of a layer depends on the pixels of its receptive field. A tile owns the positions of every layer whose
pixels lie inside it; its window reaches a halo further on each side, so that no owned position sees the window's
edge. Both are multiples of the deepest layer's stride, so that pooling falls into the same squares as in the whole.
Sums over the owned positions of all tiles are the sums over the whole picture, exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.vgg.encoder import Encoder
from impasto.vgg.workspace import Room


@dataclass(frozen=True)
class Span:
    """One side of a tile, in pixels: what it owns, and what it sees."""

    start: int
    stop: int
    seen_from: int
    seen_to: int

    @property
    def seen(self) -> int:
        """The length of the window."""
        return self.seen_to - self.seen_from

    def since(self, start: int) -> Span:
        """The same, counted from there."""
        return Span(self.start - start, self.stop - start, self.seen_from - start, self.seen_to - start)

    def window(self, stride: int) -> slice:
        """The seen positions of a layer, counted in the whole picture."""
        return slice(self.seen_from // stride, self.seen_to // stride)

    def owned(self, stride: int) -> slice:
        """The owned positions of a layer, counted in the whole picture."""
        return slice(self.start // stride, self.stop // stride)

    def inside(self, stride: int) -> slice:
        """The owned positions of a layer, counted in the window."""
        return slice((self.start - self.seen_from) // stride, (self.stop - self.seen_from) // stride)

    def indices(self, side: int, device: torch.device) -> Tensor:
        """The seen pixels of a picture that is `side` long and goes on from the beginning."""
        return torch.arange(self.seen_from, self.seen_to, device=device) % side


@dataclass(frozen=True)
class Tile:
    """A part of a picture, and the window through which it is seen.

    Attributes:
        rows, columns: see `Span`.
        wraps: whether the picture goes on at the opposite border.
    """

    rows: Span
    columns: Span
    wraps: bool = False

    @property
    def pixels(self) -> int:
        """Of the window."""
        return self.rows.seen * self.columns.seen

    def since(self, row: int) -> Tile:
        """The same, its rows counted from there."""
        return Tile(self.rows.since(row), self.columns, self.wraps)

    def window(self, picture: Tensor, stride: int = 1) -> Tensor:
        """What is seen of a picture `(…, h, w)`, or of a layer of it that does not go on at the opposite border."""
        if not self.wraps:
            return picture[..., self.rows.window(stride), self.columns.window(stride)]
        rows = self.rows.indices(picture.shape[-2], picture.device)
        return picture[..., rows, :][..., self.columns.indices(picture.shape[-1], picture.device)]

    def add(self, whole: Tensor, part: Tensor) -> None:
        """Add to `whole`, `(1, c, h, w)`, what belongs to the window, as its shape."""
        if not self.wraps:
            self.window(whole).add_(part)
            return
        rows = whole.new_zeros(*part.shape[:-1], whole.shape[-1])
        rows.index_add_(-1, self.columns.indices(whole.shape[-1], whole.device), part)
        whole.index_add_(-2, self.rows.indices(whole.shape[-2], whole.device), rows)

    def inside(self, features: Tensor, stride: int) -> Tensor:
        """The owned ones of the window's features, `(1, n, h', w')`."""
        return features[..., self.rows.inside(stride), self.columns.inside(stride)]

    def owned(self, whole: Tensor, stride: int) -> Tensor:
        """The owned ones of the whole picture's positions, `(…, h', w')`."""
        return whole[..., self.rows.owned(stride), self.columns.owned(stride)]


def whole(height: int, width: int) -> Tile:
    """The one tile that is all of a picture."""
    return Tile(Span(0, height, 0, height), Span(0, width, 0, width))


def halo(encoder: Encoder, taps: Collection[str]) -> int:
    """How far a window must reach beyond its tile, in pixels."""
    layers = [encoder.layers[encoder.depth(tap)] for tap in taps]
    stride = encoder.least_size(taps)
    reach = max(((layer.field - layer.stride) / 2 for layer in layers), default=0)
    return math.ceil(reach / stride) * stride


def divide(encoder: Encoder, taps: Collection[str], height: int, width: int, most: int) -> tuple[Tile, ...]:
    """Tiles that together own a picture, whose windows see what `taps` need of it; none where one would do.

    Of all grids whose windows hold at most so many pixels, the one that sees the fewest pixels twice; of windows that
    cannot be so small, since even one position has its surroundings, the smallest.

    Args:
        height, width: of the picture, in pixels.
        most: pixels of a window.

    Raises:
        ValueError: a picture that goes on at the opposite border (`circular` padding) and whose sides are no
            multiples of the deepest layer's stride: pooling's squares could not coincide.
    """
    if height * width <= most:
        return ()
    stride, wraps = encoder.least_size(taps), encoder.padding == "circular"
    if wraps and (height % stride or width % stride):
        raise ValueError(
            f"the picture is {width}×{height} px and tiles; to be computed in parts both sides must be multiples "
            f"of {stride}, such as {round(width / stride) * stride}×{round(height / stride) * stride}"
        )
    return grid(height, width, most, stride, halo(encoder, taps), wraps)


def grid(
    height: int,
    width: int,
    most: int,
    stride: int,
    reach: int,
    wraps: bool = False,
    band: tuple[int, int] | None = None,
) -> tuple[Tile, ...]:
    """The tiles of `divide`: of sides that are multiples of `stride`, each of which sees `reach` pixels beyond.

    Of a `band` of rows, from one multiple of `stride` up to another or to the end, if one is given.
    """
    start, stop = band or (0, height)
    rows = [_spans(start, stop, height, count, reach, stride, wraps) for count in _counts((stop - start) // stride)]
    columns = [_spans(0, width, width, count, reach, stride, wraps) for count in _counts(width // stride)]
    choices = itertools.product(_measured(rows), _measured(columns))
    # By how far the windows are too large, then by how many pixels they see in all.
    best = min(choices, key=lambda choice: (max(0, choice[0][0] * choice[1][0] - most), choice[0][1] * choice[1][1]))
    return tuple(Tile(row, column, wraps) for row in best[0][2] for column in best[1][2])


def bands(height: int, count: int, stride: int, reach: int) -> list[Span]:
    """The rows of a picture in so many parts, multiples of `stride`, each of which sees `reach` pixels beyond."""
    return _spans(0, height, height, count, reach, stride, False)


def _counts(squares: int) -> list[int]:
    """Into how many parts a side may be divided: every number, of large ones those that differ in size."""
    return sorted({math.ceil(squares / size) for size in range(1, squares + 1)}) or [1]


def _measured(divisions: list[list[Span]]) -> list[tuple[int, int, list[Span]]]:
    """Each division of a side with the largest of its windows, and all of them together."""
    return [(max(span.seen for span in spans), sum(span.seen for span in spans), spans) for spans in divisions]


def _spans(start: int, stop: int, side: int, count: int, halo: int, stride: int, wraps: bool) -> list[Span]:
    """A side's part from `start` to `stop`, divided."""
    squares = max(1, (stop - start) // stride)  # what is left over beyond them belongs to the last tile
    starts = [start + round(index * squares / count) * stride for index in range(count)]
    stops = [*starts[1:], stop]
    if wraps:
        return [Span(first, last, first - halo, last + halo) for first, last in zip(starts, stops, strict=True)]
    return [
        Span(first, last, max(0, first - halo), min(side, last + halo))
        for first, last in zip(starts, stops, strict=True)
    ]


def walk(
    encoder: Encoder, image: Tensor, taps: Collection[str], parts: Collection[Tile], room: Room | None = None
) -> Iterator[tuple[Tile, str, Tensor]]:
    """The features at `taps` that each tile owns: tile after tile, each one's layers as they come.

    In a `room`, each is there only until the next is asked for.
    """
    for tile in parts:
        for layer, features in encoder.walk(tile.window(image), taps, room):
            yield tile, layer, tile.inside(features, encoder.stride(layer))
