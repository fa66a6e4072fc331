"""Colour transfer between pictures: matching colour distributions, and separating luminance from colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import skimage.color
import skimage.exposure
import torch
from torch import Tensor

from impasto.devices import CPU_DOUBLE, CPU_FLOAT
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
        picture, reference: `(3, …)`, sRGB in [0, 1]; their sizes may differ.
        method: `covariance` matches mean and covariance by the linear map that changes colours least, the optimal
            transport between the Gaussian fits (Pitié & Kokaram, "The linear Monge-Kantorovitch linear colour
            mapping", 2007). `histogram` matches the histogram of each channel.
        weights, reference_weights: a weight per pixel, `(…)`, not negative; None for equal weights. With
            `histogram`, pixels of `picture` whose weight is 0 stay as they are.

    Returns:
        The shape, type and device of `picture`, clipped to [0, 1].
    """
    pixels, target = picture.flatten(1).cpu(), reference.flatten(1).cpu()
    w = None if weights is None else weights.flatten().cpu()
    v = None if reference_weights is None else reference_weights.flatten().cpu()
    transfer = (_covariance_transfer if method == "covariance" else _histogram_transfer)(pixels, target, w, v)
    matched = torch.empty_like(pixels)
    for block in _blocks(pixels.shape[1]):
        matched[:, block] = transfer(pixels[:, block].double()).clamp_(0, 1).to(matched)
    if method == "histogram" and w is not None:
        matched = torch.where(w > 0, matched, pixels)
    return matched.view(picture.shape).to(picture)


#: Pixels that are processed at once, since all of a large picture in double precision would take too much memory.
BLOCK = 1 << 20


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + BLOCK, count)) for start in range(0, count, BLOCK))


def _covariance_transfer(
    pixels: Tensor, target: Tensor, weights: Tensor | None, target_weights: Tensor | None
) -> Callable[[Tensor], Tensor]:
    """Maps colours `(3, m)` to matched ones, in double precision."""
    mean, covariance = _gaussian_fit(pixels, weights)
    target_mean, target_covariance = _gaussian_fit(target, target_weights)
    root = _sqrtm(covariance)
    inverse = torch.linalg.inv(root)
    transport = inverse @ _sqrtm(root @ target_covariance @ root) @ inverse
    return lambda block: transport @ (block - mean) + target_mean


def _gaussian_fit(pixels: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean `(3, 1)` and covariance `(3, 3)` of colours `(3, m)`, in double precision."""
    first = torch.zeros(3, 1, **CPU_DOUBLE)
    second, weight_sum = torch.zeros(3, 3, **CPU_DOUBLE), 0.0
    for block in _blocks(pixels.shape[1]):
        part = pixels[:, block].double()
        w = torch.ones(part.shape[1], **CPU_DOUBLE) if weights is None else weights[block].double()
        first += (part * w).sum(1, keepdim=True)
        second += part * w @ part.T
        weight_sum += w.sum().item()
    mean = first / weight_sum
    # With a standard deviation of one 8-bit grey level added, so that a single colour has an invertible covariance too.
    return mean, second / weight_sum - mean @ mean.T + torch.eye(3, **CPU_DOUBLE) / 255**2


def _sqrtm(matrix: Tensor) -> Tensor:
    """The square root of a symmetric, positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def _histogram_transfer(
    pixels: Tensor, target: Tensor, weights: Tensor | None, target_weights: Tensor | None
) -> Callable[[Tensor], Tensor]:
    """Maps colours `(3, m)` to matched ones, by histograms of at most `BLOCK` pixels, sampled by weight."""
    samples, target_samples = (
        p[:, _sample_indices(w, p.shape[1])].double() for p, w in ((pixels, weights), (target, target_weights))
    )
    matched = skimage.exposure.match_histograms(samples.T.numpy(), target_samples.T.numpy(), channel_axis=1)
    order = samples.argsort(dim=1)
    x = samples.gather(1, order).numpy()
    y = torch.from_numpy(matched).T.gather(1, order).numpy()
    return lambda block: torch.from_numpy(np.stack([np.interp(block[c].numpy(), x[c], y[c]) for c in range(3)]))


def _sample_indices(weights: Tensor | None, count: int) -> Tensor:
    """Indices of at most `BLOCK` pixels, evenly spaced in the cumulative weights: each occurs by its weight."""
    if weights is None:
        return torch.linspace(0, count - 1, min(count, BLOCK), **CPU_DOUBLE).round().long()
    cumulative = weights.double().cumsum(0) / weights.sum()
    size = min(max(count, 1 << 16), BLOCK)
    quantiles = (torch.arange(size, **CPU_DOUBLE) + 0.5) / size
    return torch.searchsorted(cumulative, quantiles).clamp_max(count - 1)


def luminance(picture: Tensor) -> Tensor:
    """The grey picture of the same lightness (CIE L*, D65).

    Args:
        picture: `(3, h, w)`, sRGB in [0, 1].

    Returns:
        `(3, h, w)`, three equal channels.
    """
    lab = skimage.color.rgb2lab(_to_hwc(picture))
    lab[..., 1:] = 0
    return _to_chw(_lab_to_rgb(lab), picture).mean(0, keepdim=True).expand(3, -1, -1).clamp(0, 1).contiguous()


def with_colors_of(picture: Tensor, colors: Tensor) -> Tensor:
    """The lightness L* of `picture` with the hue and chroma, a* and b*, of `colors`.

    Colours outside the sRGB gamut are clipped.

    Args:
        picture, colors: `(3, h, w)`, sRGB in [0, 1], of one size.
    """
    lab = skimage.color.rgb2lab(_to_hwc(colors))
    lab[..., 0] = skimage.color.rgb2lab(_to_hwc(picture))[..., 0]
    return _to_chw(_lab_to_rgb(lab), picture).clamp(0, 1)


def _lab_to_rgb(lab: Array) -> Array:
    # Of a b* beyond this, Z is negative; it is clipped to 0 in any case, with a warning.
    lab[..., 2] = np.minimum(lab[..., 2], (1 - 1e-12) * 200 / 116 * (lab[..., 0] + 16))
    return skimage.color.lab2rgb(lab)


def _to_hwc(picture: Tensor) -> Array:
    return picture.permute(1, 2, 0).double().cpu().numpy()


def _to_chw(array: Array, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1).to(like)


def recolor(photo: Tensor, regions: Sequence[Region], method: ColorMatch) -> Tensor:
    """A photo `(3, h, w)` with the colours of each region matched to those of its sources; masks are of that size."""
    recolored = photo
    for region in regions:
        # Three channels do not need millions of samples, so large paintings are scaled down.
        sources = [
            source.resized(*pictures.fit_area(source.size, min(source.size[0] * source.size[1], 1 << 18)))
            for source in region.sources
        ]
        pixels = torch.cat([source.image.flatten(1) for source in sources], 1)
        weights = torch.cat([_pixel_weights(source) * source.weight for source in sources])
        matched = match(photo, pixels, method, region.mask, weights)
        recolored = matched if region.mask is None else recolored + region.mask * (matched - photo)
    return recolored.clamp(0, 1) if len(regions) > 1 else recolored


def _pixel_weights(source: StyleSource) -> Tensor:
    """A weight for each pixel of a source, `(h * w,)`, summing to 1."""
    mask = torch.ones(source.size, **CPU_FLOAT) if source.mask is None else source.mask
    return (mask / mask.sum()).flatten()


def in_colors_of(photo: Tensor, region: Region, method: ColorMatch) -> Region:
    """The region with its sources recoloured to match the part of a photo `(3, h, w)` that the region covers."""
    return region.with_images(lambda source: match(source.image, photo, method, source.mask, region.mask))
