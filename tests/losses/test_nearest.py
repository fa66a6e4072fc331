"""Nearest neighbours against brute force, whatever the blocks."""

import pytest
import torch
from torch.testing import assert_close

from impasto.losses import nearest


def features(seed, channels=5, positions=60):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(channels, positions, generator=generator, dtype=torch.float64).relu()


def brute_force(picture, style):
    """Σ_j by hand: the least 1 - cos between centred features."""
    centre = style.mean(1)
    least = []
    for k in range(picture.shape[1]):
        a = picture[:, k] - centre
        angles = []
        for j in range(style.shape[1]):
            b = style[:, j] - centre
            angles.append(1 - (a @ b / (a.norm() * b.norm())).item())
        least.append(min(angles))
    return torch.tensor(least, dtype=torch.float64)


@pytest.mark.parametrize(("rows", "columns"), [(2048, 8192), (7, 11), (60, 1), (1, 60)])
def test_brute_force(rows, columns, monkeypatch):
    monkeypatch.setattr(nearest, "ROWS", rows)
    monkeypatch.setattr(nearest, "COLUMNS", columns)
    picture, style = features(0, positions=37), features(1)
    found = nearest.distances(picture, nearest.feature_bank(style))
    assert_close(found, brute_force(picture, style))
    assert found.min() >= 0
    assert found.max() <= 2


def test_only_what_lies_within_the_mask_is_chosen():
    picture, style = features(0), features(1)
    weights = torch.zeros(60, dtype=torch.float64)
    weights[10:25] = 1
    weights[25:30] = 0.2
    found = nearest.distances(picture, nearest.feature_bank(style, weights))
    assert_close(found, brute_force(picture, style[:, 10:25]))


def test_a_style_is_its_own_neighbour():
    style = features(2)
    found = nearest.distances(style, nearest.feature_bank(style))
    assert_close(found, torch.zeros_like(found), atol=1e-12, rtol=0)


def test_gradient():
    picture, bank = features(3, positions=9).requires_grad_(), nearest.feature_bank(features(4))
    assert torch.autograd.gradcheck(lambda f: nearest.distances(f, bank), (picture,))


def test_features_without_direction_are_harmless():
    """One-colour pictures: features that are all alike have no angle, and a finite gradient."""
    flat = torch.ones(5, 8, dtype=torch.float64, requires_grad=True)
    for style in (torch.ones(5, 6, dtype=torch.float64), features(5)):
        found = nearest.distances(flat, nearest.feature_bank(style))
        (gradient,) = torch.autograd.grad(found.sum(), flat)
        assert found.isfinite().all()
        assert gradient.isfinite().all()


def test_memory_does_not_grow_with_the_square(monkeypatch):
    """No product ever holds more than a block."""
    largest = [0]
    real = torch.Tensor.__matmul__

    def measured(a, b):
        product = real(a, b)
        largest[0] = max(largest[0], product.numel())
        return product

    monkeypatch.setattr(torch.Tensor, "__matmul__", measured)
    generator = torch.Generator().manual_seed(0)
    units = torch.nn.functional.normalize(torch.randn(2, 20_000, generator=generator), dim=0)
    chosen = nearest.nearest(units, units)
    assert 0 < largest[0] <= nearest.ROWS * nearest.COLUMNS
    assert_close((units * units[:, chosen]).sum(0), torch.ones(20_000))
