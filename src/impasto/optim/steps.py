"""What every operation yields: the picture as it is now, and where the run stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from impasto.images import Picture
from impasto.isolation import neutral_state
from impasto.optim.canvas import Canvas, LocalCanvas
from impasto.optim.checkpoints import LossRecord


@dataclass(frozen=True, eq=False)
class Step:
    """One improvement of the picture.

    Attributes:
        canvas: what is optimised, `(1, 3, h, w)` at this scale's size; see `image`.
        iteration, iterations: evaluations done, and planned, at this scale.
        scale, scales: which scale this is, from 1, and how many there are.
        evaluations: evaluations done in all.
        loss, losses: the objective's value, and the weighted value of each term by name.
        seconds: since the beginning.
        eta: seconds left, estimated.
        size: height and width of the final picture.
        note: something a person should know, say that the optimiser ended early; mostly empty.
        earlier: of the first step of a resumed run, the losses of the steps before.
    """

    canvas: Canvas
    iteration: int
    iterations: int
    scale: int
    scales: int
    evaluations: int
    loss: float
    losses: Mapping[str, float]
    seconds: float
    eta: float
    size: tuple[int, int]
    note: str = ""
    finish: Callable[[Tensor], Any] = field(default=Picture, repr=False)
    earlier: Sequence[LossRecord] = field(default=(), repr=False)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of `image`, in pixels."""
        return self.canvas.shape[-2], self.canvas.shape[-1]

    @property
    def image(self) -> Tensor:
        """`(3, h, w)` at this scale's size, sRGB in [0, 1]: what is optimised, before colours, masks and alpha."""
        return self.canvas.gather()[0]

    @property
    def picture(self) -> Picture:
        """The picture as it would be written now: at exactly the final size, with the content's alpha."""
        with neutral_state():
            picture: Picture = self.finish(self.image.cpu())
        return picture


def single_step(image: Tensor, finish: Callable[[Tensor], Picture], seconds: float) -> Step:
    """The step of an operation that has only one, with the picture `(3, h, w)` that it made."""
    canvas = LocalCanvas(image[None])
    return Step(canvas, 1, 1, 1, 1, 1, 0.0, {}, seconds, 0.0, (image.shape[-2], image.shape[-1]), "", finish)
