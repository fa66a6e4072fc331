"""Minimising an objective over the pixels: L-BFGS and Adam, as iterators of points.

Both keep every pixel inside [0, 1], so that the picture one looks at is the picture that was judged, and both
guard themselves: a value or gradient that is not finite is never stepped on.
"""

from __future__ import annotations

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
        evaluation: the objective there; always finite, but for the very first point.
        evaluations: how many times the objective was evaluated so far.
        note: why the search ended here, if it did before its time; empty otherwise.
    """

    image: Tensor
    evaluation: Evaluation
    evaluations: int
    note: str = ""


def is_finite(evaluation: Evaluation) -> bool:
    """Whether value and gradient are all finite numbers."""
    # A sum is finite only if its parts are; infinities of both signs make it NaN.
    return bool(torch.isfinite(evaluation.gradient.sum() + evaluation.loss))


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
    pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=history)
    x, here, count = image.detach().clone(), objective(image), 1
    yield Point(x, here, count, "" if is_finite(here) else "the start's loss is not finite")
    while is_finite(here):
        held = ((x <= 0) & (here.gradient > 0)) | ((x >= 1) & (here.gradient < 0))
        gradient = here.gradient.masked_fill(held, 0)
        direction = _two_loop(gradient, pairs).masked_fill_(held, 0)
        if (gradient * direction).sum() >= 0:
            pairs.clear()
            direction = -gradient
        step = 1.0 if pairs else first_step / max(direction.square().mean().sqrt().item(), 1e-30)
        for _ in range(PATIENCE):
            candidate = (x + step * direction).clamp_(0, 1)
            there = objective(candidate)
            count += 1
            moved = candidate - x
            promised = (gradient * moved).sum().item()
            if is_finite(there) and there.loss <= here.loss + 1e-4 * promised and promised < 0:
                break
            step *= _shrink(here.loss, promised, there.loss)
        else:
            if not pairs:
                yield Point(x, here, count, "no step lowers the loss any more")
                return
            pairs.clear()  # perhaps the history misleads: once more from the gradient alone
            continue
        change = there.gradient - here.gradient
        curvature = (moved * change).sum()
        if curvature > 1e-8 * moved.norm() * change.norm():
            pairs.append((moved, change, 1 / curvature))
        x, here = candidate, there
        yield Point(x, here, count)


def _shrink(here: float, slope: float, there: float) -> float:
    """How much of a failed step to try next: the minimum of the parabola through both ends, in [0.1, 0.5]."""
    rise = there - here - slope
    return min(max(-slope / (2 * rise), 0.1), 0.5) if 0 < rise < float("inf") else 0.1


def _two_loop(gradient: Tensor, pairs: deque[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    """-H * gradient, H the inverse Hessian that the pairs imply; in place on a fresh tensor."""
    direction = -gradient
    along: list[Tensor] = []
    for moved, change, rho in reversed(pairs):
        alpha = rho * (moved * direction).sum()
        direction.sub_(alpha * change)
        along.append(alpha)
    if pairs:
        _, change, rho = pairs[-1]
        direction.div_(rho * change.square().sum())
    for (moved, change, rho), alpha in zip(pairs, reversed(along), strict=True):
        direction.add_((alpha - rho * (change * direction).sum()) * moved)
    return direction


def adam(objective: ValueAndGrad, image: Tensor, rate: float = 0.02) -> Iterator[Point]:
    """Adam (Kingma & Ba, arXiv 1412.6980; β = 0.9, 0.999), every step clipped to [0, 1].

    On a value or gradient that is not finite it goes back to the best picture so far, forgets its moments and
    halves the rate; after `PATIENCE` such falls it ends, saying so.

    Args:
        objective: image -> value and gradient.
        image: where to start, `(1, 3, h, w)` in [0, 1].
        rate: about the change of a pixel in one step.

    Yields:
        The start and then every step, better or not.
    """
    x, here, count, falls = image.detach().clone(), objective(image), 1, 0
    yield Point(x, here, count, "" if is_finite(here) else "the start's loss is not finite")
    best, best_evaluation = x, here
    first, second, age = torch.zeros_like(x), torch.zeros_like(x), 0
    while is_finite(best_evaluation):
        age += 1
        first = first.lerp(here.gradient, 0.1)
        second = second.lerp(here.gradient.square(), 0.001)
        slope, spread = first / (1 - 0.9**age), second / (1 - 0.999**age)
        candidate = (x - rate * slope / (spread.sqrt() + 1e-30)).clamp_(0, 1)
        there = objective(candidate)
        count += 1
        if not is_finite(there):
            falls += 1
            rate, age = rate / 2, 0
            first, second = torch.zeros_like(x), torch.zeros_like(x)
            x, here = best, best_evaluation
            if falls == PATIENCE:
                yield Point(x, here, count, "the loss kept leaving the finite numbers")
                return
            continue
        x, here = candidate, there
        if here.loss < best_evaluation.loss:
            best, best_evaluation = x, here
        yield Point(x, here, count)


#: Name -> the optimiser, given the objective, the start, the history of L-BFGS and the rate of Adam.
METHODS: dict[Method, Callable[[ValueAndGrad, Tensor, int, float], Iterator[Point]]] = {
    "lbfgs": lambda objective, image, history, rate: lbfgs(objective, image, history),
    "adam": lambda objective, image, history, rate: adam(objective, image, rate),
}
