"""A preallocated workspace for activations and gradients.

Allocating every layer anew costs up to a fifth of an evaluation's time, in page faults.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from impasto.devices import CPU_FLOAT
from impasto.vgg.native import empty_nhwc


class Workspace:
    """Memory for the activations and gradients of one pass through a network, layer after layer.

    Retained tensors lie at the beginning of the buffer, as on a stack. Scratch tensors, needed only until the next
    but one is computed, alternate between the place behind the retained ones and the buffer's end. How large a buffer
    a pass needs is measured when it first runs; that time every tensor is allocated on its own.

    Attributes:
        retained: how many numbers are retained; set it back to release the last ones.
    """

    def __init__(self) -> None:
        self._buffer = _buffer(0)
        self._needs: dict[Hashable, int] = {}
        self.begin(None)

    @property
    def size(self) -> int:
        """How many numbers the buffer holds."""
        return self._buffer.numel()

    def begin(self, key: Hashable) -> None:
        """Begin a pass: nothing is retained.

        Args:
            key: tells apart passes that need buffers of different sizes.
        """
        self.retained = self._behind = self._end = 0
        self._at_end, self._key = False, key
        largest = max(self._needs.values(), default=0) if key in self._needs else 0
        if self.size < largest or not largest:
            self.free()  # before the new buffer is allocated
            self._buffer = _buffer(largest)

    def free(self) -> None:
        """Give the memory back; it is allocated again when it is needed."""
        self._buffer = _buffer(0)

    def retain(self, channels: int, height: int, width: int) -> Tensor:
        """A tensor, see `native.Allocate`, that stays valid until `retained` is set back."""
        start = self.retained
        self.retained = self._behind = start + _rounded(channels * height * width)
        self._at_end = False
        return self._at(start, channels, height, width)

    def scratch(self, channels: int, height: int, width: int, at_end: bool | None = None) -> Tensor:
        """A tensor that stays valid until the next but one `scratch`; one at the end also while more is retained.

        Args:
            at_end: whether it is; None for the other place than the last one's.
        """
        size = _rounded(channels * height * width)
        self._at_end = not self._at_end if at_end is None else at_end
        if self._at_end:
            self._end = size
            start = max(self.size - size, 0)
        else:
            start = self.retained
            self._behind = start + size
        return self._at(start, channels, height, width)

    def _at(self, start: int, channels: int, height: int, width: int) -> Tensor:
        self._needs[self._key] = max(self._needs.get(self._key, 0), self._behind + self._end)
        if self._behind + self._end > self.size:
            return empty_nhwc(channels, height, width)
        part = self._buffer[start : start + channels * height * width]
        return part.view(1, height, width, channels).permute(0, 3, 1, 2)


def _buffer(count: int) -> Tensor:
    return torch.empty(count, **CPU_FLOAT)


def _rounded(count: int) -> int:
    """Up to a multiple of a cache line."""
    return -(-count // 16) * 16
