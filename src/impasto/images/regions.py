"""Regions of a picture and the paintings that each takes its style from, at every scale and layer.

A mask is a weight per pixel; averaged down to a layer's positions it weights the sums of a statistic there (Gatys
et al., "Controlling perceptual factors in neural style transfer", CVPR 2017, section 4).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.images import picture


@dataclass(frozen=True, eq=False)
class StyleSource:
    """A painting, or a part of one, that style is taken from.

    Attributes:
        name: what to call it in messages.
        image: `(3, h, w)`, sRGB in [0, 1].
        mask: `(h, w)` in [0, 1], the part that counts; None for all of it.
        weight: its share among the sources of a region, which sum to 1.
    """

    name: str
    image: Tensor
    mask: Tensor | None = None
    weight: float = 1.0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.image.shape[-2], self.image.shape[-1]

    def size_for(self, pixels: int, factor: float) -> tuple[int, int]:
        """The size at which style is read for a picture of so many pixels.

        As many pixels as the picture has, but never more than the painting, since enlarging only blurs its strokes;
        then `factor` times as long and wide, for larger or smaller ones."""
        pixels = min(pixels, self.size[0] * self.size[1])
        return picture.fit_area(self.size, pixels * factor**2)

    def resized(self, height: int, width: int) -> StyleSource:
        """The same source at this size."""
        return dataclasses.replace(
            self,
            image=picture.resize(self.image, height, width),
            mask=resize_mask(self.mask, height, width),
        )

    def to(self, device: torch.device) -> StyleSource:
        """The same source on a device."""
        mask = None if self.mask is None else self.mask.to(device)
        return dataclasses.replace(self, image=self.image.to(device), mask=mask)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of the picture, and the paintings that its style comes from.

    Attributes:
        mask: `(h, w)` in [0, 1]; None for the whole picture.
        sources: one at least.
        name: what to call it in messages and in the names of terms; empty for the whole picture.
    """

    mask: Tensor | None
    sources: tuple[StyleSource, ...]
    name: str = ""

    @property
    def share(self) -> float:
        """The part of the picture that it covers, in [0, 1]."""
        return 1.0 if self.mask is None else self.mask.mean().item()

    @property
    def called(self) -> str:
        """What to call it in messages."""
        return f"the region of the style {' and '.join(source.name for source in self.sources)}"

    def at(self, size: tuple[int, int], factors: Sequence[float], device: torch.device) -> Region:
        """The same region at a size, its sources at the sizes that go with it, once for each factor."""
        mask, pixels = resize_mask(self.mask, *size), size[0] * size[1]
        sources = [
            dataclasses.replace(resized, weight=source.weight / len(factors))
            for source in self.sources
            for resized in (source.resized(*source.size_for(pixels, factor)).to(device) for factor in factors)
        ]
        return Region(None if mask is None else mask.to(device), tuple(sources), self.name)

    def with_images(self, image_of: Callable[[StyleSource], Tensor]) -> Region:
        """The same region with other images for its sources."""
        sources = tuple(dataclasses.replace(source, image=image_of(source)) for source in self.sources)
        return dataclasses.replace(self, sources=sources)


def resize_mask(mask: Tensor | None, height: int, width: int) -> Tensor | None:
    """A mask `(h, w)` at another size; None stays None."""
    return None if mask is None else picture.resize(mask[None], height, width)[0]


def positions(mask: Tensor | None, stride: int) -> Tensor | None:
    """A mask `(h, w)` at the positions of a layer of this stride: the mean over each one's pixels, `(h', w')`."""
    return None if mask is None else F.avg_pool2d(mask[None, None], stride)[0, 0]


def covers(mask: Tensor | None, stride: int) -> bool:
    """Whether a mask covers as much as one position of a layer of this stride."""
    weights = positions(mask, stride)
    return weights is None or weights.sum().item() >= 1 - 1e-4
