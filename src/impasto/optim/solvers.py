"""Minimising an objective over the pixels: L-BFGS and Adam, as iterators of points.

Both keep every pixel inside [0, 1], so that the picture one looks at is the picture that was judged, and both
guard themselves: a value or gradient that is not finite is never stepped on. All that they remember is in a `State`,
which may be put away, and from which they go on later as though they had never stopped.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from impasto.losses.objective import Evaluation

Method = Literal["lbfgs", "adam"]
ValueAndGrad = Callable[[Tensor], Evaluation]
Pair = tuple[Tensor, Tensor, float]

#: Numbers that are multiplied and added up in single precision at once.
PART = 1 << 15
#: How often in a row a step is made smaller before the search is given up.
PATIENCE = 10


@dataclass(frozen=True, eq=False)
class Point:
    """A picture reached, and what the objective says of it.

    Attributes:
        image: `(1, 3, h, w)` in [0, 1].
        evaluation: the objective there, without its gradient; always finite, but for the very first point.
        evaluations: how many times the objective was evaluated so far.
        note: why the search ended here, if it did before its time; empty otherwise.
    """

    image: Tensor
    evaluation: Evaluation
    evaluations: int
    note: str = ""


@dataclass(eq=False)
class State:
    """Where an optimiser stands: what it starts from, and keeps up to date in place.

    Attributes:
        image: `(1, 3, h, w)` in [0, 1].
        evaluation: the objective there, for L-BFGS with its gradient; None before the first.
        evaluations: how many times the objective was evaluated.
        pairs: of L-BFGS, oldest first: steps, the changes of the gradient over them, 1 / the product of both.
        moments: of Adam: decaying means of the gradient and of its square.
        age: for how many steps Adam has had them.
        falls: how often Adam took a step back; each one halves its rate.
        settled: whether all of these belong together; not so for a moment after an evaluation.
    """

    image: Tensor
    evaluation: Evaluation | None = None
    evaluations: int = 0
    pairs: list[Pair] = field(default_factory=list)
    moments: tuple[Tensor, Tensor] | None = None
    age: int = 0
    falls: int = 0
    settled: bool = True


#: Method -> how many pictures it holds while the objective is evaluated, with the gradient; and how many more for
#: each step that it remembers: for plans of memory.
HELD: dict[Method, tuple[int, int]] = {"lbfgs": (4, 2), "adam": (4, 0)}


def is_finite(evaluation: Evaluation) -> bool:
    """Whether value and gradient are all finite numbers."""
    # A sum is finite only if its parts are; infinities of both signs make it NaN.
    return bool(torch.isfinite(evaluation.gradient.sum() + evaluation.loss))


def _bare(evaluation: Evaluation) -> Evaluation:
    """Without the gradient, which is as large as the picture: one number that says whether it was finite."""
    known = is_finite(evaluation)
    return dataclasses.replace(evaluation, gradient=torch.zeros(0) if known else torch.full((1,), torch.nan))


def _point(state: State, note: str = "") -> Point:
    assert state.evaluation is not None
    if not is_finite(state.evaluation):
        note = note or "the start's loss is not finite"
    return Point(state.image, _bare(state.evaluation), state.evaluations, note)


def lbfgs(objective: ValueAndGrad, state: State, history: int = 10, first_step: float = 0.02) -> Iterator[Point]:
    """L-BFGS with a backtracking line search and bounds (Nocedal & Wright, "Numerical Optimization", alg. 7.4).

    Torch's own, at a step of 1 and without a search, jumps to thousands of times the loss now and then, and on
    pixels in [0, 1] its curvature test can reject every update. Here a step must lower the loss (Armijo),
    the first one is measured in pixels, and a pair of low curvature is left out of the history by its angle,
    which no scale changes. Pixels at a bound that the gradient pushes outwards are held there and the rest
    is moved (two-metric projection, Bertsekas 1982).

    Args:
        objective: image -> value and gradient.
        state: where to start, or to go on.
        history: pairs of steps and gradient changes kept, each as large as the picture.
        first_step: root mean square change of the pixels in the first step.

    Yields:
        The start and then every picture that improved on the one before. It ends by itself only where no
        step lowers the loss any more; the last point's `note` says so.
    """
    if state.evaluation is None or state.evaluation.gradient.shape != state.image.shape:
        state.evaluation, state.evaluations = objective(state.image), state.evaluations + 1
    yield _point(state)
    pairs = deque(state.pairs, maxlen=history)
    count = state.evaluations
    while is_finite(state.evaluation):
        x, here = state.image, state.evaluation
        direction = _direction(x, here.gradient, pairs)
        if _dot(here.gradient, direction) >= 0:
            pairs.clear()
            direction = _direction(x, here.gradient, pairs)
        step = 1.0 if pairs else first_step / max((_dot(direction, direction) / direction.numel()) ** 0.5, 1e-30)
        for _ in range(PATIENCE):
            candidate = x.add(direction, alpha=step).clamp_(0, 1)
            there = objective(candidate)
            count += 1
            moved = candidate - x
            promised = _dot(here.gradient, moved)
            if is_finite(there) and there.loss <= here.loss + 1e-4 * promised and promised < 0:
                break
            step *= _shrink(here.loss, promised, there.loss)
            del candidate, moved, there
        else:
            if not pairs:
                state.evaluations = count
                yield _point(state, "no step lowers the loss any more")
                return
            pairs.clear()  # perhaps the history misleads: once more from the gradient alone
            continue
        del direction
        change = there.gradient - here.gradient
        curvature = _dot(moved, change)
        if curvature > 1e-8 * (_dot(moved, moved) * _dot(change, change)) ** 0.5:
            pairs.append((moved, change, 1 / curvature))
        state.settled = False
        state.image, state.evaluation, state.evaluations, state.pairs = candidate, there, count, list(pairs)
        state.settled = True
        del x, here, candidate, there, moved, change  # the state has them, as far as they are needed
        yield _point(state)


def _dot(a: Tensor, b: Tensor) -> float:
    """Σ a b, without a tensor of the products."""
    return dot(a, b) if isinstance(a, Tensor) else a.dot(b).item()


def dot(a: Tensor, b: Tensor) -> float:
    """Σ a b of two tensors.

    On processors part by part, and the parts in double precision: in one go, single precision loses four digits of a
    large picture, and what is left depends on how many threads and workers share it.
    """
    one, two = a.flatten(), b.flatten()
    if one.device.type != "cpu":
        return float(one.dot(two).item())
    return sum(float(x.dot(y)) for x, y in zip(one.split(PART), two.split(PART), strict=True))


def _shrink(here: float, slope: float, there: float) -> float:
    """How much of a failed step to try next: the minimum of the parabola through both ends, in [0.1, 0.5]."""
    rise = there - here - slope
    return min(max(-slope / (2 * rise), 0.1), 0.5) if 0 < rise < float("inf") else 0.1


def _direction(x: Tensor, gradient: Tensor, pairs: deque[Pair]) -> Tensor:
    """-H * gradient, H the inverse Hessian that the pairs imply; zero where a bound holds a pixel."""
    held = (gradient > 0).logical_and_(x <= 0)
    held |= (gradient < 0).logical_and_(x >= 1)
    direction = gradient.masked_fill(held, 0).neg_()
    along: list[float] = []
    for moved, change, rho in reversed(pairs):
        alpha = rho * _dot(moved, direction)
        direction.sub_(change, alpha=alpha)
        along.append(alpha)
    if pairs:
        _, change, rho = pairs[-1]
        direction.div_(rho * _dot(change, change))
    for (moved, change, rho), alpha in zip(pairs, reversed(along), strict=True):
        direction.add_(moved, alpha=alpha - rho * _dot(change, direction))
    return direction.masked_fill_(held, 0)


def adam(objective: ValueAndGrad, state: State, rate: float = 0.02) -> Iterator[Point]:
    """Adam (Kingma & Ba, arXiv 1412.6980; β = 0.9, 0.999), every step clipped to [0, 1].

    On a value or gradient that is not finite it takes the step back, forgets its moments and halves the rate; after
    `PATIENCE` such falls it ends, saying so.

    Args:
        objective: image -> value and gradient.
        state: where to start, or to go on.
        rate: about the change of a pixel in one step.

    Yields:
        The start and then every step, better or not.
    """
    if state.evaluation is None or state.moments is None:
        state.pairs = []
        _arrive(state, state.image, objective(state.image), state.evaluations + 1)
    yield _point(state)
    count = state.evaluations
    while state.moments is not None:
        first, second = state.moments
        step = second.div(1 - 0.999**state.age).sqrt_().add_(1e-30).reciprocal_().mul_(first)
        del first, second
        step.mul_(-rate / 2**state.falls / (1 - 0.9**state.age))
        candidate = step.add_(state.image).clamp_(0, 1)
        del step
        there = objective(candidate)
        count += 1
        if is_finite(there):
            _arrive(state, candidate, there, count)
            del candidate, there
            yield _point(state)
            continue
        del candidate, there
        state.settled = False
        state.moments, state.age, state.falls = None, 0, state.falls + 1
        if state.falls < PATIENCE:
            _arrive(state, state.image, objective(state.image), count + 1)
            count += 1
        if state.moments is None:
            state.evaluations, state.settled = count, True
            yield _point(state, "the loss kept leaving the finite numbers")


def _arrive(state: State, image: Tensor, evaluation: Evaluation, evaluations: int) -> None:
    """Adam has come to this picture: its gradient goes into the moments, and is given up."""
    state.settled = False
    gradient = evaluation.gradient
    if state.evaluation is None or is_finite(evaluation):
        state.image, state.evaluation, state.evaluations = image, _bare(evaluation), evaluations
    if is_finite(evaluation):
        first, second = state.moments or (gradient.clone().zero_(), gradient.clone().zero_())
        first.lerp_(gradient, 0.1)
        second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        state.moments, state.age = (first, second), state.age + 1
    state.settled = True


#: Name -> the optimiser, given the objective, the state, the history of L-BFGS and the rate of Adam.
METHODS: dict[Method, Callable[[ValueAndGrad, State, int, float], Iterator[Point]]] = {
    "lbfgs": lambda objective, state, history, rate: lbfgs(objective, state, history),
    "adam": lambda objective, state, history, rate: adam(objective, state, rate),
}
