"""Inference: a photo of any size painted by a network, layer by layer, in memory that its pixels alone determine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.fast.network import EPSILON, MARGIN, MULTIPLE, Convolution, Network, noise
from impasto.losses.statistics import Sums, mean_and_variance, moments
from impasto.vgg import encoder as vgg
from impasto.vgg.encoder import Kernel, kernel
from impasto.vgg.native import empty_nhwc

#: Bytes that painting takes per pixel of the picture.
BYTES_PER_PIXEL = 190
#: Numbers of a layer's output that are computed at once, so that what only they need is small beside the layers.
BAND = 1 << 24
#: The weight of earlier frames' statistics in the next one's.
DECAY = 0.9
#: Positions whose moments are summed at once.
CHUNK = 1 << 16
#: The index of a layer -> the `moments` over the frames so far.
RunningMoments = dict[int, Sums]

#: The kernels of layers that are not trained, with the version of the weights that they were made of.
_kernels: WeakKeyDictionary[Convolution, tuple[int, Kernel]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class StyledRegion:
    """A region of the photo, and the style that it is painted in.

    Attributes:
        mask: `(h, w)` in [0, 1]; None for the whole picture.
        vector: of the style, `(network.length,)`.
    """

    mask: Tensor | None
    vector: Tensor


@torch.no_grad()
def paint(
    network: Network, photo: Tensor, parts: Sequence[StyledRegion], running: RunningMoments | None = None
) -> Iterator[Tensor | None]:
    """Nothing after every layer but the last, then the picture, `(3, h, w)`, in [0, 1].

    Args:
        photo: `(3, h, w)`, sRGB in [0, 1].
        parts: at its size. Where their masks overlap, scales and shifts are blended.
        running: statistics of a clip's frames so far, updated in place: those of single frames would flicker.
    """
    height, width = photo.shape[-2:]
    given = _framed(photo)
    masks = _masks(parts, given.shape[-2:])
    affine = network.affine(torch.stack([part.vector for part in parts]))
    layers = network.walk(given + noise(given.shape[-2:], given.device))
    del given
    y: Any = None  # which starts the generator
    for index in range(len(affine)):
        if index:
            yield None
        layer, x = layers.send(y)
        y = convolve(layer, x)
        del x
        _normalize(layer, y, *affine[layer], masks, running, index)
    try:
        layers.send(y)
    except StopIteration as end:
        yield end.value[0, :, MARGIN : MARGIN + height, MARGIN : MARGIN + width]


def layer_count(network: Network) -> int:
    """How many times `paint` yields."""
    return len(network.convolutions)


def _framed(photo: Tensor) -> Tensor:
    """`(c, h, w)` as `(1, c, …)`, mirrored beyond its borders by `MARGIN`, and on until sides are multiples."""
    x = photo[None]
    height, width = photo.shape[-2:]
    right, bottom = -(width + 2 * MARGIN) % MULTIPLE, -(height + 2 * MARGIN) % MULTIPLE
    left = [MARGIN, MARGIN + right, MARGIN, MARGIN + bottom]
    while any(left):  # a mirror image is one pixel smaller than the picture, at most
        step = [min(part, side - 1) for part, side in zip(left, (x.shape[-1],) * 2 + (x.shape[-2],) * 2, strict=True)]
        if not any(step):  # a side of one pixel
            return F.pad(x, left, mode="replicate")
        x = F.pad(x, step, mode="reflect")
        left = [part - done for part, done in zip(left, step, strict=True)]
    return x


def _masks(parts: Sequence[StyledRegion], size: Sequence[int]) -> Tensor | None:
    """The share that each region has in each pixel of the framed photo, `(r, h, w)`; None for a single region.

    Where no region is, the nearest share there is does no harm: what is painted there is not shown.
    """
    if len(parts) == 1:
        return None
    masks = torch.cat([_framed(part.mask[None])[0] for part in parts if part.mask is not None])
    total = masks.sum(0)
    return torch.where(total > 1e-4, masks / total.clamp_min(1e-4), 1 / len(parts))


def convolve(layer: Convolution, x: Tensor) -> Tensor:
    """The convolution of a layer, `(1, inputs, h, w)` to `(1, outputs, …)`, in bands of rows."""
    _, _, height, width = x.shape
    zoom = 2 if layer.upsample else 1
    rows = max(2, BAND // (max(layer.inputs, layer.outputs * zoom * zoom) * width) // 2 * 2)
    if rows >= height:
        return _convolve_band(layer, x)
    y = empty_nhwc(layer.outputs, height * zoom // layer.stride, width * zoom // layer.stride).to(x)
    for start in range(0, height, rows):
        stop, top = min(start + rows, height), max(0, start - 2)
        part = _convolve_band(layer, x[:, :, top : min(stop + 1, height)])
        owned = slice(start * zoom // layer.stride, stop * zoom // layer.stride)
        skipped = (start - top) * zoom // layer.stride
        y[:, :, owned] = part[:, :, skipped : skipped + owned.stop - owned.start]
    return y


def _convolve_band(layer: Convolution, x: Tensor) -> Tensor:
    y = vgg.convolve(x, _kernel(layer), "replicate")
    if layer.upsample:
        _, _, height, width = y.shape
        phases = y.permute(0, 2, 3, 1).reshape(height, width, 2, 2 * layer.outputs).transpose(1, 2)
        return phases.reshape(1, 2 * height, 2 * width, layer.outputs).permute(0, 3, 1, 2)
    return y if layer.stride == 1 else y[:, :, ::2, ::2].contiguous(memory_format=torch.channels_last)


def _kernel(layer: Convolution) -> Kernel:
    found = _kernels.get(layer)
    if found is None or found[0] != layer.weight._version:
        weight = layer.weight.detach()
        weight = by_phases(weight) if layer.upsample else weight
        found = _kernels[layer] = layer.weight._version, kernel(weight, weight.new_zeros(len(weight)))
    return found[1]


def by_phases(weight: Tensor) -> Tensor:
    """A kernel for the picture before it is upsampled, `(4 outputs, inputs, 3, 3)`, of `(outputs, inputs, 3, 3)`.

    Upsampled to the nearest neighbour, pixels of a square of four see the same few pixels of the small picture, each
    with taps of the kernel added up: one convolution of the small picture gives all four, the upper left one first.
    """

    def along(kernel: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        before, here, after = kernel.unbind(dim)
        none = torch.zeros_like(here)
        return torch.stack([before, here + after, none], dim), torch.stack([none, before + here, after], dim)

    return torch.cat([phase for rows in along(weight, 2) for phase in along(rows, 3)])


def _normalize(
    layer: Convolution,
    y: Tensor,
    scales: Tensor,
    shifts: Tensor,
    masks: Tensor | None,
    running: RunningMoments | None,
    index: int,
) -> None:
    """Instance normalisation, the regions' scales and shifts `(r, n)`, and the ReLU, in place."""
    if layer.normalize:
        mean, variance = _moments(y, running, index)
        scales = scales * (variance + EPSILON).rsqrt()
        shifts = shifts - mean * scales
    if masks is None:
        torch.addcmul(shifts[0][:, None, None], y, scales[0][:, None, None], out=y)
    else:
        share = F.avg_pool2d(masks[None], masks.shape[-1] // y.shape[-1])[0]
        rows = max(1, BAND // 16 // (y.shape[1] * y.shape[-1]))
        for start in range(0, y.shape[-2], rows):
            part, own = y[0, :, start : start + rows], share[:, start : start + rows]
            part.mul_(torch.einsum("rn,rhw->nhw", scales, own)).add_(torch.einsum("rn,rhw->nhw", shifts, own))
    if layer.rectify:
        y.relu_()


def _moments(y: Tensor, running: RunningMoments | None, index: int) -> tuple[Tensor, Tensor]:
    """The mean and variance of each channel, over the frames so far if statistics are `running`."""
    positions = y[0].permute(1, 2, 0).flatten(0, 1)
    # Much faster than `torch.var_mean`, and exact enough: means are no larger than deviations.
    own = reduce(add, (moments(part.T) for part in positions.split(CHUNK)))
    if running is not None:
        own = running[index].scaled(DECAY) + own if index in running else own
        running[index] = own
    return mean_and_variance(own.mean)
