"""Random convolutions over a spectrogram, the network whose features make the style of a sound.

Ulyanov and Lebedev ("Audio texture synthesis and style transfer", 2016) found that one wide layer of random filters
over a logarithmic spectrogram, its frequencies as channels, is enough: the Gram matrices of its output tell textures
of sound apart. Random filters tell only as much as they are many beside the numbers they read. So `stacked` reads the
fine frequencies over a moment, and ever fewer bands over ever longer times: each time as much as a thousand filters can
tell apart, from single strokes to a bar of rhythm.

Padded samples are `(1, c, 1, t)`, features `(1, n, c, m)`: channels of the sound as rows, positions in time as columns,
so that the losses of pictures apply.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.devices import CPU_FLOAT
from impasto.settings.choices import SoundEncoderName
from impasto.settings.fields import unknown
from impasto.vgg.encoder import AccumulateGrad
from impasto.vgg.workspace import Workspace

#: Samples of a window of the spectrogram, and between two windows.
WINDOW, HOP = 2048, 512
BINS = WINDOW // 2 + 1
#: Frames that are read at once to fit an encoder to a sound.
BLOCK = 1024


class LayerSpec(NamedTuple):
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


#: Name -> its layers, side by side; and whether they read the difference from the mean spectrum.
ENCODERS: dict[SoundEncoderName, tuple[tuple[LayerSpec, ...], bool]] = {
    "wide": ((LayerSpec(0, 4096, 11),), False),
    "stacked": (
        (LayerSpec(0, 1024, 3), LayerSpec(128, 1024, 8), LayerSpec(64, 1024, 32, 2), LayerSpec(32, 1024, 16, 8)),
        True,
    ),
}


@dataclass(frozen=True, eq=False)
class FilterBank:
    """Frequencies gathered into bands, by the logarithm of their magnitudes.

    Attributes:
        weights: `(bands, BINS)`; None for the frequencies themselves.
        level: the magnitude at which the logarithm begins to bend: the mean one of the sound it is fitted to.
        mean: `(bands, 1)`, and `deviation`: of that sound; 0 and 1 where spectra are not centred.
    """

    weights: Tensor | None
    level: float = 1.0
    mean: Tensor | float = 0.0
    deviation: float = 1.0

    def gather(self, magnitudes: Tensor) -> Tensor:
        """The bands' magnitudes, from `(c, BINS, frames)`."""
        return magnitudes if self.weights is None else self.weights @ magnitudes

    def __call__(self, magnitudes: Tensor) -> Tensor:
        """log(1 + |S| / level) of each band, less the mean, in deviations: `(c, bands, frames)`."""
        return ((self.gather(magnitudes) / self.level).log1p() - self.mean) / self.deviation


@dataclass(frozen=True, eq=False)
class SoundLayer:
    """A layer of random filters.

    Attributes:
        bank: the index of its filter bank.
        weight: `(filters, bands, width)`.
        pool: frames of a position.
    """

    name: str
    bank: int
    weight: Tensor
    pool: int

    @property
    def reach(self) -> int:
        """How many frames after its first a position depends on."""
        return int(self.weight.shape[2] * self.pool - 1)

    def __call__(self, spectrum: Tensor) -> Tensor:
        """Features `(c, filters, positions)` of a spectrum `(c, bands, frames)`."""
        return F.conv1d(F.avg_pool1d(spectrum, self.pool) if self.pool > 1 else spectrum, self.weight).relu()


@dataclass(frozen=True)
class Chunk:
    """Positions that are computed at once, those that begin at frames from `start` to `stop`: a sound's `Tile`.

    Attributes:
        samples: the padded samples that they depend on.
    """

    start: int
    stop: int
    samples: slice

    def window(self, padded: Tensor) -> Tensor:
        """The samples that the positions depend on."""
        return padded[..., self.samples]

    def add(self, whole: Tensor, part: Tensor) -> None:
        """Add `part`, of the window's size, to the window of `whole`."""
        whole[..., self.samples] += part

    def inside(self, features: Tensor, stride: int) -> Tensor:
        """The chunk's own positions among those of its window."""
        return features[..., : -(-(self.stop - self.start) // stride)]

    def owned_slices(self, stride: int) -> tuple[slice, slice]:
        """All rows, and the columns of the chunk's own positions in the whole layer."""
        first = self.start // stride
        return slice(None), slice(first, first - (-(self.stop - self.start) // stride))


@dataclass(frozen=True, eq=False)
class SoundEncoder:
    """Layers over one spectrogram; see `losses.objective.FeatureNetwork`.

    Attributes:
        wraps: whether sounds are periodic.
    """

    layers: tuple[SoundLayer, ...]
    banks: tuple[FilterBank, ...]
    centred: bool = False
    wraps: bool = False
    hann: Tensor = field(default_factory=lambda: torch.hann_window(WINDOW, **CPU_FLOAT))

    @property
    def reach(self) -> int:
        """How many frames after its first the farthest position depends on."""
        return max(layer.reach for layer in self.layers)

    @property
    def least_stride(self) -> int:
        """The frames that chunks, and sounds that wrap, must be multiples of."""
        return max(layer.pool for layer in self.layers)

    def stride(self, name: str) -> int:
        """Frames per position of a layer."""
        return next(layer.pool for layer in self.layers if layer.name == name)

    def within(self, samples: int) -> SoundEncoder:
        """The encoder with the layers that fit into sounds of so many samples; the briefest one at least."""
        frames, least = samples // HOP + 1, min(layer.reach for layer in self.layers)
        kept = [layer for layer in self.layers if layer.reach <= max(least, frames - 1 - self.least_stride)]
        banks = tuple(self.banks[layer.bank] for layer in kept)
        layers = tuple(dataclasses.replace(layer, bank=index) for index, layer in enumerate(kept))
        return dataclasses.replace(self, layers=layers, banks=banks)

    def pad(self, samples: Tensor) -> Tensor:
        """`(c, t)` padded at both ends: by reflection, or where it wraps, by the other end."""
        half = WINDOW // 2
        if not self.wraps:
            return F.pad(samples[None], (half, half), mode="reflect")[0]
        count = samples.shape[1]
        places = torch.arange(-half, count + half + (self.reach - 1) * HOP, dtype=torch.int64, device=samples.device)
        return samples[:, places % count]

    def frames(self, samples: int) -> int:
        """Of a padded sound of so many samples."""
        return samples // HOP + (self.reach if self.wraps else 1)

    def positions(self, samples: int) -> int:
        """How many frames some layer has a position that begins there."""
        return samples // HOP if self.wraps else self.frames(samples) - min(layer.reach for layer in self.layers)

    def chunks(self, samples: int, most: int) -> list[Chunk]:
        """Chunks of at most so many frames, of a sound of so many samples."""
        positions, stride = self.positions(samples), self.least_stride
        squares = -(-positions // stride)
        count = -(-squares // max(1, most // stride))
        marks = [*(round(index * squares / count) * stride for index in range(count)), positions]
        last = self.frames(samples)
        return [
            Chunk(start, stop, slice(start * HOP, (min(stop + self.reach, last) - 1) * HOP + WINDOW))
            for start, stop in pairwise(marks)
        ]

    def magnitudes(self, padded: Tensor) -> Tensor:
        """`(c, BINS, frames)` of padded samples `(c, t)`."""
        spectrum = torch.stft(padded, WINDOW, HOP, window=self.hann, center=False, return_complex=True)
        # The root's derivative is infinite at zero.
        return (spectrum.real.square() + spectrum.imag.square() + 1e-10).sqrt()

    def features(self, padded: Tensor, taps: Collection[str]) -> dict[str, Tensor]:
        """Layer -> features `(1, n, c, m)` of padded samples `(1, c, 1, t)`, without layers that do not fit."""
        magnitudes = self.magnitudes(padded[0, :, 0])
        layers = [layer for layer in self.layers if layer.name in taps and magnitudes.shape[2] > layer.reach]
        spectra = {index: self.banks[index](magnitudes) for index in {layer.bank for layer in layers}}
        return {layer.name: layer(spectra[layer.bank]).transpose(0, 1)[None] for layer in layers}

    def walk(
        self, padded: Tensor, taps: Collection[str], workspace: Workspace | None = None
    ) -> Iterator[tuple[str, Tensor, None]]:
        """(layer, features, None), as `features` gives them."""
        for name, found in self.features(padded, taps).items():
            yield name, found, None

    def backward(
        self, padded: Tensor, taps: Collection[str], accumulate: AccumulateGrad, workspace: Workspace | None = None
    ) -> Tensor:
        """The gradient by the padded samples, given those by the features; see `vgg.encoder.Encoder.backward`."""
        with torch.enable_grad():
            given = padded.detach().clone().requires_grad_()
            features = self.features(given, taps)
        grads = []
        for name, found in features.items():
            grads.append(torch.zeros_like(found, memory_format=torch.contiguous_format))
            accumulate(name, found.detach(), grads[-1])
        (gradient,) = torch.autograd.grad(list(features.values()), given, grads)
        return gradient

    def fitted(self, samples: Tensor) -> SoundEncoder:
        """The encoder for sounds like this one, `(c, t)`: as loud, and with such a spectrum."""
        padded = dataclasses.replace(self, wraps=False).pad(samples)

        def mean_over_frames(number: Callable[[Tensor], Tensor]) -> Tensor:
            total, count = torch.zeros((), dtype=samples.dtype, device=samples.device), 0
            for start in range(0, padded.shape[1] - WINDOW + 1, BLOCK * HOP):
                found = number(self.magnitudes(padded[:, start : start + (BLOCK - 1) * HOP + WINDOW]))
                total, count = total + found.sum((0, 2)), count + found.shape[0] * found.shape[2]
            return total / count

        banks: list[FilterBank] = []
        with torch.no_grad():
            for bank in self.banks:
                fit = dataclasses.replace(bank, level=max(mean_over_frames(bank.gather).mean().item(), 1e-9))
                if self.centred:
                    mean = mean_over_frames(fit)
                    square = mean_over_frames(lambda magnitudes, fit=fit: fit(magnitudes).square())  # type: ignore[misc]
                    deviation = (square - mean.square()).mean().clamp_min(1e-12).sqrt().item()
                    fit = dataclasses.replace(fit, mean=mean[:, None], deviation=deviation)
                banks.append(fit)
        return dataclasses.replace(self, banks=tuple(banks))


def sound_encoder(
    name: SoundEncoderName, seed: int = 0, device: torch.device | None = None, rate: int = 22050
) -> SoundEncoder:
    """An encoder of `ENCODERS`, its filters drawn from a seed, for sounds of `rate` samples a second.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in ENCODERS:
        raise unknown("encoder", name, ENCODERS)
    specs, centred = ENCODERS[name]
    generator = torch.Generator().manual_seed(seed)
    layers: list[SoundLayer] = []
    banks: list[FilterBank] = []
    for bands, filters, width, pool in specs:
        channels = bands or BINS
        # So that features are about 1: of centred spectra they are sums of numbers of both signs (He et al. 2015),
        # of others the constant of Ulyanov and Lebedev's code.
        spread = channels * width if centred else (channels + filters) * width / 2
        weight = math.sqrt(2 / spread) * torch.randn(filters, channels, width, generator=generator, **CPU_FLOAT)
        layers.append(SoundLayer(f"{channels} bands, {width * pool} frames", len(banks), weight.to(device), pool))
        banks.append(FilterBank(mel(bands, rate).to(device) if bands else None))
    return SoundEncoder(tuple(layers), tuple(banks), centred, hann=torch.hann_window(WINDOW, **CPU_FLOAT).to(device))


def mel(bands: int, rate: int, lowest: float = 50.0) -> Tensor:
    """Triangular bands, evenly spaced on the mel scale from `lowest` Hz up: `(bands, BINS)`, each of sum 1.

    The mel scale is 2595 log10(1 + f / 700); a band that is narrower than a bin is the nearest one.
    """
    first, last = (2595 * math.log10(1 + frequency / 700) for frequency in (lowest, rate / 2))
    edges = 700 * (10 ** (torch.linspace(first, last, bands + 2, **CPU_FLOAT) / 2595) - 1)
    bins = torch.arange(BINS, **CPU_FLOAT) * rate / WINDOW
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    weights = torch.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clamp_min(0)
    narrow = weights.sum(1) < 1e-3
    weights[narrow, (bins - middle).abs().argmin(1)[narrow]] = 1
    return weights / weights.sum(1, keepdim=True)
