"""Feed-forward networks: a photo and the code of a painting in, the painted picture out.

A network is a chain of stages. What a stage gives has, before the next reads it, its statistics exchanged for the
painting's (`exchange`): there, and nowhere else, does one part of the picture know of the others, so that a picture
of any size can be painted in tiles, exactly. Within a stage the painting speaks through a vector that scales and
shifts what convolutions give (Dumoulin et al., arXiv 1610.07629; Ghiasi et al., arXiv 1705.06830). What there is to
know of a painting is made of sums over its positions, too.

Two kinds: `vgg` sees through VGG-19 up to relu3_1 and learns only the way back; `compact` learns all of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.fast.transform import Exchange, Fit, Sums, sums, transport
from impasto.vgg import encoder as vgg
from impasto.vgg import tiling
from impasto.vgg.encoder import Encoder, Kernel, kernel

Kind = Literal["vgg", "compact"]

#: Numbers of a painting's vector.
CODE = 128
#: Up to where VGG-19 is read, and the layers whose statistics make the vector.
TAP, READ = "relu3_1", ("relu1_1", "relu2_1", "relu3_1")


@dataclass(frozen=True, eq=False)
class Code:
    """All that a network knows of a painting.

    Attributes:
        fits: after each stage but the last, what the statistics are exchanged for.
        vector: `(b, CODE)`.
    """

    fits: tuple[Fit, ...]
    vector: Tensor

    def rolled(self) -> Code:
        """The codes of a batch, each in the place of the next."""
        fits = tuple(Fit(fit.mean.roll(1, 0), fit.spread.roll(1, 0)) for fit in self.fits)
        return Code(fits, self.vector.roll(1, 0))


#: Codes with their weights.
Blend = Sequence[tuple[Code, float]]


def pad(x: Tensor) -> Tensor:
    """One pixel more on each side, the border's again: zeros would be seen as a frame."""
    return F.pad(x, (1, 1, 1, 1), mode="replicate")


class Convolution(nn.Module):
    """A 3×3 convolution that a painting's vector scales and shifts, and a ReLU.

    Args:
        stride: 1 keeps the size, 2 halves it.
        rectify: whether the ReLU follows.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, rectify: bool = True) -> None:
        super().__init__()
        self.inputs, self.stride, self.rectify = inputs, stride, rectify
        self.weight = nn.Parameter(nn.init.kaiming_normal_(torch.empty(outputs, inputs, 3, 3)))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.film = nn.Linear(CODE, 2 * outputs)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`(b, inputs, h, w)` to `(b, outputs, h / stride, w / stride)`."""
        plain = self.stride == 1 and len(vector) == 1 and x.dtype == self.weight.dtype
        if plain and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return vgg.convolve(x, self.spoken(vector), "replicate", self.rectify)
        scale, shift = self.film(vector)[..., None, None].to(x).chunk(2, 1)
        y = F.conv2d(pad(x), self.weight.to(x), self.bias.to(x), self.stride) * (1 + scale) + shift
        return y.relu() if self.rectify else y

    def spoken(self, vector: Tensor) -> Kernel:
        """What one painting makes of the kernel: scale and shift are part of it."""
        scale, shift = self.film(vector[0]).chunk(2)
        return kernel(self.weight * (1 + scale[:, None, None, None]), self.bias * (1 + scale) + shift)


class Stage(nn.Module):
    """Some layers between two exchanges.

    Attributes:
        before, after: pixels of the picture per position of what it reads, and of what it gives.
        reach: how many pixels beyond its own, on each side, what it gives may depend on; a multiple of both.
        listens: whether the painting has a say in it.
    """

    def __init__(self, layers: Sequence[nn.Module], before: int, after: int, reach: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.before, self.after, self.reach, self.listens = before, after, reach, True

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Through the layers."""
        for layer in self.layers:
            x = layer(x, vector)
        return x


class Sight(Stage):
    """VGG-19 to relu3_1, which is not trained.

    Its activations go into the hundreds; they are given in units of their own, `(256,)`.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__([], before=1, after=4, reach=tiling.halo(encoder, [TAP]))
        self.encoder, self.listens = encoder.up_to([TAP]), False
        self.unit: Tensor
        self.register_buffer("unit", torch.ones(256))

    def calibrate(self, photos: Tensor) -> None:
        """Take the units from photos `(b, 3, h, w)`: once, before training."""
        square = self.levels(photos)[-1].float().square()
        self.unit.copy_(square.mean((0, 2, 3)).sqrt().clamp_min(1e-3 * square.mean().sqrt()))

    def levels(self, picture: Tensor) -> list[Tensor]:
        """What it sees of `(b, 3, h, w)` at the layers that the vector is made of, the last of them `TAP`."""
        with torch.no_grad():
            return list(self.encoder(picture.to(self.encoder.mean.dtype), READ).values())

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`(b, 3, h, w)` to `(b, 256, h / 4, w / 4)`."""
        with torch.no_grad():
            seen = self.encoder(x.to(self.encoder.mean.dtype), [TAP])[TAP]
            return seen / self.unit[:, None, None].to(seen.dtype)


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


class Larger(nn.Module):
    """Every position twice in each direction: with the convolution that follows, free of the checkerboards that
    transposed convolutions leave (Odena et al., Distill 2016)."""

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`(b, n, h, w)` to `(b, n, 2h, 2w)`."""
        return F.interpolate(x, scale_factor=2, mode="nearest")


class Squares(nn.Module):
    """Every 2×2 square of pixels as one position (pixel-unshuffle)."""

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """`(b, n, h, w)` to `(b, 4n, h / 2, w / 2)`."""
        return F.pixel_unshuffle(x - 0.5, 2)


class Picture(nn.Module):
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
    """What the two kinds share.

    Attributes:
        kind: which one.
        exchange: the statistics that are exchanged between stages.
        strides: of the levels at which paintings are looked at; fits of the last are what is exchanged first.
        stages: see the module's docstring.
        dtype: what convolutions compute in. Statistics and parameters are in float32.
    """

    kind: Kind
    exchange: Exchange
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
    def reach(self) -> int:
        """How far, in pixels, a position of a level looks beyond its own; a multiple of all strides."""
        return self.chain[0].reach

    @abstractmethod
    def look(self, painting: Tensor) -> list[Tensor]:
        """The features of paintings `(b, 3, h, w)`, sRGB in [0, 1], at each level."""

    @abstractmethod
    def read(self, seen: Sequence[Sums]) -> Code:
        """The code of paintings, from sums over their positions at each level."""

    def sums(self, seen: Sequence[Tensor], weights: Sequence[Tensor | None] | None = None) -> list[Sums]:
        """The sums that `read` reads, of features at each level, with positions weighted by `(h, w)`, if given."""
        kinds = [*["moments"] * (len(self.strides) - 1), self.exchange]
        return [
            sums(features.flatten(2), kind, None if weight is None else weight.flatten())  # type: ignore[arg-type]
            for features, kind, weight in zip(seen, kinds, weights or [None] * len(kinds), strict=True)
        ]

    def code(self, paintings: Tensor) -> Code:
        """All there is to know of paintings `(b, 3, h, w)`, sRGB in [0, 1]."""
        return self.read(self.sums(self.look(paintings)))

    def forward(self, photo: Tensor, vector: Tensor, styles: Blend) -> Tensor:
        """Photos `(b, 3, h, w)`, sRGB in [0, 1], painted; not yet clipped.

        Args:
            photo: its sides are multiples of `multiple`.
            vector: `(b, CODE)`, what is said to the stages.
            styles: what statistics are exchanged for; what the weights lack to 1 stays the photo's.
        """
        x: Tensor = self.stages[0](photo.to(self.dtype), vector)
        for index, stage in enumerate(self.stages[1:]):
            own = sums(x.flatten(2), self.exchange).fit
            x = transport(own, [(code.fits[index], weight) for code, weight in styles])(x.float()).to(self.dtype)
            x = stage(x, vector)
        return x.float()

    def painted(self, photo: Tensor, code: Code) -> Tensor:
        """Photos in the manner of one painting each; see `forward`."""
        found: Tensor = self(photo, code.vector, [(code, 1.0)])
        return found


def blended(blend: Blend) -> Tensor:
    """The vector of several paintings, `(b, CODE)`."""
    return torch.stack([weight * code.vector for code, weight in blend]).sum(0)


def known(seen: Sequence[Sums]) -> Tensor:
    """Means and deviations at all levels side by side, `(b, …)`; logarithmic, since they differ by orders."""
    parts: list[Tensor] = []
    for fit in (level.fit for level in seen):
        variance = fit.spread if fit.spread.ndim == 2 else fit.spread.diagonal(dim1=1, dim2=2)
        parts += [fit.mean, (variance.clamp_min(0) + 1e-6).sqrt()]
    return torch.cat([part.sign() * part.abs().log1p() for part in parts], 1)


class VggNetwork(Network):
    """VGG-19 to relu3_1, the covariance exchanged there, and a decoder, which alone is trained."""

    kind: Kind = "vgg"
    exchange: Exchange = "covariance"
    strides = (1, 2, 4)

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        channels = sum(encoder.layers[encoder.depth(layer)].channels for layer in READ)
        self.reader = nn.Sequential(nn.Linear(2 * channels, CODE), nn.ReLU(), nn.Linear(CODE, CODE))
        decoder = [
            Convolution(256, 256),
            Convolution(256, 128),
            Larger(),
            Convolution(128, 128),
            Convolution(128, 64),
            Larger(),
            Convolution(64, 32),
            Picture(32),
        ]
        self.stages = nn.ModuleList([Sight(encoder), Stage(decoder, before=4, after=1, reach=20)])

    @property
    def sight(self) -> Sight:
        """The first stage."""
        first = self.stages[0]
        assert isinstance(first, Sight)
        return first

    def look(self, painting: Tensor) -> list[Tensor]:
        """At relu1_1, relu2_1 and relu3_1."""
        return self.sight.levels(painting)

    def read(self, seen: Sequence[Sums]) -> Code:
        """Its fit at the last layer, in units; and a vector from means and deviations at all."""
        fit, unit = seen[-1].fit, self.sight.unit
        return Code((Fit(fit.mean / unit, fit.spread / torch.outer(unit, unit)),), self.reader(known(seen)))


class CompactNetwork(Network):
    """About a million parameters, all trained: an eighth of the resolution, moments exchanged before and after the
    residual blocks; a small encoder of its own reads the painting."""

    kind: Kind = "compact"
    exchange: Exchange = "moments"
    strides = (2, 4, 8, 8)

    def __init__(self, width: int = 96) -> None:
        super().__init__()
        half, quarter = width // 4, width // 2
        levels = [Convolution(12, half), Convolution(half, quarter, 2), Convolution(quarter, width, 2)]
        head = [Squares(), Convolution(12, half), Convolution(half, quarter, 2), Convolution(quarter, width, 2)]
        body = [Residual(width), Residual(width), Residual(width)]
        tail = [Larger(), Convolution(width, quarter), Larger(), Convolution(quarter, half), Larger(), Picture(half)]
        self.levels = nn.ModuleList([*levels, Residual(width)])
        self.stages = nn.ModuleList(
            [
                Stage(head, before=1, after=8, reach=32),
                Stage(body, before=8, after=8, reach=48),
                Stage(tail, before=8, after=1, reach=16),
            ]
        )
        channels = half + quarter + 2 * width
        self.reader = nn.Sequential(nn.Linear(2 * channels, 2 * CODE), nn.ReLU(), nn.Linear(2 * CODE, CODE))
        self.second = nn.Linear(CODE, 2 * width)

    def look(self, painting: Tensor) -> list[Tensor]:
        """Through an encoder like the head, and a residual block."""
        x, seen = F.pixel_unshuffle(painting.to(self.dtype) - 0.5, 2), []
        neutral = painting.new_zeros(len(painting), CODE)
        for level in self.levels:
            x = level(x, neutral)
            seen.append(x)
        return seen

    def read(self, seen: Sequence[Sums]) -> Code:
        """Its fit at the last level, one that the vector tells, and the vector."""
        vector: Tensor = self.reader(known(seen))
        mean, deviation = self.second(vector).chunk(2, 1)
        return Code((seen[-1].fit, Fit(mean, F.softplus(deviation).square())), vector)


def network(kind: Kind, encoder: Encoder | None = None) -> Network:
    """An untrained network.

    Args:
        encoder: what `vgg` sees through.

    Raises:
        ValueError: there is no such kind.
    """
    if kind == "compact":
        return CompactNetwork()
    if kind != "vgg" or encoder is None:
        raise ValueError(f"unknown network {kind!r}; choose from {', '.join(get_args(Kind))}")
    return VggNetwork(encoder)
