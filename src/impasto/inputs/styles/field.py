"""What the painters draw with: random fields, cells and colours over a plane whose unit is the short side."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

Array = np.ndarray[Any, np.dtype[np.float64]]


class Canvas:
    """A grid of points (x, y), the shorter side of which is 1, and randomness that does not depend on its size."""

    def __init__(self, height: int, width: int, seed: int) -> None:
        side = min(height, width)
        self.pixel = 1 / side
        self.y, self.x = np.mgrid[0:height, 0:width] / side + 0.5 / side
        self.size = (height / side, width / side)
        self._seed = seed

    def around(self, y: float, x: float, reach: float) -> tuple[Canvas, tuple[slice, slice]]:
        """The part of the canvas within `reach` of a point, and where in its arrays that part lies."""
        spans = (
            slice(max(0, round((middle - reach) / self.pixel)), max(0, round((middle + reach) / self.pixel)))
            for middle in (y, x)
        )
        where = (next(spans), next(spans))
        part = copy(self)
        part.y, part.x = self.y[where], self.x[where]
        return part, where

    def random(self, key: int) -> np.random.Generator:
        """Fresh random numbers for one purpose: the same for a key, whatever was drawn before."""
        return np.random.default_rng([self._seed, key])

    def noise(self, key: int, cells: float, x: Array | None = None, y: Array | None = None) -> Array:
        """Smooth noise, about in [-1, 1], with `cells` bumps along a unit, periodic after 64 of them."""
        grid = self.random(key).uniform(-1, 1, (64, 64))
        where = np.stack([self.y if y is None else y, self.x if x is None else x]) * cells
        return map_coordinates(grid, where, order=3, mode="grid-wrap")

    def clouds(self, key: int, cells: float, octaves: int = 5) -> Array:
        """Noise over noise, each octave half as large and half as strong; those finer than a pixel are left out."""
        total = np.zeros_like(self.x)
        for octave in range(octaves):
            if cells * 2**octave * self.pixel < 0.5:
                total += 0.5**octave * self.noise(key + octave, cells * 2**octave)
        return total

    def cells(
        self, key: int, spacing: float, jitter: float = 0.5, x: Array | None = None, y: Array | None = None
    ) -> Cells:
        """The plane divided among points of a disturbed grid, `spacing` apart."""
        x, y = self.x if x is None else x, self.y if y is None else y
        rows = np.arange(np.floor(y.min() / spacing) - 2, np.ceil(y.max() / spacing) + 3)
        columns = np.arange(np.floor(x.min() / spacing) - 2, np.ceil(x.max() / spacing) + 3)
        row, column = (index.ravel() for index in np.meshgrid(rows, columns, indexing="ij"))
        # Hashed by place, so that a larger plane shows more of the same points.
        place = np.stack([row, column]).astype(np.int64) & 255
        table = self.random(key).uniform(size=(5, 256, 256))[:, place[0], place[1]]
        points = np.stack([row + 0.5, column + 0.5], 1) + jitter * (table[:2].T - 0.5) * 2
        distance, index = cKDTree(points).query(np.stack([y, x], -1) / spacing, k=2)
        return Cells(
            centre_y=points[:, 0][index[..., 0]] * spacing,
            centre_x=points[:, 1][index[..., 0]] * spacing,
            distance=distance[..., 0],
            border=distance[..., 1] - distance[..., 0],
            random=table[2:][:, index[..., 0]],
        )


class Cells:
    """For every pixel: its cell's centre, distances to it and to the border (in spacings), three random numbers."""

    def __init__(self, centre_y: Array, centre_x: Array, distance: Array, border: Array, random: Array) -> None:
        self.centre_y, self.centre_x = centre_y, centre_x
        self.distance, self.border, self.random = distance, border, random


def smoothstep(low: float, high: float, value: Array) -> Array:
    """0 below `low`, 1 above `high`, a smooth way between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def palette(colours: Sequence[str], t: Array) -> Array:
    """Colours `#rrggbb` strung along [0, 1], looked up at `t`: `(…, 3)`."""
    table = np.array([[int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)] for colour in colours])
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(t, stops, table[:, band]) for band in range(3)], -1)


def blend(under: Array, over: Array, cover: Array) -> Array:
    """`over` laid on `under` where `cover` is 1; colours `(…, 3)`, cover `(…)`."""
    return under + (over - under) * cover[..., None]


def follow(canvas: Canvas, angle: Array, texture: Array, length: float, steps: int = 24) -> Array:
    """`texture` smeared along the directions `angle`, `length` units each way (line integral convolution,
    Cabral & Leedom 1993): hairs of a brush."""
    total, weight = texture.copy(), 1.0
    step = length / steps / canvas.pixel
    rows, columns = (index.astype(float) for index in np.indices(texture.shape))
    for sign in (1, -1):
        y, x = rows.copy(), columns.copy()
        for index in range(steps):
            here = map_coordinates(angle, [y, x], order=0, mode="nearest")
            y += sign * step * np.sin(here)
            x += sign * step * np.cos(here)
            share = 1 - index / steps
            total += share * map_coordinates(texture, [y, x], order=1, mode="mirror")
            weight += share
    return total / weight


def relief(canvas: Canvas, height: Array, strength: float) -> Array:
    """Light from the upper left on a surface: about 0, positive where it is lit."""
    down, right = np.gradient(height, canvas.pixel)
    return np.tanh(-strength * (down + right))
