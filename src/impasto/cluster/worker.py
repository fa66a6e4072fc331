"""What one worker of many does of a giant picture: everything that its own rows need.

Its pixels, what the photo shows there, and what has been remembered of earlier steps stay with it. Sums over its
tiles, slopes of these sums, and the rows at its borders are all that come and go.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from impasto import devices
from impasto.batch.pools import use_threads
from impasto.losses.objective import Content, Objective, Style, Term, View, add_variation
from impasto.losses.statistics import Sums
from impasto.losses.targets import Sight, look_at
from impasto.optim.solvers import dot
from impasto.vgg.encoder import Encoder
from impasto.vgg.tiling import Span, Tile

#: Rows of a canvas, as they travel.
Rows = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class Name:
    """A canvas, by its number."""

    number: int


@dataclass(frozen=True, eq=False)
class Scenery:
    """What a worker is to look at, at one scale.

    Attributes:
        rows: those it owns and those it sees, counted in the whole picture.
        size: of the whole picture.
        photo: `(1, 3, h, w)`, the rows that it sees.
        keep: `(h, w)`, likewise: what stays the photo.
        tiles: what it owns, counted in what it sees.
        content: layers whose features it is to measure.
        keeps: whether it keeps them.
    """

    encoder: Encoder
    rows: Span
    size: tuple[int, int]
    photo: Rows
    keep: Rows | None
    grey: bool
    tiles: Sequence[Tile]
    content: Sequence[str]
    keeps: bool
    total_variation: float


class Band:
    """A worker's rows of every canvas, and its part of the objective."""

    def __init__(self, threads: int) -> None:
        use_threads(threads)
        self._canvases: dict[int, Tensor] = {}
        self._copies: dict[tuple[int, int], Rows] = {}
        self._scenery: Scenery | None = None
        self._sights: Mapping[str, Sight] = {}
        self._objective: Objective | None = None
        self._seen = self._gradient = torch.zeros(0)

    def where(self) -> tuple[str, int]:
        """The node it is on, and the bytes of memory that are free there."""
        return ray.get_runtime_context().get_node_id(), devices.available()

    # -- canvases: what it has of each are the rows that it owns ----------------------------------------------------

    def put(self, number: int, rows: Rows) -> None:
        """Take its rows of a canvas."""
        self._canvases[number] = torch.tensor(rows)

    def get(self, number: int) -> Rows:
        """Its rows of a canvas."""
        return self._canvases[number].numpy()

    def forget(self, number: int) -> None:
        """A canvas that is not needed any more, and copies of it."""
        self._canvases.pop(number, None)
        for key in [key for key in self._copies if key[1] == number]:
            del self._copies[key]

    def apply(
        self, result: int, name: str, number: int, arguments: Sequence[Any], options: Mapping[str, Any]
    ) -> None:
        """Call a tensor's method on its rows."""
        given = [self._canvases[one.number] if isinstance(one, Name) else one for one in arguments]
        self._canvases[result] = getattr(self._canvases[number], name)(*given, **options)

    def dot(self, one: int, two: int) -> float:
        """Σ of the products of its rows of two canvases."""
        return dot(self._canvases[one], self._canvases[two])

    def sum(self, number: int) -> float:
        """Σ of its rows of a canvas."""
        return float(self._canvases[number].sum().item())

    # -- copies of another's rows -----------------------------------------------------------------------------------

    def hold(self, owner: int, number: int, rows: Rows) -> None:
        """Keep a copy of another worker's rows of a canvas."""
        self._copies[owner, number] = np.array(rows)

    def held(self, owner: int, number: int) -> Rows:
        """That copy."""
        return self._copies[owner, number]

    # -- the objective ----------------------------------------------------------------------------------------------

    def begin(self, scenery: Scenery) -> dict[str, tuple[int, float]]:
        """Look at the photo: layer -> how many numbers its own features are, and the mean of their squares."""
        self._scenery = scenery
        photo = torch.tensor(scenery.photo)
        self._sights = look_at(scenery.encoder, photo, scenery.content, scenery.tiles, scenery.keeps)
        keep = None if scenery.keep is None else torch.tensor(scenery.keep)
        view = View(scenery.grey, photo, keep)
        self._objective = Objective(scenery.encoder, (), 0.0, view, scenery.tiles, photo)
        return {layer: (sight.count, sight.energy) for layer, sight in self._sights.items()}

    def aim(self, terms: Sequence[Term]) -> None:
        """Take the terms: those of content without a target, which is its own; masks as far as it sees."""
        assert self._objective is not None
        own = [
            dataclasses.replace(term, target=self._sights[term.layer].features) if isinstance(term, Content) else term
            for term in terms
        ]
        self._objective = dataclasses.replace(self._objective, parts=own)

    def strip(self, number: int, first: bool, count: int) -> Rows:
        """So many of its first or last rows of a canvas."""
        rows = self._canvases[number]
        part = rows[..., :count, :] if first else rows[..., rows.shape[-2] - count :, :]
        return np.ascontiguousarray(part.numpy())

    @torch.no_grad()
    def look(self, number: int, above: Rows | None, below: Rows | None) -> dict[str, Sums]:
        """See a canvas, its neighbours' rows included, and add up the style terms' sums over its own tiles."""
        assert self._objective is not None
        around = [None if rows is None else torch.tensor(rows) for rows in (above, below)]
        parts = [around[0], self._canvases[number], around[1]]
        self._seen = self._objective.view(torch.cat([part for part in parts if part is not None], -2))
        return self._objective.sums(self._seen)

    @torch.no_grad()
    def pull(self, slopes: Mapping[str, Tensor]) -> tuple[dict[str, float], Rows | None, Rows | None]:
        """The gradient at what it sees: the values of terms that add, and what of it is its neighbours'."""
        assert self._objective is not None
        assert self._scenery is not None
        scenery, objective, values = self._scenery, self._objective, dict[str, float]()
        gradient = objective.pull(self._seen, values, slopes)
        own = scenery.rows.since(scenery.rows.seen_from)
        if scenery.total_variation:
            factor = scenery.total_variation / (scenery.size[0] * scenery.size[1])
            values["total variation"] = add_variation(self._seen, gradient, own.start, own.stop, factor)
        styles = {term.name for term in objective.parts if isinstance(term, Style)}
        above, below = gradient[..., : own.start, :], gradient[..., own.stop :, :]
        self._gradient, self._seen = gradient[..., own.start : own.stop, :].clone(), torch.zeros(0)
        return (
            {name: value for name, value in values.items() if name not in styles},
            np.ascontiguousarray(above.numpy()) if above.shape[-2] else None,
            np.ascontiguousarray(below.numpy()) if below.shape[-2] else None,
        )

    @torch.no_grad()
    def collect(self, result: int, above: Rows | None, below: Rows | None) -> None:
        """Add what neighbours found at its rows: the gradient of the canvas, under this number."""
        assert self._objective is not None
        assert self._scenery is not None
        gradient, rows = self._gradient, self._scenery.rows
        if above is not None:
            gradient[..., : above.shape[-2], :] += torch.tensor(above)
        if below is not None:
            gradient[..., gradient.shape[-2] - below.shape[-2] :, :] += torch.tensor(below)
        view, own = self._objective.view, rows.since(rows.seen_from)
        keep = None if view.keep is None else view.keep[own.start : own.stop]
        self._canvases[result] = View(view.grey, None, keep).back(gradient)
        self._gradient = torch.zeros(0)
