"""Time that went by, time that is left, and how a budget of it is shared out among the scales."""

from __future__ import annotations

import time
from collections.abc import Sequence

from impasto.optim.schedule import Scale

#: What the preparation of a scale costs (its targets, its first point), in evaluations: for estimates.
PREPARATION = 2


class Clock:
    """The time of one run. An evaluation's cost is taken to be proportional to its pixels.

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
