"""Training data: pictures decoded once and kept on the device, random crops of them, and augmentation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT, CPU_INDEX
from impasto.errors import PictureError

log = logging.getLogger(__name__)

#: One picture in so many is held out for evaluation.
HOLDOUT_EVERY = 32


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures in memory.

    Attributes:
        pictures: each `(3, h, w)`, uint8, on the device.
        names: of their files.
    """

    pictures: Sequence[Tensor]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.pictures)

    def split(self) -> tuple[Dataset, Dataset]:
        """A training set and a held-out set; a single picture is in both."""
        if len(self) == 1:
            return self, self
        training = [index for index in range(len(self)) if index % HOLDOUT_EVERY]
        held_out = [index for index in range(len(self)) if not index % HOLDOUT_EVERY]
        return self.subset(training), self.subset(held_out)

    def subset(self, indices: Sequence[int]) -> Dataset:
        return Dataset([self.pictures[index] for index in indices], [self.names[index] for index in indices])


def load(files: Sequence[Path], short_side: int, device: torch.device) -> Iterator[tuple[Path, Tensor | None]]:
    """Each file's picture, `(3, h, w)`, uint8, reduced to `short_side`; None if it cannot be read, which is logged."""
    for path in files:
        try:
            picture = images.read(path)
        except PictureError as error:
            log.warning("left out: %s", error)
            yield path, None
            continue
        height, width = picture.shape
        if min(height, width) > short_side:
            long_side = round(short_side * max(height, width) / min(height, width))
            picture = picture.resized(*images.fit((height, width), long_side))
        yield path, (picture.rgb * 255).round().to(device, torch.uint8)


def random_crop(picture: Tensor, side: int, zoom: float, generator: torch.Generator) -> Tensor:
    """A random square of a picture `(3, h, w)`, at random flipped, as `(3, side, side)` in [0, 1].

    Args:
        zoom: pixels of the picture per pixel of the crop; fewer where the picture is too small.
    """
    short_side = min(picture.shape[-2:])
    length = max(1, min(short_side, round(side * zoom)))
    top, left, flip = (
        int(torch.randint(bound, (), generator=generator, **CPU_INDEX))
        for bound in (picture.shape[-2] - length + 1, picture.shape[-1] - length + 1, 2)
    )
    square = picture[:, top : top + length, left : left + length].float() / 255
    square = square.flip(-1) if flip else square
    if length == side:
        return square
    return F.interpolate(square[None], (side, side), mode="bilinear", antialias=length > side)[0].clamp(0, 1)


def random_crops(dataset: Dataset, count: int, side: int, generator: torch.Generator) -> Tensor:
    """Crops of random pictures at random zooms from 1 to 2, `(count, 3, side, side)`, sRGB in [0, 1]."""
    chosen = torch.randint(len(dataset), (count,), generator=generator, **CPU_INDEX).tolist()
    zooms = (2 ** torch.rand(count, generator=generator, **CPU_FLOAT)).tolist()
    pictures = (dataset.pictures[index] for index in chosen)
    crops = (random_crop(picture, side, zoom, generator) for picture, zoom in zip(pictures, zooms, strict=True))
    return torch.stack(list(crops))


def center_crop(picture: Tensor, side: int) -> Tensor:
    """The largest square in the middle of a picture `(3, h, w)`, uint8, as `(1, 3, side, side)` in [0, 1]."""
    length = min(picture.shape[-2:])
    top, left = (picture.shape[-2] - length) // 2, (picture.shape[-1] - length) // 2
    square = picture[None, :, top : top + length, left : left + length].float() / 255
    return F.interpolate(square, (side, side), mode="bilinear", antialias=True)


def random_motion(shape: torch.Size, device: torch.device, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """A random shift by up to 4 pixels and zoom by up to 3 % for each picture of a batch of this shape."""
    shift = (torch.rand(shape[0], 2, generator=generator, **CPU_FLOAT) - 0.5) * (16 / shape[-1])
    zoom = 1 + 0.06 * (torch.rand(shape[0], generator=generator, **CPU_FLOAT) - 0.5)
    theta = torch.zeros(shape[0], 2, 3, **CPU_FLOAT)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom
    theta[:, :, 2] = shift
    grid = F.affine_grid(theta.to(device), list(shape), align_corners=False)

    def move(pictures: Tensor) -> Tensor:
        return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)

    return move
