"""One giant picture over many workers: the tiles of `impasto.tiling`, each where there is room for it.

Within a pass tiles need nothing of each other, and sums over them add. So every worker has some rows of the picture,
for the whole run, and an evaluation takes three messages: the rows at the borders and the sums over each worker's
tiles; the slopes of the summed sums; and what of the gradient belongs to a neighbour.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import ray
import torch
from torch import Tensor

from impasto.cluster.connection import connect
from impasto.cluster.group import LOST, Crew, Spread
from impasto.cluster.worker import Scenery
from impasto.images import Picture, PictureLike
from impasto.inputs.prepare import arrange
from impasto.inputs.read import Memo, identity
from impasto.losses.objective import Content, Evaluation, Objective, Style, Term
from impasto.losses.statistics import Sums
from impasto.losses.targets import Sight
from impasto.operations.stylize import Aims, aims_of, extra, has_details, hashes_of, start_of
from impasto.optim import memory
from impasto.optim.checkpoints import Checkpoints
from impasto.optim.clock import Clock
from impasto.optim.memory import PICTURE, Plan
from impasto.optim.multiscale import Here, Judge, Task, descend
from impasto.optim.schedule import Scale
from impasto.optim.solvers import HELD, Point, State
from impasto.optim.steps import Step
from impasto.settings.options import DescentOptions, StylizeOptions
from impasto.vgg import tiling

log = logging.getLogger(__name__)

#: Scales of fewer pixels are computed in this process: to send them around would take longer.
LEAST = 1 << 20


def stylize(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
    address: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
) -> Picture:
    """`impasto.stylize` over the workers of a Ray cluster: the same picture, for as many pixels as they have room.

    Args:
        content: as for `impasto.stylize`.
        styles: likewise.
        options: likewise; `options.memory` is each worker's.
        address: see `connect`.
        threads: of each worker; by default each node is one, with all of its cores.
        workers: how many at most; by default as many as there is room for.

    Raises:
        What `impasto.stylize` raises; ClusterError: no cluster, or too many workers lost at once.
        ValueError: options that no cluster can follow.
    """
    (last,) = deque(iterate(content, styles, options, None, address, threads, workers), maxlen=1)
    return last.picture


def iterate(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
    checkpoints: Checkpoints | None = None,
    address: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
) -> Iterator[Step]:
    """The steps of `stylize`, as they come; their images are `Spread`, fetched by `step.picture`."""
    started = time.monotonic()
    options = options or StylizeOptions()
    _check(options)
    device, known = torch.device("cpu"), Memo()
    scene = arrange(content, styles, options, device, known)
    aims, scales = aims_of(scene, options, device, known, None, identity(content))
    start = start_of(options, scene, device)
    here = Task(
        aims.encoder,
        aims.content_layers,
        aims.style_layers,
        aims.objective,
        scene.finish,
        scene.size,
        extra=extra(scene, options, aims.encoder),
        pictures=hashes_of(options, scene, start) if checkpoints else {},
    )
    connect(address)
    room, threads = _workers(threads)
    task = Giant(here, aims, min(room, workers or room), threads)
    clock = Clock(started, options.time_budget, scales)
    return _closing(descend(task, options, scales, start, clock, checkpoints, has_details(options)), task)


def _check(options: StylizeOptions) -> None:
    if options.statistic == "nearest":
        raise ValueError("nearest neighbours are no sums that workers could add; choose another statistic")
    if options.color == "palette":
        raise ValueError("color palette is done in a moment; leave the cluster away")
    if options.device not in ("auto", "cpu"):
        raise ValueError(f"device is {options.device}; workers of a giant picture compute on processors")


def _workers(threads: int | None) -> tuple[int, int]:
    """How many workers the cluster has room for, and threads of each."""
    cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cores = [count for count in cores if count]
    threads = threads or min(cores)
    return max(1, sum(count // threads for count in cores)), threads


def _closing(steps: Iterator[Step], task: Giant) -> Iterator[Step]:
    """The steps; the crew is dismissed after them, but not before the last picture is here."""
    step: Step | None = None
    try:
        for step in steps:
            yield step
    finally:
        steps.close()  # type: ignore[attr-defined] # first the checkpoint, where it is not over yet
        if step is not None and isinstance(step.image, Spread):
            step.image.fetch()
        task.close()


@dataclass(eq=False)
class Giant(Here):
    """A task whose large scales are computed by a crew; see `impasto.descent.Operation`.

    Attributes:
        here: the same in this process, for small scales.
    """

    here: Task
    aims: Aims
    count: int
    threads: int
    crew: Crew | None = None
    pictures: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.pictures = self.here.pictures
        taps = {*self.aims.content_layers, *self.aims.style_layers}
        self._stride, self._reach = self.aims.encoder.least_size(taps), tiling.halo(self.aims.encoder, taps)

    @property
    def device(self) -> torch.device:
        """Where small scales are computed."""
        return self.here.device

    @property
    def size(self) -> tuple[int, int]:
        """Of the result."""
        return self.here.size

    @property
    def finish(self) -> Callable[[Tensor], Picture]:
        """What is made of a canvas."""
        return self.here.finish

    def close(self) -> None:
        """Dismiss the crew."""
        if self.crew is not None:
            self.crew.dismiss()

    def is_spread(self, scale: Scale) -> bool:
        """Whether a scale is worth being computed by the crew, and no part of it thinner than what it must see."""
        return scale.pixels >= LEAST and scale.height >= self.count * 2 * max(self._reach, self._stride)

    def _crew(self, scale: Scale) -> Crew:
        """The crew, its rows those of this scale."""
        if self.crew is None:
            self.crew = Crew(self.count, self.threads)
        self.crew.spans = tiling.bands(scale.height, self.count, self._stride, self._reach)
        return self.crew

    def plan(self, scale: Scale, options: DescentOptions) -> Plan:
        """How the largest part is computed in the memory that its worker has."""
        if not self.is_spread(scale):
            return self.here.plan(scale, options)
        crew = self._crew(scale)
        places = crew.ask("where")
        beside = Counter(node for node, _ in places)
        budget = min(round((options.memory or memory.SHARE * free) / beside[node]) for node, free in places)
        rows = max(span.seen for span in crew.spans)
        copies = HELD[options.optimizer][1] * min(options.history, scale.evaluations) + 4
        return memory.plan(
            self.aims.encoder,
            (rows, scale.width),
            (self.here.content, self.here.style),
            options.optimizer,
            options.history,
            budget,
            extra=self.here.extra + copies * PICTURE,
            evaluations=scale.evaluations,
        )

    def objective_at(self, scale: Scale, plan: Plan) -> Judge:
        """What is minimised at a scale."""
        if not self.is_spread(scale):
            return self.here.objective_at(scale, plan)
        return cast(Judge, SpreadObjective.of(self.aims, self._crew(scale), scale, plan, self._reach, self._stride))

    def place(self, image: Tensor, scale: Scale, start: Tensor | None) -> Tensor:
        """A canvas of this scale, with the crew or here."""
        canvas = super().place(image.cpu(), scale, start)
        return cast(Tensor, self._crew(scale).spread(canvas)) if self.is_spread(scale) else canvas

    def restored(self, state: State, scale: Scale) -> State:
        """The state of a checkpoint, with the crew or here."""
        if not self.is_spread(scale):
            return state
        crew = self._crew(scale)

        def put(canvas: Tensor) -> Tensor:
            return cast(Tensor, crew.spread(canvas))

        evaluation = state.evaluation
        if evaluation is not None and evaluation.gradient.shape == state.image.shape:
            evaluation = dataclasses.replace(evaluation, gradient=put(evaluation.gradient))
        return dataclasses.replace(
            state,
            image=put(state.image),
            evaluation=evaluation,
            pairs=[(put(moved), put(change), product) for moved, change, product in state.pairs],
            moments=None if state.moments is None else (put(state.moments[0]), put(state.moments[1])),
        )

    def guarded(self, search: Callable[[], Iterator[Point]], state: State) -> Iterator[Point]:
        """The points; where a worker is lost, from the last one on again with another in its place."""
        if self.crew is None or not isinstance(state.image, Spread):
            yield from search()
            return
        crew, safe = self.crew, _copy(state)
        while True:
            try:
                crew.secure(_canvases(safe))
                for point in search():
                    reached = _copy(state)
                    crew.secure(_canvases(reached))
                    safe = reached
                    yield point
                return
            except LOST:
                log.warning("a worker was lost: going on from the last step with another")
                crew.recover(_canvases(safe))
                for name, value in vars(_copy(safe)).items():
                    setattr(state, name, value)


def _copy(state: State) -> State:
    """A state that stays as it is while the optimiser goes on: of its canvases, only moments change in place."""
    moments = None if state.moments is None else (state.moments[0].clone(), state.moments[1].clone())
    return dataclasses.replace(state, pairs=list(state.pairs), moments=moments)


def _canvases(state: State) -> list[Spread]:
    """All canvases of a state."""
    evaluation = state.evaluation
    found: list[Any] = [state.image, *(state.moments or ())]
    found += [] if evaluation is None else [evaluation.gradient]
    found += [canvas for moved, change, _ in state.pairs for canvas in (moved, change)]
    return [canvas for canvas in found if isinstance(canvas, Spread)]


@dataclass(frozen=True, eq=False)
class SpreadObjective:
    """The objective of a scale, computed by a crew.

    Attributes:
        summed: the style terms, which turn sums into values and slopes.
        parts: all terms.
    """

    crew: Crew
    summed: Objective
    parts: Sequence[Term]

    @classmethod
    def of(cls, aims: Aims, crew: Crew, scale: Scale, plan: Plan, reach: int, stride: int) -> SpreadObjective:
        """The objective of a scale: what only the paintings tell is measured here, the photo by the crew."""
        photo, options = aims.photo_at(scale), aims.options
        keep = aims.view(photo).keep
        sceneries = []
        for span in crew.spans:
            rows = slice(span.seen_from, span.seen_to)
            tiles = tiling.grid(scale.height, scale.width, plan.window, stride, reach, band=(span.start, span.stop))
            sceneries.append(
                Scenery(
                    aims.encoder,
                    span,
                    (scale.height, scale.width),
                    photo[..., rows, :].numpy(),
                    None if keep is None else keep[rows].numpy(),
                    aims.scene.luminous,
                    [tile.since(span.seen_from) for tile in tiles],
                    tuple(aims.content_layers),
                    plan.keeps,
                    options.total_variation,
                )
            )
        seen = crew.set_up("begin", [(scenery,) for scenery in sceneries])
        sights = {layer: _sight([part[layer] for part in seen]) for layer in aims.content_layers}
        styles, energy = aims.styles(scale, plan.window)
        terms = aims.terms(sights, styles, energy)
        crew.set_up("aim", [([_cut(term, span, aims) for term in terms],) for span in crew.spans])
        summed = Objective(aims.encoder, [term for term in terms if isinstance(term, Style)])
        return cls(crew, summed, terms)

    def value_and_grad(self, canvas: Tensor) -> Evaluation:
        """At a `Spread` canvas; the gradient is another."""
        given, crew = cast(Spread, canvas), self.crew
        bands, spans = crew.bands, crew.spans
        above = [
            None if index == 0 else bands[index - 1].strip.remote(given.number, False, span.start - span.seen_from)
            for index, span in enumerate(spans)
        ]
        below = [
            None
            if span.stop == span.seen_to
            else bands[index + 1].strip.remote(given.number, True, span.seen_to - span.stop)
            for index, span in enumerate(spans)
        ]
        parts = ray.get(
            [band.look.remote(given.number, *rows) for band, *rows in zip(bands, above, below, strict=True)]
        )
        values, slopes = self.summed.slopes(_added(parts))
        shared = ray.put(slopes)
        pulled = [band.pull.options(num_returns=3).remote(shared) for band in bands]
        gradient = Spread(crew, given.shape)
        collected = [
            band.collect.remote(
                gradient.number,
                pulled[index - 1][2] if index else None,
                pulled[index + 1][1] if index + 1 < len(bands) else None,
            )
            for index, band in enumerate(bands)
        ]
        for found in ray.get([part[0] for part in pulled]):
            for name, value in found.items():
                values[name] = values.get(name, 0.0) + value
        ray.get(collected)
        values = Objective(self.summed.encoder, self.parts).in_order(values)
        return Evaluation(sum(values.values()), values, cast(Tensor, gradient))


def _added(parts: Sequence[Mapping[str, Sums]]) -> dict[str, Sums]:
    """The sums over all workers."""
    total: dict[str, Sums] = {}
    for part in parts:
        for name, sums in part.items():
            total[name] = total[name] + sums if name in total else sums
    return total


def _sight(parts: Sequence[tuple[int, float]]) -> Sight:
    """What all workers saw of the photo at a layer: how much, not what."""
    count = sum(part for part, _ in parts)
    return Sight(None, count, sum(part * energy for part, energy in parts) / count)


def _cut(term: Term, span: Any, aims: Aims) -> Term:
    """A term as a worker needs it: its mask no farther than it sees."""
    if isinstance(term, Content) or term.where is None:
        return term
    stride = aims.encoder.stride(term.layer)
    return dataclasses.replace(term, where=term.where[span.window(stride)].clone())
