"""Time that went by, time that is left, and how a budget of it is shared out among the scales."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence

from impasto.optim.schedule import Scale

#: What an evaluation costs besides its pixels, in pixels: small arrays do not keep the processor busy.
OVERHEAD = 17_000
#: What the preparation of a scale costs (its targets, its first point), in evaluations; and that of the run itself.
PREPARATION, BEGINNING = 2.5, 8.0
#: Evaluations by whose pace the next ones are estimated.
RECENT = 12
#: The power of the pixels with which the cost of an evaluation may grow: nearest neighbours take the square.
MAX_POWER = 2.2
#: What the cost of an evaluation may grow by, relative to the pixels, before that is taken for more than noise.
NOISE = 1.3


def fraction_done(seconds: float, eta: float) -> float:
    """The part of the time that is over, in [0, 1], of a run with `seconds` behind it and `eta` to come."""
    return seconds / max(seconds + eta, 1e-9)


class Clock:
    """The time of one run, and estimates of what is left.

    The cost of an evaluation is measured by the recent ones at the same scale. At a scale that is still to come, it is
    taken to be proportional to the pixels and an overhead, `OVERHEAD` or as the last two scales have it; or, if it grew
    faster than the pixels between them, to grow with the same power of the pixels.

    Attributes:
        seconds: since the beginning, at the last tick.
        entered: when the scale began.
    """

    def __init__(self, started: float, budget: float | None, scales: Sequence[Scale]) -> None:
        self._started, self._budget, self._scales = started, budget, scales
        self._deadline = float("inf")
        self._recent: deque[tuple[int, float]] = deque(maxlen=RECENT + 1)  # (evaluations done, seconds) in this scale
        self._paces: dict[int, float] = {}  # index of a scale -> seconds that an evaluation takes
        self.seconds = 0.0
        self.entered = self._now()
        self._share(0)

    def _now(self) -> float:
        return time.monotonic() - self._started

    def _share(self, index: int) -> None:
        if self._budget is not None:
            left = self._budget - self.entered
            costs = [self._cost(other) for other in range(index, len(self._scales))]
            self._deadline = self.entered + left * costs[0] / sum(costs)

    def enter(self, index: int) -> bool:
        """Begin a scale after the first; False if there is no time left for it."""
        self.entered = self._now()
        self._recent.clear()
        self._share(index)
        return self._budget is None or self.entered + (PREPARATION + 1) * self._pace(index) <= self._budget

    def resume(self, index: int, seconds: float, entered: float) -> None:
        """Continue where a run was `seconds` after its beginning, in a scale that it had entered then."""
        self._started = time.monotonic() - seconds
        self.seconds, self.entered = seconds, entered
        self._recent.clear()
        self._share(index)

    def tick(self, index: int, done: int) -> None:
        """Note that `done` evaluations of this scale are behind us."""
        self.seconds = self._now()
        if not self._recent or done > self._recent[-1][0]:
            self._recent.append((done, self.seconds))
        (first, since), (last, until) = self._recent[0], self._recent[-1]
        if last > first:
            self._paces[index] = (until - since) / (last - first)
        elif not self._paces:  # the time of the preparation is part of what went by
            preparation = PREPARATION if index else BEGINNING
            self._paces[index] = (self.seconds - self.entered) / (done + preparation)

    def is_over(self, index: int) -> bool:
        """Whether one more evaluation would overrun this scale's share of the budget."""
        return self.seconds + self._pace(index) > self._deadline

    def eta(self, index: int, done: int, stopped: bool) -> float:
        """Seconds left."""
        here = 0 if stopped else (self._scales[index].evaluations - done) * self._pace(index)
        left = here + sum(self._cost(later) for later in range(index + 1, len(self._scales)))
        return left if self._budget is None else max(0.0, min(left, self._budget - self.seconds))

    def _cost(self, index: int) -> float:
        """Seconds that a scale takes, estimated; without any measurement, in another unit."""
        return (self._scales[index].evaluations + PREPARATION) * self._pace(index)

    def _pace(self, index: int) -> float:
        """Seconds that an evaluation takes at a scale: measured, or estimated by the scales before."""
        if index in self._paces:
            return self._paces[index]
        pixels, overhead = self._scales[index].pixels, float(OVERHEAD)
        if not self._paces:
            return pixels + overhead
        *before, last = sorted(self._paces)
        own, pace = self._scales[last].pixels, self._paces[last]
        if before and self._scales[before[-1]].pixels < own:
            larger, slower = own / self._scales[before[-1]].pixels, pace / self._paces[before[-1]]
            if slower > NOISE * larger:
                return pace * (pixels / own) ** min(math.log(slower) / math.log(larger), MAX_POWER)
            overhead = max(0.0, own - slower * own / larger) / max(slower - 1, 0.1)
        return pace * (pixels + overhead) / (own + overhead)
