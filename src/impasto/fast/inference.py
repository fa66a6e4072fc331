"""One pass of a network: a painting looked at, or a photo painted, in windows of any size.

Only in sums over all positions does one part of a picture know of the others (`exchange`), so that what is computed
in windows is the whole's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.fast.networks import Blend, Code, Network, Stage
from impasto.fast.transform import Sums, Transport, sums, transport
from impasto.images import regions
from impasto.images.regions import Source
from impasto.vgg.tiling import Tile, grid, whole

#: Pixels of a window, at most.
WINDOW = 1 << 20
#: Of the statistics of earlier frames, what counts in the next one.
MEMORY = 0.9
#: (stage, part) -> the sums over the frames so far.
Running = dict[tuple[int, int], Sums]


@dataclass(frozen=True, eq=False)
class Part:
    """A region, and what is painted there.

    Attributes:
        where: `(h, w)` in [0, 1]; None for the whole picture.
        vector: `(1, CODE)`.
        styles: what statistics are exchanged for; what the weights lack to 1 stays the photo's.
    """

    where: Tensor | None
    vector: Tensor
    styles: Blend


def code_of(network: Network, source: Source, window: int = WINDOW) -> Code:
    """The code of a painting, or of the part of one, looked at in windows of so many pixels."""
    multiple = network.multiple
    image = padded(source.image, multiple)
    where = None if source.where is None else padded(source.where[None], multiple)[0]
    found = []
    with torch.no_grad():
        for tile in windows(image.shape[-2], image.shape[-1], window, multiple, network.reach):
            seen = network.look(tile.window(image)[None])
            inside = [tile.inside(part, stride) for part, stride in zip(seen, network.strides, strict=True)]
            weights = [
                None if (mask := regions.positions(where, stride)) is None else tile.owned(mask, stride)
                for stride in network.strides
            ]
            found.append(network.sums(inside, weights))
        total = [reduce(lambda a, b: a + b, level) for level in zip(*found, strict=True)]
        return network.read(total)


def paint(
    network: Network,
    photo: Tensor,
    parts: Sequence[Part],
    window: int = WINDOW,
    running: Running | None = None,
) -> Iterator[Tensor]:
    """The picture, `(3, h, w)`, not clipped, after every tile; what is not painted yet is as in the photo.

    Stage by stage, and each in windows: of what a stage gives all is kept, so that statistics are those of the whole.

    Args:
        photo: `(3, h, w)`, sRGB in [0, 1], its sides multiples of `network.multiple`.
        parts: at its size. Where they overlap, each has its share.
        running: of the frames of a clip, their statistics so far: one frame alone would make them waver.
    """
    chain, x, size = network.chain, photo[None], (photo.shape[-2], photo.shape[-1])
    for index, stage in enumerate(chain):
        last = stage is chain[-1]
        y = photo.clone()[None] if last else None
        with torch.no_grad():
            maps = [_map(network, x, part, index - 1, running) for part in parts] if index else []
        for tile in windows(*size, window, network.multiple, stage.reach):
            with torch.no_grad():
                seen = tile.window(x, stage.before)
                painted = _through(stage, [mapped(seen) for mapped in maps] or [seen] * len(parts), parts, tile)
                if y is None:
                    y = painted.new_empty(1, painted.shape[1], *(side // stage.after for side in size))
                tile.owned(y, stage.after).copy_(tile.inside(painted, stage.after))
            yield y[0] if last else photo
        assert y is not None
        x = y


def _map(network: Network, x: Tensor, part: Part, index: int, running: Running | None) -> Transport:
    """What moves the features of a part to where its styles have theirs."""
    mask = regions.positions(part.where, network.chain[index].after)
    own = sums(x.flatten(2), network.exchange, None if mask is None else mask.flatten())
    if running is not None:
        key = (index, id(part))
        if key in running:
            own = running[key].faded(MEMORY) + own
        running[key] = own
    return transport(own.fit, [(code.fits[index], weight) for code, weight in part.styles])


def _through(stage: Stage, moved: Sequence[Tensor], parts: Sequence[Part], tile: Tile) -> Tensor:
    """What a stage makes of a window: of each part what its styles say, blended by the masks."""
    painted: list[tuple[Tensor, Tensor]] = []
    for part, x in zip(parts, moved, strict=True) if len(parts) > 1 and stage.listens else ():
        mask = regions.positions(part.where, stage.after)
        assert mask is not None  # several parts are told apart by their masks
        seen = tile.window(mask, stage.after)
        if seen.any():
            painted.append((stage(x, part.vector) * seen, seen))
    if not painted:  # there is one part only, or all of the window is kept as it is
        only: Tensor = stage(moved[0], parts[0].vector)
        return only
    total = torch.stack([part for part, _ in painted]).sum(0)
    return total / torch.stack([mask for _, mask in painted]).sum(0).clamp_min(1e-6)


def padded(bands: Tensor, multiple: int) -> Tensor:
    """`(c, h, w)` with its last row and column again until both sides are multiples."""
    height, width = bands.shape[-2:]
    return F.pad(bands[None], (0, -width % multiple, 0, -height % multiple), mode="replicate")[0]


def windows(height: int, width: int, window: int, stride: int, reach: int) -> tuple[Tile, ...]:
    """The tiles of a picture whose windows have so many pixels; one, if it has no more."""
    return (whole(height, width),) if height * width <= window else grid(height, width, window, stride, reach)
