"""One picture sharded over many workers: the tiles of `vgg.tiling`, on machines that have the memory for them.

Within a pass tiles are independent, and sums over them add. So every worker owns some rows of the picture for the
whole run, and an evaluation takes three messages: the rows at the borders and the sums over each worker's tiles; d loss
/ d sums; and the gradients of rows that belong to a neighbour.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import ray
import torch
from torch import Tensor

from impasto.cluster.connection import LOST, ROWS_LOST, connect, reporting_errors
from impasto.cluster.group import ShardedCanvas, WorkerGroup
from impasto.cluster.worker import ShardSpec
from impasto.errors import ClusterError
from impasto.images import Picture, PictureLike
from impasto.inputs.memo import Memo
from impasto.inputs.prepare import prepare_inputs
from impasto.inputs.read import opened
from impasto.isolation import isolated
from impasto.losses.objective import Objective
from impasto.losses.statistics import Sums
from impasto.losses.targets import ContentFeatures
from impasto.losses.terms import LossTerm, Positions
from impasto.operations.problem import PictureProblem
from impasto.operations.stylize import problem_of
from impasto.optim import memory
from impasto.optim.canvas import Canvas
from impasto.optim.checkpoints import Checkpoints
from impasto.optim.memory import IMAGE, Plan
from impasto.optim.multiscale import optimize_scales
from impasto.optim.problem import LocalExecution, ScaleObjective
from impasto.optim.schedule import Scale
from impasto.optim.solvers import IMAGES_HELD, Evaluation, Iterate, State
from impasto.optim.steps import Step
from impasto.settings.options import StylizeOptions
from impasto.vgg import tiling
from impasto.vgg.tiles import Span, grid, row_spans

log = logging.getLogger(__name__)

Term = TypeVar("Term", bound=LossTerm)

#: Scales of fewer pixels are computed in this process: sending them around would take longer.
MIN_PIXELS = 1 << 20


def stylize(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
    address: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
) -> Picture:
    """`impasto.stylize` over the workers of a Ray cluster: the same picture, of as many pixels as fit into them all.

    Args:
        content: as for `impasto.stylize`.
        styles: likewise.
        options: likewise; `options.memory` is that of each machine, shared by the workers on it.
        address: see `connect`.
        threads: of each worker; by default each node is one, with all of its cores.
        workers: how many at most; by default as many as there are cores for.

    Raises:
        What `impasto.stylize` raises; ClusterError: no cluster, or too many workers lost at once.
        ValueError: options that no cluster can follow.
    """
    (last,) = deque(iterate(content, styles, options, address=address, threads=threads, workers=workers), maxlen=1)
    return last.picture


@isolated
def iterate(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    address: str = "auto",
    threads: int | None = None,
    workers: int | None = None,
) -> Iterator[Step]:
    """The steps of `stylize`, as they come; `step.image` and `step.picture` gather the picture from the workers."""
    started = time.monotonic()
    options = options or StylizeOptions()
    _check(options)
    device = torch.device("cpu")
    memo, content = Memo(0), opened(content, "the content")
    inputs = prepare_inputs(content, styles, options, device, memo)
    problem, start = problem_of(inputs, options, device, memo, content, checkpoints=checkpoints)
    connect(address)
    with reporting_errors(ROWS_LOST):
        capacity, threads = _capacity(threads)
        execution = ShardedExecution(problem, min(capacity, workers or capacity), threads)
        steps = optimize_scales(execution, start, started, checkpoints)
    return _closing(steps, execution)


def _check(options: StylizeOptions) -> None:
    if options.color == "palette":
        raise ValueError("color palette takes a moment on one machine; leave the cluster away")
    if options.device not in ("auto", "cpu"):
        raise ValueError(f"device is {options.device}; the workers of a sharded picture compute on CPUs")


def _capacity(threads: int | None) -> tuple[int, int]:
    """How many workers the cluster has cores for, and threads of each."""
    cores = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cores = [count for count in cores if count]
    if not cores:
        raise ClusterError("no machine of the cluster has cores for workers; add one with 'ray start --address=…'")
    threads = threads or min(cores)
    return max(1, sum(count // threads for count in cores)), threads


def _closing(steps: Iterator[Step], execution: ShardedExecution) -> Iterator[Step]:
    """The steps; the workers end after them, but not before the last picture is here, unless it is lost."""
    step: Step | None = None
    try:
        with reporting_errors(ROWS_LOST):
            for step in steps:
                yield step
    finally:
        try:
            steps.close()  # type: ignore[attr-defined] # first the checkpoint, where the run is not over yet
            if step is not None and isinstance(step.canvas, ShardedCanvas):
                with suppress(ClusterError):  # raised again where the picture is read
                    step.canvas.fetch()
        finally:
            execution.close()


class ShardedExecution:
    """A problem whose large scales are computed by a group of workers; see `optim.problem.Execution`.

    Args:
        workers: how many.
        threads: of each.
    """

    def __init__(self, problem: PictureProblem, workers: int, threads: int) -> None:
        self._local = LocalExecution(problem)
        self._workers, self._threads = workers, threads
        self._group: WorkerGroup | None = None
        self._stride = problem.encoder.least_size(problem.taps)
        self._radius = tiling.halo(problem.encoder, problem.taps)

    @property
    def problem(self) -> PictureProblem:
        """What is optimised."""
        return cast(PictureProblem, self._local.problem)

    def after(self, scale: Scale, plan: Plan, canvas: Canvas) -> ShardedExecution:
        """This execution, of `Problem.after`; the result of a sharded scale is too large to be looked at."""
        if not self.is_sharded(scale):
            self._local = self._local.after(scale, plan, canvas)
        return self

    def resumed(self, found: Mapping[str, float]) -> ShardedExecution:
        """This execution, of `Problem.resumed`."""
        self._local = self._local.resumed(found)
        return self

    def close(self) -> None:
        """End the workers."""
        if self._group is not None:
            self._group.dismiss()

    def is_sharded(self, scale: Scale) -> bool:
        """Whether a scale is large enough for the workers, and no part of it narrower than the receptive field."""
        return scale.pixels >= MIN_PIXELS and scale.height >= self._workers * 2 * max(self._radius, self._stride)

    def _group_at(self, scale: Scale) -> WorkerGroup:
        """The workers, with their rows of this scale."""
        if self._group is None:
            self._group = WorkerGroup(self._workers, self._threads)
        self._group.spans = row_spans(scale.height, self._workers, self._stride, self._radius)
        return self._group

    def plan(self, scale: Scale) -> Plan:
        """How the largest part is computed in the memory of its worker."""
        if not self.is_sharded(scale):
            return self._local.plan(scale)
        problem, options, group = self.problem, self.problem.options, self._group_at(scale)
        places = group.call("place")
        sharing = Counter(node for node, _ in places)
        budget = min(round((options.memory or memory.SHARE * free) / sharing[node]) for node, free in places)
        rows = max(span.window_length for span in group.spans)
        replicas = IMAGES_HELD[options.optimizer][1] * min(options.history, scale.evaluations) + 4
        return memory.plan(
            problem.encoder,
            (rows, scale.width),
            (problem.content_layers, problem.style_layers),
            options.optimizer,
            options.history,
            budget,
            problem.auxiliary_bytes_per_pixel + replicas * IMAGE,
            scale.evaluations,
        )

    def objective(self, scale: Scale, plan: Plan) -> ScaleObjective:
        """What is minimised at a scale."""
        if not self.is_sharded(scale):
            return self._local.objective(scale, plan)
        group = self._group_at(scale)
        specs = self._shards(scale, plan, group.spans)
        content = group.set_up("begin", [(spec,) for spec in specs])
        features = {layer: _combined([part[layer] for part in content]) for layer in self.problem.content_layers}
        styles, energy = self.problem.style_losses(scale, plan.tile)
        terms, encoder = self.problem.losses(features, styles, energy, scale), self.problem.encoder
        group.set_up(
            "set_terms", [([_owned(term, span, encoder.stride(term.layer)) for term in terms],) for span in group.spans]
        )
        return ShardedObjective(group, Objective(encoder, terms))

    def _shards(self, scale: Scale, plan: Plan, spans: Sequence[Span]) -> list[ShardSpec]:
        """What each worker computes."""
        problem, size = self.problem, (scale.height, scale.width)
        photo = problem.photo_at(scale)
        assert photo is not None  # pictures from scratch are not sharded
        keep = problem.view(photo, size).keep
        shards = []
        for span in spans:
            rows, owned = span.window(1), (span.start, span.stop)
            tiles, tiles_read = (
                [
                    tile.relative_to(span.window_start)
                    for tile in grid(*size, most, self._stride, self._radius, rows=owned)
                ]
                for most in (plan.window, plan.tile)
            )
            shards.append(
                ShardSpec(
                    problem.encoder,
                    plan,
                    span,
                    size,
                    photo[..., rows, :].numpy(),
                    None if keep is None else keep[rows].numpy(),
                    problem.luminance_only,
                    tiles,
                    tiles_read,
                    tuple(problem.content_layers),
                    problem.total_variation,
                )
            )
        return shards

    def place(self, image: Tensor, scale: Scale, start: Tensor | None) -> Canvas:
        """A canvas of this scale, on the workers or here."""
        canvas = self._local.place(image.cpu(), scale, start)
        return cast(Canvas, self._group_at(scale).scatter(canvas.gather())) if self.is_sharded(scale) else canvas

    def restored(self, state: State, scale: Scale) -> State:
        """The state of a checkpoint, its canvases on the workers or here."""
        if not self.is_sharded(scale):
            return state
        group = self._group_at(scale)
        return _mapped(state, lambda canvas: cast(Canvas, group.scatter(canvas.gather())))

    def guarded(self, search: Callable[[], Iterator[Iterate]], state: State) -> Iterator[Iterate]:
        """The iterates; where a worker is lost, the search continues from the last one with another worker."""
        if self._group is None or not isinstance(state.canvas, ShardedCanvas):
            yield from search()
            return
        group, safe = self._group, _copy(state)
        while True:
            try:
                group.replicate(_canvases(safe))
                for found in search():
                    reached = _copy(state)
                    group.replicate(_canvases(reached))
                    safe = reached
                    yield found
                return
            except LOST:
                group.recover(_canvases(safe))
                log.warning("a worker was lost: continuing from the last step with another one")
                for name, value in vars(_copy(safe)).items():
                    setattr(state, name, value)


def _mapped(state: State, place: Callable[[Canvas], Canvas]) -> State:
    """The state with every canvas replaced by another."""
    return dataclasses.replace(
        state,
        canvas=place(state.canvas),
        gradient=None if state.gradient is None else place(state.gradient),
        pairs=[(place(s), place(y), product) for s, y, product in state.pairs],
        moments=None if state.moments is None else (place(state.moments[0]), place(state.moments[1])),
    )


def _copy(state: State) -> State:
    """A state that stays as it is while the optimiser continues: only moments are changed in place."""
    moments = None if state.moments is None else (state.moments[0].clone(), state.moments[1].clone())
    return dataclasses.replace(state, pairs=list(state.pairs), moments=moments)


def _canvases(state: State) -> list[ShardedCanvas]:
    """All canvases of a state."""
    canvases: list[Any] = [state.canvas, state.gradient, *(state.moments or ())]
    canvases += [canvas for s, y, _ in state.pairs for canvas in (s, y)]
    return [canvas for canvas in canvases if canvas is not None]


@dataclass(frozen=True, eq=False)
class ShardedObjective:
    """The objective of a scale, computed by a group; see `optim.problem.ScaleObjective`.

    Attributes:
        whole: the terms, which turn the sums over all workers into values and gradients.
    """

    group: WorkerGroup
    whole: Objective

    @property
    def terms(self) -> Sequence[LossTerm]:
        """The loss terms."""
        return self.whole.terms

    def __call__(self, canvas: Canvas) -> Evaluation[Canvas]:
        """Value and gradient at a `ShardedCanvas`; the gradient is another."""
        assert isinstance(canvas, ShardedCanvas)
        workers, spans, number = self.group.workers, self.group.spans, canvas.id.number
        above = [
            None if index == 0 else workers[index - 1].border.remote(number, False, span.start - span.window_start)
            for index, span in enumerate(spans)
        ]
        below = [
            None
            if span.stop == span.window_stop
            else workers[index + 1].border.remote(number, True, span.window_stop - span.stop)
            for index, span in enumerate(spans)
        ]
        parts = ray.get(
            [worker.reduce.remote(number, *rows) for worker, *rows in zip(workers, above, below, strict=True)]
        )
        values, grad_sums = self.whole.finish(_total(parts))
        shared = ray.put(grad_sums)
        found = [worker.backward.options(num_returns=3).remote(shared) for worker in workers]
        gradient = self.group.new_canvas(canvas.shape)
        collected = [
            worker.collect.remote(
                gradient.id.number,
                found[index - 1][2] if index else None,
                found[index + 1][1] if index + 1 < len(workers) else None,
            )
            for index, worker in enumerate(workers)
        ]
        for local in ray.get([part[0] for part in found]):
            for name, value in local.items():
                values[name] = values.get(name, 0.0) + value
        ray.get(collected)
        values = self.whole.in_order(values)
        return Evaluation(sum(values.values()), values, cast(Canvas, gradient))


def _total(parts: Sequence[Mapping[str, Sums]]) -> dict[str, Sums]:
    """The sums over all workers."""
    total: dict[str, Sums] = {}
    for part in parts:
        for name, sums in part.items():
            total[name] = total[name] + sums if name in total else sums
    return total


def _combined(parts: Sequence[tuple[int, float]]) -> ContentFeatures:
    """The photo's features at a layer on all workers: their number and energy."""
    count = sum(part for part, _ in parts)
    return ContentFeatures(None, count, sum(part * energy for part, energy in parts) / count)


def _owned(term: Term, span: Span, stride: int) -> LossTerm:
    """A term for the window of a worker, with tensors of its own: views would be sent with all that they view."""
    local = term.restricted_to(Positions(span.window(stride), slice(None)))
    if not dataclasses.is_dataclass(local):
        return local
    tensors = {name: value.clone() for name, value in vars(local).items() if isinstance(value, Tensor)}
    return cast(LossTerm, dataclasses.replace(cast(Any, local), **tensors))
