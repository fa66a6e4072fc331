"""From samples to the canvas that is optimised and to the input of the encoder, and the gradient back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.audio.encoder import SoundEncoder

#: The canvas is 0.5 + samples / 2, so that its bounds are those of a sound that does not clip.
GAIN = 0.5


def canvas_of(samples: Tensor) -> Tensor:
    """`(c, t)` in [-1, 1] as what is optimised, `(1, c, 1, t)` in [0, 1]."""
    return (0.5 + GAIN * samples)[None, :, None].clamp(0, 1)


def samples_of(canvas: Tensor) -> Tensor:
    """The inverse of `canvas_of`, of `(1, c, 1, t)` or `(c, 1, t)`."""
    return (canvas.reshape(canvas.shape[-3], canvas.shape[-1]) - 0.5) / GAIN


@dataclass(frozen=True)
class SoundView:
    """From a canvas `(1, c, 1, t)` to padded samples `(1, c, 1, t')`; see `losses.objective.ImageView`.

    Attributes:
        samples: t, of the canvas.
    """

    encoder: SoundEncoder
    samples: int

    def __call__(self, canvas: Tensor) -> Tensor:
        return self.encoder.pad(samples_of(canvas))[None, :, None]

    def backward(self, grad: Tensor) -> Tensor:
        with torch.enable_grad():
            samples = grad.new_zeros(grad.shape[1], self.samples).requires_grad_()
            (back,) = torch.autograd.grad(self.encoder.pad(samples), samples, grad[0, :, 0])
        return (back / GAIN)[None, :, None]
