"""VGG-16 and VGG-19 (Simonyan & Zisserman, arXiv 1409.1556) as one table of layers, forward and backward.

An `Encoder` maps a picture to named activations. Names are the field's own: `conv4_2` is the fourth block's
second convolution, `relu4_2` the same after its ReLU, `pool4` the pooling that ends the block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, NamedTuple, Protocol, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.devices import CPU_DOUBLE
from impasto.settings.choices import Padding, Pooling
from impasto.settings.fields import unknown
from impasto.vgg import native
from impasto.vgg.native import Allocate, empty_nhwc
from impasto.vgg.tiles import Tile
from impasto.vgg.workspace import Workspace


class AccumulateGrad(Protocol):
    """Called with a layer's name, its activations, and the gradient by them, to which it adds in place.

    Activations may be given in parts, each with the tile of the network's input whose positions it owns. Then every
    part is given twice, first without a gradient: for sums over all of them.
    """

    def __call__(self, layer: str, features: Tensor, grad: Tensor | None, part: Tile | None = None, /) -> None: ...


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
        raise unknown("architecture", architecture, ARCHITECTURES)
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
    """

    weight: Tensor
    bias: Tensor


def kernel(weight: Tensor, bias: Tensor) -> Kernel:
    """The kernel of a convolution, laid out as convolutions read it (`channels_last`)."""
    return Kernel(weight.contiguous(memory_format=torch.channels_last), bias)


@dataclass(frozen=True, eq=False)
class Encoder:
    """A VGG up to its last pooling, reading RGB in [0, 1].

    Attributes:
        layers: the table, see `layers`.
        kernels: convolution name -> `Kernel`, made for pixels in [0, 1]: the channel order and scale that
            the weights were trained with are folded into the first one.
        mean: `(3,)`, RGB in [0, 1], subtracted from the picture before the first convolution pads with zeros; empty in
            an encoder that reads activations, see `after`.
        pooling: `max` as trained, or `average`, which Gatys et al. found to look slightly better.
        padding: what a convolution sees beyond the picture: `zeros` as trained, or its own last row again
            (`replicate`), without which the border of the picture is painted as a frame; or the
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
                raise unknown(name, getattr(self, name), choices)

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
        return {layer: features for layer, features, _ in self.walk(image, taps)}

    def walk(
        self, image: Tensor, taps: Collection[str], workspace: Workspace | None = None
    ) -> Iterator[tuple[str, Tensor, Tile | None]]:
        """The activations at `taps`, as `__call__` gives them, each as soon as it is computed, shallow first.

        In a `workspace` each is valid only until the next one is computed.

        Returns:
            (layer, features, None: they are all of the layer's).
        """
        rows = self._rows(taps)
        self.check_size(image.shape[-2], image.shape[-1], taps, "the picture")
        x = self._centred(image)
        if workspace is not None:
            workspace.begin(("forward", image.shape, frozenset(taps)))
        for layer in rows:
            x = self._forward(layer, x, taps, empty_nhwc if workspace is None else workspace.scratch)
            if layer.name in taps:
                yield layer.name, x, None

    def backward(
        self,
        image: Tensor,
        taps: Collection[str],
        accumulate: AccumulateGrad,
        workspace: Workspace | None = None,
    ) -> Tensor:
        """The vector-Jacobian product of the activations at `taps`: one forward and one backward pass.

        Autograd's result with less memory: of layers that are not read, the backward pass needs one bit per activation,
        its sign, and of max pooling which of four is chosen. Gradients are computed in place or in the `workspace`.

        Args:
            image: `(1, 3, h, w)`, sRGB in [0, 1].
            taps: names of layers.
            accumulate: called for each of them, deepest first, with its name, its activations, and the gradient that
                deeper layers passed on; adds d loss / d activations to it, in place.
            workspace: memory for activations and gradients, reused by the next pass of the same size.

        Returns:
            d loss / d image, `(1, 3, h, w)`.
        """
        rows, workspace = self._rows(taps), workspace or Workspace()
        self.check_size(image.shape[-2], image.shape[-1], taps, "the picture")
        workspace.begin(("backward", image.shape, frozenset(taps)))
        start = x = self._centred(image)
        tapped = [layer.name in taps for layer in rows]
        # The first activations are the largest of all, and the cheapest to compute again.
        recomputed = 1 if len(rows) > 2 and tapped[1] and not tapped[0] else -1
        places = _places(rows, tapped, recomputed)
        values: dict[int, Tensor] = {}  # row -> its output, if it is read
        masks: dict[int, Tensor] = {}  # row of a ReLU -> where its output is positive
        choices: dict[int, Tensor | None] = {}  # row of a pooling -> which of four is the maximum
        sizes = []  # of each row's input
        marks = []  # how far the workspace was filled before each row
        for row, layer in enumerate(rows):
            sizes.append((x.shape[2], x.shape[3]))
            marks.append(workspace.retained)
            at_end = places[row]
            allocate = workspace.retain if at_end is None else partial(workspace.scratch, at_end=at_end)
            if layer.kind == "pool":
                x, choices[row] = pool_with_choices(x, self.pooling, allocate)
            else:
                x = self._forward(layer, x, taps, allocate)
            if tapped[row] and row != recomputed:
                values[row] = x
            elif layer.kind == "relu" and not (tapped[row] or tapped[row - 1] or self._chooses(rows[row + 1])):
                masks[row] = signs(x)
        gradient, mask = torch.zeros_like(x), None
        for row, layer in reversed(list(enumerate(rows))):
            if row == recomputed:
                values[row] = self._forward(rows[0], start, taps, workspace.scratch)
            if tapped[row]:
                accumulate(layer.name, values[row], gradient)
            if layer.kind == "pool":
                gradient = pool_backward(gradient, choices.pop(row), sizes[row], workspace.scratch)
            elif layer.kind == "conv":
                allocate = workspace.scratch if row else empty_nhwc  # the last one is the caller's
                gradient = convolve_backward(gradient, self.kernels[layer.name], self.padding, mask, allocate)
                mask = None
            elif tapped[row - 1]:
                gradient = relu_backward(gradient, values[row - 1])
            else:  # fused into the convolution's backward pass
                mask = signs(values[row]) if tapped[row] else masks.pop(row, None)
            values.pop(row, None)
            workspace.retained = marks[row]
        return gradient

    def _centred(self, image: Tensor) -> Tensor:
        """What the first layer reads."""
        return image - self.mean.view(1, 3, 1, 1) if self.mean.numel() else image

    def _chooses(self, layer: Layer) -> bool:
        """Whether it is max pooling, whose choices tell where the ReLU before it was positive, too."""
        return layer.kind == "pool" and self.pooling == "max"

    def _forward(self, layer: Layer, x: Tensor, taps: Collection[str], allocate: Allocate) -> Tensor:
        """One layer's output; the ReLU is fused into a convolution that is not tapped itself."""
        if layer.kind == "conv":
            return convolve(x, self.kernels[layer.name], self.padding, layer.name not in taps, allocate)
        if layer.kind == "pool":
            return pool(x, self.pooling, allocate)
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

    def check_layers(self, names: Iterable[str]) -> None:
        """Raise a ValueError if one of `names` is no layer of this network."""
        for name in names:
            self.depth(name)

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
        kept = {name: self.kernels[name] for name in self.kernels if name in names}
        return dataclasses.replace(self, layers=rows, kernels=kept)

    def after(self, pool: str) -> Encoder:
        """The layers after a pooling, reading its output in place of a picture."""
        row = self.depth(pool)
        rows = tuple(
            dataclasses.replace(layer, stride=layer.stride // self.layers[row].stride)
            for layer in self.layers[row + 1 :]
        )
        return dataclasses.replace(self, layers=rows, mean=self.mean[:0])

    def to(self, device: torch.device | str, dtype: torch.dtype = torch.float32) -> Encoder:
        """The same encoder elsewhere."""
        return dataclasses.replace(
            self,
            kernels={
                name: Kernel(*(tensor.to(device, dtype) for tensor in kernel)) for name, kernel in self.kernels.items()
            },
            mean=self.mean.to(device, dtype),
        )


def convolve(
    x: Tensor, kernel: Kernel, padding: Padding, rectify: bool = False, allocate: Allocate = empty_nhwc
) -> Tensor:
    """A 3x3 convolution that keeps the size of `x`, `(1, n, h, w)`, then a ReLU if `rectify`.

    Here and below, `allocate` gives the memory of the result where the C kernels compute it.
    """
    if native.supports(x, kernel.weight):
        return native.convolve(x, kernel.weight, kernel.bias, padding, rectify, allocate=allocate)
    if padding == "zeros":
        y = F.conv2d(x, kernel.weight, kernel.bias, padding=1)
    else:
        y = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=padding), kernel.weight, kernel.bias)
    return y.relu_() if rectify else y


def convolve_backward(
    gradient: Tensor,
    kernel: Kernel,
    padding: Padding,
    mask: Tensor | None = None,
    allocate: Allocate = empty_nhwc,
) -> Tensor:
    """The gradient by the input of `convolve`, given that by its output: a convolution with the adjoint kernel.

    With a fused ReLU, `mask` is the `signs` of its output, and `gradient` is overwritten.
    """
    if native.supports(gradient):
        wrap: Padding = "circular" if padding == "circular" else "zeros"
        back = native.convolve(gradient, kernel.weight, None, wrap, mask=mask, backward=True, allocate=allocate)
    else:
        if mask is not None:
            gradient, mask = gradient.masked_fill_(mask.logical_not_(), 0), None
        if padding == "circular":
            back = F.conv_transpose2d(F.pad(gradient, (1, 1, 1, 1), mode="circular"), kernel.weight, padding=2)
        else:
            back = F.conv_transpose2d(gradient, kernel.weight, padding=1)
    return fold_border(back, gradient, kernel.weight, mask) if padding == "replicate" else back


def fold_border(back: Tensor, gradient: Tensor, weight: Tensor, mask: Tensor | None) -> Tensor:
    """The backward pass with replicate padding, given `back`, that with zero padding, which is overwritten.

    The gradients of the copies beyond the border belong to the pixels that were copied. They come from the outermost
    row or column of the output's gradient alone, through one row or column of the kernel.
    """

    def beyond(side: tuple[int | slice, ...], part: Tensor) -> Tensor:
        """Gradients of the copies along one side, through `part` of the kernel, `(out, in, 3)`: `(length + 2, in)`."""
        edge = gradient[0][(..., *side)].T
        edge = edge if mask is None else edge * native.unpacked(mask[side], edge.shape[1])
        found = edge.new_zeros(len(edge) + 2, part.shape[1])
        for tap in range(3):  # views of the kernel: nothing is copied
            found[tap : tap + len(edge)].addmm_(edge, part[..., tap])
        return found

    every = slice(None)
    top, bottom = beyond((0, every), weight[:, :, 0]), beyond((-1, every), weight[:, :, 2])
    left, right = beyond((every, 0), weight[..., 0]), beyond((every, -1), weight[..., 2])
    pixels = back[0].permute(1, 2, 0)
    pixels[0] += top[1:-1]
    pixels[-1] += bottom[1:-1]
    pixels[:, 0] += left[1:-1]
    pixels[:, -1] += right[1:-1]
    for row, ends in ((0, top), (-1, bottom)):  # the corners' copies
        for column in (0, -1):
            pixels[row, column] += ends[column]
    return back


def signs(x: Tensor) -> Tensor:
    """Where `x`, `(1, n, h, w)`, is positive, as `convolve_backward` reads it: packed bits for the C kernels."""
    return native.signs(x) if native.supports(x) else x > 0


def relu_backward(gradient: Tensor, output: Tensor) -> Tensor:
    """The gradient by a ReLU's input, in place of that by its `output`."""
    torch.ops.aten.threshold_backward.grad_input(gradient, output, 0, grad_input=gradient)
    return gradient


def pool(x: Tensor, pooling: Pooling, allocate: Allocate = empty_nhwc) -> Tensor:
    """The maximum or mean of every 2x2 square."""
    if native.supports(x):
        return native.pool(x, pooling == "average", allocate)[0]
    return F.max_pool2d(x, 2) if pooling == "max" else F.avg_pool2d(x, 2)


def pool_with_choices(x: Tensor, pooling: Pooling, allocate: Allocate = empty_nhwc) -> tuple[Tensor, Tensor | None]:
    """`pool` of a ReLU's output, and what `pool_backward` reads: which of four is each maximum, one byte each; of means
    nothing.

    0 to 3, the first of equal ones; 4 where none is positive, so that the ReLU passes no gradient on.
    """
    if native.supports(x):
        return native.pool(x, pooling == "average", allocate, with_choices=True)
    y = pool(x, pooling)
    if pooling == "average":
        return y, None
    upper_left, upper_right, lower_left, lower_right = _squares(x)
    right, far = upper_left < upper_right, lower_left < lower_right
    below = torch.maximum(upper_left, upper_right) < torch.maximum(lower_left, lower_right)
    choices = torch.where(below, far.to(torch.uint8) + 2, right.to(torch.uint8))
    return y, choices.masked_fill_(y <= 0, 4)


def pool_backward(
    gradient: Tensor, choices: Tensor | None, size: tuple[int, int], allocate: Allocate = empty_nhwc
) -> Tensor:
    """The gradient by the input of a pooling, of this height and width; with choices, by that of the ReLU before it."""
    if native.supports(gradient):
        return native.pool_backward(gradient, choices, size, allocate)
    shape, layout = (*gradient.shape[:2], *size), torch.channels_last
    back = torch.empty(shape, dtype=gradient.dtype, device=gradient.device, memory_format=layout).zero_()
    for number, part in enumerate(_squares(back)):
        part.copy_(gradient / 4 if choices is None else gradient.where(choices == number, 0))
    return back


def _squares(x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Views of `(1, n, h, w)`: the upper left, upper right, lower left and lower right pixels of its 2x2 squares."""
    x = x[..., : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
    return x[..., ::2, ::2], x[..., ::2, 1::2], x[..., 1::2, ::2], x[..., 1::2, 1::2]


def _places(rows: Sequence[Layer], tapped: Sequence[bool], recomputed: int) -> list[bool | None]:
    """Where in a workspace each row's output goes in a forward pass that a backward pass follows.

    None: it is retained, as it is read then. Else it is scratch, and goes to the end of the workspace (True) or behind
    what is retained (False): the last of these to the end, as the next that is retained is computed from it.
    """
    places: list[bool | None] = []
    at_end = True
    for row, layer in reversed(list(enumerate(rows))):
        # A ReLU's output is that of its convolution, in place.
        is_read_as_relu = layer.kind == "conv" and row + 1 < len(rows) and tapped[row + 1] and row + 1 != recomputed
        is_retained = layer.kind == "relu" or tapped[row] or is_read_as_relu
        places.append(None if is_retained else at_end)
        if layer.kind != "relu":
            at_end = is_retained or not at_end
    return places[::-1]


def random_encoder(blocks: Iterable[tuple[int, int]], seed: int = 0, pooling: Pooling = "max") -> Encoder:
    """A small untrained VGG with He-initialised kernels in float64: for tests, and for textures (Ustyuzhaninov
    et al., arXiv 1606.00021, found that random filters already carry much of what makes one)."""
    generator = torch.Generator().manual_seed(seed)
    rows = table(blocks)
    kernels = {
        row.name: kernel(
            torch.randn(row.channels, row.inputs, 3, 3, generator=generator, **CPU_DOUBLE)
            * (2 / (9 * row.inputs)) ** 0.5,
            0.1 * torch.randn(row.channels, generator=generator, **CPU_DOUBLE),
        )
        for row in rows
        if row.kind == "conv"
    }
    return Encoder(rows, kernels, torch.full((3,), 0.5, **CPU_DOUBLE), pooling)
