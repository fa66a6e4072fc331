"""What every operation shares: steps, the way through the scales, and the clock."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from impasto import images, memory
from impasto.encoders import Encoder
from impasto.errors import BudgetError
from impasto.images import Picture
from impasto.memory import Plan
from impasto.objective import Evaluation, Objective, Term
from impasto.optimize import METHODS, is_finite
from impasto.options import Options
from impasto.schedule import Scale

log = logging.getLogger(__name__)

#: What the preparation of a scale costs (its targets, its first point), in evaluations: for estimates.
PREPARATION = 2
#: Where memory runs out even in windows of this many pixels, smaller ones would hardly help.
LEAST_WINDOW = 1 << 16


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
    finish: Callable[[Tensor], Picture] = field(default=Picture, repr=False)

    @property
    def picture(self) -> Picture:
        """The picture as it would be kept now: at exactly the final size, with the content's alpha."""
        return self.finish(self.image.cpu())


@dataclass(frozen=True, eq=False)
class Task:
    """What an operation optimises.

    Attributes:
        encoder: on the device to compute on.
        content, style: the layers that it reads.
        nearest: whether style is nearest neighbours.
        objective_at: makes the objective of a scale, in windows of at most so many pixels.
        finish: makes the picture of an image of any scale.
        size: of that picture, height and width.
        wrap: whether it is one that tiles.
    """

    encoder: Encoder
    content: Collection[str]
    style: Collection[str]
    nearest: bool
    objective_at: Callable[[Scale, int], Objective]
    finish: Callable[[Tensor], Picture]
    size: tuple[int, int]
    wrap: bool = False

    def plan(self, scale: Scale, options: Options) -> Plan:
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
            memory.budget(options.memory, self.encoder.mean.device),
            self.nearest,
        )


def descend(task: Task, options: Options, scales: Sequence[Scale], image: Tensor, clock: Clock) -> Iterator[Step]:
    """The steps through the scales: each starts from what the one before arrived at, the first from `image`.

    Args:
        task: what is optimised.
        options: the optimiser's part of them.
        scales: coarse to fine.
        image: `(3, h, w)`, on the device to compute on, of any size.
        clock: which keeps the time budget.

    Raises:
        BudgetError: the last scale does not fit into memory; before the first step.
        ValueError: a loss that is not finite to begin with.
    """
    task.plan(scales[-1], options)
    return _descend(task, options, scales, image, clock)


def _descend(task: Task, options: Options, scales: Sequence[Scale], image: Tensor, clock: Clock) -> Iterator[Step]:
    evaluations = 0
    for index, scale in enumerate(scales):
        if index > 0 and not clock.enter(index):
            log.warning("out of time before %d×%d px", scale.width, scale.height)
            break
        image = images.resize(image, scale.height, scale.width, task.wrap)
        plan = task.plan(scale, options)
        objective = _Careful(task, scale, plan.window)
        if not objective.parts:
            continue  # the masks vanish at every layer: nothing to go by at this size
        if (plan.method, plan.history) != (options.optimizer, options.history):
            kind = "Adam" if plan.method == "adam" else f"a history of {plan.history}"
            log.warning("%d×%d px: with %s, to fit into memory", scale.width, scale.height, kind)
        method = METHODS[plan.method](objective, image[None], plan.history, options.rate)
        del image  # the optimiser has it now, and gives it up for its own
        for point in method:
            if not is_finite(point.evaluation) and index == 0:
                raise ValueError(f"the loss is {point.evaluation.loss} at the start; use smaller weights or strength")
            image = point.image[0]
            done = min(point.evaluations, scale.evaluations)
            clock.tick(index, done)
            yield Step(
                image=image,
                iteration=done,
                iterations=scale.evaluations,
                scale=index + 1,
                scales=len(scales),
                evaluations=evaluations + point.evaluations,
                loss=point.evaluation.loss,
                losses=point.evaluation.terms,
                seconds=clock.seconds,
                eta=clock.eta(index, done, bool(point.note)),
                size=task.size,
                note=point.note,
                finish=task.finish,
            )
            if point.note:
                log.warning("%d×%d px: %s", scale.width, scale.height, point.note)
            if point.evaluations >= scale.evaluations or clock.is_over(index):
                break
        evaluations += point.evaluations
        if not is_finite(point.evaluation):
            break
        del method, objective, point  # and with them what the optimiser remembers: the next scale needs the memory


class _Careful:
    """The objective of a scale; where memory runs out in spite of the plan, in smaller tiles from then on."""

    def __init__(self, task: Task, scale: Scale, window: int) -> None:
        self._task, self._scale, self._window = task, scale, window
        self._objective = task.objective_at(scale, window)

    @property
    def parts(self) -> Sequence[Term]:
        """The terms."""
        return self._objective.parts

    def __call__(self, canvas: Tensor) -> Evaluation:
        """Value and gradient at a canvas."""
        while True:
            try:
                return self._objective.value_and_grad(canvas)
            except (MemoryError, RuntimeError) as error:
                if not memory.ran_out(error):
                    raise
            pixels = min(self._window, self._scale.pixels)
            if pixels <= LEAST_WINDOW:
                raise BudgetError(
                    f"out of memory at {self._scale.width}×{self._scale.height} px, even in parts of {pixels:,} "
                    "pixels: close other programs, or make a smaller picture"
                )
            self._window = pixels // 2
            log.warning(
                "out of memory at %d×%d px: going on in parts of %d pixels",
                self._scale.width,
                self._scale.height,
                self._window,
            )
            del self._objective
            self._objective = self._task.objective_at(self._scale, self._window)


def noise(height: int, width: int, seed: int, spread: float = 0.02) -> Tensor:
    """White noise around mid-grey to start from, `(3, height, width)` in [0, 1].

    Gentle by default, as in Gatys's own code: what is loud at the start is heard for hundreds of iterations.
    """
    generator = torch.Generator().manual_seed(seed)
    return (0.5 + spread * torch.randn(3, height, width, generator=generator)).clamp(0, 1)


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the best one here.

    Raises:
        ValueError: a device that this machine or this build of PyTorch lacks.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if available[device]))
    if not available[name]:
        here = ", ".join(device for device, there in available.items() if there)
        raise ValueError(f"device {name} is not available here; choose from auto, {here}")
    return torch.device(name)


class Clock:
    """Time that went by, time that is left, and each scale's share of a budget.

    An evaluation's cost is taken to be proportional to its pixels.
    """

    def __init__(self, started: float, budget: float | None, scales: Sequence[Scale]) -> None:
        self._started = started
        self._budget = budget
        self._costs = [(scale.evaluations + PREPARATION) * scale.pixels for scale in scales]
        self._scales = scales
        self._pace = 0.0  # seconds per pixel and evaluation
        self._deadline = float("inf")
        self.seconds = 0.0
        self._entered = self._now()
        self._share(0)

    def _now(self) -> float:
        return time.monotonic() - self._started

    def _share(self, index: int) -> None:
        if self._budget is not None:
            left = self._budget - self._entered
            self._deadline = self._entered + left * self._costs[index] / sum(self._costs[index:])

    def enter(self, index: int) -> bool:
        """Begin a scale after the first; False if there is no time left for it."""
        self._entered = self._now()
        self._share(index)
        if self._budget is None:
            return True
        least = (PREPARATION + 1) * self._scales[index].pixels * self._pace
        return self._entered + least <= self._budget

    def tick(self, index: int, done: int) -> None:
        """Note that `done` evaluations of this scale are behind us."""
        self.seconds = self._now()
        self._pace = (self.seconds - self._entered) / ((done + PREPARATION) * self._scales[index].pixels)

    def is_over(self, index: int) -> bool:
        """Whether one more evaluation would overrun this scale's share of the budget."""
        return self.seconds + self._pace * self._scales[index].pixels > self._deadline

    def eta(self, index: int, done: int, stopped: bool) -> float:
        """Seconds left."""
        here = 0 if stopped else (self._scales[index].evaluations - done) * self._scales[index].pixels
        left = self._pace * (here + sum(self._costs[index + 1 :]))
        return left if self._budget is None else max(0.0, min(left, self._budget - self.seconds))
