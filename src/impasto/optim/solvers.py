"""Minimising an objective over the pixels: L-BFGS and Adam, as iterators.

Both keep every pixel inside [0, 1]: pictures are evaluated as they are shown, and never clipped afterwards. Both guard
themselves: a value or gradient that is not finite is never stepped on. All that they remember is in a `State`, which
can be saved, and from which they resume as though they had never stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from impasto.optim.canvas import Canvas
from impasto.settings.choices import Optimizer

Gradient_co = TypeVar("Gradient_co", covariant=True)
Pair = tuple[Canvas, Canvas, float]

#: How many times a step is made smaller before a search ends: in a row for L-BFGS, in all for Adam.
MAX_BACKTRACKS = 10


@dataclass(frozen=True, eq=False)
class Evaluation(Generic[Gradient_co]):
    """The objective at one picture.

    Attributes:
        loss: the value that is minimised, the sum of `terms`.
        terms: each term's weighted value, by name: `content relu4_2`, `style relu1_1`, `total variation`.
        gradient: d loss / d picture, in the picture's shape.
    """

    loss: float
    terms: Mapping[str, float]
    gradient: Gradient_co


ValueAndGrad = Callable[[Canvas], Evaluation[Canvas]]


@dataclass(frozen=True, eq=False)
class Iterate:
    """A picture that an optimiser arrived at.

    Attributes:
        canvas: `(1, c, h, w)` in [0, 1].
        loss, terms: the objective there, for Adam before its last step.
        evaluations: how many times the objective was evaluated so far.
        is_finite: whether loss and gradient are; only the very first may not be.
        note: why the search ended here, if it did so by itself; empty otherwise.
    """

    canvas: Canvas
    loss: float
    terms: Mapping[str, float]
    evaluations: int
    is_finite: bool
    note: str = ""


@dataclass(eq=False)
class State:
    """Where an optimiser stands: what it starts from, and keeps up to date in place.

    Attributes:
        canvas: `(1, c, h, w)` in [0, 1].
        loss, terms: the objective there, for Adam before its last step; `loss` is None before the first evaluation.
        gradient: of the objective there, for L-BFGS.
        is_finite: whether loss and gradient are finite.
        evaluations: how many times the objective was evaluated.
        pairs: of L-BFGS, oldest first: steps s, changes of the gradient y over them, 1 / (s · y).
        moments: of Adam: decaying means of the gradient and of its square.
        step: for how many steps Adam has had these moments.
        resets: how often Adam took a step back; each one halves its rate.
        consistent: whether all of these belong to the same picture; not so for a moment after an evaluation.
    """

    canvas: Canvas
    loss: float | None = None
    terms: Mapping[str, float] = field(default_factory=dict)
    gradient: Canvas | None = None
    is_finite: bool = True
    evaluations: int = 0
    pairs: list[Pair] = field(default_factory=list)
    moments: tuple[Canvas, Canvas] | None = None
    step: int = 0
    resets: int = 0
    consistent: bool = True

    def iterate(self, note: str = "") -> Iterate:
        """A view of the state, for callers."""
        assert self.loss is not None
        if not self.is_finite:
            note = note or "the start's loss is not finite"
        return Iterate(self.canvas, self.loss, self.terms, self.evaluations, self.is_finite, note)


#: Optimiser -> how many images it holds beside the canvas while the objective is evaluated, its result included; and
#: how many more for each step of its history: for memory plans.
IMAGES_HELD: dict[Optimizer, tuple[int, int]] = {"lbfgs": (4, 2), "adam": (3, 0)}


def is_finite(evaluation: Evaluation[Canvas]) -> bool:
    """Whether value and gradient are finite in single precision."""
    # A sum is finite only if its parts are; infinities of both signs make it NaN.
    return abs(evaluation.gradient.sum() + evaluation.loss) < torch.finfo(torch.float32).max


def lbfgs(objective: ValueAndGrad, state: State, history: int = 10, first_step: float = 0.02) -> Iterator[Iterate]:
    """L-BFGS with a backtracking line search and bounds (Nocedal & Wright, "Numerical Optimization", alg. 7.4).

    Torch's own, at a step of 1 and without a search, jumps to thousands of times the loss now and then, and on
    pixels in [0, 1] its curvature test can reject every update. Here a step must lower the loss (Armijo),
    the first one is measured in pixels, and a pair of low curvature is left out of the history by its angle,
    which no scale changes. Pixels at a bound that the gradient pushes outwards are held there and the rest
    is moved (two-metric projection, Bertsekas 1982).

    Args:
        objective: canvas -> value and gradient.
        state: where to start, or to resume.
        history: pairs of steps and gradient changes kept, each as large as the picture.
        first_step: root mean square change of the pixels in the first step.

    Yields:
        The start and then every picture that improved on the one before. It ends by itself only where no step gives a
        lower, finite loss; the last iterate's `note` says so.
    """
    if state.loss is None or state.gradient is None:
        found = objective(state.canvas)
        state.loss, state.terms, state.gradient = found.loss, found.terms, found.gradient
        state.is_finite, state.evaluations = is_finite(found), state.evaluations + 1
    yield state.iterate()
    pairs = deque(state.pairs, maxlen=history)
    count = state.evaluations
    while state.is_finite:
        x, loss, gradient = state.canvas, state.loss, state.gradient
        assert gradient is not None
        direction = _direction(x, gradient, pairs)
        if gradient.dot(direction) >= 0:
            pairs.clear()
            direction = _direction(x, gradient, pairs)
        size = direction.shape.numel()
        length = 1.0 if pairs else first_step / max((direction.dot(direction) / size) ** 0.5, 1e-30)
        for _ in range(MAX_BACKTRACKS):
            trial = x.stepped(direction, length)
            found = objective(trial)
            count += 1
            s = trial.minus(x)
            expected_decrease = gradient.dot(s)
            sufficient, finite = found.loss <= loss + 1e-4 * expected_decrease, is_finite(found)
            if expected_decrease < 0 and sufficient and finite:
                break
            length *= _backtrack(loss, expected_decrease, found.loss)
            del trial, s, found
        else:
            if not pairs:
                state.evaluations = count
                yield state.iterate(f"no step {'lowers the' if finite else 'gives a finite'} loss any more")
                return
            pairs.clear()  # the history may mislead: once more from the gradient alone
            continue
        del direction
        y = found.gradient.minus(gradient)
        curvature = s.dot(y)
        if curvature > 1e-8 * (s.dot(s) * y.dot(y)) ** 0.5:
            pairs.append((s, y, 1 / curvature))
        state.consistent = False
        state.canvas, state.loss, state.terms, state.gradient = trial, found.loss, found.terms, found.gradient
        state.evaluations, state.pairs = count, list(pairs)
        state.consistent = True
        del x, gradient, trial, found, s, y  # the state has them, as far as they are needed
        yield state.iterate()


def _backtrack(loss: float, expected_decrease: float, trial_loss: float) -> float:
    """How much of a failed step to try next: the minimum of the parabola through both ends, in [0.1, 0.5]."""
    rise = trial_loss - loss - expected_decrease
    return min(max(-expected_decrease / (2 * rise), 0.1), 0.5) if 0 < rise < float("inf") else 0.1


def _direction(x: Canvas, gradient: Canvas, pairs: deque[Pair]) -> Canvas:
    """-H * gradient, H the inverse Hessian that the pairs imply; zero where a bound holds a pixel."""
    direction = x.descent_direction(gradient)
    alphas: list[float] = []
    for s, y, rho in reversed(pairs):
        alpha = rho * s.dot(direction)
        direction.add_scaled_(y, -alpha)
        alphas.append(alpha)
    if pairs:
        _, y, rho = pairs[-1]
        direction.divide_(rho * y.dot(y))
    for (s, y, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        direction.add_scaled_(s, alpha - rho * y.dot(direction))
    direction.hold_(x, gradient)
    return direction


def adam(objective: ValueAndGrad, state: State, rate: float = 0.02) -> Iterator[Iterate]:
    """Adam (Kingma & Ba, arXiv 1412.6980; β = 0.9, 0.999), every step clipped to [0, 1].

    A step follows each evaluation, so the loss of an iterate is that of the picture before its last step, as in most
    training loops: while the objective is evaluated, there is only one picture besides moments and gradient.

    On a value or gradient that is not finite it takes the step back, resets its moments and halves the rate. After two
    in a row, or `MAX_BACKTRACKS` in all, it ends, saying so.

    Args:
        objective: canvas -> value and gradient.
        state: where to start, or to resume.
        rate: about the change of a pixel in one step.

    Yields:
        The picture after every step, better or not. A start whose loss is not finite is left as it is.
    """
    state.pairs, state.gradient = [], None
    if state.loss is not None:  # resumed
        yield state.iterate()
    while True:
        found = objective(state.canvas)
        if is_finite(found):
            state.consistent = False
            _update_moments(state, found)
            del found  # the step needs the memory
            state.canvas = _adam_stepped(state, rate)
            state.consistent = True
            yield state.iterate()
        elif state.loss is None:
            state.loss, state.terms, state.is_finite = found.loss, found.terms, False
            state.evaluations += 1
            yield state.iterate()
            return
        else:
            del found
            ends = state.moments is None or state.resets + 1 == MAX_BACKTRACKS
            _adam_reset(state, rate)
            if ends:
                yield state.iterate("the loss was not finite again and again")
                return


def _update_moments(state: State, found: Evaluation[Canvas]) -> None:
    """Average a gradient, and its square, into Adam's moments."""
    first, second = state.moments or (found.gradient.zeros(), found.gradient.zeros())
    first.average_(found.gradient, 0.1)
    second.average_square_(found.gradient, 0.001)
    state.loss, state.terms, state.evaluations = found.loss, found.terms, state.evaluations + 1
    state.moments, state.step = (first, second), state.step + 1


def _adam_reset(state: State, rate: float) -> None:
    """The canvas before the last step, but for pixels that were clipped, without moments and at half the rate."""
    state.consistent = False
    if state.moments is not None:
        state.canvas = _adam_stepped(state, -rate)
    state.moments, state.step, state.resets, state.evaluations = None, 0, state.resets + 1, state.evaluations + 1
    state.consistent = True


def _adam_stepped(state: State, rate: float) -> Canvas:
    """The canvas after the step that the moments imply; with -rate, after the opposite one."""
    assert state.moments is not None
    length = -rate / 2**state.resets / (1 - 0.9**state.step)
    return state.canvas.adam_stepped(*state.moments, length, 1 - 0.999**state.step)


#: Name -> the optimiser, given the objective, the state, the history of L-BFGS and the rate of Adam.
SOLVERS: dict[Optimizer, Callable[[ValueAndGrad, State, int, float], Iterator[Iterate]]] = {
    "lbfgs": lambda objective, state, history, rate: lbfgs(objective, state, history),
    "adam": lambda objective, state, history, rate: adam(objective, state, rate),
}
