"""Memory for evaluations: taken from the system anew for every layer, it costs up to a fifth of a picture's time."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from impasto.vgg import native


class Room:
    """Memory for the activations and gradients of a network, layer after layer.

    What is kept lies at its beginning, in the order in which it came, and goes in the opposite order. What is needed
    only until the next but one is made lies behind that and at the room's end, in turns. How large a room must be
    turns out when something goes through for the first time: then there is none, and all is taken from the system.

    Attributes:
        kept: how many numbers are kept: to be set back when the last of them are not needed any more.
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0)
        self._needs: dict[Hashable, int] = {}
        self.begin(None)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return self._memory.numel()

    def begin(self, what: Hashable) -> None:
        """Begin anew: nothing is kept.

        Args:
            what: goes through, and at which size: tells apart what needs rooms of different sizes.
        """
        self.kept = self._behind = self._end = 0
        self._at_end, self._what = False, what
        largest = max(self._needs.values(), default=0) if what in self._needs else 0
        if self.size < largest or not largest:
            self._memory = torch.empty(0)  # first give back
            self._memory = torch.empty(largest)

    def clear(self) -> None:
        """Give the memory back, and take it again when it is needed."""
        self._memory = torch.empty(0)

    def keep(self, channels: int, height: int, width: int) -> Tensor:
        """A place, see `native.Place`, that lasts until `kept` is set back."""
        start = self.kept
        self.kept = self._behind = start + _rounded(channels * height * width)
        self._at_end = False
        return self._at(start, channels, height, width)

    def pass_on(self, channels: int, height: int, width: int) -> Tensor:
        """A place that lasts until the next but one of its kind; the first after `keep`, while more is kept, too."""
        size = _rounded(channels * height * width)
        self._at_end = not self._at_end
        if self._at_end:
            self._end = size
            start = max(self.size - size, 0)
        else:
            start = self.kept
            self._behind = start + size
        return self._at(start, channels, height, width)

    def _at(self, start: int, channels: int, height: int, width: int) -> Tensor:
        self._needs[self._what] = max(self._needs.get(self._what, 0), self._behind + self._end)
        if self._behind + self._end > self.size:
            return native.fresh(channels, height, width)
        place = self._memory[start : start + channels * height * width]
        return place.view(1, height, width, channels).permute(0, 3, 1, 2)


def _rounded(count: int) -> int:
    """Up to a multiple of a line of the cache."""
    return -(-count // 16) * 16
