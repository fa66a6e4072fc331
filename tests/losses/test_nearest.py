"""Nearest neighbours against brute force, whatever the blocks."""

import pytest
import torch
import torch.nn.functional as F
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


@pytest.mark.parametrize("rows", [2048, 7, 1])
def test_brute_force(rows, monkeypatch):
    monkeypatch.setattr(nearest, "ROWS", rows)
    picture, style = features(0, positions=37), features(1)
    found = nearest.distances(picture, nearest.feature_bank(style))
    assert_close(found, brute_force(picture, style))
    assert found.min() >= 0
    assert found.max() <= 2


def test_anchors():
    """Half of the distance is that to what the photo chose, centred by its own mean."""
    picture, photo, style = features(0, positions=37), 3 * features(6, positions=37) + 5, features(1)
    bank, mean, centre = nearest.feature_bank(style), photo.mean(1), style.mean(1)
    expected = []
    for k in range(37):
        cosines = [F.cosine_similarity(photo[:, k] - mean, style[:, j] - centre, dim=0) for j in range(60)]
        chosen = style[:, int(torch.stack(cosines).argmax())]
        expected.append(1 - F.cosine_similarity(picture[:, k] - centre, chosen - centre, dim=0))
    expected = (torch.stack(expected) + brute_force(picture, style)) / 2
    anchors = nearest.anchors(photo, mean, bank)
    assert_close(nearest.distances(picture, bank, anchors), expected)
    assert torch.autograd.gradcheck(lambda f: nearest.distances(f, bank, anchors), (picture.requires_grad_(),))


def test_only_what_lies_within_the_mask_is_searched():
    mask = torch.zeros(6, 10, dtype=torch.float64)
    mask[1:3, 4:] = 0.9
    mask[3] = 0.2
    assert torch.equal(nearest.sample(6, 10, mask), mask > 0.5)
    assert nearest.sample(6, 10).all()


def test_a_large_style_is_sampled(monkeypatch):
    """The sample is spread over the style, the same every time, and drawn without the host's generator."""
    monkeypatch.setattr(nearest, "LARGEST_BANK", 250)
    state = torch.get_rng_state()
    sample = nearest.sample(40, 50)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(sample, nearest.sample(40, 50))
    assert sample.sum() == 250
    assert all(part.sum() > 30 for part in (sample[:20, :25], sample[:20, 25:], sample[20:, :25], sample[20:, 25:]))
    mask = torch.zeros(40, 50)
    mask[:20] = 1
    within = nearest.sample(40, 50, mask)
    assert within.sum() == 250
    assert not within[20:].any()


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
    """No product ever holds more than a block of features by a bank."""
    largest = [0]
    real = torch.Tensor.__matmul__

    def measured(a, b):
        product = real(a, b)
        largest[0] = max(largest[0], product.numel())
        return product

    monkeypatch.setattr(torch.Tensor, "__matmul__", measured)
    generator = torch.Generator().manual_seed(0)
    units = torch.nn.functional.normalize(torch.randn(2, 20_000, generator=generator), dim=0)
    nearest.distances(units, nearest.feature_bank(units[:, : nearest.LARGEST_BANK]))
    assert 0 < largest[0] <= nearest.ROWS * nearest.LARGEST_BANK
