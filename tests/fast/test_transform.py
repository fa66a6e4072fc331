"""Whitening and colouring: against closed forms through eigenvectors, in float64."""

import pytest
import torch

from impasto.fast import transform
from impasto.fast.transform import GaussianFit, feature_sums, gaussian_fit, roots, whiten_and_color


def features(generator, channels=6, positions=400, batch=2) -> torch.Tensor:
    """Correlated, off centre, like a layer's."""
    mix = torch.randn(batch, channels, channels, generator=generator, dtype=torch.float64)
    white = torch.randn(batch, channels, positions, generator=generator, dtype=torch.float64)
    return mix @ white + 3 * torch.randn(batch, channels, 1, generator=generator, dtype=torch.float64)


def fit_of(x, kind) -> GaussianFit:
    """By hand."""
    mean = x.mean(2)
    centred = x - mean[..., None]
    spread = centred.square().mean(2) if kind == "moments" else centred @ centred.mT / x.shape[2]
    return GaussianFit(mean, spread)


def sums_fit(x, kind, mask=None) -> GaussianFit:
    return gaussian_fit(feature_sums(x, kind, mask), kind)


@pytest.mark.parametrize("kind", ["moments", "covariance"])
class TestTransform:
    def test_sums_give_mean_and_spread(self, generator, kind):
        x = features(generator)
        found, wanted = sums_fit(x, kind), fit_of(x, kind)
        assert torch.allclose(found.mean.double(), wanted.mean, atol=1e-5)
        assert torch.allclose(found.spread.double(), wanted.spread, atol=1e-4)

    def test_sums_add_over_any_split(self, generator, kind):
        x = features(generator)
        parts = gaussian_fit(feature_sums(x[..., :130], kind) + feature_sums(x[..., 130:], kind), kind)
        whole = sums_fit(x, kind)
        assert torch.allclose(whole.mean, parts.mean, atol=1e-5)
        assert torch.allclose(whole.spread, parts.spread, atol=1e-4)

    def test_weights_choose_positions(self, generator, kind):
        x = features(generator)
        weights = torch.zeros(x.shape[2], dtype=torch.float64)
        weights[50:200] = 0.5
        found, wanted = sums_fit(x, kind, weights), sums_fit(x[..., 50:200], kind)
        assert torch.allclose(found.mean, wanted.mean, atol=1e-5)
        assert torch.allclose(found.spread, wanted.spread, atol=1e-4)

    def test_moved_features_have_the_styles_statistics(self, generator, kind, monkeypatch):
        monkeypatch.setattr(transform, "FLOOR", 1e-7)
        monkeypatch.setattr(transform, "STEPS", 40)
        x, style = features(generator), fit_of(features(generator), kind)
        moved = whiten_and_color(fit_of(x, kind), [(style, 1.0)])(x[..., None])[..., 0]
        assert torch.allclose(fit_of(moved, kind).mean, style.mean, atol=1e-6)
        assert torch.allclose(fit_of(moved, kind).spread, style.spread, rtol=1e-4, atol=1e-4)

    def test_own_statistics_move_nothing(self, generator, kind):
        x = features(generator)
        own = fit_of(x, kind)
        moved = whiten_and_color(own, [(own, 1.0)])(x[..., None])[..., 0]
        assert torch.allclose(moved, x, atol=1e-6)
        still = whiten_and_color(own, [])(x[..., None])[..., 0]
        assert torch.allclose(still, x, atol=1e-12)

    def test_strength_is_a_straight_line(self, generator, kind):
        x, style = features(generator), fit_of(features(generator), kind)
        own, given = fit_of(x, kind), x[..., None]
        whole, half = whiten_and_color(own, [(style, 1.0)])(given), whiten_and_color(own, [(style, 0.5)])(given)
        assert torch.allclose(half, (given + whole) / 2, atol=1e-9)

    def test_styles_blend(self, generator, kind):
        x = features(generator)
        own, given = fit_of(x, kind), x[..., None]
        one, two = (fit_of(features(generator), kind) for _ in range(2))
        both = whiten_and_color(own, [(one, 0.3), (two, 0.7)])(given)
        apart = [whiten_and_color(own, [(style, 1.0)])(given) for style in (one, two)]
        assert torch.allclose(both, 0.3 * apart[0] + 0.7 * apart[1], atol=1e-9)


class TestRoots:
    def test_are_those_of_the_eigenvalues(self, generator):
        x = features(generator)
        matrix = x @ x.mT / x.shape[2]
        regularized = matrix + transform.FLOOR * matrix.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(6)
        values, vectors = torch.linalg.eigh(regularized)
        root, inverse = roots(matrix)
        for found, power in ((root, 0.5), (inverse, -0.5)):
            wanted = (vectors * values[:, None] ** power) @ vectors.mT
            assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-6)

    def test_of_nothing_is_finite(self):
        root, inverse = roots(torch.zeros(1, 5, 5))
        assert root.isfinite().all()
        assert inverse.isfinite().all()

    def test_of_one_rank_is_finite_in_single_precision(self, generator):
        vector = torch.randn(1, 64, 1, generator=generator)
        root, inverse = roots(1e4 * vector @ vector.mT)
        assert root.isfinite().all()
        assert inverse.isfinite().all()
