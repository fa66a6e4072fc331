"""What hears: a spectrogram, and random convolutions over time.

Ulyanov and Lebedev ("Audio texture synthesis and style transfer", 2016) found that one wide layer of random filters
over a logarithmic spectrogram, its frequencies as channels, is enough: Gram matrices of what it gives tell textures
of sound apart. Random filters tell only as much as they are many beside the numbers that they see. So `stacked` sees
the fine frequencies for a moment, and in ever fewer bands ever longer: as much as a thousand filters can tell each
time, from single strokes to a bar of rhythm.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: Samples of a window of the spectrogram, and between two windows.
WINDOW, HOP = 2048, 512
BINS = WINDOW // 2 + 1
#: Frames that are looked at at once, to learn what a sound is like.
PART = 1024


class Row(NamedTuple):
    """A layer of an encoder.

    Attributes:
        bands: into which the frequencies are gathered, on the mel scale; 0 for all of them as they are.
        filters: how many.
        width: of a filter, in positions.
        pool: frames of a position.
    """

    bands: int
    filters: int
    width: int
    pool: int = 1


#: Name -> its layers, side by side; and whether they hear what differs from the mean of what is listened to.
ENCODERS: dict[str, tuple[tuple[Row, ...], bool]] = {
    "wide": ((Row(0, 4096, 11),), False),
    "stacked": ((Row(0, 1024, 3), Row(128, 1024, 8), Row(64, 1024, 32, 2), Row(32, 1024, 16, 8)), True),
}


@dataclass(frozen=True, eq=False)
class Bank:
    """Frequencies as they are heard: gathered into bands, by the logarithm of their magnitudes.

    Attributes:
        weights: `(bands, BINS)`; None for the frequencies themselves.
        level: the magnitude at which the logarithm begins to bend: the mean one of what is listened to.
        mean: `(bands, 1)`, and `deviation`: of what is listened to; 0 and 1 where all of it is to be heard.
    """

    weights: Tensor | None
    level: float = 1.0
    mean: Tensor | float = 0.0
    deviation: float = 1.0

    def gather(self, magnitudes: Tensor) -> Tensor:
        """Of `(c, BINS, frames)`, those of the bands."""
        return magnitudes if self.weights is None else self.weights @ magnitudes

    def __call__(self, magnitudes: Tensor) -> Tensor:
        """log(1 + |S| / level) of each band, less the mean, in deviations: `(c, bands, frames)`."""
        return ((self.gather(magnitudes) / self.level).log1p() - self.mean) / self.deviation


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer of random filters.

    Attributes:
        bank: the index of its bank.
        weight: `(filters, bands, width)`.
        pool: frames of a position.
    """

    name: str
    bank: int
    weight: Tensor
    pool: int

    @property
    def reach(self) -> int:
        """How many frames after the first a position depends on."""
        return int(self.weight.shape[2] * self.pool - 1)

    def __call__(self, spectrum: Tensor) -> Tensor:
        """Features `(c, filters, positions)` of a spectrum `(c, bands, frames)`."""
        return F.conv1d(F.avg_pool1d(spectrum, self.pool) if self.pool > 1 else spectrum, self.weight).relu()


@dataclass(frozen=True, eq=False)
class Encoder:
    """Layers over one spectrogram.

    Attributes:
        wraps: whether sounds go on at their beginning.
    """

    layers: tuple[Layer, ...]
    banks: tuple[Bank, ...]
    centred: bool = False
    wraps: bool = False
    window: Tensor = field(default_factory=lambda: torch.hann_window(WINDOW))

    @property
    def reach(self) -> int:
        """How many frames after its first the farthest position depends on."""
        return max(layer.reach for layer in self.layers)

    @property
    def stride(self) -> int:
        """Of how many frames chunks must be multiples, and sounds that wrap."""
        return max(layer.pool for layer in self.layers)

    def within(self, samples: int) -> Encoder:
        """The layers that fit into sounds of so many samples; the briefest one at least."""
        frames, least = samples // HOP + 1, min(layer.reach for layer in self.layers)
        kept = [layer for layer in self.layers if layer.reach <= max(least, frames - 1 - self.stride)]
        banks = tuple(self.banks[layer.bank] for layer in kept)
        layers = tuple(dataclasses.replace(layer, bank=index) for index, layer in enumerate(kept))
        return dataclasses.replace(self, layers=layers, banks=banks)

    def pad(self, samples: Tensor) -> Tensor:
        """`(c, t)` with what stands beyond its ends: as in a mirror, or where it wraps, the other end."""
        half = WINDOW // 2
        if not self.wraps:
            return F.pad(samples[None], (half, half), mode="reflect")[0]
        count = samples.shape[1]
        places = torch.arange(-half, count + half + (self.reach - 1) * HOP, device=samples.device)
        return samples[:, places % count]

    def frames(self, samples: int) -> int:
        """Of a sound of so many samples, as padded."""
        return samples // HOP + (self.reach if self.wraps else 1)

    def positions(self, samples: int) -> int:
        """From how many frames on some layer has a position that begins there."""
        return samples // HOP if self.wraps else self.frames(samples) - min(layer.reach for layer in self.layers)

    def magnitudes(self, padded: Tensor) -> Tensor:
        """`(c, BINS, frames)` of padded samples `(c, t)`."""
        spectrum = torch.stft(padded, WINDOW, HOP, window=self.window, center=False, return_complex=True)
        # The root's slope is infinite at zero.
        return (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt()

    def __call__(self, padded: Tensor) -> Mapping[str, Tensor]:
        """Layer -> features `(c, filters, positions)`."""
        magnitudes = self.magnitudes(padded)
        spectra = [bank(magnitudes) for bank in self.banks]
        return {layer.name: layer(spectra[layer.bank]) for layer in self.layers if magnitudes.shape[2] > layer.reach}

    def fitted(self, samples: Tensor) -> Encoder:
        """The encoder for sounds as this one, `(c, t)`: as loud, and of such a spectrum."""
        padded = dataclasses.replace(self, wraps=False).pad(samples)

        def over(number: Callable[[Tensor], Tensor]) -> Tensor:
            """The mean over all frames of some numbers of each."""
            total, count = torch.zeros((), device=samples.device), 0
            for start in range(0, padded.shape[1] - WINDOW + 1, PART * HOP):
                found = number(self.magnitudes(padded[:, start : start + (PART - 1) * HOP + WINDOW]))
                total, count = total + found.sum((0, 2)), count + found.shape[0] * found.shape[2]
            return total / count

        banks: list[Bank] = []
        with torch.no_grad():
            for bank in self.banks:
                fit = dataclasses.replace(bank, level=max(over(bank.gather).mean().item(), 1e-9))
                if self.centred:
                    mean = over(fit)
                    square = over(lambda magnitudes, fit=fit: fit(magnitudes).square())  # type: ignore[misc]
                    deviation = (square - mean.square()).mean().clamp_min(1e-12).sqrt().item()
                    fit = dataclasses.replace(fit, mean=mean[:, None], deviation=deviation)
                banks.append(fit)
        return dataclasses.replace(self, banks=tuple(banks))


def encoder(name: str, seed: int = 0, device: torch.device | None = None, rate: int = 22050) -> Encoder:
    """An encoder of `ENCODERS`, its filters drawn from a seed, for sounds of `rate` samples a second.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}; choose from {', '.join(ENCODERS)}")
    rows, centred = ENCODERS[name]
    generator = torch.Generator().manual_seed(seed)
    layers: list[Layer] = []
    banks: list[Bank] = []
    for bands, filters, width, pool in rows:
        channels = bands or BINS
        # So that features are about 1: of centred spectra they are sums of numbers of both signs (He et al. 2015),
        # of others what Ulyanov and Lebedev's code takes.
        spread = channels * width if centred else (channels + filters) * width / 2
        weight = math.sqrt(2 / spread) * torch.randn(filters, channels, width, generator=generator)
        layers.append(Layer(f"{channels} bands, {width * pool} frames", len(banks), weight.to(device), pool))
        banks.append(Bank(mel(bands, rate).to(device) if bands else None))
    return Encoder(tuple(layers), tuple(banks), centred, window=torch.hann_window(WINDOW, device=device))


def mel(bands: int, rate: int, lowest: float = 50.0) -> Tensor:
    """Triangular bands, evenly spaced on the mel scale from `lowest` Hz up: `(bands, BINS)`, each of sum 1.

    The mel scale is 2595 log10(1 + f / 700); a band that is narrower than a bin is the nearest one.
    """
    first, last = (2595 * math.log10(1 + frequency / 700) for frequency in (lowest, rate / 2))
    edges = 700 * (10 ** (torch.linspace(first, last, bands + 2) / 2595) - 1)
    bins = torch.arange(BINS) * rate / WINDOW
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    weights = torch.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clamp_min(0)
    narrow = weights.sum(1) < 1e-3
    weights[narrow, (bins - middle).abs().argmin(1)[narrow]] = 1
    return weights / weights.sum(1, keepdim=True)
