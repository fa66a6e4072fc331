"""What a unit responds to: the strongest patches of many pictures, guided gradients, and activation maximisation.

Zeiler and Fergus, "Visualizing and understanding convolutional networks" (arXiv 1311.2901), with guided
backpropagation (Springenberg et al., arXiv 1412.6806) in place of deconvolution; and activation maximisation
(Erhan et al. 2009; Yosinski et al., arXiv 1506.06579).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT, CPU_INDEX
from impasto.errors import PictureError
from impasto.explain.receptive_field import receptive_field
from impasto.vgg.encoder import Encoder

log = logging.getLogger(__name__)

#: Larger pictures are scaled down to this long side, in pixels.
LONG_SIDE = 512
#: Activation maximisation: steps, learning rate of Adam, jitter in pixels.
STEPS, RATE, JITTER = 160, 0.03, 8
#: Activation maximisation: weights of the total variation and of the squared distance from grey.
VARIATION_WEIGHT, GREY_WEIGHT = 2.0, 0.3


@dataclass(frozen=True)
class UnitResponse:
    """The activation of a unit at one position of one picture.

    Attributes:
        value: the activation.
        picture: the picture's index in the sequence that was evaluated.
        row, column: the position in the layer.
    """

    value: float
    picture: int
    row: int
    column: int


def load_picture(path: Path) -> Tensor | None:
    """A picture file, `(3, h, w)`, at most `LONG_SIDE` long; None, with a warning, if it cannot be read."""
    try:
        picture = images.read(path)
    except PictureError as error:
        log.warning("skipped: %s", error)
        return None
    size = picture.shape if max(picture.shape) <= LONG_SIDE else images.fit(picture.shape, LONG_SIDE)
    return picture.resized(*size).rgb


def strongest_responses(
    encoder: Encoder, layer: str, pictures: Iterator[Tensor | None], count: int = 9, several: bool = False
) -> list[list[UnitResponse]]:
    """For each unit of a layer, its `count` strongest responses, strongest first; empty if no picture is large enough.

    Pictures are read one at a time and not kept, so they need not fit into memory together.

    Args:
        pictures: `(3, h, w)`, sRGB in [0, 1]; None for one that is missing.
        several: whether one picture may contribute more than one response to a unit.
    """
    best: list[list[UnitResponse]] = []
    for number, picture in enumerate(pictures):
        if picture is None or min(picture.shape[1:]) < encoder.stride(layer):
            continue
        with torch.no_grad():
            features = encoder(picture[None].to(encoder.mean), [layer])[layer][0]
        width = features.shape[2]
        top = features.flatten(1).topk(min(count if several else 1, features[0].numel()), 1)
        best = best or [[] for _ in range(len(features))]
        for unit, (values, indices) in enumerate(zip(top.values.tolist(), top.indices.tolist(), strict=True)):
            new = [UnitResponse(v, number, i // width, i % width) for v, i in zip(values, indices, strict=True)]
            best[unit] = sorted([*best[unit], *new], key=lambda response: -response.value)[:count]
    return best


def patch(encoder: Encoder, layer: str, picture: Tensor, response: UnitResponse) -> Tensor:
    """The receptive field of a response, `(3, side, side)`, padded with the border's pixels beyond the picture."""
    field = receptive_field(encoder, layer, response.row, response.column)
    rows = (torch.arange(field.side, **CPU_INDEX) + field.top).clamp(0, picture.shape[1] - 1)
    columns = (torch.arange(field.side, **CPU_INDEX) + field.left).clamp(0, picture.shape[2] - 1)
    return picture[:, rows][:, :, columns]


class _GuidedReLU(torch.autograd.Function):
    """A ReLU whose backward pass also drops negative gradients."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return gradient.clamp_min(0) * (x > 0)


def guided_gradient(encoder: Encoder, layer: str, unit: int, picture: Tensor, response: UnitResponse) -> Tensor:
    """d activation / d picture, `(3, h, w)`, by guided backpropagation: which pixels made the unit respond."""
    leaf = picture[None].to(encoder.mean).requires_grad_()
    with torch.enable_grad():
        x = leaf - encoder.mean.view(1, 3, 1, 1)
        for part in encoder.layers[: encoder.depth(layer) + 1]:
            if part.kind == "conv":
                kernel = encoder.kernels[part.name]
                mode = "constant" if encoder.padding == "zeros" else encoder.padding
                x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), kernel.weight, kernel.bias)
            elif part.kind == "relu":
                x = _GuidedReLU.apply(x)  # type: ignore[no-untyped-call]
            else:
                x = F.max_pool2d(x, 2) if encoder.pooling == "max" else F.avg_pool2d(x, 2)
        (gradient,) = torch.autograd.grad(x[0, unit, response.row, response.column], leaf)
    return gradient[0]


def maximize_activation(encoder: Encoder, layer: str, unit: int, seed: int = 0, steps: int | None = None) -> Tensor:
    """A picture optimised to excite a unit, `(3, side, side)`, sRGB in [0, 1].

    Adam from faint noise around grey. Jitter, total variation and the distance from grey regularise the result, which
    would be high-frequency noise without them.

    Args:
        layer: a ReLU or convolution, whose convolution `encoder` must include.
        steps: `STEPS` if None.
    """
    field = encoder.layers[encoder.depth(layer)].field
    side = max(48, -(-2 * field // 16) * 16)
    side = min(side, 224)
    generator = torch.Generator().manual_seed(seed)
    image = (
        (0.5 + 0.02 * torch.randn(1, 3, side, side, generator=generator, **CPU_FLOAT)).to(encoder.mean).requires_grad_()
    )
    optimizer = torch.optim.Adam([image], lr=RATE)
    # Before the ReLU, where a unit that does not respond yet has a gradient too.
    tap = layer.replace("relu", "conv")
    for _ in range(STEPS if steps is None else steps):
        down, right = (int(torch.randint(-JITTER, JITTER + 1, (), generator=generator, **CPU_INDEX)) for _ in range(2))
        activations = encoder(image.roll((down, right), (2, 3)), [tap])[tap][0, unit]
        center = activations[activations.shape[0] // 2, activations.shape[1] // 2]
        scale = center.detach().abs().clamp_min(1.0)
        variation = image.diff(dim=2).square().mean() + image.diff(dim=3).square().mean()
        loss = -center / scale + VARIATION_WEIGHT * variation + GREY_WEIGHT * (image - 0.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return image.detach()[0]
