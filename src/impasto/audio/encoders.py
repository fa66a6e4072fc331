"""What hears: a spectrogram, and random convolutions over time.

Ulyanov and Lebedev ("Audio texture synthesis and style transfer", 2016) found that one wide layer of random filters
over a logarithmic spectrogram, its frequencies as channels, is enough: Gram matrices of what it gives tell textures
of sound apart. Filters of several lengths, side by side, hear from single strokes to a bar of rhythm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

#: Samples of a window of the spectrogram, and between two windows.
WINDOW, HOP = 2048, 512
BINS = WINDOW // 2 + 1
#: Name -> (filters, width in frames, frames between their taps) of each layer, side by side.
ENCODERS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "wide": ((4096, 11, 1),),
    "stacked": ((1024, 3, 1), (1024, 11, 1), (1024, 17, 4)),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of random filters.

    Attributes:
        weight: `(filters, BINS, width)`.
        dilation: frames between two taps.
    """

    name: str
    weight: Tensor
    dilation: int

    @property
    def reach(self) -> int:
        """How many frames after the first a position depends on."""
        return int((self.weight.shape[2] - 1) * self.dilation)

    def __call__(self, spectrum: Tensor) -> Tensor:
        """Features `(c, filters, frames - reach)` of a spectrum `(c, BINS, frames)`."""
        return F.conv1d(spectrum, self.weight, dilation=self.dilation).relu()


@dataclass(frozen=True, eq=False)
class Encoder:
    """Layers over one spectrogram.

    Attributes:
        level: the magnitude at which the logarithm begins to bend: the mean one of what is listened to.
    """

    layers: tuple[Layer, ...]
    level: float = 1.0
    window: Tensor = field(default_factory=lambda: torch.hann_window(WINDOW))

    @property
    def reach(self) -> int:
        """How many frames after its first the farthest position depends on."""
        return max(layer.reach for layer in self.layers)

    def frames(self, samples: int) -> int:
        """Of a sound of so many samples."""
        return samples // HOP + 1

    def magnitudes(self, padded: Tensor) -> Tensor:
        """`(c, BINS, frames)` of samples `(c, t)`, of which the first and last half window stand beyond the ends."""
        spectrum = torch.stft(padded, WINDOW, HOP, window=self.window, center=False, return_complex=True)
        # The root's slope is infinite at zero.
        return (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt()

    def spectrum(self, padded: Tensor) -> Tensor:
        """log(1 + |S| / level), `(c, BINS, frames)`."""
        return (self.magnitudes(padded) / self.level).log1p()

    def __call__(self, padded: Tensor) -> Mapping[str, Tensor]:
        """Layer -> features `(c, filters, positions)`."""
        spectrum = self.spectrum(padded)
        return {layer.name: layer(spectrum) for layer in self.layers if spectrum.shape[2] > layer.reach}


def pad(samples: Tensor) -> Tensor:
    """`(c, t)` with half a window more at each end, as in a mirror."""
    half = WINDOW // 2
    return F.pad(samples[None], (half, half), mode="reflect")[0]


def encoder(name: str, seed: int = 0, device: torch.device | None = None) -> Encoder:
    """An encoder of `ENCODERS`, its filters drawn from a seed.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}; choose from {', '.join(ENCODERS)}")
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for filters, width, dilation in ENCODERS[name]:
        deviation = math.sqrt(2) * math.sqrt(2 / ((BINS + filters) * width))
        weight = deviation * torch.randn(filters, BINS, width, generator=generator)
        layers.append(Layer(f"{width}x{dilation}", weight.to(device), dilation))
    return Encoder(tuple(layers), window=torch.hann_window(WINDOW, device=device))
