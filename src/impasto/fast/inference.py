"""Inference: reading a painting's code, and painting a photo, in windows of any size.

One part of a picture depends on the others only through sums over all positions (`transform`), so that results in
windows equal those of the whole picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.fast.networks import Blend, Code, Network, Stage
from impasto.fast.transform import AffineMap, feature_sums, gaussian_fit, whiten_and_color
from impasto.images import regions
from impasto.images.regions import StyleSource
from impasto.losses.statistics import Sums
from impasto.vgg.tiling import Tile, grid, whole

#: Pixels of a window, at most.
MAX_WINDOW = 1 << 20
#: The weight of earlier frames' statistics in the next one's.
DECAY = 0.9
#: (stage, region) -> the sums over the frames so far.
RunningSums = dict[tuple[int, int], Sums]


@dataclass(frozen=True, eq=False)
class StyledRegion:
    """A region of the photo, and the style that it is painted in.

    Attributes:
        mask: `(h, w)` in [0, 1]; None for the whole picture.
        vector: `(1, CODE)`.
        styles: codes with their weights; what these lack to 1 is the photo's own statistics.
    """

    mask: Tensor | None
    vector: Tensor
    styles: Blend


def code_of(network: Network, source: StyleSource, window: int = MAX_WINDOW) -> Code:
    """The code of a painting, or of the part of one, read in windows of so many pixels."""
    multiple = network.multiple
    image = padded(source.image, multiple)
    mask = None if source.mask is None else padded(source.mask[None], multiple)[0]
    found = []
    with torch.no_grad():
        for tile in windows(image.shape[-2], image.shape[-1], window, multiple, network.radius):
            levels = network.levels_of(tile.window(image)[None])
            owned = [tile.inside(level, stride) for level, stride in zip(levels, network.strides, strict=True)]
            masks = [
                None if (weights := regions.positions(mask, stride)) is None else tile.owned(weights, stride)
                for stride in network.strides
            ]
            found.append(network.sums(owned, masks))
        total = [reduce(lambda a, b: a + b, level) for level in zip(*found, strict=True)]
        return network.code_of_sums(total)


def paint(
    network: Network,
    photo: Tensor,
    parts: Sequence[StyledRegion],
    window: int = MAX_WINDOW,
    running: RunningSums | None = None,
) -> Iterator[Tensor]:
    """The picture, `(3, h, w)`, not clipped, after every tile; what is not painted yet shows the photo.

    Stage by stage, each in windows: all of a stage's output is kept, so that statistics are those of the whole picture.

    Args:
        photo: `(3, h, w)`, sRGB in [0, 1], its sides multiples of `network.multiple`.
        parts: at its size. Where they overlap, they are blended by their masks.
        running: statistics of a clip's frames so far, updated in place: those of single frames would flicker.
    """
    chain, x, size = network.chain, photo[None], (photo.shape[-2], photo.shape[-1])
    for index, stage in enumerate(chain):
        last = stage is chain[-1]
        y = photo.clone()[None] if last else None
        with torch.no_grad():
            maps = [_transform(network, x, part, index - 1, running) for part in parts] if index else []
        for tile in windows(*size, window, network.multiple, stage.radius):
            with torch.no_grad():
                given = tile.window(x, stage.before)
                inputs = [transform(given) for transform in maps] or [given] * len(parts)
                painted = _forward(stage, inputs, parts, tile)
                if y is None:
                    y = painted.new_empty(1, painted.shape[1], *(side // stage.after for side in size))
                tile.owned(y, stage.after).copy_(tile.inside(painted, stage.after))
            yield y[0] if last else photo
        assert y is not None
        x = y


def _transform(network: Network, x: Tensor, part: StyledRegion, index: int, running: RunningSums | None) -> AffineMap:
    """The transform of a region's features to the statistics of its styles."""
    mask = regions.positions(part.mask, network.chain[index].after)
    own = feature_sums(x.flatten(2), network.transform, None if mask is None else mask.flatten())
    if running is not None:
        key = (index, id(part))
        if key in running:
            own = running[key].scaled(DECAY) + own
        running[key] = own
    fit = gaussian_fit(own, network.transform)
    return whiten_and_color(fit, [(code.fits[index], weight) for code, weight in part.styles])


def _forward(stage: Stage, inputs: Sequence[Tensor], parts: Sequence[StyledRegion], tile: Tile) -> Tensor:
    """A stage's output for a window: that of each region, blended by the masks."""
    painted: list[tuple[Tensor, Tensor]] = []
    for part, x in zip(parts, inputs, strict=True) if len(parts) > 1 and stage.is_conditioned else ():
        mask = regions.positions(part.mask, stage.after)
        assert mask is not None  # several regions have masks
        weights = tile.window(mask, stage.after)
        if weights.any():
            painted.append((stage(x, part.vector) * weights, weights))
    if not painted:  # there is one region only, or all of the window stays the photo
        only: Tensor = stage(inputs[0], parts[0].vector)
        return only
    total = torch.stack([part for part, _ in painted]).sum(0)
    return total / torch.stack([mask for _, mask in painted]).sum(0).clamp_min(1e-6)


def padded(bands: Tensor, multiple: int) -> Tensor:
    """`(c, h, w)` with its last row and column repeated until both sides are multiples."""
    height, width = bands.shape[-2:]
    return F.pad(bands[None], (0, -width % multiple, 0, -height % multiple), mode="replicate")[0]


def windows(height: int, width: int, window: int, stride: int, radius: int) -> tuple[Tile, ...]:
    """The tiles of a picture whose windows have so many pixels; one, if it has no more."""
    return (whole(height, width),) if height * width <= window else grid(height, width, window, stride, radius)
