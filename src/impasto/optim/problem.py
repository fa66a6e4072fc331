"""What is optimised, and where: the contract between operations and the multi-scale optimisation."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from impasto import images
from impasto.devices import ran_out
from impasto.errors import BudgetError
from impasto.optim.canvas import Canvas, LocalCanvas
from impasto.optim.memory import Plan
from impasto.optim.schedule import Scale
from impasto.optim.solvers import Evaluation, Iterate, State
from impasto.settings.options import OptimizationOptions

log = logging.getLogger(__name__)

#: Where memory runs out even in windows of this many pixels, smaller ones would hardly help.
MIN_WINDOW = 1 << 16


class TensorObjective(Protocol):
    """What is minimised at one scale, as a function of a tensor `(1, c, h, w)` in [0, 1]: `losses.objective.Objective`.

    Attributes:
        terms: its loss terms; none where masks vanish at every layer.
    """

    @property
    def terms(self) -> Sequence[Any]: ...

    def value_and_grad(self, canvas: Tensor, /) -> Evaluation[Tensor]: ...


class ScaleObjective(Protocol):
    """The same as a function of a `Canvas`."""

    @property
    def terms(self) -> Sequence[Any]: ...

    def __call__(self, canvas: Canvas, /) -> Evaluation[Canvas]: ...


class Problem(Protocol):
    """What an operation optimises: `operations.problem.PictureProblem`, `audio.transfer.SoundProblem`.

    Attributes:
        options: the optimiser, its seed, and memory.
        device: where to compute.
        scales: the sizes to go through, coarse to fine.
        size: height and width of the result.
        wraps: whether the result is seamless.
        keeps_details: whether each scale passes on the upsampled residual from the start, not the image, so that it
            gets the details of the start that the scale before had no room for.
        input_hashes: name -> hash of each input, for checkpoints; empty where there are none.
        found: name -> value of options that were found for the inputs, to be recorded with the result.
    """

    @property
    def options(self) -> OptimizationOptions: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def scales(self) -> Sequence[Scale]: ...

    @property
    def size(self) -> tuple[int, int]: ...

    @property
    def wraps(self) -> bool: ...

    @property
    def keeps_details(self) -> bool: ...

    @property
    def input_hashes(self) -> Mapping[str, str]: ...

    @property
    def found(self) -> Mapping[str, float]: ...

    def plan(self, scale: Scale, /) -> Plan:
        """How a scale is computed in the memory there is; a BudgetError where it does not fit."""
        ...

    def objective(self, scale: Scale, plan: Plan, /) -> TensorObjective:
        """What is minimised at a scale, computed as planned."""
        ...

    def after(self, scale: Scale, plan: Plan, canvas: Tensor, /) -> Self:
        """The problem for the scales after this one, computed as planned, given its result, `(1, c, h, w)`."""
        ...

    def resumed(self, found: Mapping[str, float], /) -> Self:
        """The problem with what a run had `found` when it was interrupted."""
        ...

    def finish(self, image: Tensor, /) -> Any:
        """The result, from an image `(c, h, w)` of any scale."""
        ...


class Execution(Protocol):
    """Where a problem is computed: in this process (`LocalExecution`), or on a cluster (`ShardedExecution`)."""

    @property
    def problem(self) -> Problem: ...

    def plan(self, scale: Scale, /) -> Plan:
        """As `Problem.plan`."""
        ...

    def objective(self, scale: Scale, plan: Plan, /) -> ScaleObjective:
        """As `Problem.objective`."""
        ...

    def place(self, image: Tensor, scale: Scale, start: Tensor | None, /) -> Canvas:
        """The canvas of a scale, from an image `(c, h', w')` of the scale before; see `upsampled`."""
        ...

    def after(self, scale: Scale, plan: Plan, canvas: Canvas, /) -> Self:
        """The execution of `Problem.after`."""
        ...

    def resumed(self, found: Mapping[str, float], /) -> Self:
        """The execution of `Problem.resumed`."""
        ...

    def restored(self, state: State, scale: Scale, /) -> State:
        """The state of a checkpoint, its canvases where they are optimised."""
        ...

    def guarded(self, search: Callable[[], Iterator[Iterate]], state: State, /) -> Iterator[Iterate]:
        """The iterates of a search that starts from `state` and keeps it up to date, whatever machines are lost."""
        ...


@dataclass(frozen=True, eq=False)
class LocalExecution:
    """A problem that is computed in this process."""

    problem: Problem

    def plan(self, scale: Scale) -> Plan:
        return self.problem.plan(scale)

    def objective(self, scale: Scale, plan: Plan) -> ScaleObjective:
        return _LocalObjective(self.problem.objective(scale, plan))

    def place(self, image: Tensor, scale: Scale, start: Tensor | None) -> Canvas:
        return LocalCanvas(upsampled(image, (scale.height, scale.width), start, self.problem.wraps)[None])

    def after(self, scale: Scale, plan: Plan, canvas: Canvas) -> LocalExecution:
        return LocalExecution(self.problem.after(scale, plan, canvas.gather()))

    def resumed(self, found: Mapping[str, float]) -> LocalExecution:
        return LocalExecution(self.problem.resumed(found))

    def restored(self, state: State, scale: Scale) -> State:
        return state

    def guarded(self, search: Callable[[], Iterator[Iterate]], state: State) -> Iterator[Iterate]:
        return search()


@dataclass(frozen=True, eq=False)
class _LocalObjective:
    objective: TensorObjective

    @property
    def terms(self) -> Sequence[Any]:
        return self.objective.terms

    def __call__(self, canvas: Canvas) -> Evaluation[Canvas]:
        found = self.objective.value_and_grad(canvas.gather())
        return Evaluation(found.loss, found.terms, LocalCanvas(found.gradient))


def upsampled(image: Tensor, size: tuple[int, int], start: Tensor | None, wraps: bool) -> Tensor:
    """An image `(c, h, w)` at another size; with `start`, its residual from `start` added to `start` at that size."""
    found = images.resize(image, *size, wraps)
    if start is not None:
        height, width = image.shape[-2:]
        before = images.resize(images.resize(start, height, width, wraps), *size, wraps)
        found = (found - before).add_(images.resize(start, *size, wraps)).clamp_(0, 1)
    return found


class OutOfMemoryFallback:
    """The objective of a scale; where memory runs out in spite of the plan, in smaller tiles from then on."""

    def __init__(self, execution: Execution, scale: Scale, plan: Plan) -> None:
        self._execution, self._scale, self._plan = execution, scale, plan
        self._objective = execution.objective(scale, plan)

    @property
    def terms(self) -> Sequence[Any]:
        """The loss terms."""
        return self._objective.terms

    def __call__(self, canvas: Canvas) -> Evaluation[Canvas]:
        """Value and gradient at a canvas.

        Raises:
            BudgetError: memory runs out even in the smallest tiles.
        """
        while True:
            try:
                return self._objective(canvas)
            except (MemoryError, RuntimeError) as error:
                if not ran_out(error):
                    raise
            pixels = min(self._plan.window, self._scale.pixels)
            if pixels <= MIN_WINDOW:
                raise BudgetError(
                    f"out of memory at {self._scale.width}×{self._scale.height} px, even in tiles of {pixels:,} "
                    "pixels: close other programs, or make a smaller picture"
                )
            self._plan = dataclasses.replace(self._plan, window=pixels // 2, caches_content_features=False)
            log.warning(
                "out of memory at %d×%d px: continuing in tiles of %d pixels",
                self._scale.width,
                self._scale.height,
                self._plan.window,
            )
            del self._objective
            self._objective = self._execution.objective(self._scale, self._plan)
