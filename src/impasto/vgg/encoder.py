"""The networks that see: VGG-16 and VGG-19 (Simonyan & Zisserman, arXiv 1409.1556) as one table of layers.

An `Encoder` maps a picture to named activations. Names are the field's own: `conv4_2` is the fourth block's
second convolution, `relu4_2` the same after its ReLU, `pool4` the pooling that ends the block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.vgg import native
from impasto.vgg.native import Place, fresh
from impasto.vgg.workspace import Room

Pooling = Literal["max", "average"]
Padding = Literal["replicate", "zeros", "circular"]
#: A layer's name, its activations, and the gradient by them, to which it adds.
Pull = Callable[[str, Tensor, Tensor], None]

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


class Kernel(NamedTuple):
    """What a convolution multiplies by.

    Attributes:
        weight: `(out, in, 3, 3)`.
        bias: `(out,)`.
        adjoint: `(in, out, 3, 3)`, the kernel of the backward pass: the same, turned around and swapped.
    """

    weight: Tensor
    bias: Tensor
    adjoint: Tensor


def kernel(weight: Tensor, bias: Tensor) -> Kernel:
    """The kernel of a convolution, laid out as convolutions read it (`channels_last`)."""
    adjoint = weight.flip(2, 3).transpose(0, 1)
    return Kernel(
        weight.contiguous(memory_format=torch.channels_last),
        bias,
        adjoint.contiguous(memory_format=torch.channels_last),
    )


@dataclass(frozen=True, eq=False)
class Encoder:
    """A VGG up to its last pooling, reading RGB in [0, 1].

    Attributes:
        layers: the table, see `layers`.
        kernels: convolution name -> `Kernel`, made for pixels in [0, 1]: the channel order and scale that
            the weights were trained with are folded into the first one.
        mean: `(3,)`, RGB in [0, 1], subtracted from the picture before the first convolution pads with zeros.
        pooling: `max` as trained, or `average`, which Gatys et al. found to look slightly better.
        padding: what a convolution sees beyond the picture: `zeros` as trained, or its own last row again
            (`replicate`), without which every border of the picture is seen, and painted, as a frame; or the
            opposite border (`circular`), as though the picture were tiled: of sizes that are multiples of the
            deepest layer's stride, else pooling drops the last pixels and the tiling has a step there.
    """

    layers: tuple[Layer, ...]
    kernels: Mapping[str, Kernel]
    mean: Tensor
    pooling: Pooling = "max"
    padding: Padding = "zeros"

    def __post_init__(self) -> None:
        for name, choices in (("pooling", get_args(Pooling)), ("padding", get_args(Padding))):
            if getattr(self, name) not in choices:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; choose from {', '.join(choices)}")

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
        return dict(self.walk(image, taps))

    def walk(self, image: Tensor, taps: Collection[str], room: Room | None = None) -> Iterator[tuple[str, Tensor]]:
        """The activations at `taps`, as `__call__` gives them, each as soon as it is there, shallow first.

        In a `room`, each is there only until the next is asked for.
        """
        rows = self._rows(taps)
        self.check_size(image.shape[-2], image.shape[-1], taps, "the picture")
        x = image - self.mean.view(1, 3, 1, 1)
        if room is not None:
            room.begin(("forward", image.shape, frozenset(taps)))
        for layer in rows:
            x = self._step(layer, x, taps, fresh if room is None else room.pass_on)
            if layer.name in taps:
                yield layer.name, x

    def gradient(self, image: Tensor, taps: Collection[str], pull: Pull, room: Room | None = None) -> Tensor:
        """The gradient by the image of what depends on the activations at `taps`: down the network and back.

        What autograd would do, less what nobody asks for: a convolution needs nothing of what it read, a ReLU no more
        than what it gave, and every gradient takes the place of the one before it, or is added to where it lies.

        Args:
            image: `(1, 3, h, w)`, sRGB in [0, 1].
            taps: names of layers.
            pull: called for each of them, deepest first, with its name, its activations, and the gradient by these
                that has come from deeper ones; adds its own, in place.
            room: memory for what is computed on the way.

        Returns:
            `(1, 3, h, w)`.
        """
        rows, room = self._rows(taps), room or Room()
        self.check_size(image.shape[-2], image.shape[-1], taps, "the picture")
        room.begin(("back", image.shape, frozenset(taps)))
        start = x = image - self.mean.view(1, 3, 1, 1)
        # The first activations are the largest of all, and the cheapest to compute again.
        again = 1 if len(rows) > 2 and rows[2].kind == "conv" and rows[0].name not in taps else -1
        kept: list[Any] = []
        marks = []  # how far the room was filled before each layer
        for row, layer in enumerate(rows):
            marks.append(room.kept)
            lasts = layer.name in taps or (layer.kind == "conv" and row + 1 != again)
            x = self._step(layer, x, taps, room.keep if lasts else room.pass_on)
            needed = layer.name in taps or layer.kind == "relu"
            kept.append(x if needed and row != again else None)
        gradient, mask = torch.zeros_like(x), None
        for row, layer in reversed(list(enumerate(rows))):
            output = kept.pop()
            if row == again:
                output = self._step(layer, self._step(rows[0], start, taps, room.pass_on), taps, fresh)
            if layer.name in taps:
                pull(layer.name, output, gradient)
            if layer.kind == "pool":
                gradient = pool_back(gradient, kept[-1], self.pooling, room.pass_on)
            elif layer.kind == "conv":
                place = room.pass_on if row else fresh  # the last is for who asked
                gradient = convolve_back(gradient, self.kernels[layer.name], self.padding, mask, place)
                mask = None
            elif rows[row - 1].name in taps:
                gradient = rectify_back(gradient, output)
            else:  # the convolution does so while it reads
                mask = output
            room.kept = marks[row]
        return gradient

    def _step(self, layer: Layer, x: Tensor, taps: Collection[str], place: Place) -> Tensor:
        """What a layer makes of `x`; a convolution at which nobody looks rectifies at once."""
        if layer.kind == "conv":
            return convolve(x, self.kernels[layer.name], self.padding, layer.name not in taps, place)
        if layer.kind == "pool":
            return pool(x, self.pooling, place)
        return x.relu() if layer.name.replace("relu", "conv") in taps else x

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

    def stride(self, tap: str) -> int:
        """Input pixels per position of this layer."""
        return self.layers[self.depth(tap)].stride

    def _rows(self, taps: Collection[str]) -> tuple[Layer, ...]:
        """The table down to the deepest of `taps`."""
        return self.layers[: max((self.depth(tap) for tap in taps), default=-1) + 1]

    def least_size(self, taps: Collection[str]) -> int:
        """The least height and width, in pixels, at which every one of `taps` has a position."""
        return max((self.stride(tap) for tap in taps), default=1)

    def check_size(self, height: int, width: int, taps: Collection[str], what: str) -> None:
        """Raise a ValueError if a picture of this size, called `what`, has no position left at one of `taps`."""
        least = self.least_size(taps)
        if min(height, width) < least:
            deepest = max(taps, key=self.depth)
            raise ValueError(f"{what} is {width}×{height} px; {deepest} needs at least {least}×{least}")

    def up_to(self, taps: Collection[str]) -> Encoder:
        """The same encoder without the layers that none of `taps` needs."""
        rows = self._rows(taps)
        names = {row.name for row in rows}
        kept = {name: kernel for name, kernel in self.kernels.items() if name in names}
        return dataclasses.replace(self, layers=rows, kernels=kept)

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Encoder:
        """The same encoder elsewhere."""
        return dataclasses.replace(
            self,
            kernels={
                name: Kernel(*(tensor.to(device, dtype) for tensor in kernel))
                for name, kernel in self.kernels.items()
            },
            mean=self.mean.to(device, dtype),
        )


def convolve(x: Tensor, kernel: Kernel, padding: Padding, rectify: bool = False, place: Place = fresh) -> Tensor:
    """A 3x3 convolution that keeps the size of `x`, `(1, n, h, w)`, then a ReLU if `rectify`.

    Here and below, `place` is where the result goes, if it can be told where: on CPUs.
    """
    if native.suits(x, kernel.weight):
        return native.convolve(x, kernel.adjoint, kernel.bias, padding, rectify, place=place)
    if padding == "zeros":
        y = F.conv2d(x, kernel.weight, kernel.bias, padding=1)
    else:
        y = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=padding), kernel.weight, kernel.bias)
    return y.relu_() if rectify else y


def convolve_back(
    gradient: Tensor, kernel: Kernel, padding: Padding, mask: Tensor | None = None, place: Place = fresh
) -> Tensor:
    """The gradient of what `convolve` read, given that of what it gave: a convolution with the adjoint kernel.

    Where it rectified, `mask` is what it gave; the gradient is overwritten then.
    """
    if native.suits(gradient):
        wrap: Padding = "circular" if padding == "circular" else "zeros"
        back = native.convolve(gradient, kernel.weight, None, wrap, mask=mask, place=place)
    else:
        if mask is not None:
            gradient, mask = rectify_back(gradient, mask), None
        if padding == "circular":
            back = F.conv2d(F.pad(gradient, (1, 1, 1, 1), mode="circular"), kernel.adjoint)
        else:
            back = F.conv2d(gradient, kernel.adjoint, padding=1)
    return fold(back, gradient, kernel.adjoint, mask) if padding == "replicate" else back


def fold(back: Tensor, gradient: Tensor, adjoint: Tensor, mask: Tensor | None) -> Tensor:
    """The backward pass of a border that was replicated, given that of one of zeros.

    What the copies beyond the border received belongs to the pixels they were copied from. It comes from the
    outermost row or column of the gradient alone, through one row or column of the kernel.
    """

    def received(side: tuple[int | slice, ...], part: Tensor) -> Tensor:
        """What the strip at this side gives through `part`, `(in, out, 3)`: `(length + 2, in)`."""
        strip = gradient[0][(..., *side)].T
        strip = strip if mask is None else strip * (mask[0][(..., *side)].T > 0)
        found = strip.new_zeros(len(strip) + 2, len(part))
        for tap in range(3):  # products with the kernel as it lies in memory: nothing is copied
            found[2 - tap : 2 - tap + len(strip)].addmm_(strip, part[..., tap].T)
        return found

    every = slice(None)
    top, bottom = received((0, every), adjoint[:, :, 2]), received((-1, every), adjoint[:, :, 0])
    left, right = received((every, 0), adjoint[..., 2]), received((every, -1), adjoint[..., 0])
    pixels = back[0].permute(1, 2, 0)
    pixels[0] += top[1:-1]
    pixels[-1] += bottom[1:-1]
    pixels[:, 0] += left[1:-1]
    pixels[:, -1] += right[1:-1]
    for row, ends in ((0, top), (-1, bottom)):  # the corners' copies
        for column in (0, -1):
            pixels[row, column] += ends[column]
    return back


def rectify_back(gradient: Tensor, rectified: Tensor) -> Tensor:
    """The gradient of what a ReLU read, in place of that of what it gave."""
    torch.ops.aten.threshold_backward.grad_input(gradient, rectified, 0, grad_input=gradient)
    return gradient


def pool(x: Tensor, pooling: Pooling, place: Place = fresh) -> Tensor:
    """The maximum or mean of every 2x2 square."""
    if native.suits(x):
        return native.pool(x, pooling == "average", place)
    return F.max_pool2d(x, 2) if pooling == "max" else F.avg_pool2d(x, 2)


def pool_back(gradient: Tensor, x: Tensor, pooling: Pooling, place: Place = fresh) -> Tensor:
    """The gradient of what was pooled, `x`. Where the maxima were is found again: kept, it would take as much memory
    as two more layers."""
    if native.suits(x):
        return native.pool_back(gradient, x, pooling == "average", place)
    square, none, one = (2, 2), (0, 0), (1, 1)
    ops = torch.ops.aten
    back: Tensor
    if pooling == "average":
        back = ops.avg_pool2d_backward(gradient, x, square, square, none, False, True, None)
    else:
        _, places = F.max_pool2d(x, 2, return_indices=True)
        back = ops.max_pool2d_with_indices_backward(gradient, x, square, square, none, one, False, places)
    return back


def random_encoder(blocks: Iterable[tuple[int, int]], seed: int = 0, pooling: Pooling = "max") -> Encoder:
    """A small untrained VGG with He-initialised kernels in float64: for tests, and for textures (Ustyuzhaninov
    et al., arXiv 1606.00021, found that random filters already carry much of what makes one)."""
    generator = torch.Generator().manual_seed(seed)
    rows = table(blocks)
    kernels = {
        row.name: kernel(
            torch.randn(row.channels, row.inputs, 3, 3, generator=generator, dtype=torch.float64)
            * (2 / (9 * row.inputs)) ** 0.5,
            0.1 * torch.randn(row.channels, generator=generator, dtype=torch.float64),
        )
        for row in rows
        if row.kind == "conv"
    }
    return Encoder(rows, kernels, torch.full((3,), 0.5, dtype=torch.float64), pooling)
