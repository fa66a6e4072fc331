"""Colour transfer between pictures: matching the distribution of colours, and luminance apart from colour."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import skimage.color
import skimage.exposure
import torch
from torch import Tensor

from impasto.images import picture as pictures
from impasto.images.regions import Region, StyleSource
from impasto.settings.choices import ColorMatch

Array = np.ndarray[Any, np.dtype[np.float64]]


def match(
    picture: Tensor,
    reference: Tensor,
    method: ColorMatch = "covariance",
    weights: Tensor | None = None,
    reference_weights: Tensor | None = None,
) -> Tensor:
    """`picture` with the distribution of `reference`'s colours.

    Args:
        picture, reference: `(3, …)`, sRGB in [0, 1], of any two sizes.
        method: `covariance` matches mean and covariance, by the linear map that of all that do moves colours
            least: the optimal transport between the two Gaussian fits (Pitié & Kokaram, "The linear
            Monge-Kantorovitch linear colour mapping", 2007). `histogram` matches that of each channel.
        weights, reference_weights: how much each pixel counts, `(…)`, not negative; None for all alike. By
            `histogram`, pixels of `picture` that do not count stay as they are.

    Returns:
        As `picture`, clipped to [0, 1].
    """
    pixels, target = picture.flatten(1).cpu(), reference.flatten(1).cpu()
    w = None if weights is None else weights.flatten().cpu()
    v = None if reference_weights is None else reference_weights.flatten().cpu()
    repaint = (_by_covariance if method == "covariance" else _by_histogram)(pixels, target, w, v)
    moved = torch.empty_like(pixels)
    for block in _blocks(pixels.shape[1]):
        moved[:, block] = repaint(pixels[:, block].double()).clamp_(0, 1).to(moved)
    if method == "histogram" and w is not None:
        moved = torch.where(w > 0, moved, pixels)
    return moved.view(picture.shape).to(picture)


#: Pixels that are worked on at once: in double precision, a large picture would take several times its own memory.
BLOCK = 1 << 20


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def _by_covariance(
    pixels: Tensor, target: Tensor, weights: Tensor | None, target_weights: Tensor | None
) -> Callable[[Tensor], Tensor]:
    mean, covariance = _fit(pixels, weights)
    target_mean, target_covariance = _fit(target, target_weights)
    root = _root(covariance)
    inverse = torch.linalg.inv(root)
    transport = inverse @ _root(root @ target_covariance @ root) @ inverse
    return lambda block: transport @ (block - mean) + target_mean


def _fit(pixels: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean `(3, 1)` and covariance `(3, 3)` of colours, in double precision."""
    first = torch.zeros(3, 1, dtype=torch.float64)
    second, mass = torch.zeros(3, 3, dtype=torch.float64), 0.0
    for block in _blocks(pixels.shape[1]):
        part = pixels[:, block].double()
        share = torch.ones(part.shape[1], dtype=part.dtype) if weights is None else weights[block].double()
        first += (part * share).sum(1, keepdim=True)
        second += part * share @ part.T
        mass += share.sum().item()
    mean = first / mass
    # One grey level in 8 bits of spread: a picture of one colour has an invertible covariance too.
    return mean, second / mass - mean @ mean.T + torch.eye(3, dtype=torch.float64) / 255**2


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def _by_histogram(
    pixels: Tensor, target: Tensor, weights: Tensor | None, target_weights: Tensor | None
) -> Callable[[Tensor], Tensor]:
    """Learnt from as many pixels as fit a block, drawn in proportion to their weights."""
    drawn, wanted = (p[:, _draw(w, p.shape[1])].double() for p, w in ((pixels, weights), (target, target_weights)))
    matched = skimage.exposure.match_histograms(drawn.T.numpy(), wanted.T.numpy(), channel_axis=1)
    order = drawn.argsort(dim=1)
    known = drawn.gather(1, order).numpy()
    goal = torch.from_numpy(matched).T.gather(1, order).numpy()

    def repaint(block: Tensor) -> Tensor:
        channels = [np.interp(block[c].numpy(), known[c], goal[c]) for c in range(len(block))]
        return torch.from_numpy(np.stack(channels))

    return repaint


def _draw(weights: Tensor | None, count: int) -> Tensor:
    """Indices of pixels, evenly through the cumulated weights: each occurs in proportion to its weight."""
    if weights is None:
        return torch.linspace(0, count - 1, min(count, BLOCK), dtype=torch.float64).round().long()
    ladder = weights.double().cumsum(0) / weights.sum()
    size = min(max(count, 1 << 16), BLOCK)
    steps = (torch.arange(size, dtype=ladder.dtype) + 0.5) / size
    return torch.searchsorted(ladder, steps).clamp_max(count - 1)


def luminance(picture: Tensor) -> Tensor:
    """The grey picture of the same lightness, CIE L* under D65.

    Args:
        picture: `(3, h, w)`, sRGB in [0, 1].

    Returns:
        `(3, h, w)`, all three channels alike.
    """
    lab = skimage.color.rgb2lab(_last(picture))
    lab[..., 1:] = 0
    return _first(_srgb(lab), picture).mean(0, keepdim=True).expand(3, -1, -1).clamp(0, 1).contiguous()


def with_colors_of(picture: Tensor, colors: Tensor) -> Tensor:
    """The lightness L* of `picture` with the hue and chroma, a* and b*, of `colors`.

    Colours that sRGB cannot show at that lightness are clipped to its border.

    Args:
        picture, colors: `(3, h, w)`, sRGB in [0, 1], of one size.
    """
    lab = skimage.color.rgb2lab(_last(colors))
    lab[..., 0] = skimage.color.rgb2lab(_last(picture))[..., 0]
    return _first(_srgb(lab), picture).clamp(0, 1)


def _srgb(lab: Array) -> Array:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about colours beyond what sRGB can show: they are clipped, as promised
        return skimage.color.lab2rgb(lab)


def _last(picture: Tensor) -> Array:
    return picture.permute(1, 2, 0).double().cpu().numpy()


def _first(array: Array, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).to(like)


def recolor(photo: Tensor, regions: Sequence[Region], method: ColorMatch) -> Tensor:
    """The photo with every region's colours matched to those of its sources; `(3, h, w)`, as the regions are."""
    painted = photo
    for region in regions:
        # Large paintings are thinned out: a colour is one of 3 channels and needs no millions of examples.
        sources = [
            source.resized(*pictures.fit_area(source.size, min(source.size[0] * source.size[1], 1 << 18)))
            for source in region.sources
        ]
        pixels = torch.cat([source.image.flatten(1) for source in sources], 1)
        counts = torch.cat([_counts(source) * source.weight for source in sources])
        matched = match(photo, pixels, method, region.mask, counts)
        painted = matched if region.mask is None else painted + region.mask * (matched - photo)
    return painted.clamp(0, 1) if len(regions) > 1 else painted


def _counts(source: StyleSource) -> Tensor:
    """How much each pixel of a source counts, `(m,)`, summing to 1."""
    mask = torch.ones(source.size) if source.mask is None else source.mask
    return (mask / mask.sum()).flatten()


def in_colors_of(photo: Tensor, region: Region, method: ColorMatch) -> Region:
    """The region with its sources recoloured to the colours that the photo, `(3, h, w)`, has there."""
    return region.with_images(lambda source: match(source.image, photo, method, source.mask, region.mask))
