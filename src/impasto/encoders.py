"""The networks that see: VGG-16 and VGG-19 (Simonyan & Zisserman, arXiv 1409.1556) as one table of layers.

An `Encoder` maps a picture to named activations. Names are the field's own: `conv4_2` is the fourth block's
second convolution, `relu4_2` the same after its ReLU, `pool4` the pooling that ends the block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Pooling = Literal["max", "average"]

#: Architecture -> one (convolutions, channels) pair per block; every block ends in a 2x2 pooling.
ARCHITECTURES: dict[str, tuple[tuple[int, int], ...]] = {
    "vgg16": ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)),
    "vgg19": ((2, 64), (2, 128), (4, 256), (4, 512), (4, 512)),
}


@dataclass(frozen=True)
class Layer:
    """One row of the table: an operation whose output can be tapped by name."""

    name: str
    kind: Literal["conv", "relu", "pool"]
    inputs: int
    channels: int
    stride: int  # input pixels per position of the output
    field: int  # side of the receptive field, in input pixels


@cache
def layers(architecture: str) -> tuple[Layer, ...]:
    """The table of layers of `architecture`, from the picture up.

    Raises:
        ValueError: no such architecture.
    """
    if architecture not in ARCHITECTURES:
        raise ValueError(f"unknown architecture {architecture!r}; choose from {', '.join(ARCHITECTURES)}")
    return table(ARCHITECTURES[architecture])


def table(blocks: Iterable[tuple[int, int]]) -> tuple[Layer, ...]:
    """The layers of a VGG whose blocks have these (convolutions, channels)."""
    rows: list[Layer] = []
    inputs, stride, field = 3, 1, 1
    for block, (count, channels) in enumerate(blocks, start=1):
        for index in range(1, count + 1):
            field += 2 * stride
            for kind in ("conv", "relu"):
                rows.append(Layer(f"{kind}{block}_{index}", kind, inputs, channels, stride, field))
            inputs = channels
        field += stride
        stride *= 2
        rows.append(Layer(f"pool{block}", "pool", channels, channels, stride, field))
    return tuple(rows)


@dataclass(frozen=True, eq=False)
class Encoder:
    """A VGG up to its last pooling, reading RGB in [0, 1].

    Attributes:
        layers: the table, see `layers`.
        kernels: convolution name -> (weight `(out, in, 3, 3)`, bias `(out,)`), made for pixels in [0, 1]:
            the channel order and scale that the weights were trained with are folded into the first kernel.
        mean: `(3,)`, RGB in [0, 1], subtracted from the picture before the first convolution pads with zeros.
        pooling: `max` as trained, or `average`, which Gatys et al. found to look slightly better.
    """

    layers: tuple[Layer, ...]
    kernels: Mapping[str, tuple[Tensor, Tensor]]
    mean: Tensor
    pooling: Pooling = "max"

    def __post_init__(self) -> None:
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"unknown pooling {self.pooling!r}; choose from {', '.join(get_args(Pooling))}")

    def __call__(self, image: Tensor, taps: Collection[str]) -> dict[str, Tensor]:
        """The activations at `taps`, computing no deeper than the deepest.

        Args:
            image: `(1, 3, h, w)`, sRGB in [0, 1].
            taps: names of layers.

        Returns:
            name -> `(1, channels, h // stride, w // stride)`.

        Raises:
            ValueError: an unknown layer, or a picture too small for the deepest.
        """
        depth = max((self.depth(tap) for tap in taps), default=-1)
        self.check_size(image.shape[-2], image.shape[-1], taps, "the picture")
        features: dict[str, Tensor] = {}
        x = image - self.mean.view(1, 3, 1, 1)
        for layer in self.layers[: depth + 1]:
            if layer.kind == "conv":
                x = F.conv2d(x, *self.kernels[layer.name], padding=1)
            elif layer.kind == "pool":
                x = F.max_pool2d(x, 2) if self.pooling == "max" else F.avg_pool2d(x, 2)
            else:  # in place, unless somebody wants to see what came before
                x = F.relu(x, inplace=layer.name.replace("relu", "conv") not in features)
            if layer.name in taps:
                features[layer.name] = x
        return features

    def depth(self, tap: str) -> int:
        """The row of the table that `tap` names.

        Raises:
            ValueError: there is no such layer.
        """
        for row, layer in enumerate(self.layers):
            if layer.name == tap:
                return row
        raise ValueError(
            f"unknown layer {tap!r}; this network has "
            + ", ".join(layer.name for layer in self.layers if layer.kind != "conv")
            + " (and conv… for what comes before each ReLU)"
        )

    def least_size(self, taps: Collection[str]) -> int:
        """The least height and width, in pixels, at which every one of `taps` has a position."""
        return max((self.layers[self.depth(tap)].stride for tap in taps), default=1)

    def check_size(self, height: int, width: int, taps: Collection[str], what: str) -> None:
        """Raise a ValueError if a picture of this size, called `what`, has no position left at one of `taps`."""
        least = self.least_size(taps)
        if min(height, width) < least:
            deepest = max(taps, key=self.depth)
            raise ValueError(f"{what} is {width}×{height} px; {deepest} needs at least {least}×{least}")

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Encoder:
        """The same encoder elsewhere, its kernels laid out as convolutions read them (`channels_last`)."""

        def move(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
            weight = weight.to(device, dtype).contiguous(memory_format=torch.channels_last)
            return weight, bias.to(device, dtype)

        return dataclasses.replace(
            self,
            kernels={name: move(*kernel) for name, kernel in self.kernels.items()},
            mean=self.mean.to(device, dtype),
        )


def random_encoder(blocks: Iterable[tuple[int, int]], seed: int = 0, pooling: Pooling = "max") -> Encoder:
    """A small untrained VGG with He-initialised kernels in float64: for tests, and for textures (Ustyuzhaninov
    et al., arXiv 1606.00021, found that random filters already carry much of what makes one)."""
    generator = torch.Generator().manual_seed(seed)
    rows = table(blocks)
    kernels = {
        row.name: (
            torch.randn(row.channels, row.inputs, 3, 3, generator=generator, dtype=torch.float64)
            * (2 / (9 * row.inputs)) ** 0.5,
            0.1 * torch.randn(row.channels, generator=generator, dtype=torch.float64),
        )
        for row in rows
        if row.kind == "conv"
    }
    return Encoder(rows, kernels, torch.full((3,), 0.5, dtype=torch.float64), pooling)
