"""Calibration of the style weight, by which a strength leaves the same share of every photo, whatever the painting.

How much of the photo remains at a given style weight depends on the pair: at the weight that suits a portrait and
Picabia's Udnie, a woodcut leaves no face. So a strength is a promise about the result, the content distance of
`target_distance`. The weight that keeps it is found at the coarsest scale, where an evaluation costs little: a few
iterations, a look at the content distance, a better weight, and on from there. From then on it is corrected by the
result of each scale before the next one begins.
"""

from __future__ import annotations

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.inputs.memo import Memo
from impasto.optim import schedule
from impasto.optim.canvas import LocalCanvas
from impasto.optim.problem import LocalExecution
from impasto.optim.solvers import State, lbfgs

if TYPE_CHECKING:
    from impasto.operations.problem import PictureProblem
    from impasto.optim.schedule import Scale
    from impasto.vgg.encoder import Encoder

#: The layer whose features tell what is recognised of the photo.
LAYER = "relu4_2"
#: The content distance at strength 1, and that which no strength reaches.
BALANCED, LIMIT = 0.8, 1.6
#: The evaluations of each round at the coarsest scale.
ROUNDS = (20, 12, 12, 12)
#: The relative distance that is near enough, and the power of the distances' ratio by which the weight is corrected.
TOLERANCE, POWER = 0.04, 3.5
#: By how much the weight changes at once at most, and in all at the coarsest scale.
MAX_CHANGE, RANGE = 4.0, 100.0
#: The part of a time budget that it takes at most.
SHARE_OF_TIME = 0.25
#: Pixels of the largest scale whose result is looked at: what a person recognises is settled by then.
LARGEST = 1 << 20


def content_distance(painted: Tensor, photo: Tensor, mask: Tensor | None = None) -> float:
    """|N(F) − N(P)|² / |N(P)|² of a picture's features F and the photo's P, `(1, n, h, w)`.

    N makes every channel's mean 0 and its variance 1, which takes away what a change of colours and contrasts does.
    0 is the photo; a picture that has nothing to do with it is about 2 from it.

    Args:
        mask: `(h, w)`, how much each position counts; None for all alike.
    """
    # A variance well below 1 is none: features are in the hundreds.
    painted, photo = F.instance_norm(painted, eps=1.0), F.instance_norm(photo, eps=1.0)
    error, energy = (painted - photo).square_(), photo.square()
    if mask is not None:
        error, energy = error * mask, energy * mask
    return error.sum().item() / max(energy.sum().item(), 1e-12)


def target_distance(strength: float) -> float:
    """The content distance that a strength promises: `BALANCED` at 1, towards `LIMIT` beyond."""
    return LIMIT * (1 - (1 - BALANCED / LIMIT) ** strength)


def corrected(weight: float, distance: float, strength: float) -> float:
    """A style weight that brings the content distance nearer to what the strength promises."""
    ratio = target_distance(strength) / max(distance, 1e-6)
    if not math.isfinite(ratio) or abs(math.log(ratio)) < TOLERANCE:
        return weight
    return weight * min(max(ratio**POWER, 1 / MAX_CHANGE), MAX_CHANGE)


def is_judged(scale: Scale, encoder: Encoder) -> bool:
    """Whether the content distance is measured at a scale: it has several positions at `LAYER`, and not too many."""
    stride = encoder.stride(LAYER)
    return (scale.height // stride) * (scale.width // stride) > 1 and scale.pixels <= LARGEST


@torch.no_grad()
def calibrated(problem: PictureProblem, start: Tensor) -> PictureProblem:
    """The problem with a style weight for its strength, found at the coarsest scale.

    The memo of the problem is notified of every evaluation.

    Args:
        problem: with a usual style weight; its encoder has `LAYER`.
        start: what it is optimised from, `(3, h, w)` of any size.
    """
    scale = schedule.plan(*problem.size, iterations=1)[0]
    if problem.strength is None or not is_judged(scale, problem.encoder):
        return problem
    found = dataclasses.replace(problem, memo=Memo())  # the targets are those of every round
    canvas = images.resize(start.to(problem.device), scale.height, scale.width)[None]
    usual, plan, budget = problem.style_weight, problem.plan(scale), problem.options.time_budget
    deadline = math.inf if budget is None else time.monotonic() + SHARE_OF_TIME * budget
    for evaluations in ROUNDS:
        for iterate in lbfgs(LocalExecution(found).objective(scale, plan), State(LocalCanvas(canvas))):
            problem.memo.notify("calibrated")
            if iterate.evaluations >= evaluations or time.monotonic() > deadline:
                break
        if time.monotonic() > deadline:
            break
        canvas, before = iterate.canvas.gather(), found.style_weight
        found = found.after(scale, plan, canvas)
        if found.style_weight == before or not usual / RANGE < found.style_weight < usual * RANGE:
            break
    return dataclasses.replace(problem, style_weight=min(max(found.style_weight, usual / RANGE), usual * RANGE))
