"""Masks: which region of the photo takes which style, from which part of its painting, and what stays untouched."""

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

#: The key of the content mask whose pixels stay untouched, and the value that stands for a picture's own alpha.
KEEP, ALPHA = "keep", "alpha"


def read_mask(given: PictureLike, what: str, size: tuple[int, int]) -> Tensor:
    """A mask `(h, w)` in [0, 1], resized to `size`, from anything that `images.read` accepts.

    The mask is the largest of the three channels times alpha; but alpha alone if the opaque pixels are all of one
    colour, as when a shape is painted on a transparent layer.

    Args:
        what: what error messages call it.

    Raises:
        PictureError, ValueError: see `images.read`.
    """
    if isinstance(given, torch.Tensor) and given.ndim == 2:
        given = given[None]
    picture = images.read(given, what, max(size))
    mask = picture.rgb.amax(0)
    if picture.alpha is not None:
        visible = mask[picture.alpha > 0.5]
        uniform = len(visible) == 0 or visible.max() - visible.min() < 0.02
        mask = picture.alpha if uniform and picture.alpha.min() < 0.99 else mask * picture.alpha
    resized = resize_mask(mask, *size)
    assert resized is not None
    return resized


def assign(
    photo: Picture,
    paintings: Sequence[tuple[str, Picture]],
    weights: Sequence[float] = (),
    content_mask: Mapping[str, PictureLike] | None = None,
    style_mask: Mapping[str, PictureLike] | None = None,
) -> tuple[tuple[Region, ...], Tensor | None]:
    """Divide a picture into regions, each with the paintings that its style comes from.

    A style that a content mask names applies to that mask. The others share the pixels that no mask covers, by their
    weights; if there are no others, these pixels stay untouched. Where masks add up to more than 1, they are divided by
    their sum. Transparent pixels of the photo belong to no region, unless its alpha is one of the masks; transparent
    pixels of a painting do not count.

    Args:
        photo: at the final size.
        paintings: (name, picture) pairs; a mask refers to one by its name, the stem of the name, or its number from 1.
        weights: one for each painting; none for equal ones.
        content_mask: a style or `keep` -> mask over the photo; `alpha` stands for the photo's own.
        style_mask: a style -> mask over the painting; `alpha` stands for the painting's own.

    Returns:
        The regions, and the mask `(h, w)` of what stays untouched, None if that is nothing.

    Raises:
        PictureError: a mask that cannot be read.
        ValueError: the wrong number of weights, weights that are all 0, a mask for an unknown style, an empty region or
            painting.
    """
    names = [name for name, _ in paintings]
    weights = _weights(weights, len(names))
    content_mask, style_mask = content_mask or {}, style_mask or {}
    masked = {
        _style_index(key, names): _content_mask(photo, mask, key) for key, mask in content_mask.items() if key != KEEP
    }
    keep = _content_mask(photo, content_mask[KEEP], KEEP) if KEEP in content_mask else None
    style_masks = {_style_index(key, names): mask for key, mask in style_mask.items()}
    sources = [
        StyleSource(name, _fill_transparent(picture), _style_mask(picture, style_masks.get(index), name))
        for index, (name, picture) in enumerate(paintings)
    ]
    if not masked and keep is None:
        return _filled([Region(_alpha(photo), _normalized(sources, weights))]), None

    masks = [*masked.values(), *([keep] if keep is not None else [])]
    total = torch.stack(masks).sum(0)
    masks = [mask / total.clamp_min(1) for mask in masks]
    rest = (1 - total).clamp_min(0)
    if keep is not None:
        keep = masks.pop()
    uses_alpha = any(isinstance(mask, str) and mask == ALPHA for mask in content_mask.values())
    visible = None if uses_alpha else _alpha(photo)
    others = [index for index in range(len(names)) if index not in masked]
    regions = []
    for index, mask in zip(masked, masks, strict=True):
        area = mask if visible is None else mask * visible
        regions.append(Region(area, _normalized([sources[index]], [1.0]), f"{index + 1} {Path(names[index]).stem}"))
    if others:
        area = rest if visible is None else rest * visible
        rest_sources = _normalized([sources[index] for index in others], [weights[index] for index in others])
        regions.append(Region(area, rest_sources, "the rest"))
    else:
        keep = rest if keep is None else keep + rest
    return _filled(regions), None if keep is None or keep.max() < 1 / 255 else keep


def _filled(regions: Sequence[Region]) -> tuple[Region, ...]:
    """The regions; a ValueError if one of them, or a source, is empty."""
    for region in regions:
        if region.mask is not None:
            check_filled(region.mask, region.called)
        for source in region.sources:
            if source.mask is not None:
                check_filled(source.mask, f"the style {source.name}")
    return tuple(regions)


def _content_mask(photo: Picture, given: PictureLike, key: str) -> Tensor:
    """The content mask of a style, at the photo's size."""
    if isinstance(given, str) and given == ALPHA and not Path(ALPHA).exists():
        if photo.alpha is None:
            raise ValueError("a content mask is 'alpha', but the photo has no transparency")
        return photo.alpha
    return read_mask(given, f"the content mask of {key}", photo.shape)


def _style_mask(picture: Picture, mask: PictureLike | None, name: str) -> Tensor | None:
    """The mask of a painting times its alpha; None if all of it counts."""
    alpha = _alpha(picture)
    if isinstance(mask, str) and mask == ALPHA and not Path(ALPHA).exists():
        if picture.alpha is None:
            raise ValueError(f"the style mask of {name} is 'alpha', but the painting has no transparency")
        mask = None
    if mask is None:
        return alpha
    read = read_mask(mask, f"the style mask of {name}", picture.shape)
    return read if alpha is None else read * alpha


def _fill_transparent(picture: Picture) -> Tensor:
    """The colours `(3, h, w)` of a painting, transparent pixels in its mean colour.

    Hidden colours would otherwise affect the features near the edges of the opaque part.
    """
    if picture.alpha is None:
        return picture.rgb
    mean = (picture.rgb * picture.alpha).sum((1, 2)) / picture.alpha.sum().clamp_min(1e-6)
    return mean[:, None, None].lerp(picture.rgb, picture.alpha)


def _alpha(picture: Picture) -> Tensor | None:
    """The alpha of a picture; None if it is opaque."""
    opaque = picture.alpha is None or picture.alpha.min() >= 1 - 1 / 255
    return None if opaque else picture.alpha


def _weights(given: Sequence[float], count: int) -> Sequence[float]:
    if given and len(given) != count:
        raise ValueError(f"there are {len(given)} style weights for {count} styles; give one for each")
    return given or [1.0] * count


def _normalized(sources: Sequence[StyleSource], weights: Sequence[float]) -> tuple[StyleSource, ...]:
    """The sources whose weight is not 0, with weights that sum to 1."""
    total = sum(weights)
    if not total:
        raise ValueError(f"the styles {', '.join(source.name for source in sources)} all weigh 0")
    return tuple(
        dataclasses.replace(source, weight=weight / total)
        for source, weight in zip(sources, weights, strict=True)
        if weight
    )


def _style_index(key: str, names: Sequence[str]) -> int:
    """The index of the style that a mask refers to: by its number from 1, its name, or the stem of the name."""
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
