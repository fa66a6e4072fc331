"""One worker of a sharded picture: it owns some rows of every canvas, and computes their part of the objective.

Its pixels, the photo's features there, and the optimiser's history stay with it. Sums over its tiles, d loss / d sums,
and the rows at its borders are all that travels.
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
from impasto.devices import CPU_FLOAT
from impasto.losses.objective import Objective, View
from impasto.losses.statistics import Sums
from impasto.losses.targets import ContentFeatures, extract_features
from impasto.losses.terms import LossTerm, Positions, TotalVariation
from impasto.optim.canvas import LocalCanvas
from impasto.optim.memory import Plan
from impasto.vgg.encoder import Encoder
from impasto.vgg.tiles import Span, Tile

#: Rows of a canvas, as they travel.
Rows = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class CanvasId:
    """A canvas, by its number."""

    number: int


@dataclass(frozen=True, eq=False)
class ShardSpec:
    """What a worker computes at one scale.

    Attributes:
        rows: those it owns, and those of its window, in the whole picture.
        size: of the whole picture, height and width.
        photo: `(1, 3, h, w)`, the rows of the window.
        keep: `(h, w)`, likewise: 1 where the photo stays as it is.
        tiles, tiles_read: of the rows that it owns, in its window: for evaluations, and for the photo's features.
        content_layers: whose features of the photo it measures, and caches if the plan says so.
    """

    encoder: Encoder
    plan: Plan
    rows: Span
    size: tuple[int, int]
    photo: Rows
    keep: Rows | None
    luminance_only: bool
    tiles: Sequence[Tile]
    tiles_read: Sequence[Tile]
    content_layers: Sequence[str]
    total_variation: TotalVariation | None


class ShardWorker:
    """The rows of every canvas that a worker owns, and its part of the objective: a Ray actor."""

    def __init__(self, threads: int) -> None:
        use_threads(threads)
        self._canvases: dict[int, LocalCanvas] = {}
        self._replicas: dict[tuple[int, int], Rows] = {}
        self._spec: ShardSpec | None = None
        self._content: Mapping[str, ContentFeatures] = {}
        self._objective: Objective | None = None
        self._window = self._gradient = torch.zeros(0, **CPU_FLOAT)

    def place(self) -> tuple[str, int]:
        """The node that it runs on, and the bytes of memory that are free there."""
        return ray.get_runtime_context().get_node_id(), devices.available()

    # -- canvases: it has the rows that it owns -----------------------------------------------------------------------

    def put(self, number: int, rows: Rows) -> None:
        """Store its rows of a canvas."""
        self._canvases[number] = LocalCanvas(torch.tensor(rows, **CPU_FLOAT))

    def get(self, number: int) -> Rows:
        """Its rows of a canvas."""
        return self._canvases[number].tensor.numpy()

    def release(self, numbers: Sequence[int]) -> None:
        """Drop canvases, and replicas of them."""
        for number in numbers:
            self._canvases.pop(number, None)
        for key in [key for key in self._replicas if key[1] in numbers]:
            del self._replicas[key]

    def apply(self, result: int | None, operation: str, arguments: Sequence[Any]) -> float | None:
        """A vector operation of `optim.canvas.Canvas` on its rows.

        Args:
            result: the number of the canvas that it makes, if it makes one.
            arguments: numbers, and canvases by `CanvasId`; the first is the canvas whose method is called.
        """
        canvas, *others = (self._canvases[each.number] if isinstance(each, CanvasId) else each for each in arguments)
        made = getattr(canvas, operation)(*others)
        if result is None:
            return made if isinstance(made, float) else None
        self._canvases[result] = made
        return None

    # -- replicas of other workers' rows ------------------------------------------------------------------------------

    def store_replica(self, owner: int, number: int, rows: Rows) -> None:
        """Keep a copy of another worker's rows of a canvas."""
        self._replicas[owner, number] = np.array(rows)

    def replica(self, owner: int, number: int) -> Rows:
        """That copy."""
        return self._replicas[owner, number]

    # -- the objective ------------------------------------------------------------------------------------------------

    def begin(self, spec: ShardSpec) -> dict[str, tuple[int, float]]:
        """Extract the photo's features: layer -> how many numbers they are, and the mean of their squares."""
        self._spec, photo = spec, torch.tensor(spec.photo, **CPU_FLOAT)
        self._content = extract_features(
            spec.encoder, photo, spec.content_layers, spec.tiles_read, spec.plan.caches_content_features
        )
        keep = None if spec.keep is None else torch.tensor(spec.keep, **CPU_FLOAT)
        view = View(spec.luminance_only, photo, keep)
        self._objective = Objective(spec.plan.network(spec.encoder), (), None, view, spec.tiles, photo)
        return {layer: (found.count, found.energy) for layer, found in self._content.items()}

    def set_terms(self, terms: Sequence[LossTerm]) -> None:
        """Take the loss terms; those that read the photo are given its cached features, if there are any."""
        assert self._objective is not None
        every, own = slice(None), []
        for term in terms:
            cached = self._content[term.layer].features if term.reads_photo else None
            own.append(term if cached is None else term.restricted_to(Positions(every, every, cached)))
        self._objective = dataclasses.replace(self._objective, terms=own)

    def border(self, number: int, first: bool, count: int) -> Rows:
        """So many of its first or last rows of a canvas."""
        rows = self._canvases[number].tensor
        part = rows[..., :count, :] if first else rows[..., rows.shape[-2] - count :, :]
        return np.ascontiguousarray(part.numpy())

    @torch.no_grad()
    def reduce(self, number: int, above: Rows | None, below: Rows | None) -> dict[str, Sums]:
        """The first pass: the terms' sums over its tiles, given the neighbours' rows of its window."""
        assert self._objective is not None
        around = [None if rows is None else torch.tensor(rows, **CPU_FLOAT) for rows in (above, below)]
        parts = [around[0], self._canvases[number].tensor, around[1]]
        self._window = self._objective.view(torch.cat([part for part in parts if part is not None], -2))
        return self._objective.reduce(self._window)

    @torch.no_grad()
    def backward(self, grad_sums: Mapping[str, Tensor]) -> tuple[dict[str, float], Rows | None, Rows | None]:
        """The second pass: values of local losses, and the gradients of the rows above and below its own."""
        assert self._objective is not None
        assert self._spec is not None
        spec, variation = self._spec, self._spec.total_variation
        gradient, values = self._objective.backward(self._window, grad_sums)
        own = spec.rows.relative_to(spec.rows.window_start)
        if variation is not None:
            value = variation.accumulate_rows(self._window, gradient, own.start, own.stop, spec.size)
            values[variation.name] = value
        above, below = gradient[..., : own.start, :], gradient[..., own.stop :, :]
        self._gradient, self._window = gradient[..., own.start : own.stop, :].clone(), torch.zeros(0, **CPU_FLOAT)
        return (
            values,
            np.ascontiguousarray(above.numpy()) if above.shape[-2] else None,
            np.ascontiguousarray(below.numpy()) if below.shape[-2] else None,
        )

    @torch.no_grad()
    def collect(self, result: int, above: Rows | None, below: Rows | None) -> None:
        """Add the neighbours' gradients of its rows, and store the gradient by the canvas under this number."""
        assert self._objective is not None
        assert self._spec is not None
        gradient, rows, view = self._gradient, self._spec.rows, self._objective.view
        assert isinstance(view, View)
        if above is not None:
            gradient[..., : above.shape[-2], :] += torch.tensor(above, **CPU_FLOAT)
        if below is not None:
            gradient[..., gradient.shape[-2] - below.shape[-2] :, :] += torch.tensor(below, **CPU_FLOAT)
        own = rows.relative_to(rows.window_start)
        keep = None if view.keep is None else view.keep[own.start : own.stop]
        self._canvases[result] = LocalCanvas(View(view.luminance_only, None, keep).backward(gradient))
        self._gradient = torch.zeros(0, **CPU_FLOAT)
