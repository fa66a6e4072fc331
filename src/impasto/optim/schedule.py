"""Coarse to fine: which sizes a picture goes through, and how many evaluations each gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from impasto.images import fit

#: Long side of the coarsest scale, and the shortest side that a scale may have, in pixels.
COARSEST = 128
SHORTEST = 64
#: Evaluations at the coarser of two scales, as a multiple of those at the finer one; and at most so many: with 200, the
#: last scale's loss ends no lower.
GROWTH = 2.0
ENOUGH = 100


@dataclass(frozen=True)
class Scale:
    """A size, and how many times the objective is evaluated at it."""

    height: int
    width: int
    evaluations: int

    @property
    def pixels(self) -> int:
        """Height times width: what an evaluation's cost is proportional to."""
        return self.height * self.width


def rounded(scales: Sequence[Scale], stride: int) -> tuple[Scale, ...]:
    """The scales with the sides of all but the last rounded to multiples of a stride.

    Pooling then drops no pixels at the borders, where a picture that wraps around would have a seam; and it can be
    computed in tiles.
    """

    def fitting(side: int) -> int:
        return max(1, round(side / stride)) * stride

    *coarser, last = scales
    return (*(Scale(fitting(scale.height), fitting(scale.width), scale.evaluations) for scale in coarser), last)


def plan(height: int, width: int, iterations: int, scales: int | None = None) -> tuple[Scale, ...]:
    """The scales that lead up to a picture of exactly this size, coarsest first.

    Gatys et al. 2017 ("Controlling perceptual factors", section 6) start from a small picture because the
    network's receptive fields are of fixed size: in a small picture, the painting's large strokes fit into them.
    Smaller scales also cost a quarter each, so they are given more evaluations.

    Args:
        height, width: of the last scale, in pixels.
        iterations: evaluations at the last scale.
        scales: how many; None for as few as keep every step within a factor of 2, from about 128 px.
    """
    long_side, short_side = max(height, width), min(height, width)
    coarsest = min(long_side, max(COARSEST, math.ceil(SHORTEST * long_side / short_side)))
    if scales is None:
        scales = 1 + math.ceil(math.log2(long_side / coarsest) - 1e-9)
    else:
        coarsest = max(coarsest, math.ceil(long_side / 2 ** (scales - 1)))
    found = []
    for index in range(scales):
        steps_left = scales - 1 - index
        side = long_side * (coarsest / long_side) ** (steps_left / max(scales - 1, 1))
        size = (height, width) if steps_left == 0 else fit((height, width), round(side))
        count = max(iterations, min(round(iterations * GROWTH**steps_left), ENOUGH))
        found.append(Scale(*size, count))
    return tuple(found)
