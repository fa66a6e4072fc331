"""The feed-forward network: photos and the vectors of styles in, painted pictures out.

An image transformation network (Johnson et al., arXiv 1603.08155) with instance normalisation (Ulyanov et al., arXiv
1607.08022) whose scales and shifts make the style, while all styles share the convolutions (Dumoulin et al., arXiv
1610.07629). A style is thus a vector: the scales and shifts of all layers, as differences from 1 and 0. The vector 0
stands for the photo as it is, and a multiple or a sum of vectors for a strength or a blend of styles.

A flat sky has nothing that a stroke could begin at. Noise is therefore added to the photo: strokes come from it where
the photo is flat, and are irregular, as those of a hand are.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import skip_init

from impasto.devices import CPU_FLOAT, CPU_INDEX
from impasto.losses.statistics import mean_and_variance

#: Both sides of a picture must be multiples of this.
MULTIPLE = 8
#: Pixels by which a picture is continued at its borders, mirrored, so that they are painted like its middle.
MARGIN = 16
#: Standard deviation of the noise that is added to the photo, and the side of the tile that it repeats, in pixels.
NOISE, NOISE_SIDE = 0.06, 256
#: Channels at a half, a quarter and an eighth of the resolution.
WIDTHS = (32, 64, 96)
#: Variances of instance normalisation are raised by this.
EPSILON = 1e-5


class Convolution(nn.Module):
    """A 3×3 convolution, instance normalisation with the scales and shifts of a style, and a ReLU.

    Args:
        stride: 2 halves the size.
        upsample: by two, to the nearest neighbour, before the convolution: free of the checkerboard artefacts of
            transposed convolutions (Odena et al., Distill 2016).
        normalize, rectify: whether there are a normalisation and a ReLU.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        stride: int = 1,
        upsample: bool = False,
        normalize: bool = True,
        rectify: bool = True,
    ) -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride, self.upsample = inputs, outputs, stride, upsample
        self.normalize, self.rectify = normalize, rectify
        weight = torch.empty(outputs, inputs, 3, 3, **CPU_FLOAT)
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """`(b, inputs, h, w)` to `(b, outputs, …)`, given the scales and shifts `(b, outputs)`."""
        y = self.convolve(x)
        if self.normalize:
            y = F.instance_norm(y, eps=EPSILON)
        y = y * scale[..., None, None] + shift[..., None, None]
        return y.relu() if self.rectify else y

    def convolve(self, x: Tensor) -> Tensor:
        """The convolution alone."""
        if self.upsample:
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), self.weight.to(x), None, self.stride)


#: Asks for the output of one layer after the other, given the layer and its input.
Walk = Generator[tuple[Convolution, Tensor], Tensor, Tensor]


class Residual(nn.Module):
    """x + conv(relu(conv(x))) (He et al., arXiv 1512.03385)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Convolution(channels, channels)
        self.second = Convolution(channels, channels, rectify=False)

    def walk(self, x: Tensor) -> Walk:
        """See `Network.walk`."""
        y = yield self.first, x
        y = yield self.second, y
        return x + y


class Network(nn.Module):
    """About 0.8 million parameters: down to an eighth of the resolution and up again, with residual blocks.

    They have no values yet: see `initialized`, or load some.
    """

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth = WIDTHS
        self.to_half = Convolution(12, half)
        self.to_quarter = Convolution(half, quarter, stride=2)
        self.before = Residual(quarter)
        self.to_eighth = Convolution(quarter, eighth, stride=2)
        self.middle = nn.ModuleList([Residual(eighth) for _ in range(3)])
        self.from_eighth = Convolution(eighth, quarter, upsample=True, rectify=False)
        self.after = Residual(quarter)
        self.from_quarter = Convolution(quarter, half, upsample=True)
        self.from_half = Convolution(half, half // 2, upsample=True)
        self.to_rgb = Convolution(half // 2, 3, normalize=False, rectify=False)

    @property
    def convolutions(self) -> list[Convolution]:
        """All layers, in the order in which a style's vector holds their scales and shifts."""
        return [module for module in self.modules() if isinstance(module, Convolution)]

    @property
    def length(self) -> int:
        """Of a style's vector."""
        return 2 * sum(layer.outputs for layer in self.convolutions)

    def affine(self, vectors: Tensor) -> dict[Convolution, tuple[Tensor, Tensor]]:
        """Layer -> scales and shifts, each `(…, outputs)`, of vectors `(…, length)`."""
        layers = self.convolutions
        parts = vectors.split([n for layer in layers for n in (layer.outputs, layer.outputs)], -1)
        return {layer: (1 + parts[2 * i], parts[2 * i + 1]) for i, layer in enumerate(layers)}

    def forward(self, photo: Tensor, vectors: Tensor) -> Tensor:
        """Photos `(b, 3, h, w)`, sRGB in [0, 1], with noise added, painted in the styles `(b, length)`.

        Sides are multiples of `MULTIPLE`. The picture is in [0, 1].
        """
        affine, layers = self.affine(vectors), self.walk(photo)
        y: Any = None  # which starts the generator
        try:
            while True:
                layer, x = layers.send(y)
                y = layer(x, *affine[layer])
        except StopIteration as end:
            painted: Tensor = end.value
            return painted

    def walk(self, photo: Tensor) -> Walk:
        """Every layer with its input, in turn; its output is to be sent. Returns the picture."""
        x = F.pixel_unshuffle(photo - 0.5, 2).contiguous(memory_format=torch.channels_last)
        x = yield self.to_half, x
        x = yield self.to_quarter, x
        x = yield from self.before.walk(x)
        y = yield self.to_eighth, x
        for block in self.middle:
            assert isinstance(block, Residual)
            y = yield from block.walk(y)
        y = yield self.from_eighth, y
        x = yield from self.after.walk(x + y)
        x = yield self.from_quarter, x
        x = yield self.from_half, x
        x = yield self.to_rgb, x
        return torch.sigmoid(2 * x)


class StyleReader(nn.Module):
    """Predicts a painting's vector from the statistics of its features (Ghiasi et al., arXiv 1705.06830).

    Its parameters have no values yet: see `initialized`, or load some.
    """

    #: The layers of VGG-19 that are read, and how many channels these have.
    LAYERS, CHANNELS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1"), 960

    def __init__(self, length: int, hidden: int = 64) -> None:
        super().__init__()
        self.first = skip_init(nn.Linear, 2 * self.CHANNELS, hidden, **CPU_FLOAT)
        self.second = skip_init(nn.Linear, hidden, length, **CPU_FLOAT)

    def forward(self, summary: Tensor) -> Tensor:
        """`(b, 2 CHANNELS)`, see `summarize`, to vectors `(b, length)`."""
        found: Tensor = self.second(self.first(summary).relu())
        return found


def summarize(moments: Sequence[Tensor]) -> Tensor:
    """What a `StyleReader` reads of a painting, `(2 CHANNELS,)`, given the mean of `moments`, `(2, n)`, at each layer.

    Means and standard deviations of all channels; logarithmic, since they differ by orders of magnitude.
    """
    means, variances = zip(*map(mean_and_variance, moments), strict=True)
    return torch.cat([*means, *(variance.sqrt() for variance in variances)]).log1p() / 2 - 1


def noise(size: Sequence[int], device: torch.device) -> Tensor:
    """The noise that is added to a photo of this size, `(1, 1, h, w)`: the same for every photo, a tile repeated."""
    rows, columns = (torch.arange(side, **CPU_INDEX) % NOISE_SIDE for side in size)
    return noise_tile()[rows[:, None], columns].to(device)[None, None]


@cache
def noise_tile() -> Tensor:
    """The tile of noise, `(NOISE_SIDE, NOISE_SIDE)`, which is not to be changed."""
    generator = torch.Generator().manual_seed(0)
    return NOISE * torch.randn(NOISE_SIDE, NOISE_SIDE, generator=generator, **CPU_FLOAT)


def initialized(seed: int) -> tuple[Network, StyleReader]:
    """A network and a reader to train, initialised from the seed."""
    network, generator = Network(), torch.Generator().manual_seed(seed)
    for layer in network.convolutions:
        nn.init.kaiming_normal_(layer.weight, generator=generator)
    reader = StyleReader(network.length)
    bound = reader.first.in_features**-0.5
    with torch.no_grad():
        network.to_rgb.weight.mul_(0.2)
        for parameter in reader.first.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
        for parameter in reader.second.parameters():
            parameter.zero_()
    return network, reader
