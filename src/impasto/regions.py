"""Where which style goes: masks over the photo, masks over the paintings, and what is to stay untouched.

A mask is a weight per pixel; averaged down to a layer's positions it weights the sums of a statistic there (Gatys
et al., "Controlling perceptual factors in neural style transfer", CVPR 2017, section 4).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.encoders import Encoder
from impasto.images import Picture, PictureLike

#: What a content mask is called whose pixels stay as they are, and what stands for a picture's own alpha.
KEEP, ALPHA = "keep", "alpha"


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

    def resized(self, height: int, width: int) -> Source:
        """The same source at another size."""
        return dataclasses.replace(
            self,
            image=images.resize(self.image, height, width),
            where=resize_mask(self.where, height, width),
        )


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


def resize_mask(mask: Tensor | None, height: int, width: int) -> Tensor | None:
    """A mask `(h, w)` at another size; None stays None."""
    return None if mask is None else images.resize(mask[None], height, width)[0]


def positions(mask: Tensor | None, stride: int) -> Tensor | None:
    """A mask `(h, w)` at the positions of a layer of this stride: the mean over each one's pixels, `(m,)`."""
    return None if mask is None else F.avg_pool2d(mask[None, None], stride).flatten()


def covers(mask: Tensor | None, stride: int) -> bool:
    """Whether a mask covers as much as one position of a layer of this stride."""
    weights = positions(mask, stride)
    return weights is None or weights.sum().item() >= 1 - 1e-4


def mask_of(given: PictureLike, what: str, size: tuple[int, int]) -> Tensor:
    """A mask `(h, w)` in [0, 1] of this size, from a file, PIL picture, array or tensor of any size.

    White, or any full colour, is 1 and black 0. Of a picture with transparency whose visible part is of one
    colour, the alpha is the mask; otherwise what is transparent is black.
    """
    if isinstance(given, torch.Tensor) and given.ndim == 2:
        given = given[None]
    picture = images.read(given, what)
    mask = picture.rgb.amax(0)
    if picture.alpha is not None:
        visible = mask[picture.alpha > 0.5]
        plain = len(visible) == 0 or visible.max() - visible.min() < 0.02
        mask = picture.alpha if plain and picture.alpha.min() < 0.99 else mask * picture.alpha
    resized = resize_mask(mask, *size)
    assert resized is not None
    return resized


def check(where: Tensor, encoder: Encoder, layers: Iterable[str], what: str) -> None:
    """Raise a ValueError if a mask `(h, w)`, called `what`, is empty or vanishes at one of these layers."""
    _check_filled(where, what)
    for layer in layers:
        stride = encoder.layers[encoder.depth(layer)].stride
        if not covers(where, stride):
            raise ValueError(
                f"{what} covers {where.sum().item():.0f} pixels of {where.shape[1]}×{where.shape[0]}, less than one "
                f"position of {layer}, which stands for {stride}×{stride}: make it larger, or the picture, or "
                "leave that layer out"
            )


def assign(
    photo: Picture,
    paintings: Sequence[tuple[str, Picture]],
    shares: Sequence[float] = (),
    content_mask: Mapping[str, PictureLike] | None = None,
    style_mask: Mapping[str, PictureLike] | None = None,
) -> tuple[tuple[Region, ...], Tensor | None]:
    """The regions of a picture, and what of it stays untouched, `(h, w)` or None.

    Styles that a content mask names get its region. The others share what no mask covers, by their `shares`;
    if there are none, it stays untouched. Where masks overlap, each has its part. What is transparent in the
    photo belongs to no region (unless its alpha is one of the masks), and what is transparent in a painting is
    not read.

    Args:
        photo: at the final size.
        paintings: (name, picture) pairs; a mask names one by its name, the stem of it, or its number from 1.
        shares: one per painting, or none for equal ones.
        content_mask: style or `keep` -> mask over the photo; `alpha` stands for its own.
        style_mask: style -> mask over the painting; `alpha` stands for its own.

    Raises:
        ValueError: shares that do not fit, masks that name no style, empty regions.
    """
    names = [name for name, _ in paintings]
    shares = _shares(shares, len(names))
    keys = [key for key in content_mask or {} if key != KEEP]
    masked = (
        {_index(key, names): _mask_of_photo(photo, content_mask[key], key) for key in keys} if content_mask else {}
    )
    keep = _mask_of_photo(photo, content_mask[KEEP], KEEP) if content_mask and KEEP in content_mask else None
    parts = {_index(key, names): mask for key, mask in (style_mask or {}).items()}
    sources = [
        Source(name, picture.rgb, _part(picture, parts.get(index), name))
        for index, (name, picture) in enumerate(paintings)
    ]
    if not masked and keep is None:
        return (Region(_visible(photo), _weighed(sources, shares)),), None

    masks = [*masked.values(), *([keep] if keep is not None else [])]
    total = torch.stack(masks).sum(0)
    masks = [mask / total.clamp_min(1) for mask in masks]
    rest = (1 - total).clamp_min(0)
    if keep is not None:
        keep = masks.pop()
    by_alpha = ALPHA in [mask for mask in (content_mask or {}).values() if isinstance(mask, str)]
    visible = None if by_alpha else _visible(photo)
    others = [index for index in range(len(names)) if index not in masked]
    regions = []
    for index, mask in zip(masked, masks, strict=True):
        where = mask if visible is None else mask * visible
        regions.append(Region(where, _weighed([sources[index]], [1.0]), f"{index + 1} {Path(names[index]).stem}"))
    if others:
        where = rest if visible is None else rest * visible
        chosen = _weighed([sources[index] for index in others], [shares[index] for index in others])
        regions.append(Region(where, chosen, "the rest"))
    else:
        keep = rest if keep is None else keep + rest
    for region in regions:
        assert region.where is not None
        _check_filled(region.where, region.called)
    return tuple(regions), None if keep is None or keep.max() < 1 / 255 else keep


def _check_filled(where: Tensor, what: str) -> None:
    if where.max() < 1 / 255:
        raise ValueError(f"{what} is empty: masks, and what is transparent, leave nothing of it")


def _mask_of_photo(photo: Picture, given: PictureLike, key: str) -> Tensor:
    """The content mask of style `key`, at the photo's size."""
    if isinstance(given, str) and given == ALPHA and not Path(ALPHA).exists():
        if photo.alpha is None:
            raise ValueError("a content mask is 'alpha', but the photo has no transparency")
        return photo.alpha
    return mask_of(given, f"the content mask of {key}", photo.size)


def _part(picture: Picture, mask: PictureLike | None, name: str) -> Tensor | None:
    """What counts of a painting: what is opaque, and within its mask."""
    opaque = _visible(picture)
    if isinstance(mask, str) and mask == ALPHA and not Path(ALPHA).exists():
        if picture.alpha is None:
            raise ValueError(f"the style mask of {name} is 'alpha', but the painting has no transparency")
        mask = None
    if mask is None:
        return opaque
    part = mask_of(mask, f"the style mask of {name}", picture.size)
    return part if opaque is None else part * opaque


def _visible(picture: Picture) -> Tensor | None:
    opaque = picture.alpha is None or picture.alpha.min() >= 1 - 1 / 255
    return None if opaque else picture.alpha


def _shares(given: Sequence[float], count: int) -> Sequence[float]:
    if given and len(given) != count:
        raise ValueError(f"there are {len(given)} style weights for {count} styles; needed is one for each")
    return given or [1.0] * count


def _weighed(sources: Sequence[Source], shares: Sequence[float]) -> tuple[Source, ...]:
    """The sources that weigh anything, their weights summing to 1."""
    total = sum(shares)
    if not total:
        raise ValueError(f"{', '.join(source.name for source in sources)}: all of them weigh 0")
    return tuple(
        dataclasses.replace(source, weight=share / total)
        for source, share in zip(sources, shares, strict=True)
        if share
    )


def _index(key: str, names: Sequence[str]) -> int:
    """Which style a key names: its number from 1, its name, or the stem of that."""
    if key.isdecimal() and 1 <= int(key) <= len(names):
        return int(key) - 1
    for matching in (
        [index for index, name in enumerate(names) if name == key],
        [index for index, name in enumerate(names) if Path(name).stem == key or os.path.basename(name) == key],
    ):
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise ValueError(f"a mask names the style {key!r}, which is given {len(matching)} times; give its number")
    known = ", ".join(f"{number} ({Path(name).name})" for number, name in enumerate(names, start=1))
    raise ValueError(f"a mask names the style {key!r}; choose from {known}, or {KEEP} for a content mask")
