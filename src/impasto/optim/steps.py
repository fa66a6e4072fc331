"""What every operation yields: the picture as it is now, and where the run stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
from torch import Tensor

from impasto.files import StrPath
from impasto.images import Picture
from impasto.isolation import neutral_state
from impasto.optim.canvas import Canvas, LocalCanvas
from impasto.optim.checkpoints import LossRecord
from impasto.optim.clock import fraction_done


@dataclass(frozen=True, eq=False, repr=False)
class Step:
    """One improvement of the picture.

    Attributes:
        canvas: what is optimised, `(1, 3, h, w)` at this scale's size; see `image`.
        iteration, iterations: evaluations done, and planned, at this scale.
        scale, scales: which scale this is, from 1, and how many there are.
        evaluations: evaluations done in all.
        loss, losses: the objective's value, and the weighted value of each term by name; with Adam, of the picture
            before its last step.
        seconds: since the beginning.
        eta: seconds left, estimated.
        shape: height and width of the final picture.
        note: something a person should know, say that the optimiser ended early; mostly empty.
        earlier: of the first step of a resumed run, the losses of the steps before.
        found: name -> value of options that were found for the inputs: a calibrated `style_weight`.
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
    shape: tuple[int, int]
    note: str = ""
    finish: Callable[[Tensor], Any] = field(default=Picture, repr=False)
    earlier: Sequence[LossRecord] = field(default=(), repr=False)
    found: Mapping[str, float] = field(default_factory=dict)

    @property
    def width(self) -> int:
        """Of the final picture, in pixels."""
        return self.shape[1]

    @property
    def height(self) -> int:
        """Of the final picture, in pixels."""
        return self.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the final picture, in pixels, as PIL images have it."""
        return self.width, self.height

    @property
    def fraction(self) -> float:
        """The part of the time that is over, estimated, in [0, 1]."""
        return fraction_done(self.seconds, self.eta)

    @property
    def image_shape(self) -> tuple[int, int]:
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

    def save(self, path: StrPath, bits: int = 8) -> None:
        """Write the picture as it is now; see `Picture.save`."""
        self.picture.save(path, bits)

    def show(self) -> None:
        """Open the picture as it is now in the system's viewer."""
        self.picture.show()

    def to_pil(self) -> PIL.Image.Image:
        """The picture as it is now; see `Picture.to_pil`."""
        return self.picture.to_pil()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return self.picture.__array__(dtype, copy)

    def _repr_png_(self) -> bytes:
        return self.picture._repr_png_()

    def __repr__(self) -> str:
        where = f"scale {self.scale}/{self.scales}, iteration {self.iteration}/{self.iterations}"
        return f"<Step {self.width}×{self.height}, {where}, loss {self.loss:.4g}>"


def single_step(image: Tensor, finish: Callable[[Tensor], Picture], seconds: float) -> Step:
    """The step of an operation that has only one, with the picture `(3, h, w)` that it made."""
    canvas = LocalCanvas(image[None])
    return Step(canvas, 1, 1, 1, 1, 1, 0.0, {}, seconds, 0.0, (image.shape[-2], image.shape[-1]), "", finish)
