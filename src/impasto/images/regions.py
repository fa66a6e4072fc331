"""Regions of a picture and the paintings that each takes its style from, at every scale and layer.

A mask is a weight per pixel; averaged down to a layer's positions it weights the sums of a statistic there (Gatys
et al., "Controlling perceptual factors in neural style transfer", CVPR 2017, section 4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.optim import memory
from impasto.optim.schedule import Scale
from impasto.settings.options import StyledOptions
from impasto.vgg.encoder import Encoder


@dataclass(frozen=True, eq=False)
class Source:
    """A painting, or a part of one, that style is taken from.

    Attributes:
        name: what to call it in messages.
        image: `(3, h, w)`, sRGB in [0, 1].
        where: `(h, w)` in [0, 1], the part that counts; None for all of it.
        weight: its share among the sources of a region, which sum to 1.
    """

    name: str
    image: Tensor
    where: Tensor | None = None
    weight: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.image.shape[-2], self.image.shape[-1]

    def size_at(self, scale: Scale, factor: float) -> tuple[int, int]:
        """As many pixels as the scale has, but never more than the painting, since enlarging only blurs its
        strokes; then `factor` times as long and wide, for larger or smaller ones."""
        pixels = min(scale.pixels, self.size[0] * self.size[1])
        return images.fit_area(self.size, pixels * factor**2)

    def resized(self, height: int, width: int) -> Source:
        """The same source at another size."""
        return dataclasses.replace(
            self,
            image=images.resize(self.image, height, width),
            where=resize_mask(self.where, height, width),
        )

    def to(self, device: torch.device) -> Source:
        """The same source elsewhere."""
        where = None if self.where is None else self.where.to(device)
        return dataclasses.replace(self, image=self.image.to(device), where=where)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the picture, and where its style comes from.

    Attributes:
        where: `(h, w)` in [0, 1]; None for the whole picture.
        sources: one at least.
        name: what to call it in messages and in the names of terms; empty for the whole picture.
    """

    where: Tensor | None
    sources: tuple[Source, ...]
    name: str = ""

    @property
    def share(self) -> float:
        """The part of the picture that it covers, in [0, 1]."""
        return 1.0 if self.where is None else self.where.mean().item()

    @property
    def called(self) -> str:
        """What to call it in messages."""
        return f"the region of the style {' and '.join(source.name for source in self.sources)}"

    def at(self, scale: Scale, factors: Sequence[float], device: torch.device) -> Region:
        """The same region at a scale, its sources at the sizes that go with it, once for each factor."""
        where = resize_mask(self.where, scale.height, scale.width)
        sources = [
            dataclasses.replace(there, weight=source.weight / len(factors))
            for source in self.sources
            for there in (source.resized(*source.size_at(scale, factor)).to(device) for factor in factors)
        ]
        return Region(None if where is None else where.to(device), tuple(sources), self.name)

    def repainted(self, repaint: Callable[[Source], Tensor]) -> Region:
        """The same region with the images of its sources made anew."""
        sources = tuple(dataclasses.replace(source, image=repaint(source)) for source in self.sources)
        return dataclasses.replace(self, sources=sources)


def resize_mask(mask: Tensor | None, height: int, width: int) -> Tensor | None:
    """A mask `(h, w)` at another size; None stays None."""
    return None if mask is None else images.resize(mask[None], height, width)[0]


def positions(mask: Tensor | None, stride: int) -> Tensor | None:
    """A mask `(h, w)` at the positions of a layer of this stride: the mean over each one's pixels, `(h', w')`."""
    return None if mask is None else F.avg_pool2d(mask[None, None], stride)[0, 0]


def covers(mask: Tensor | None, stride: int) -> bool:
    """Whether a mask covers as much as one position of a layer of this stride."""
    weights = positions(mask, stride)
    return weights is None or weights.sum().item() >= 1 - 1e-4


def check(where: Tensor, encoder: Encoder, layers: Iterable[str], what: str) -> None:
    """Raise a ValueError if a mask `(h, w)`, called `what`, is empty or vanishes at one of these layers."""
    check_filled(where, what)
    for layer in layers:
        stride = encoder.layers[encoder.depth(layer)].stride
        if not covers(where, stride):
            raise ValueError(
                f"{what} covers {where.sum().item():.0f} pixels of {where.shape[1]}×{where.shape[0]}, less than one "
                f"position of {layer}, which stands for {stride}×{stride}: make it larger, or the picture, or "
                "leave that layer out"
            )


def check_regions(
    parts: Sequence[Region],
    encoder: Encoder,
    layers: Mapping[str, float],
    scales: Sequence[Scale],
    options: StyledOptions,
) -> None:
    """Raise a ValueError if a region, or what is read of a painting, has too few pixels for one of `layers`.

    And a BudgetError if a painting would have more than there is memory for.

    A mask is held to account at the last scale. At smaller ones a layer at which it vanishes is left out.
    """
    read = [layer for layer, weight in layers.items() if weight]
    for part in parts:
        if part.where is not None and layers:
            check(part.where, encoder, read, part.called)
        for source in part.sources:
            for factor in options.style_scale:
                encoder.check_size(*source.size_at(scales[0], factor), read, _called(source, factor))
                largest = source.size_at(scales[-1], factor)
                memory.check_possible(largest, torch.device("cpu"), options.memory, _called(source, factor))
                if source.where is not None:
                    where = resize_mask(source.where, *source.size_at(scales[-1], factor))
                    assert where is not None
                    check(where, encoder, read, f"what is read of {_called(source, factor)}")


def _called(source: Source, factor: float) -> str:
    return f"the style {source.name}" + (f" at scale {factor:g}" if factor != 1 else "")


def check_filled(where: Tensor, what: str) -> None:
    """Raise a ValueError if a mask `(h, w)`, called `what`, is black all over."""
    if where.max() < 1 / 255:
        raise ValueError(f"{what} is empty: masks, and what is transparent, leave nothing of it")
