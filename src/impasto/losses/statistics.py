"""A style is a distribution of features, and every style loss is a distance between two statistics of it.

At one layer the encoder gives N channels at M positions: features f_1 … f_M, each in R^N. A statistic is the
mean over positions of some map phi. What is computed here is the *sum*, with the number of positions (or the
sum of their weights) beside it: sums over tiles, frames, regions and machines add.

Matching the means of phi is minimising a Maximum Mean Discrepancy with the kernel k(x, y) = phi(x)·phi(y)
(Li et al., "Demystifying Neural Style Transfer", arXiv 1701.01036).

Shapes: features are `(n, m)`, channels by positions; weights, where given, `(m,)` and not negative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

StatisticName = Literal["gram", "mean", "moments", "gaussian", "covariance", "wasserstein"]

#: How many random frequencies approximate the Gaussian kernel; the error falls as 1/sqrt of it.
FREQUENCIES = 1024


@dataclass(frozen=True, eq=False)
class Sums:
    """An additive statistic: the weighted sum of phi over positions, and the sum of the weights."""

    total: Tensor
    mass: Tensor

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.total + other.total, self.mass + other.mass)

    @property
    def mean(self) -> Tensor:
        """The statistic itself: the mean of phi over positions."""
        return self.total / self.mass


Distance = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Phi:
    """What is averaged: sums over positions, and the way back.

    Attributes:
        sums: features, weights -> `Sums`; differentiable.
        pull: features, weights, d value / d total, and a gradient by the features, `(n, m)`, to which theirs is
            added where it lies, without computing the sums again.
    """

    sums: Callable[[Tensor, Tensor | None], Sums]
    pull: Callable[[Tensor, Tensor | None, Tensor, Tensor], None]


@dataclass(frozen=True)
class Statistic:
    """What is compared, and how.

    Attributes:
        phi: see there.
        distance_to: a target's mean -> the function that gives another mean's distance from it, a scalar
            that is zero for the target itself.
    """

    phi: Phi
    distance_to: Callable[[Tensor], Distance]


def _mass(features: Tensor, weights: Tensor | None) -> Tensor:
    return features.new_tensor(features.shape[1]) if weights is None else weights.sum()


def _weighted(features: Tensor, weights: Tensor | None) -> Tensor:
    return features if weights is None else features * weights


# -- phi: what is averaged ---------------------------------------------------------------------------------


def gram(features: Tensor, weights: Tensor | None = None) -> Sums:
    """phi(f) = f fᵀ, `(n, n)`: the Gram matrix F Fᵀ (Gatys et al. 2016, eq. 3)."""
    return Sums(_weighted(features, weights) @ features.T, _mass(features, weights))


def pull_gram(features: Tensor, weights: Tensor | None, slope: Tensor, gradient: Tensor) -> None:
    """(D + Dᵀ) F W: one product, since both factors of the sums are the same."""
    # Transposed, so that the product has the layout that features have in memory.
    gradient.T.addmm_(_weighted(features, weights).T, slope + slope.T)


def mean(features: Tensor, weights: Tensor | None = None) -> Sums:
    """phi(f) = f, `(n,)`."""
    return Sums(_weighted(features, weights).sum(1), _mass(features, weights))


def pull_mean(features: Tensor, weights: Tensor | None, slope: Tensor, gradient: Tensor) -> None:
    """D W."""
    gradient.add_(_weighted(slope[:, None], weights))


def moments(features: Tensor, weights: Tensor | None = None) -> Sums:
    """phi(f) = (f, f∘f), `(2, n)`: what batch normalisation and AdaIN (arXiv 1703.06868) keep of a layer."""
    weighted = _weighted(features, weights)
    total = torch.stack([weighted.sum(1), (weighted * features).sum(1)])
    return Sums(total, _mass(features, weights))


def pull_moments(features: Tensor, weights: Tensor | None, slope: Tensor, gradient: Tensor) -> None:
    """(D₁ + 2 D₂ F) W."""
    first, second = slope[:, :, None]
    gradient.add_(_weighted(torch.addcmul(first, features, second, value=2), weights))


def covariance(features: Tensor, weights: Tensor | None = None) -> Sums:
    """phi(f) = (f, f fᵀ), `(n, n + 1)`: the mean in column 0, second moments beside it: a Gaussian fit."""
    first, second = mean(features, weights), gram(features, weights)
    return Sums(torch.cat([first.total[:, None], second.total], 1), first.mass)


def pull_covariance(features: Tensor, weights: Tensor | None, slope: Tensor, gradient: Tensor) -> None:
    """That of the mean and that of the Gram matrix."""
    pull_mean(features, weights, slope[:, 0], gradient)
    pull_gram(features, weights, slope[:, 1:], gradient)


def gaussian(frequencies: Tensor, block: int = 4096) -> Phi:
    """phi(f) = (cos Ωf, sin Ωf) / sqrt(d), `(2, d)`, for frequencies Ω `(d, n)`.

    With rows of Ω drawn from N(0, I/σ²), phi(x)·phi(y) estimates the Gaussian kernel exp(-|x - y|² / 2σ²)
    (Rahimi & Recht, "Random features for large-scale kernel machines", 2007). By blocks of positions: all phases at
    once would be many times as large as the features.
    """
    scale = 1 / math.sqrt(len(frequencies))

    def phases(features: Tensor, weights: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None, slice]]:
        for start in range(0, features.shape[1], block):
            part = slice(start, start + block)
            yield frequencies @ features[:, part], None if weights is None else weights[part], part

    def sums(features: Tensor, weights: Tensor | None = None) -> Sums:
        total = features.new_zeros(2, len(frequencies))
        for phase, weight, _ in phases(features, weights):
            total = total + torch.stack([_weighted(wave, weight).sum(1) for wave in (phase.cos(), phase.sin())])
        return Sums(scale * total, _mass(features, weights))

    def pull(features: Tensor, weights: Tensor | None, slope: Tensor, gradient: Tensor) -> None:
        first, second = scale * slope[:, :, None]
        for phase, weight, part in phases(features, weights):
            change = phase.cos() * second - phase.sin() * first
            gradient[:, part] += _weighted(frequencies.T @ change, weight)

    return Phi(sums, pull)


#: The sums of `moments`, which are of use beside the style, with their way back.
MOMENTS = Phi(moments, pull_moments)


def draw_frequencies(reference: Sums, seed: int) -> Tensor:
    """Frequencies for `gaussian`, `(d, n)`, from `moments` of the features they are for.

    The kernel's width σ is the root mean square distance between two features, σ² = 2 Σ variances, which
    plays the part of the usual median distance and, unlike it, adds over tiles.
    """
    _, variance = mean_and_variance(reference.mean)
    width = (2 * variance.sum()).clamp_min(1e-12).sqrt()
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(FREQUENCIES, len(variance), generator=generator, dtype=torch.float64)
    return normal.to(variance) / width


# -- distances: how means are compared ---------------------------------------------------------------------


def squared_error(target: Tensor) -> Distance:
    """d(s) = Σ (s - target)²: the squared MMD with the kernel phi(x)·phi(y)."""
    return lambda s: (s - target).square().sum()


def mean_and_variance(moments: Tensor) -> tuple[Tensor, Tensor]:
    """From the mean of `moments`: per channel mean and variance, each `(n,)`."""
    first, second = moments
    return first, (second - first.square()).clamp_min(0)


def mean_and_covariance(fit: Tensor) -> tuple[Tensor, Tensor]:
    """From the mean of `covariance`: the mean `(n,)` and covariance matrix `(n, n)`."""
    first = fit[:, 0]
    return first, fit[:, 1:] - torch.outer(first, first)


def deviation_error(target: Tensor) -> Distance:
    """d(s) = |μ - μ'|² + |σ - σ'|², on `moments` (Huang & Belongie, arXiv 1703.06868, eq. 13)."""

    # The square root's slope is infinite at zero, where dead channels live: it starts at this deviation.
    def deviation(variance: Tensor) -> Tensor:
        return (variance + 1e-10 * scale).sqrt()

    m, variance = mean_and_variance(target)
    scale = variance.mean().clamp_min(1e-12).detach()
    sigma = deviation(variance)

    def distance(s: Tensor) -> Tensor:
        first, second = mean_and_variance(s)
        return (first - m).square().sum() + (deviation(second) - sigma).square().sum()

    return distance


def frobenius(target: Tensor) -> Distance:
    """d(s) = |μ - μ'|⁴ + |Σ - Σ'|²_F, on `covariance`: both terms in the fourth power of an activation."""
    m, c = mean_and_covariance(target)

    def distance(s: Tensor) -> Tensor:
        first, second = mean_and_covariance(s)
        return (first - m).square().sum().square() + (second - c).square().sum()

    return distance


def wasserstein(target: Tensor) -> Distance:
    """d(s) = |μ - μ'|² + tr(Σ + Σ' - 2 (Σ'^½ Σ Σ'^½)^½), on `covariance`.

    The squared Wasserstein-2 distance of two Gaussians (Olkin & Pukelsheim 1982), whose second part is the
    Bures metric. Eigenvalues are floored at a 1e-8 part of the target's trace: the root's slope is
    infinite at zero, and feature covariances are rarely of full rank.
    """
    m, c = mean_and_covariance(target)
    floor = 1e-8 * c.diagonal().sum().clamp_min(1e-12)
    identity = torch.eye(len(c), dtype=c.dtype, device=c.device)
    values, vectors = _eigh(c)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.T

    def distance(s: Tensor) -> Tensor:
        first, second = mean_and_covariance(s)
        product = root @ second @ root
        values = _eigvalsh((product + product.T) / 2 + floor.square() * identity)
        fidelity = values.clamp_min(floor.square()).sqrt().sum()
        trace = second.diagonal().sum() + c.diagonal().sum()
        return (first - m).square().sum() + (trace - 2 * fidelity).clamp_min(0)

    return distance


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(matrix.double() if matrix.device.type != "mps" else matrix.cpu())
    return values.to(matrix), vectors.to(matrix)


def _eigvalsh(matrix: Tensor) -> Tensor:
    values: Tensor = torch.linalg.eigvalsh(matrix if matrix.device.type != "mps" else matrix.cpu())
    return values.to(matrix.device)


# -- the menu ----------------------------------------------------------------------------------------------


def _random_fourier(reference: Sums | None, seed: int) -> Statistic:
    if reference is None:
        raise ValueError("the frequencies of 'gaussian' are drawn for features whose moments are known")
    return Statistic(gaussian(draw_frequencies(reference, seed)), squared_error)


#: Name -> the statistic, given a seed and, for `gaussian` only, the `moments` of the style's features at a layer.
STATISTICS: dict[StatisticName, Callable[[Sums | None, int], Statistic]] = {
    "gram": lambda reference, seed: Statistic(Phi(gram, pull_gram), squared_error),
    "mean": lambda reference, seed: Statistic(Phi(mean, pull_mean), squared_error),
    "moments": lambda reference, seed: Statistic(MOMENTS, deviation_error),
    "gaussian": _random_fourier,
    "covariance": lambda reference, seed: Statistic(Phi(covariance, pull_covariance), frobenius),
    "wasserstein": lambda reference, seed: Statistic(Phi(covariance, pull_covariance), wasserstein),
}
