"""The vector operations of the optimisers, on a picture in this process or spread over machines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

#: Numbers whose products are added up in single precision at once.
BLOCK = 1 << 15


class Canvas(Protocol):
    """What is optimised, and anything of its shape: gradients, directions, moments.

    Methods whose names end in an underscore change it in place; all others make a new one.
    """

    @property
    def shape(self) -> torch.Size:
        """`(1, c, h, w)`."""
        ...

    def gather(self) -> Tensor:
        """All of it as one tensor in this process."""
        ...

    def clone(self) -> Self:
        """A copy."""
        ...

    def dot(self, other: Self, /) -> float:
        """Σ self * other."""
        ...

    def sum(self) -> float:
        """Σ self: finite only if all numbers are."""
        ...

    def minus(self, other: Self, /) -> Self:
        """self - other."""
        ...

    def stepped(self, direction: Self, length: float, /) -> Self:
        """self + length * direction, clipped to [0, 1]."""
        ...

    def descent_direction(self, gradient: Self, /) -> Self:
        """-gradient, and 0 where a bound of [0, 1] holds the pixel: where the gradient pushes it outwards."""
        ...

    def hold_(self, canvas: Self, gradient: Self, /) -> None:
        """Set self to 0 where a bound holds the pixels of `canvas`, as in `canvas.descent_direction(gradient)`."""
        ...

    def add_scaled_(self, other: Self, factor: float, /) -> None:
        """self += factor * other."""
        ...

    def divide_(self, divisor: float, /) -> None:
        """self /= divisor."""
        ...

    def zeros(self) -> Self:
        """Zeros of its shape."""
        ...

    def average_(self, other: Self, share: float, /) -> None:
        """self += share * (other - self)."""
        ...

    def average_square_(self, other: Self, share: float, /) -> None:
        """self = (1 - share) * self + share * other²."""
        ...

    def adam_stepped(self, first: Self, second: Self, length: float, correction: float, /) -> Self:
        """self + length * first / sqrt(second / correction), clipped to [0, 1]."""
        ...


@dataclass(frozen=True, eq=False)
class LocalCanvas:
    """A canvas in this process; see `Canvas`.

    Attributes:
        tensor: `(1, c, h, w)`.
    """

    tensor: Tensor

    @property
    def shape(self) -> torch.Size:
        return self.tensor.shape

    def gather(self) -> Tensor:
        return self.tensor

    def clone(self) -> LocalCanvas:
        return LocalCanvas(self.tensor.clone())

    def dot(self, other: LocalCanvas) -> float:
        """Σ self * other.

        On CPUs block by block, and the blocks in double precision: otherwise single precision loses four digits of a
        large picture, and the result depends on how many threads and workers share it.
        """
        one, two = self.tensor.flatten(), other.tensor.flatten()
        if one.device.type != "cpu":
            return float(one.dot(two).item())
        return sum(float(x.dot(y)) for x, y in zip(one.split(BLOCK), two.split(BLOCK), strict=True))

    def sum(self) -> float:
        return float(self.tensor.sum().item())

    def minus(self, other: LocalCanvas) -> LocalCanvas:
        return LocalCanvas(self.tensor - other.tensor)

    def stepped(self, direction: LocalCanvas, length: float) -> LocalCanvas:
        return LocalCanvas(self.tensor.add(direction.tensor, alpha=length).clamp_(0, 1))

    def descent_direction(self, gradient: LocalCanvas) -> LocalCanvas:
        return LocalCanvas(gradient.tensor.masked_fill(_held(self.tensor, gradient.tensor), 0).neg_())

    def hold_(self, canvas: LocalCanvas, gradient: LocalCanvas) -> None:
        self.tensor.masked_fill_(_held(canvas.tensor, gradient.tensor), 0)

    def add_scaled_(self, other: LocalCanvas, factor: float) -> None:
        self.tensor.add_(other.tensor, alpha=factor)

    def divide_(self, divisor: float) -> None:
        self.tensor.div_(divisor)

    def zeros(self) -> LocalCanvas:
        return LocalCanvas(torch.zeros_like(self.tensor))

    def average_(self, other: LocalCanvas, share: float) -> None:
        self.tensor.lerp_(other.tensor, share)

    def average_square_(self, other: LocalCanvas, share: float) -> None:
        self.tensor.mul_(1 - share).addcmul_(other.tensor, other.tensor, value=share)

    def adam_stepped(self, first: LocalCanvas, second: LocalCanvas, length: float, correction: float) -> LocalCanvas:
        step = second.tensor.div(correction).sqrt_().add_(1e-30).reciprocal_().mul_(first.tensor).mul_(length)
        return LocalCanvas(step.add_(self.tensor).clamp_(0, 1))


def _held(pixels: Tensor, gradient: Tensor) -> Tensor:
    """Where pixels at a bound of [0, 1] are pushed outwards by a step against the gradient."""
    held = (gradient > 0).logical_and_(pixels <= 0)
    held |= (gradient < 0).logical_and_(pixels >= 1)
    return held
