"""One contract for every statistic, then what is special to each."""

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from impasto.losses import statistics
from impasto.losses.statistics import STATISTICS, moments

NAMES = list(STATISTICS)


def features(channels=5, positions=40, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(channels, positions, generator=generator, dtype=dtype).relu() + 0.1


def statistic(name, style):
    return STATISTICS[name](moments(style), 0)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, 39), seed=st.integers(0, 99))
def test_sums_over_any_split_equal_the_whole(name, cut, seed):
    style = features(seed=seed)
    reduce = statistic(name, style).phi.reduce
    whole = reduce(style, None)
    parts = reduce(style[:, :cut], None) + reduce(style[:, cut:], None)
    assert_close(parts.total, whole.total)
    assert_close(parts.mean, whole.mean)
    assert whole.weight_sum == 40


@pytest.mark.parametrize("name", NAMES)
def test_order_of_positions_does_not_matter(name):
    style = features()
    reduce = statistic(name, style).phi.reduce
    shuffled = style[:, torch.randperm(40, generator=torch.Generator().manual_seed(3))]
    assert_close(reduce(shuffled, None).mean, reduce(style, None).mean)


@pytest.mark.parametrize("name", NAMES)
def test_weights_count_positions(name):
    style = features()
    reduce = statistic(name, style).phi.reduce
    weights = torch.arange(40, dtype=torch.float64) % 3  # 0: absent, 1: once, 2: twice
    repeated = torch.repeat_interleave(style, weights.long(), dim=1)
    weighted = reduce(style, weights)
    assert_close(weighted.total, reduce(repeated, None).total)
    assert_close(weighted.weight_sum, torch.tensor(float(repeated.shape[1]), dtype=torch.float64))


@pytest.mark.parametrize("name", NAMES)
def test_distance_is_zero_at_the_target_only(name):
    style, other = features(seed=0), 1.3 * features(seed=1)
    chosen = statistic(name, style)
    distance = chosen.distance_to(chosen.phi.reduce(style, None).mean)
    at_target, elsewhere = (distance(chosen.phi.reduce(f, None).mean).item() for f in (style, other))
    assert abs(at_target) < 1e-6 * elsewhere
    assert elsewhere > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_gradient(name):
    style = features(seed=2)
    chosen = statistic(name, style)
    distance = chosen.distance_to(chosen.phi.reduce(style, None).mean)
    weights = torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    start = (features(seed=3) * 1.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda f: distance(chosen.phi.reduce(f, weights).mean), start)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weighted", [False, True])
def test_accumulate_grad_is_the_gradient_of_the_sums(name, weighted):
    """Of any function of them, and added to what was there, in the layout that it has."""
    generator = torch.Generator().manual_seed(1)
    phi = statistic(name, features(seed=2)).phi
    weights = torch.rand(40, generator=generator, dtype=torch.float64) if weighted else None
    start = features(seed=3).requires_grad_()
    total = phi.reduce(start, weights).total
    grad_sums = torch.randn(total.shape, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(total, start, grad_sums)
    for before in (torch.ones(5, 40, dtype=torch.float64), torch.ones(40, 5, dtype=torch.float64).T):
        phi.accumulate_grad(start.detach(), weights, grad_sums, before)
        assert_close(before - 1, expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rank", [1, 2])
def test_gradient_is_finite_where_features_are_degenerate(name, rank):
    style = features(seed=2, dtype=torch.float32)
    style[3:] = 0  # dead channels, so a covariance without full rank
    chosen = statistic(name, style)
    distance = chosen.distance_to(chosen.phi.reduce(style, None).mean)
    flat = features(positions=rank, seed=5, dtype=torch.float32).repeat(1, 20)
    flat[2:] = 0
    for start in (flat, style.clone(), torch.zeros_like(style)):
        start.requires_grad_()
        distance(chosen.phi.reduce(start, None).mean).backward()
        assert start.grad.isfinite().all()


def test_gram_is_symmetric_and_positive_semidefinite():
    gram = statistics.gram(features()).mean
    assert_close(gram, gram.T)
    assert torch.linalg.eigvalsh(gram).min() > -1e-12


def test_gram_loss_is_mmd_with_the_polynomial_kernel():
    """(1/4N²M²) Σ (G - A)² = (1/4N²) MMD² with k(x, y) = (x·y)² (arXiv 1701.01036, eq. 10), pair by pair."""
    x, y = features(seed=1), features(positions=30, seed=2)

    def kernel_mean(a, b):
        return np.mean([[np.dot(p, q) ** 2 for q in b.T.numpy()] for p in a.T.numpy()])

    mmd = kernel_mean(x, x) + kernel_mean(y, y) - 2 * kernel_mean(x, y)
    target = statistics.gram(y).mean
    ours = statistics.squared_error(target)(statistics.gram(x).mean)
    assert_close(ours.item(), mmd, rtol=1e-10, atol=0)


def test_mean_loss_is_mmd_with_the_linear_kernel():
    x, y = features(seed=1), features(positions=30, seed=2)
    mmd = (x.T @ x).mean() + (y.T @ y).mean() - 2 * (x.T @ y).mean()
    assert_close(statistics.squared_error(statistics.mean(y).mean)(statistics.mean(x).mean), mmd)


def test_random_features_estimate_the_gaussian_kernel():
    x = features()
    frequencies = statistics.draw_frequencies(moments(x), seed=0)
    width = (2 * x.var(1, correction=0).sum()).sqrt()
    phi = [statistics.gaussian(frequencies).reduce(x[:, [k]]).total for k in range(10)]
    for i in range(10):
        for j in range(10):
            exact = torch.exp(-(x[:, i] - x[:, j]).square().sum() / (2 * width**2))
            assert abs((phi[i] * phi[j]).sum() - exact) < 0.1


def test_moments_distance_is_between_means_and_deviations():
    x, y = features(seed=1), features(seed=2)
    expected = (x.mean(1) - y.mean(1)).square().sum()
    expected += (x.std(1, correction=0) - y.std(1, correction=0)).square().sum()
    ours = statistics.deviation_error(moments(y).mean)(moments(x).mean)
    assert_close(ours, expected, rtol=1e-6, atol=1e-9)


def test_covariance_distance_is_frobenius():
    x, y = features(seed=1), features(seed=2)
    expected = (x.mean(1) - y.mean(1)).square().sum() ** 2
    expected += (torch.cov(x, correction=0) - torch.cov(y, correction=0)).square().sum()
    ours = statistics.frobenius(statistics.covariance(y).mean)(statistics.covariance(x).mean)
    assert_close(ours, expected)


def test_wasserstein_distance_against_the_closed_form():
    x, y = features(seed=1), features(seed=2)
    a, b = (np.cov(f.numpy(), bias=True) for f in (x, y))
    root = scipy.linalg.sqrtm(b)
    cross = np.real(scipy.linalg.sqrtm(root @ a @ root))
    expected = (x.mean(1) - y.mean(1)).square().sum().item() + np.trace(a + b - 2 * cross)
    ours = statistics.wasserstein(statistics.covariance(y).mean)(statistics.covariance(x).mean)
    assert_close(ours.item(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["gram", "mean", "moments", "covariance"])
def test_batches_are_those_of_single_pictures(name):
    style, other = features(seed=1), features(seed=2)
    weights = torch.rand(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    reduce = statistic(name, style).phi.reduce
    both = reduce(torch.stack([style, other]), weights)
    for index, one in enumerate((style, other)):
        assert_close(both.mean[index], reduce(one, weights).mean)


def test_empty_weights_do_not_hide():
    sums = statistics.gram(features(), torch.zeros(40, dtype=torch.float64))
    assert sums.weight_sum == 0
    assert sums.mean.isnan().all()
