"""Which style goes where: masks over the photo, masks over the paintings, and what stays untouched."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from impasto import images
from impasto.images import Picture, PictureLike
from impasto.images.regions import Region, StyleSource, resize_mask
from impasto.inputs.checks import check_filled

#: What a content mask is called whose pixels stay as they are, and what stands for a picture's own alpha.
KEEP, ALPHA = "keep", "alpha"


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
    masked = {_index(key, names): _mask_of_photo(photo, content_mask[key], key) for key in keys} if content_mask else {}
    keep = _mask_of_photo(photo, content_mask[KEEP], KEEP) if content_mask and KEEP in content_mask else None
    parts = {_index(key, names): mask for key, mask in (style_mask or {}).items()}
    sources = [
        StyleSource(name, _filled(picture), _part(picture, parts.get(index), name))
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
        area = mask if visible is None else mask * visible
        regions.append(Region(area, _weighed([sources[index]], [1.0]), f"{index + 1} {Path(names[index]).stem}"))
    if others:
        area = rest if visible is None else rest * visible
        chosen = _weighed([sources[index] for index in others], [shares[index] for index in others])
        regions.append(Region(area, chosen, "the rest"))
    else:
        keep = rest if keep is None else keep + rest
    for region in regions:
        assert region.mask is not None
        check_filled(region.mask, region.called)
    return tuple(regions), None if keep is None or keep.max() < 1 / 255 else keep


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


def _filled(picture: Picture) -> Tensor:
    """The colours of a painting, what is transparent in its mean colour: hidden ones would shine in at the edges."""
    if picture.alpha is None:
        return picture.rgb
    mean = (picture.rgb * picture.alpha).sum((1, 2)) / picture.alpha.sum().clamp_min(1e-6)
    return mean[:, None, None].lerp(picture.rgb, picture.alpha)


def _visible(picture: Picture) -> Tensor | None:
    opaque = picture.alpha is None or picture.alpha.min() >= 1 - 1 / 255
    return None if opaque else picture.alpha


def _shares(given: Sequence[float], count: int) -> Sequence[float]:
    if given and len(given) != count:
        raise ValueError(f"there are {len(given)} style weights for {count} styles; needed is one for each")
    return given or [1.0] * count


def _weighed(sources: Sequence[StyleSource], shares: Sequence[float]) -> tuple[StyleSource, ...]:
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
