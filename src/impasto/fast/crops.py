"""Pictures to train on: a folder decoded once, crops drawn from it on the device."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.errors import PictureError

log = logging.getLogger(__name__)

#: Of so many pictures, one is held out to evaluate with.
HELD_OUT = 32


@dataclass(frozen=True, eq=False)
class Folder:
    """Pictures in memory.

    Attributes:
        pictures: each `(3, h, w)`, uint8, on the device.
        names: of their files.
    """

    pictures: Sequence[Tensor]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.pictures)

    def split(self) -> tuple[Folder, Folder]:
        """Those to train on, and those held out: the first of every `HELD_OUT`; of a single one, the same twice."""
        if len(self) == 1:
            return self, self
        kept = [index for index in range(len(self)) if index % HELD_OUT]
        held = [index for index in range(len(self)) if not index % HELD_OUT]
        return self.only(kept), self.only(held)

    def only(self, indices: Sequence[int]) -> Folder:
        """Some of them."""
        return Folder([self.pictures[index] for index in indices], [self.names[index] for index in indices])


def load(files: Sequence[Path], short_side: int, device: torch.device) -> Iterator[tuple[Path, Tensor | None]]:
    """Each file's picture, `(3, h, w)`, uint8, at most `short_side` on its short side; None where it cannot be read,
    which is logged."""
    for path in files:
        try:
            picture = images.read(path)
        except PictureError as error:
            log.warning("left out: %s", error)
            yield path, None
            continue
        height, width = picture.size
        if min(height, width) > short_side:
            long_side = round(short_side * max(height, width) / min(height, width))
            picture = picture.resized(*images.fit((height, width), long_side))
        yield path, (picture.rgb * 255).round().to(device, torch.uint8)


def crop(picture: Tensor, side: int, zoom: float, generator: torch.Generator) -> Tensor:
    """A random square of a picture `(3, h, w)` as `(3, side, side)` in [0, 1], flipped or not.

    Args:
        zoom: pixels of the picture per pixel of the crop, at most; as many as it has, if it has fewer.
    """
    most = min(picture.shape[-2:])
    length = max(1, min(most, round(side * zoom)))
    top, left, flip = (
        int(torch.randint(bound, (), generator=generator))
        for bound in (picture.shape[-2] - length + 1, picture.shape[-1] - length + 1, 2)
    )
    square = picture[:, top : top + length, left : left + length].float() / 255
    square = square.flip(-1) if flip else square
    if length == side:
        return square
    return F.interpolate(square[None], (side, side), mode="bilinear", antialias=length > side)[0].clamp(0, 1)


def batch(folder: Folder, count: int, side: int, generator: torch.Generator) -> Tensor:
    """Random crops of random pictures at random scales, `(count, 3, side, side)`, sRGB in [0, 1]."""
    chosen = torch.randint(len(folder), (count,), generator=generator).tolist()
    zooms = (2 ** torch.rand(count, generator=generator)).tolist()  # up to twice the area's side
    pictures = (folder.pictures[index] for index in chosen)
    return torch.stack([crop(picture, side, zoom, generator) for picture, zoom in zip(pictures, zooms, strict=True)])


def recolored(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the pictures `(b, 3, h, w)` with their colours turned about the grey axis, and a little lighter or
    darker: there are few paintings, and of each colour fewer."""
    count = len(pictures)
    turn = torch.rand(count, generator=generator) * 2 * math.pi
    turn = turn * (torch.rand(count, generator=generator) < 0.5)
    gain = 0.8 + 0.4 * torch.rand(count, generator=generator)
    # Rodrigues' rotation about (1, 1, 1)/√3.
    axis = torch.full((3,), 3**-0.5)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * 3**-0.5
    cos, sin = turn.cos()[:, None, None], turn.sin()[:, None, None]
    rotation = cos * torch.eye(3) + sin * cross + (1 - cos) * torch.outer(axis, axis)
    matrix = (rotation * gain[:, None, None]).to(pictures.device)
    return (matrix @ pictures.flatten(2)).view_as(pictures).clamp(0, 1)
