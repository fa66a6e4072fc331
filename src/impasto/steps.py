"""What every operation shares: steps, the way through the scales, and the clock."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from impasto import images, memory
from impasto.checkpoints import Checkpoint, Checkpoints, Keeper, Row
from impasto.devices import ran_out
from impasto.encoders import Encoder
from impasto.errors import BudgetError
from impasto.images import Picture
from impasto.memory import Plan
from impasto.objective import Evaluation, Objective
from impasto.optimize import METHODS, Point, State, is_finite
from impasto.options import DescentOptions
from impasto.schedule import Scale

log = logging.getLogger(__name__)

#: What the preparation of a scale costs (its targets, its first point), in evaluations: for estimates.
PREPARATION = 2
#: Where memory runs out even in windows of this many pixels, smaller ones would hardly help.
LEAST_WINDOW = 1 << 16
#: By how much a plan may exceed the memory that there is when a run is resumed: what is free is never quite the same.
ROOM = 1.1


@dataclass(frozen=True, eq=False)
class Step:
    """One improvement of the picture.

    Attributes:
        image: `(3, h, w)` at this scale's size, sRGB in [0, 1]: what is optimised, before its colours and alpha.
        iteration, iterations: evaluations done, and planned, at this scale.
        scale, scales: which scale this is, from 1, and how many there are.
        evaluations: evaluations done in all.
        loss, losses: the objective's value, and the weighted value of each term by name.
        seconds: since the beginning.
        eta: seconds that are left, as far as one can tell.
        size: height and width of the final picture.
        note: something a person should know, say that the optimiser gave up; mostly empty.
        earlier: of the first step of a run that was resumed, those before, as `checkpoints.Row`.
    """

    image: Tensor
    iteration: int
    iterations: int
    scale: int
    scales: int
    evaluations: int
    loss: float
    losses: Mapping[str, float]
    seconds: float
    eta: float
    size: tuple[int, int]
    note: str = ""
    finish: Callable[[Tensor], Any] = field(default=Picture, repr=False)
    earlier: Sequence[Row] = field(default=(), repr=False)

    @property
    def picture(self) -> Picture:
        """The picture as it would be kept now: at exactly the final size, with the content's alpha."""
        picture: Picture = self.finish(self.image.cpu())
        return picture


class Judge(Protocol):
    """What is minimised at one scale."""

    @property
    def parts(self) -> Sequence[Any]:
        """Its terms that may be missing."""
        ...

    def value_and_grad(self, canvas: Tensor, /) -> Evaluation:
        """At a canvas `(1, c, h, w)` in [0, 1]."""
        ...


class Work(Protocol):
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

    def place(self, image: Tensor, scale: Scale, /) -> Tensor:
        """A canvas `(1, c, h, w)` of a scale's size, where it is optimised, from an image `(c, h', w')`."""
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

    def place(self, image: Tensor, scale: Scale) -> Tensor:
        """A canvas `(1, c, h, w)` of a scale's size."""
        return images.resize(image, scale.height, scale.width, self.wrap)[None]

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
        nearest: whether style is nearest neighbours.
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
    nearest: bool
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
            self.nearest,
            self.extra,
            scale.evaluations,
        )


def descend(
    task: Work,
    options: DescentOptions,
    scales: Sequence[Scale],
    image: Tensor,
    clock: Clock,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Step]:
    """The steps through the scales: each starts from what the one before arrived at, the first from `image`.

    Args:
        task: what is optimised.
        options: the optimiser's part of them.
        scales: coarse to fine.
        image: `(3, h, w)`, on the device to compute on, of any size.
        clock: which keeps the time budget.
        checkpoints: where to put the run away from time to time, and whether to go on from there.

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
    return _descend(task, options, list(zip(scales, plans, strict=True)), image, clock, keeper, resumed)


def _descend(
    task: Work,
    options: DescentOptions,
    scales: Sequence[tuple[Scale, Plan]],
    image: Tensor,
    clock: Clock,
    keeper: Keeper,
    resumed: Checkpoint | None,
) -> Iterator[Step]:
    evaluations, curve = 0, list(resumed.curve) if resumed else []
    earlier, state = tuple(curve), State(image[None])
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
            state = State(task.place(state.image[0], scale))
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

    def __init__(self, task: Work, scale: Scale, plan: Plan) -> None:
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


def only_step(image: Tensor, finish: Callable[[Tensor], Picture], seconds: float) -> Step:
    """The step of an operation that is done at once, with the picture `(3, h, w)` that it made."""
    return Step(image, 1, 1, 1, 1, 1, 0.0, {}, seconds, 0.0, (image.shape[-2], image.shape[-1]), "", finish)


def noise(height: int, width: int, seed: int, spread: float = 0.02) -> Tensor:
    """White noise around mid-grey to start from, `(3, height, width)` in [0, 1].

    Gentle by default, as in Gatys's own code: what is loud at the start is heard for hundreds of iterations.
    """
    generator = torch.Generator().manual_seed(seed)
    return (0.5 + spread * torch.randn(3, height, width, generator=generator)).clamp(0, 1)


class Clock:
    """Time that went by, time that is left, and each scale's share of a budget.

    An evaluation's cost is taken to be proportional to its pixels.

    Attributes:
        seconds: since the beginning, at the last tick.
        entered: when the scale began.
    """

    def __init__(self, started: float, budget: float | None, scales: Sequence[Scale]) -> None:
        self._started = started
        self._budget = budget
        self._costs = [(scale.evaluations + PREPARATION) * scale.pixels for scale in scales]
        self._scales = scales
        self._pace = 0.0  # seconds per pixel and evaluation
        self._deadline = float("inf")
        self.seconds = 0.0
        self.entered = self._now()
        self._share(0)

    def _now(self) -> float:
        return time.monotonic() - self._started

    def _share(self, index: int) -> None:
        if self._budget is not None:
            left = self._budget - self.entered
            self._deadline = self.entered + left * self._costs[index] / sum(self._costs[index:])

    def enter(self, index: int) -> bool:
        """Begin a scale after the first; False if there is no time left for it."""
        self.entered = self._now()
        self._share(index)
        if self._budget is None:
            return True
        least = (PREPARATION + 1) * self._scales[index].pixels * self._pace
        return self.entered + least <= self._budget

    def resume(self, index: int, seconds: float, entered: float) -> None:
        """Go on where a run was `seconds` after its beginning, in a scale that it had entered then."""
        self._started = time.monotonic() - seconds
        self.seconds, self.entered = seconds, entered
        self._share(index)

    def tick(self, index: int, done: int) -> None:
        """Note that `done` evaluations of this scale are behind us."""
        self.seconds = self._now()
        self._pace = (self.seconds - self.entered) / ((done + PREPARATION) * self._scales[index].pixels)

    def is_over(self, index: int) -> bool:
        """Whether one more evaluation would overrun this scale's share of the budget."""
        return self.seconds + self._pace * self._scales[index].pixels > self._deadline

    def eta(self, index: int, done: int, stopped: bool) -> float:
        """Seconds left."""
        here = 0 if stopped else (self._scales[index].evaluations - done) * self._scales[index].pixels
        left = self._pace * (here + sum(self._costs[index + 1 :]))
        return left if self._budget is None else max(0.0, min(left, self._budget - self.seconds))
