"""Colour matching."""

from typing import get_args

import skimage.color
import skimage.data
import torch
from torch.testing import assert_close

from impasto import images
from impasto.images.color import luminance, match, with_colors_of
from impasto.settings.options import ColorMatch


def picture(seed, mixing):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(3, 4000, generator=generator, dtype=torch.float64)
    return (0.5 + 0.03 * (mixing @ pixels)).view(3, 50, 80)


def test_mean_and_covariance_become_the_reference():
    a = picture(0, torch.eye(3, dtype=torch.float64))
    b = picture(1, torch.tensor([[2, 0.5, 0], [0, 1, 0.3], [0.4, 0, 1.5]], dtype=torch.float64)) + 0.1
    matched = match(a, b)
    assert matched.dtype == a.dtype
    assert_close(matched.flatten(1).mean(1), b.flatten(1).mean(1), rtol=0, atol=1e-3)
    assert_close(torch.cov(matched.flatten(1)), torch.cov(b.flatten(1)), rtol=0.05, atol=5e-5)
    assert_close(match(a, a), a, rtol=0, atol=1e-9)


def test_one_colour_and_range():
    flat = torch.full((3, 8, 8), 0.3)
    colourful = torch.rand(3, 9, 9, generator=torch.Generator().manual_seed(0))
    assert_close(match(colourful, flat).flatten(1).mean(1), torch.full((3,), 0.3), rtol=0, atol=1e-2)
    moved = match(flat, colourful)
    assert moved.isfinite().all()
    assert match(colourful, torch.ones(3, 4, 4)).max() <= 1


def test_weights_count_pixels():
    """The pixels that count have the reference's mean; those that count double weigh as two."""
    a, b = picture(0, torch.eye(3, dtype=torch.float64)), picture(1, torch.eye(3, dtype=torch.float64)) + 0.1
    b[:, :, 40:] -= 0.3
    left = torch.zeros(50, 80)
    left[:, :40] = 1
    for method in get_args(ColorMatch):
        matched = match(a, b, method, left, left)
        assert_close(matched[:, :, :40].mean((1, 2)), b[:, :, :40].mean((1, 2)), rtol=0, atol=1e-3)
        doubled = torch.cat([b[:, :, :40].flatten(1), b.flatten(1)], 1)
        assert_close(match(a, b, method, None, left + 1), match(a, doubled, method), rtol=0, atol=5e-3)


def test_histogram():
    """Every quantile of every channel becomes the reference's, which mean and covariance alone do not do."""
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(3, 60, 60, generator=generator)
    b = torch.rand(3, 50, 70, generator=generator) ** 3
    at = torch.linspace(0.05, 0.95, 10)
    quantiles = [torch.quantile(p.flatten(1), at, dim=1) for p in (match(a, b, "histogram"), b, match(a, b))]
    assert_close(quantiles[0], quantiles[1], rtol=0, atol=0.01)
    assert (quantiles[2] - quantiles[1]).abs().max() > 0.05


def test_luminance_apart_from_colour():
    photo = images.read(skimage.data.coffee()).resized(60, 90).rgb
    other = images.read(skimage.data.chelsea()).resized(60, 90).rgb
    grey = luminance(photo)
    assert (grey.amax(0) - grey.amin(0)).max() < 1e-6
    lab, lab_grey = (skimage.color.rgb2lab(p.permute(1, 2, 0).numpy()) for p in (photo, grey))
    assert abs(lab[..., 0] - lab_grey[..., 0]).max() < 0.1
    assert_close(with_colors_of(grey, photo), photo, rtol=0, atol=2e-3)
    mixed = skimage.color.rgb2lab(with_colors_of(luminance(other), photo).permute(1, 2, 0).numpy())
    assert abs(mixed[..., 1:] - lab[..., 1:]).mean() < 3
    assert_close(with_colors_of(torch.zeros(3, 60, 90), photo), torch.zeros(3, 60, 90), rtol=0, atol=0.3)
