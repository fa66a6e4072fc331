"""The geometry of tiles: which part of a picture each owns, and the window that its activations are computed from."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """One side of a tile, in pixels: what it owns, and what its window covers."""

    start: int
    stop: int
    window_start: int
    window_stop: int

    @property
    def window_length(self) -> int:
        """The length of the window."""
        return self.window_stop - self.window_start

    def relative_to(self, start: int) -> Span:
        """The same span, counted from `start`."""
        return Span(self.start - start, self.stop - start, self.window_start - start, self.window_stop - start)

    def within(self, outer: Span) -> Span:
        """What a span of the window of `outer` owns of what `outer` owns, in the coordinates of the whole picture."""
        shift = outer.window_start
        start, stop = max(self.start + shift, outer.start), min(self.stop + shift, outer.stop)
        return Span(start, max(start, stop), self.window_start + shift, self.window_stop + shift)

    def window(self, stride: int) -> slice:
        """The window's positions at a layer of this stride, in the coordinates of the whole picture."""
        return slice(self.window_start // stride, self.window_stop // stride)

    def owned(self, stride: int) -> slice:
        """The owned positions at a layer of this stride, in the coordinates of the whole picture."""
        return slice(self.start // stride, self.stop // stride)

    def inside(self, stride: int) -> slice:
        """The owned positions at a layer of this stride, in the coordinates of the window."""
        return slice((self.start - self.window_start) // stride, (self.stop - self.window_start) // stride)

    def indices(self, side: int, device: torch.device) -> Tensor:
        """The window's pixels in a picture that is `side` long and periodic."""
        return torch.arange(self.window_start, self.window_stop, dtype=torch.int64, device=device) % side


@dataclass(frozen=True)
class Tile:
    """A part of a picture, and the window that its activations are computed from.

    Attributes:
        rows, columns: see `Span`.
        wraps: whether the picture is periodic.
    """

    rows: Span
    columns: Span
    wraps: bool = False

    @property
    def pixels(self) -> int:
        """Pixels of the window."""
        return self.rows.window_length * self.columns.window_length

    def relative_to(self, row: int) -> Tile:
        """The same tile, its rows counted from `row`."""
        return Tile(self.rows.relative_to(row), self.columns, self.wraps)

    def within(self, outer: Tile) -> Tile:
        """What a tile of the window of `outer` owns of what `outer` owns, in the coordinates of the whole picture."""
        return Tile(self.rows.within(outer.rows), self.columns.within(outer.columns), self.wraps)

    def window(self, picture: Tensor, stride: int = 1) -> Tensor:
        """The window of a picture `(…, h, w)`, or of a layer of this stride of one that is not periodic."""
        if not self.wraps:
            return picture[..., self.rows.window(stride), self.columns.window(stride)]
        rows = self.rows.indices(picture.shape[-2], picture.device)
        return picture[..., rows, :][..., self.columns.indices(picture.shape[-1], picture.device)]

    def add(self, whole: Tensor, part: Tensor) -> None:
        """Add `part`, of the window's size, to the window of `whole`, `(1, c, h, w)`."""
        if not self.wraps:
            self.window(whole).add_(part)
            return
        rows = whole.new_zeros(*part.shape[:-1], whole.shape[-1])
        rows.index_add_(-1, self.columns.indices(whole.shape[-1], whole.device), part)
        whole.index_add_(-2, self.rows.indices(whole.shape[-2], whole.device), rows)

    def inside(self, features: Tensor, stride: int) -> Tensor:
        """The owned positions of the window's features, `(1, n, h', w')`."""
        return features[..., self.rows.inside(stride), self.columns.inside(stride)]

    def owned_slices(self, stride: int) -> tuple[slice, slice]:
        """Rows and columns of the owned positions at a layer of this stride."""
        return self.rows.owned(stride), self.columns.owned(stride)

    def owned(self, whole: Tensor, stride: int) -> Tensor:
        """The owned positions of the whole picture's, `(…, h', w')`."""
        rows, columns = self.owned_slices(stride)
        return whole[..., rows, columns]


def whole(height: int, width: int) -> Tile:
    """The one tile that is all of a picture."""
    return Tile(Span(0, height, 0, height), Span(0, width, 0, width))


def grid(
    height: int,
    width: int,
    most: int,
    stride: int,
    radius: int,
    wraps: bool = False,
    rows: tuple[int, int] | None = None,
) -> tuple[Tile, ...]:
    """The tiles of `tiling.divide`: their sides are multiples of `stride`, their windows extend `radius` further.

    With `rows`, tiles of these rows only, from one multiple of `stride` to another or to the end.
    """
    by_rows, by_columns = _best(height, width, most, stride, radius, wraps, rows)
    return tuple(Tile(row, column, wraps) for row in by_rows.spans for column in by_columns.spans)


def grid_pixels(height: int, width: int, most: int, stride: int, radius: int, wraps: bool) -> tuple[int, int]:
    """Pixels of the largest window of this `grid`, and of all windows together."""
    by_rows, by_columns = _best(height, width, most, stride, radius, wraps, None)
    return by_rows.longest * by_columns.longest, by_rows.total * by_columns.total


def bands(height: int, width: int, count: int, stride: int, radius: int, wraps: bool) -> tuple[Tile, ...]:
    """About so many tiles of all columns, as `grid` makes them."""
    count, columns = min(count, max(1, height // stride)), Span(0, width, 0, width)
    return tuple(Tile(rows, columns, wraps) for rows in _spans(0, height, height, count, radius, stride, wraps))


def row_spans(height: int, count: int, stride: int, radius: int) -> list[Span]:
    """The rows of a picture in `count` parts, multiples of `stride`, with windows that extend `radius` further."""
    return _spans(0, height, height, count, radius, stride, False)


def _counts(squares: int) -> list[int]:
    """Into how many parts a side may be divided: every number, of large ones those that differ in size."""
    return sorted({math.ceil(squares / size) for size in range(1, squares + 1)}) or [1]


class _Division(NamedTuple):
    """A side, divided; the length of its longest window, and of all windows together."""

    longest: int
    total: int
    spans: list[Span]


@lru_cache(maxsize=16)
def _divisions(start: int, stop: int, side: int, radius: int, stride: int, wraps: bool) -> list[_Division]:
    """A side's part from `start` to `stop`, divided in all ways."""
    found = []
    for count in _counts((stop - start) // stride):
        spans = _spans(start, stop, side, count, radius, stride, wraps)
        lengths = [span.window_length for span in spans]
        found.append(_Division(max(lengths), sum(lengths), spans))
    return found


def _best(
    height: int, width: int, most: int, stride: int, radius: int, wraps: bool, rows: tuple[int, int] | None
) -> tuple[_Division, _Division]:
    """Rows and columns of the grid: by how far its windows are too large, then by how many pixels they have in all."""
    start, stop = rows or (0, height)
    by_rows = _divisions(start, stop, height, radius, stride, wraps)
    choices = itertools.product(by_rows, _divisions(0, width, width, radius, stride, wraps))
    return min(choices, key=lambda two: (max(0, two[0].longest * two[1].longest - most), two[0].total * two[1].total))


def _spans(start: int, stop: int, side: int, count: int, radius: int, stride: int, wraps: bool) -> list[Span]:
    """A side's part from `start` to `stop`, divided."""
    squares = max(1, (stop - start) // stride)  # what is left over beyond them belongs to the last tile
    starts = [start + round(index * squares / count) * stride for index in range(count)]
    stops = [*starts[1:], stop]
    if wraps:
        return [Span(first, last, first - radius, last + radius) for first, last in zip(starts, stops, strict=True)]
    return [
        Span(first, last, max(0, first - radius), min(side, last + radius))
        for first, last in zip(starts, stops, strict=True)
    ]
