"""Feed-forward networks: a photo and the code of a painting in, the painted picture out.

A network is a chain of stages. Between two stages features are whitened and coloured to the painting's statistics
(`transform`). Only there does one part of the picture depend on the others, so that a picture of any size can be
painted in tiles, exactly. Within a stage the painting's vector scales and shifts the outputs of convolutions (Dumoulin
et al., arXiv 1610.07629; Ghiasi et al., arXiv 1705.06830). The code of a painting is computed from sums over its
positions, too.

Two kinds: `vgg` reads relu3_1 of VGG-19 and trains only a decoder; `compact` trains all of its layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.devices import CPU_FLOAT
from impasto.fast.transform import GaussianFit, TransformKind, feature_sums, gaussian_fit, whiten_and_color
from impasto.losses.statistics import Sums
from impasto.settings.choices import NetworkKind
from impasto.vgg import encoder as vgg
from impasto.vgg import tiling
from impasto.vgg.encoder import Encoder, Kernel, kernel

#: Length of a painting's vector.
CODE = 128
#: The layer of VGG-19 that the decoder reads, and the layers whose statistics make the vector.
TAP, READ = "relu3_1", ("relu1_1", "relu2_1", "relu3_1")


@dataclass(frozen=True, eq=False)
class Code:
    """All that a network knows of a painting.

    Attributes:
        fits: after each stage but the last, the statistics that features are transformed to.
        vector: `(b, CODE)`.
    """

    fits: tuple[GaussianFit, ...]
    vector: Tensor

    def mixed(self, share: Tensor) -> Code:
        """The codes of a batch, each with a `share` `(b,)` of the one before: statistics blend as means do."""

        def mix(values: Tensor) -> Tensor:
            return values.lerp(values.roll(1, 0), share.view(-1, *[1] * (values.ndim - 1)))

        return Code(tuple(GaussianFit(mix(fit.mean), mix(fit.spread)) for fit in self.fits), mix(self.vector))


#: Codes with their weights.
Blend = Sequence[tuple[Code, float]]


def pad(x: Tensor) -> Tensor:
    """Replicate padding by one pixel: with zeros the border would be painted as a frame."""
    return F.pad(x, (1, 1, 1, 1), mode="replicate")


class Convolution(nn.Module):
    """A 3×3 convolution whose output a painting's vector scales and shifts, and a ReLU.

    Args:
        stride: 1 keeps the size, 2 halves it.
        rectify: whether the ReLU follows.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, rectify: bool = True) -> None:
        super().__init__()
        self.inputs, self.stride, self.rectify = inputs, stride, rectify
        self.weight = nn.Parameter(nn.init.kaiming_normal_(torch.empty(outputs, inputs, 3, 3, **CPU_FLOAT)))
        self.bias = nn.Parameter(torch.zeros(outputs, **CPU_FLOAT))
        self.film = nn.Linear(CODE, 2 * outputs, **CPU_FLOAT)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`(b, inputs, h, w)` to `(b, outputs, h / stride, w / stride)`."""
        plain = self.stride == 1 and len(vector) == 1 and x.dtype == self.weight.dtype
        if plain and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return vgg.convolve(x, self.modulated_kernel(vector), "replicate", self.rectify)
        scale, shift = self.film(vector)[..., None, None].to(x).chunk(2, 1)
        y = F.conv2d(pad(x), self.weight.to(x), self.bias.to(x), self.stride) * (1 + scale) + shift
        return y.relu() if self.rectify else y

    def modulated_kernel(self, vector: Tensor) -> Kernel:
        """The kernel for one painting, with scale and shift folded in."""
        scale, shift = self.film(vector[0]).chunk(2)
        return kernel(self.weight * (1 + scale[:, None, None, None]), self.bias * (1 + scale) + shift)


class Stage(nn.Module):
    """The layers between two feature transforms.

    Attributes:
        before, after: pixels of the picture per position of its input, and of its output.
        radius: of its receptive field, in pixels; a multiple of both.
        is_conditioned: whether its output depends on the painting's vector.
    """

    def __init__(self, layers: Sequence[nn.Module], before: int, after: int, radius: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.before, self.after, self.radius, self.is_conditioned = before, after, radius, True

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Through the layers."""
        for layer in self.layers:
            x = layer(x, vector)
        return x


class VGGStage(Stage):
    """VGG-19 to relu3_1, which is not trained.

    Its activations go into the hundreds; they are divided by `unit`, `(256,)`.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__([], before=1, after=4, radius=tiling.halo(encoder, [TAP]))
        self.encoder, self.is_conditioned = encoder.up_to([TAP]), False
        self.unit: Tensor
        self.register_buffer("unit", torch.ones(256, **CPU_FLOAT))

    def calibrate(self, photos: Tensor) -> None:
        """Set the units to the root mean squares over photos `(b, 3, h, w)`: once, before training."""
        square = self.levels(photos)[-1].float().square()
        self.unit.copy_(square.mean((0, 2, 3)).sqrt().clamp_min(1e-3 * square.mean().sqrt()))

    def levels(self, picture: Tensor) -> list[Tensor]:
        """The activations of `(b, 3, h, w)` at `READ`, the last of them `TAP`."""
        with torch.no_grad():
            return list(self.encoder(picture.to(self.encoder.mean.dtype), READ).values())

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`(b, 3, h, w)` to `(b, 256, h / 4, w / 4)`."""
        with torch.no_grad():
            features = self.encoder(x.to(self.encoder.mean.dtype), [TAP])[TAP]
            return features / self.unit[:, None, None].to(features.dtype)


class Residual(nn.Module):
    """x + conv(relu(conv(x))) (He et al., arXiv 1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels)
        self.second = Convolution(channels, channels, rectify=False)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Of the shape of `x`."""
        return x + self.second(self.first(x, vector), vector)


class Upsample(nn.Module):
    """Nearest-neighbour upsampling by 2: with the convolution that follows, free of the checkerboard artefacts of
    transposed convolutions (Odena et al., Distill 2016)."""

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`(b, n, h, w)` to `(b, n, 2h, 2w)`."""
        return F.interpolate(x, scale_factor=2, mode="nearest")


class PixelUnshuffle(nn.Module):
    """Every 2×2 square of pixels as one position."""

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`(b, n, h, w)` to `(b, 4n, h / 2, w / 2)`."""
        return F.pixel_unshuffle(x - 0.5, 2)


class ToRGB(nn.Module):
    """The last layer: three channels around mid-grey."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.convolution = Convolution(inputs, 3, rectify=False)
        with torch.no_grad():
            self.convolution.weight.mul_(0.3)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`(b, inputs, h, w)` to `(b, 3, h, w)`, mostly in [0, 1]."""
        return self.convolution(x, vector) + 0.5


class Network(nn.Module, ABC):
    """What the two kinds of network have in common.

    Attributes:
        kind: which one.
        transform: the statistics that are matched between stages.
        strides: of the levels at which paintings are read; the first transform matches the statistics of the last one.
        stages: see the module's docstring.
        dtype: what convolutions compute in. Statistics and parameters are in float32.
    """

    kind: NetworkKind
    transform: TransformKind
    strides: tuple[int, ...]
    stages: nn.ModuleList
    dtype: torch.dtype = torch.float32

    @property
    def multiple(self) -> int:
        """What both sides of a picture must be a multiple of."""
        return max(stage.after for stage in self.chain)

    @property
    def chain(self) -> list[Stage]:
        """The stages."""
        return [stage for stage in self.stages if isinstance(stage, Stage)]

    @property
    def radius(self) -> int:
        """The receptive-field radius of the levels, in pixels; a multiple of all strides."""
        return self.chain[0].radius

    @abstractmethod
    def levels_of(self, painting: Tensor) -> list[Tensor]:
        """The features of paintings `(b, 3, h, w)`, sRGB in [0, 1], at each level."""

    @abstractmethod
    def code_of_sums(self, levels: Sequence[Sums]) -> Code:
        """The code of paintings, from sums over their positions at each level."""

    @property
    def kinds(self) -> list[TransformKind]:
        """The statistics of each level that codes are computed from."""
        return [*["moments"] * (len(self.strides) - 1), self.transform]  # type: ignore[list-item]

    def sums(self, levels: Sequence[Tensor], masks: Sequence[Tensor | None] | None = None) -> list[Sums]:
        """The sums that `code_of_sums` reads, over the features of each level, with masks `(h, w)` if given."""
        masks = masks or [None] * len(levels)
        return [
            feature_sums(features.flatten(2), kind, None if mask is None else mask.flatten())
            for features, kind, mask in zip(levels, self.kinds, masks, strict=True)
        ]

    def fits(self, levels: Sequence[Sums]) -> list[GaussianFit]:
        """The Gaussian fits of sums at each level."""
        return [gaussian_fit(sums, kind) for sums, kind in zip(levels, self.kinds, strict=True)]

    def code(self, paintings: Tensor) -> Code:
        """All there is to know of paintings `(b, 3, h, w)`, sRGB in [0, 1]."""
        return self.code_of_sums(self.sums(self.levels_of(paintings)))

    def forward(self, photo: Tensor, vector: Tensor, styles: Blend) -> Tensor:
        """Photos `(b, 3, h, w)`, sRGB in [0, 1], painted; not yet clipped.

        Args:
            photo: its sides are multiples of `multiple`.
            vector: `(b, CODE)`, which conditions the stages.
            styles: codes with their weights; what these lack to 1 is the photo's own statistics.
        """
        x: Tensor = self.stages[0](photo.to(self.dtype), vector)
        for index, stage in enumerate(self.stages[1:]):
            own = gaussian_fit(feature_sums(x.flatten(2), self.transform), self.transform)
            styled = whiten_and_color(own, [(code.fits[index], weight) for code, weight in styles])
            x = styled(x.float()).to(self.dtype)
            x = stage(x, vector)
        return x.float()

    def painted(self, photo: Tensor, code: Code) -> Tensor:
        """Photos in the manner of one painting each; see `forward`."""
        found: Tensor = self(photo, code.vector, [(code, 1.0)])
        return found


def blended(blend: Blend) -> Tensor:
    """The vector of several paintings, `(b, CODE)`."""
    return torch.stack([weight * code.vector for code, weight in blend]).sum(0)


def summary(fits: Sequence[GaussianFit]) -> Tensor:
    """Means and deviations at all levels side by side, `(b, …)`; logarithmic, since they differ by orders."""
    parts: list[Tensor] = []
    for fit in fits:
        variance = fit.spread if fit.spread.ndim == 2 else fit.spread.diagonal(dim1=1, dim2=2)
        parts += [fit.mean, (variance.clamp_min(0) + 1e-6).sqrt()]
    return torch.cat([part.sign() * part.abs().log1p() for part in parts], 1)


def _reader(channels: int, hidden: int) -> nn.Sequential:
    """From means and deviations of so many channels to a painting's vector."""
    first, second = nn.Linear(2 * channels, hidden, **CPU_FLOAT), nn.Linear(hidden, CODE, **CPU_FLOAT)
    return nn.Sequential(first, nn.ReLU(), second)


class VggNetwork(Network):
    """VGG-19 to relu3_1, the covariance matched there, and a decoder, which alone is trained."""

    kind: NetworkKind = "vgg"
    transform: TransformKind = "covariance"
    strides = (1, 2, 4)

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        channels = sum(encoder.layers[encoder.depth(layer)].channels for layer in READ)
        self.reader = _reader(channels, CODE)
        decoder = [
            Convolution(256, 256),
            Convolution(256, 128),
            Upsample(),
            Convolution(128, 128),
            Convolution(128, 64),
            Upsample(),
            Convolution(64, 32),
            ToRGB(32),
        ]
        self.stages = nn.ModuleList([VGGStage(encoder), Stage(decoder, before=4, after=1, radius=20)])

    @property
    def vgg_stage(self) -> VGGStage:
        """The first stage."""
        first = self.stages[0]
        assert isinstance(first, VGGStage)
        return first

    def levels_of(self, painting: Tensor) -> list[Tensor]:
        """At relu1_1, relu2_1 and relu3_1."""
        return self.vgg_stage.levels(painting)

    def code_of_sums(self, levels: Sequence[Sums]) -> Code:
        """The fit at the last layer, in units; and a vector from means and deviations at all levels."""
        fits, unit = self.fits(levels), self.vgg_stage.unit
        last = GaussianFit(fits[-1].mean / unit, fits[-1].spread / torch.outer(unit, unit))
        return Code((last,), self.reader(summary(fits)))


class CompactNetwork(Network):
    """About a million parameters, all trained: an eighth of the resolution, moments matched before and after the
    residual blocks; a small encoder of its own reads the painting."""

    kind: NetworkKind = "compact"
    transform: TransformKind = "moments"
    strides = (2, 4, 8, 8)

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        half, quarter = width // 4, width // 2
        levels = [Convolution(12, half), Convolution(half, quarter, 2), Convolution(quarter, width, 2)]
        head = [PixelUnshuffle(), Convolution(12, half), Convolution(half, quarter, 2), Convolution(quarter, width, 2)]
        body = [Residual(width), Residual(width), Residual(width)]
        tail = [
            Upsample(),
            Convolution(width, quarter),
            Upsample(),
            Convolution(quarter, half),
            Upsample(),
            ToRGB(half),
        ]
        self.levels = nn.ModuleList([*levels, Residual(width)])
        self.stages = nn.ModuleList(
            [
                Stage(head, before=1, after=8, radius=32),
                Stage(body, before=8, after=8, radius=48),
                Stage(tail, before=8, after=1, radius=16),
            ]
        )
        channels = half + quarter + 2 * width
        self.reader = _reader(channels, 2 * CODE)
        self.second = nn.Linear(CODE, 2 * width, **CPU_FLOAT)

    def levels_of(self, painting: Tensor) -> list[Tensor]:
        """Through an encoder like the head, and a residual block."""
        x, found = F.pixel_unshuffle(painting.to(self.dtype) - 0.5, 2), []
        neutral = painting.new_zeros(len(painting), CODE)
        for level in self.levels:
            x = level(x, neutral)
            found.append(x)
        return found

    def code_of_sums(self, levels: Sequence[Sums]) -> Code:
        """The fit at the last level, one that is computed from the vector, and the vector."""
        fits = self.fits(levels)
        vector: Tensor = self.reader(summary(fits))
        mean, deviation = self.second(vector).chunk(2, 1)
        return Code((fits[-1], GaussianFit(mean, F.softplus(deviation).square())), vector)


def network(kind: NetworkKind, encoder: Encoder | None = None) -> Network:
    """An untrained network.

    Args:
        encoder: that `vgg` reads.

    Raises:
        ValueError: there is no such kind.
    """
    if kind == "compact":
        return CompactNetwork()
    if kind != "vgg" or encoder is None:
        raise ValueError(f"unknown network {kind!r}; choose from {', '.join(get_args(NetworkKind))}")
    return VggNetwork(encoder)
