"""Colour matching."""

import torch
from torch.testing import assert_close

from impasto.color import match


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
