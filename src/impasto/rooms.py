"""Memory for evaluations: taken from the system anew for every layer, it costs up to a fifth of a picture's time."""

from __future__ import annotations

import torch
from torch import Tensor

from impasto import native


class Room:
    """Memory for the activations and gradients of a network, layer after layer.

    What is kept lies at its beginning, in the order in which it came, and goes in the opposite order. What is needed
    only until the next but one is made lies behind that and at the room's end, in turns. The first evaluation tells
    how large a room must be; what does not fit is taken from the system, as without one.

    Attributes:
        kept: how many numbers are kept: to be set back when the last of them are not needed any more.
    """

    def __init__(self) -> None:
        self._memory = torch.empty(0)
        self._needed = 0
        self.begin()

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return self._memory.numel()

    def begin(self) -> None:
        """Begin anew: nothing is kept, and the room is as large as was ever needed."""
        self.kept = self._behind = self._end = 0
        self._at_end = False
        if self.size < self._needed:
            self._memory = torch.empty(0)  # first give back
            self._memory = torch.empty(self._needed)

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
        self._needed = max(self._needed, self._behind + self._end)
        if self._behind + self._end > self.size:
            return native.fresh(channels, height, width)
        place = self._memory[start : start + channels * height * width]
        return place.view(1, height, width, channels).permute(0, 3, 1, 2)


def _rounded(count: int) -> int:
    """Up to a multiple of a line of the cache."""
    return -(-count // 16) * 16
