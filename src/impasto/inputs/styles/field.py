"""Primitives of procedural painting: noise, Voronoi cells, palettes and strokes, in units of the shorter side."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

Array = np.ndarray[Any, np.dtype[np.float64]]


class PaintingGrid:
    """The pixels' coordinates in units of the shorter side, and random fields over them that no size changes.

    Attributes:
        y, x: `(h, w)`, the centres of the pixels, from the upper left corner.
        size: height and width; the shorter one is 1.
        pixel: the side of a pixel.
    """

    def __init__(self, height: int, width: int, seed: int) -> None:
        side = min(height, width)
        self.pixel = 1 / side
        self.y, self.x = np.mgrid[0:height, 0:width] / side + 0.5 / side
        self.size = (height / side, width / side)
        self._seed = seed

    def around(self, y: float, x: float, reach: float) -> tuple[PaintingGrid, tuple[slice, slice]]:
        """The part of the grid within `reach` of a point, and its rows and columns in the whole grid's arrays."""
        spans = (
            slice(max(0, round((middle - reach) / self.pixel)), max(0, round((middle + reach) / self.pixel)))
            for middle in (y, x)
        )
        window = (next(spans), next(spans))
        part = copy(self)
        part.y, part.x = self.y[window], self.x[window]
        return part, window

    def random(self, key: int) -> np.random.Generator:
        """A generator that depends on the seed and the key alone, not on what was drawn before."""
        return np.random.default_rng([self._seed, key])

    def noise(self, key: int, cells: float, x: Array | None = None, y: Array | None = None) -> Array:
        """Smooth value noise, about in [-1, 1], of `cells` lattice points per unit, with a period of 64 of them."""
        lattice = self.random(key).uniform(-1, 1, (64, 64))
        points = np.stack([self.y if y is None else y, self.x if x is None else x]) * cells
        return map_coordinates(lattice, points, order=3, mode="grid-wrap")

    def clouds(self, key: int, cells: float, octaves: int = 5) -> Array:
        """Fractal noise: each octave has half the scale and amplitude; those finer than a pixel are left out."""
        total = np.zeros_like(self.x)
        for octave in range(octaves):
            if cells * 2**octave * self.pixel < 0.5:
                total += 0.5**octave * self.noise(key + octave, cells * 2**octave)
        return total

    def cells(
        self, key: int, spacing: float, jitter: float = 0.5, x: Array | None = None, y: Array | None = None
    ) -> Cells:
        """Voronoi cells around the points of a grid of this spacing, each moved by up to `jitter` spacings."""
        x, y = self.x if x is None else x, self.y if y is None else y
        rows = np.arange(np.floor(y.min() / spacing) - 2, np.ceil(y.max() / spacing) + 3)
        columns = np.arange(np.floor(x.min() / spacing) - 2, np.ceil(x.max() / spacing) + 3)
        row, column = (index.ravel() for index in np.meshgrid(rows, columns, indexing="ij"))
        # Looked up by row and column, so that a larger plane has the same points and more.
        index = np.stack([row, column]).astype(np.int64) & 255
        table = self.random(key).uniform(size=(5, 256, 256))[:, index[0], index[1]]
        points = np.stack([row + 0.5, column + 0.5], 1) + jitter * (table[:2].T - 0.5) * 2
        distance, nearest = cKDTree(points).query(np.stack([y, x], -1) / spacing, k=2)
        return Cells(
            centre_y=points[:, 0][nearest[..., 0]] * spacing,
            centre_x=points[:, 1][nearest[..., 0]] * spacing,
            distance=distance[..., 0],
            border=distance[..., 1] - distance[..., 0],
            random=table[2:][:, nearest[..., 0]],
        )


class Cells:
    """The Voronoi cell of each pixel.

    Attributes:
        centre_y, centre_x: `(h, w)`, in units of the shorter side.
        distance: `(h, w)`, from the centre, in spacings.
        border: `(h, w)`, the distance to the second nearest centre minus `distance`: 0 at the cell's border.
        random: `(3, h, w)`, three numbers in [0, 1] for each cell.
    """

    def __init__(self, centre_y: Array, centre_x: Array, distance: Array, border: Array, random: Array) -> None:
        self.centre_y, self.centre_x = centre_y, centre_x
        self.distance, self.border, self.random = distance, border, random


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below `low`, 1 above `high`, a cubic between them; falling if `low` is the larger one."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def palette(colours: Sequence[str], t: Array) -> Array:
    """Colours `#rrggbb`, evenly spaced over [0, 1] and interpolated at `t`: `(…, 3)`."""
    table = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colours])
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(t, stops, table[:, band]) for band in range(3)], -1)


def blend(under: Array, over: Array, cover: Array) -> Array:
    """`over` on `under`, `(…, 3)`, by the opacity `cover`, `(…)`."""
    return under + (over - under) * cover[..., None]


def smear(grid: PaintingGrid, angle: Array, texture: Array, length: float, steps: int = 24) -> Array:
    """Brush hairs: `texture` averaged along the directions `angle`, over `length` units each way.

    Line integral convolution (Cabral & Leedom 1993).
    """
    total, weight = texture.copy(), 1.0
    step = length / steps / grid.pixel
    rows, columns = (index.astype(float) for index in np.indices(texture.shape))
    for sign in (1, -1):
        y, x = rows.copy(), columns.copy()
        for index in range(steps):
            direction = map_coordinates(angle, [y, x], order=0, mode="nearest")
            y += sign * step * np.sin(direction)
            x += sign * step * np.cos(direction)
            share = 1 - index / steps
            total += share * map_coordinates(texture, [y, x], order=1, mode="mirror")
            weight += share
    return total / weight


def relief(grid: PaintingGrid, height: Array, strength: float) -> Array:
    """The shading of a height field lit from the upper left, in [-1, 1]; 0 where it is flat."""
    down, right = np.gradient(height, grid.pixel)
    return np.tanh(-strength * (down + right))
