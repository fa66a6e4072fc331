"""Minimising an objective over the pixels: L-BFGS and Adam, as iterators of points.

Both keep every pixel inside [0, 1], so that the picture one looks at is the picture that was judged, and both
guard themselves: a value or gradient that is not finite is never stepped on.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from impasto.objective import Evaluation

Method = Literal["lbfgs", "adam"]
ValueAndGrad = Callable[[Tensor], Evaluation]

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


#: Method -> how many pictures it holds while the objective is evaluated, with the gradient and without the start,
#: which is given up; and how many more for each step that it remembers: for plans of memory.
HELD: dict[Method, tuple[int, int]] = {"lbfgs": (4, 2), "adam": (4, 0)}


def is_finite(evaluation: Evaluation) -> bool:
    """Whether value and gradient are all finite numbers."""
    # A sum is finite only if its parts are; infinities of both signs make it NaN.
    return bool(torch.isfinite(evaluation.gradient.sum() + evaluation.loss))


def _point(image: Tensor, evaluation: Evaluation, evaluations: int, note: str = "") -> Point:
    # Whoever keeps the point should not keep the gradient, which is as large as the picture.
    known = is_finite(evaluation)
    bare = torch.zeros(0) if known else torch.full((1,), torch.nan)
    return Point(image, dataclasses.replace(evaluation, gradient=bare), evaluations, note)


def lbfgs(objective: ValueAndGrad, image: Tensor, history: int = 10, first_step: float = 0.02) -> Iterator[Point]:
    """L-BFGS with a backtracking line search and bounds (Nocedal & Wright, "Numerical Optimization", alg. 7.4).

    Torch's own, at a step of 1 and without a search, jumps to thousands of times the loss now and then, and on
    pixels in [0, 1] its curvature test can reject every update. Here a step must lower the loss (Armijo),
    the first one is measured in pixels, and a pair of low curvature is left out of the history by its angle,
    which no scale changes. Pixels at a bound that the gradient pushes outwards are held there and the rest
    is moved (two-metric projection, Bertsekas 1982).

    Args:
        objective: image -> value and gradient.
        image: where to start, `(1, 3, h, w)` in [0, 1].
        history: pairs of steps and gradient changes kept, each as large as the picture.
        first_step: root mean square change of the pixels in the first step.

    Yields:
        The start and then every picture that improved on the one before. It ends by itself only where no
        step lowers the loss any more; the last point's `note` says so.
    """
    pairs: deque[tuple[Tensor, Tensor, float]] = deque(maxlen=history)
    x = image.detach().clone()
    del image  # the caller may have done with it
    here, count = objective(x), 1
    yield _point(x, here, count, "" if is_finite(here) else "the start's loss is not finite")
    while is_finite(here):
        gradient = here.gradient
        direction = _direction(x, gradient, pairs)
        if _dot(gradient, direction) >= 0:
            pairs.clear()
            direction = _direction(x, gradient, pairs)
        step = 1.0 if pairs else first_step / max((_dot(direction, direction) / direction.numel()) ** 0.5, 1e-30)
        for _ in range(PATIENCE):
            candidate = x.add(direction, alpha=step).clamp_(0, 1)
            there = objective(candidate)
            count += 1
            moved = candidate - x
            promised = _dot(gradient, moved)
            if is_finite(there) and there.loss <= here.loss + 1e-4 * promised and promised < 0:
                break
            step *= _shrink(here.loss, promised, there.loss)
            del candidate, moved, there
        else:
            if not pairs:
                yield _point(x, here, count, "no step lowers the loss any more")
                return
            pairs.clear()  # perhaps the history misleads: once more from the gradient alone
            continue
        del direction
        change = there.gradient - gradient
        x, here = candidate, there
        del candidate, gradient
        curvature = _dot(moved, change)
        if curvature > 1e-8 * (_dot(moved, moved) * _dot(change, change)) ** 0.5:
            pairs.append((moved, change, 1 / curvature))
        del moved, change
        yield _point(x, here, count)


def _dot(a: Tensor, b: Tensor) -> float:
    """Σ a b, without a tensor of the products."""
    return torch.dot(a.flatten(), b.flatten()).item()


def _shrink(here: float, slope: float, there: float) -> float:
    """How much of a failed step to try next: the minimum of the parabola through both ends, in [0.1, 0.5]."""
    rise = there - here - slope
    return min(max(-slope / (2 * rise), 0.1), 0.5) if 0 < rise < float("inf") else 0.1


def _direction(x: Tensor, gradient: Tensor, pairs: deque[tuple[Tensor, Tensor, float]]) -> Tensor:
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


def adam(objective: ValueAndGrad, image: Tensor, rate: float = 0.02) -> Iterator[Point]:
    """Adam (Kingma & Ba, arXiv 1412.6980; β = 0.9, 0.999), every step clipped to [0, 1].

    On a value or gradient that is not finite it takes the step back, forgets its moments and halves the rate; after
    `PATIENCE` such falls it ends, saying so.

    Args:
        objective: image -> value and gradient.
        image: where to start, `(1, 3, h, w)` in [0, 1].
        rate: about the change of a pixel in one step.

    Yields:
        The start and then every step, better or not.
    """
    x = image.detach().clone()
    del image  # the caller may have done with it
    here, count, falls = objective(x), 1, 0
    yield _point(x, here, count, "" if is_finite(here) else "the start's loss is not finite")
    if not is_finite(here):
        return
    first, second, age = torch.zeros_like(x), torch.zeros_like(x), 0
    while True:
        age += 1
        first.lerp_(here.gradient, 0.1)
        second.mul_(0.999).addcmul_(here.gradient, here.gradient, value=0.001)
        bare = _point(x, here, count)
        del here  # and with it the gradient: the next one takes its place
        step = second.div(1 - 0.999**age).sqrt_().add_(1e-30).reciprocal_().mul_(first)
        candidate = step.mul_(-rate / (1 - 0.9**age)).add_(x).clamp_(0, 1)
        del step
        here = objective(candidate)
        count += 1
        if is_finite(here):
            x = candidate
            yield _point(x, here, count)
            continue
        falls += 1
        rate, age = rate / 2, 0
        first.zero_(), second.zero_()
        if falls < PATIENCE:
            here = objective(x)
            count += 1
        if not is_finite(here):
            yield dataclasses.replace(bare, evaluations=count, note="the loss kept leaving the finite numbers")
            return


#: Name -> the optimiser, given the objective, the start, the history of L-BFGS and the rate of Adam.
METHODS: dict[Method, Callable[[ValueAndGrad, Tensor, int, float], Iterator[Point]]] = {
    "lbfgs": lambda objective, image, history, rate: lbfgs(objective, image, history),
    "adam": lambda objective, image, history, rate: adam(objective, image, rate),
}
