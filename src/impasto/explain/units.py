"""What excites a unit: the patches of many pictures that do most, what in them matters, and a picture made for it.

Zeiler and Fergus, "Visualizing and understanding convolutional networks" (arXiv 1311.2901), with guided
backpropagation (Springenberg et al., arXiv 1412.6806) in the place of deconvolution, and activation maximisation
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
from impasto.errors import PictureError
from impasto.explain.receptive_field import receptive_field
from impasto.vgg.encoder import Encoder

log = logging.getLogger(__name__)

#: Long side at which pictures are looked at, in pixels.
SIDE = 512
#: Steps, step in pixels' range, jitter in pixels, and weights of the regularisers of activation maximisation.
STEPS, RATE, JITTER, SMOOTH, FAINT = 160, 0.03, 8, 2.0, 0.3


@dataclass(frozen=True)
class Place:
    """Where in which picture a unit was excited, and how much.

    Attributes:
        value: the activation.
        picture: its number among those that were looked at.
        row, column: of the layer's position.
    """

    value: float
    picture: int
    row: int
    column: int


def looked(path: Path) -> Tensor | None:
    """A picture as it is looked at, `(3, h, w)`; None where it cannot be read, which is logged."""
    try:
        picture = images.read(path)
    except PictureError as error:
        log.warning("left out: %s", error)
        return None
    size = picture.size if max(picture.size) <= SIDE else images.fit(picture.size, SIDE)
    return picture.resized(*size).rgb


def strongest(
    encoder: Encoder, layer: str, pictures: Iterator[Tensor | None], count: int = 9, several: bool = False
) -> list[list[Place]]:
    """For each unit of a layer the `count` places that excite it most, strongest first.

    Pictures are looked at one after another and forgotten: there may be more than memory holds.

    Args:
        pictures: `(3, h, w)`, sRGB in [0, 1]; None for one that is missing.
        several: whether one picture may give more than one place.
    """
    best: list[list[Place]] = []
    for number, picture in enumerate(pictures):
        if picture is None or min(picture.shape[1:]) < encoder.stride(layer):
            continue
        with torch.no_grad():
            seen = encoder(picture[None].to(encoder.mean), [layer])[layer][0]
        width = seen.shape[2]
        values, places = seen.flatten(1).topk(min(count if several else 1, seen[0].numel()), 1)
        best = best or [[] for _ in range(len(seen))]
        for unit, (found, where) in enumerate(zip(values.tolist(), places.tolist(), strict=True)):
            new = [Place(v, number, p // width, p % width) for v, p in zip(found, where, strict=True)]
            best[unit] = sorted([*best[unit], *new], key=lambda place: -place.value)[:count]
    return best


def patch(encoder: Encoder, layer: str, picture: Tensor, place: Place) -> Tensor:
    """The pixels that excite a place, `(3, side, side)`: its receptive field, with the border again beyond it."""
    field = receptive_field(encoder, layer, place.row, place.column)
    rows = (torch.arange(field.side) + field.top).clamp(0, picture.shape[1] - 1)
    columns = (torch.arange(field.side) + field.left).clamp(0, picture.shape[2] - 1)
    return picture[:, rows][:, :, columns]


class _Guided(torch.autograd.Function):
    """A ReLU through which only what is positive goes back, and only where it was positive."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x.relu()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return gradient.clamp_min(0) * (x > 0)


def guided(encoder: Encoder, layer: str, unit: int, picture: Tensor, place: Place) -> Tensor:
    """What in a picture makes a unit respond at a place, `(3, h, w)`: the gradient by guided backpropagation."""
    given = picture[None].to(encoder.mean).requires_grad_()
    with torch.enable_grad():
        x = given - encoder.mean.view(1, 3, 1, 1)
        for part in encoder.layers[: encoder.depth(layer) + 1]:
            if part.kind == "conv":
                kernel = encoder.kernels[part.name]
                mode = "constant" if encoder.padding == "zeros" else encoder.padding
                x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=mode), kernel.weight, kernel.bias)
            elif part.kind == "relu":
                x = _Guided.apply(x)  # type: ignore[no-untyped-call]
            else:
                x = F.max_pool2d(x, 2) if encoder.pooling == "max" else F.avg_pool2d(x, 2)
        (found,) = torch.autograd.grad(x[0, unit, place.row, place.column], given)
    return found[0]


def excite(encoder: Encoder, layer: str, unit: int, seed: int = 0, steps: int | None = None) -> Tensor:
    """A picture made to excite a unit, `(3, side, side)`, sRGB in [0, 1].

    By Adam from faint noise, with jitter, total variation and a pull to grey, without which it would be noise that no
    eye reads.
    """
    field = encoder.layers[encoder.depth(layer)].field
    side = max(48, -(-2 * field // 16) * 16)
    side = min(side, 224)
    generator = torch.Generator().manual_seed(seed)
    image = (0.5 + 0.02 * torch.randn(1, 3, side, side, generator=generator)).to(encoder.mean).requires_grad_()
    optimizer = torch.optim.Adam([image], lr=RATE)
    # Before the ReLU: a unit that is silent at first could not be woken.
    tap = layer.replace("relu", "conv")
    for _ in range(STEPS if steps is None else steps):
        down, right = (int(torch.randint(-JITTER, JITTER + 1, (), generator=generator)) for _ in range(2))
        seen = encoder(image.roll((down, right), (2, 3)), [tap])[tap][0, unit]
        middle = seen[seen.shape[0] // 2, seen.shape[1] // 2]
        scale = middle.detach().abs().clamp_min(1.0)
        smooth = image.diff(dim=2).square().mean() + image.diff(dim=3).square().mean()
        loss = -middle / scale + SMOOTH * smooth + FAINT * (image - 0.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            image.clamp_(0, 1)
    return image.detach()[0]
