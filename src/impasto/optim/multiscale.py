"""The way down: an operation's objective minimised scale by scale, coarse to fine, in the memory there is."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from impasto import images
from impasto.devices import ran_out
from impasto.errors import BudgetError
from impasto.images import Picture
from impasto.losses.objective import Evaluation, Objective
from impasto.optim import memory
from impasto.optim.checkpoints import Checkpoint, Checkpoints, Keeper
from impasto.optim.clock import Clock
from impasto.optim.memory import Plan
from impasto.optim.schedule import Scale
from impasto.optim.solvers import METHODS, Point, State, is_finite
from impasto.optim.steps import Step
from impasto.settings.options import DescentOptions
from impasto.vgg.encoder import Encoder

log = logging.getLogger(__name__)

#: Where memory runs out even in windows of this many pixels, smaller ones would hardly help.
LEAST_WINDOW = 1 << 16
#: By how much a plan may exceed the memory that there is when a run is resumed: what is free is never quite the same.
ROOM = 1.1


class Judge(Protocol):
    """What is minimised at one scale."""

    @property
    def parts(self) -> Sequence[Any]:
        """Its terms that may be missing."""
        ...

    def value_and_grad(self, canvas: Tensor, /) -> Evaluation:
        """At a canvas `(1, c, h, w)` in [0, 1]."""
        ...


class Operation(Protocol):
    """What `descend` needs of an operation; see `Task`."""

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Of the result."""
        ...

    @property
    def pictures(self) -> Mapping[str, str]:
        """Hashes of what the operation was given."""
        ...

    def plan(self, scale: Scale, options: DescentOptions, /) -> Plan:
        """How a scale is computed in the memory there is."""
        ...

    def objective_at(self, scale: Scale, plan: Plan, /) -> Judge:
        """What is minimised at a scale."""
        ...

    def finish(self, image: Tensor, /) -> Any:
        """What is kept of a canvas `(c, h, w)`."""
        ...

    def place(self, image: Tensor, scale: Scale, start: Tensor | None, /) -> Tensor:
        """A canvas `(1, c, h, w)` of a scale's size, where it is optimised, from an image `(c, h', w')`.

        With `start`, an image of any size, it is that one as far as the image does not differ from it: what an image
        of its size has no room for is not lost.
        """
        ...

    def restored(self, state: State, scale: Scale, /) -> State:
        """The state of a checkpoint, where it is optimised."""
        ...

    def guarded(self, search: Callable[[], Iterator[Point]], state: State, /) -> Iterator[Point]:
        """The points of an optimiser that starts from `state` and keeps it up to date; whatever happens to parts."""
        ...


class Here:
    """A canvas in this process."""

    wrap = False

    def place(self, image: Tensor, scale: Scale, start: Tensor | None) -> Tensor:
        """A canvas `(1, c, h, w)` of a scale's size: an image, or `start` as the image differs from it."""
        size = (scale.height, scale.width)
        canvas = images.resize(image, *size, self.wrap)
        if start is not None:
            height, width = image.shape[-2:]
            before = images.resize(images.resize(start, height, width, self.wrap), *size, self.wrap)
            canvas = (canvas - before).add_(images.resize(start, *size, self.wrap)).clamp_(0, 1)
        return canvas[None]

    def restored(self, state: State, scale: Scale) -> State:
        """The state of a checkpoint, as it is."""
        return state

    def guarded(self, search: Callable[[], Iterator[Point]], state: State) -> Iterator[Point]:
        """The points: nothing is lost but with the process."""
        return search()


@dataclass(frozen=True, eq=False)
class Task(Here):
    """What an operation optimises.

    Attributes:
        encoder: on the device to compute on.
        content, style: the layers that it reads.
        objective_at: makes the objective of a scale, computed as planned.
        finish: makes the picture of an image of any scale.
        size: of that picture, height and width.
        wrap: whether it is one that tiles.
        extra: bytes per pixel of a scale that masks and the like take beside.
        pictures: hashes of what the operation was given, for its checkpoints.
    """

    encoder: Encoder
    content: Collection[str]
    style: Collection[str]
    objective_at: Callable[[Scale, Plan], Objective]
    finish: Callable[[Tensor], Picture]
    size: tuple[int, int]
    wrap: bool = False
    extra: float = 0.0
    pictures: Mapping[str, str] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return self.encoder.mean.device

    def plan(self, scale: Scale, options: DescentOptions) -> Plan:
        """How a scale is computed in the memory there is.

        Raises:
            BudgetError: it cannot be.
        """
        return memory.plan(
            self.encoder,
            (scale.height, scale.width),
            (self.content, self.style),
            options.optimizer,
            options.history,
            memory.budget(options.memory, self.device),
            self.extra,
            scale.evaluations,
        )


def descend(
    task: Operation,
    options: DescentOptions,
    scales: Sequence[Scale],
    image: Tensor,
    clock: Clock,
    checkpoints: Checkpoints | None = None,
    details: bool = False,
) -> Iterator[Step]:
    """The steps through the scales: each starts from what the one before arrived at, the first from `image`.

    Args:
        task: what is optimised.
        options: the optimiser's part of them.
        scales: coarse to fine.
        image: `(3, h, w)`, on the device to compute on, of any size.
        clock: which keeps the time budget.
        checkpoints: where to put the run away from time to time, and whether to go on from there.
        details: whether scales hand on how they changed `image` rather than what they made of it, so that a scale
            gets the details of `image` that the one before had no room for.

    Raises:
        BudgetError: a scale does not fit into memory; before the first step.
        CheckpointError: the run to be resumed is damaged, or another.
        ValueError: a loss that is not finite to begin with.
    """
    keeper = Keeper(checkpoints, options, task.pictures)
    resumed = keeper.resume(task.device)
    plans: Sequence[Plan] = [task.plan(scale, options) for scale in scales]
    if resumed is not None:
        least = memory.budget(options.memory, task.device)
        if all(plan.bytes <= ROOM * least for plan in resumed.plans):
            plans = resumed.plans
        else:
            log.warning("there is less memory than when it began: the last digits may differ")
    return _descend(task, options, list(zip(scales, plans, strict=True)), image, clock, keeper, resumed, details)


def _descend(
    task: Operation,
    options: DescentOptions,
    scales: Sequence[tuple[Scale, Plan]],
    image: Tensor,
    clock: Clock,
    keeper: Keeper,
    resumed: Checkpoint | None,
    details: bool,
) -> Iterator[Step]:
    evaluations, curve = 0, list(resumed.curve) if resumed else []
    earlier, state, start = tuple(curve), State(image[None]), image if details else None
    del image  # the state has it now, and gives it up for its own
    for index, (scale, plan) in enumerate(scales):
        if resumed is not None and index < resumed.scale:
            continue
        if resumed is not None:
            state, evaluations = task.restored(resumed.state, scale), resumed.before
            clock.resume(index, resumed.seconds, resumed.entered)
            resumed = None
        elif index > 0 and not clock.enter(index):
            log.warning("out of time before %d×%d px", scale.width, scale.height)
            break
        else:
            state = State(task.place(state.image[0], scale, start if index > 0 else None))
        if index == len(scales) - 1:
            start = None  # the memory is needed
        objective = _Careful(task, scale, plan)
        if not objective.parts:
            continue  # the masks vanish at every layer: nothing to go by at this size
        if (plan.method, plan.history) != (options.optimizer, options.history):
            kind = "Adam" if plan.method == "adam" else f"a history of {plan.history}"
            log.warning("%d×%d px: with %s, to fit into memory", scale.width, scale.height, kind)

        def checkpoint(index: int = index, evaluations: int = evaluations, state: State = state) -> Checkpoint:
            plans = [plan for _, plan in scales]
            return Checkpoint(plans, index, evaluations, clock.seconds, clock.entered, state, curve)

        def search(plan: Plan = plan, objective: _Careful = objective, state: State = state) -> Iterator[Point]:
            return METHODS[plan.method](objective, state, plan.history, options.rate)

        try:
            for point in task.guarded(search, state):
                if not is_finite(point.evaluation) and index == 0:
                    raise ValueError(
                        f"the loss is {point.evaluation.loss} at the start; use smaller weights or strength"
                    )
                done = min(point.evaluations, scale.evaluations)
                clock.tick(index, done)
                total, loss, terms = evaluations + point.evaluations, point.evaluation.loss, point.evaluation.terms
                if not curve or curve[-1][0] < total:  # the first of a resumed run is the last of the one before
                    curve.append((total, index + 1, loss, terms))
                keeper.keep(checkpoint())
                yield Step(
                    image=point.image[0],
                    iteration=done,
                    iterations=scale.evaluations,
                    scale=index + 1,
                    scales=len(scales),
                    evaluations=total,
                    loss=loss,
                    losses=terms,
                    seconds=clock.seconds,
                    eta=clock.eta(index, done, bool(point.note)),
                    size=task.size,
                    note=point.note,
                    finish=task.finish,
                    earlier=earlier,
                )
                earlier = ()
                if point.note:
                    log.warning("%d×%d px: %s", scale.width, scale.height, point.note)
                if point.evaluations >= scale.evaluations or clock.is_over(index):
                    break
        except BaseException:  # Ctrl-C too, or that nobody asks for more
            keeper.keep(checkpoint(), at_once=True)
            raise
        evaluations += point.evaluations
        if not is_finite(point.evaluation):
            break
        state = State(state.image)  # what else is remembered goes: the next scale needs the memory
        del objective, point, checkpoint, search


class _Careful:
    """The objective of a scale; where memory runs out in spite of the plan, in smaller tiles from then on."""

    def __init__(self, task: Operation, scale: Scale, plan: Plan) -> None:
        self._task, self._scale, self._plan = task, scale, plan
        self._objective = task.objective_at(scale, plan)

    @property
    def parts(self) -> Sequence[Any]:
        """The terms."""
        return self._objective.parts

    def __call__(self, canvas: Tensor) -> Evaluation:
        """Value and gradient at a canvas."""
        while True:
            try:
                return self._objective.value_and_grad(canvas)
            except (MemoryError, RuntimeError) as error:
                if not ran_out(error):
                    raise
            pixels = min(self._plan.window, self._scale.pixels)
            if pixels <= LEAST_WINDOW:
                raise BudgetError(
                    f"out of memory at {self._scale.width}×{self._scale.height} px, even in parts of {pixels:,} "
                    "pixels: close other programs, or make a smaller picture"
                )
            self._plan = dataclasses.replace(self._plan, window=pixels // 2, keeps=False)
            log.warning(
                "out of memory at %d×%d px: going on in parts of %d pixels",
                self._scale.width,
                self._scale.height,
                self._plan.window,
            )
            del self._objective
            self._objective = self._task.objective_at(self._scale, self._plan)


def noise(height: int, width: int, seed: int, spread: float = 0.02) -> Tensor:
    """White noise around mid-grey to start from, `(3, height, width)` in [0, 1].

    Gentle by default, as in Gatys's own code: what is loud at the start is heard for hundreds of iterations.
    """
    generator = torch.Generator().manual_seed(seed)
    return (0.5 + spread * torch.randn(3, height, width, generator=generator)).clamp(0, 1)
