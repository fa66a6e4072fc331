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
from typing import Any, Literal

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


Phi = Callable[[Tensor, Tensor | None], Sums]
Distance = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Statistic:
    """What is compared, and how.

    Attributes:
        sums: features, weights -> `Sums`.
        distance_to: a target's mean -> the function that gives another mean's distance from it, a scalar
            that is zero for the target itself.
    """

    sums: Phi
    distance_to: Callable[[Tensor], Distance]


def _mass(features: Tensor, weights: Tensor | None) -> Tensor:
    return features.new_tensor(features.shape[1]) if weights is None else weights.sum()


def _weighted(features: Tensor, weights: Tensor | None) -> Tensor:
    return features if weights is None else features * weights


# -- phi: what is averaged ---------------------------------------------------------------------------------


def gram(features: Tensor, weights: Tensor | None = None) -> Sums:
    """phi(f) = f fᵀ, `(n, n)`: the Gram matrix F Fᵀ (Gatys et al. 2016, eq. 3)."""
    return Sums(_Gram.apply(features, weights), _mass(features, weights))  # type: ignore[no-untyped-call]


class _Gram(torch.autograd.Function):
    """F W Fᵀ. Its gradient (D + Dᵀ) F W is one product; autograd, which does not know that both factors are
    the same, would make two, each as large as the features."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weights: Tensor | None) -> Tensor:
        ctx.save_for_backward(features, weights)
        return _weighted(features, weights) @ features.T

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        features, weights = ctx.saved_tensors
        # Transposed twice, so that the product has the features' own layout in memory.
        return _weighted((features.T @ (gradient + gradient.T)).T, weights), None


def mean(features: Tensor, weights: Tensor | None = None) -> Sums:
    """phi(f) = f, `(n,)`."""
    return Sums(_weighted(features, weights).sum(1), _mass(features, weights))


def moments(features: Tensor, weights: Tensor | None = None) -> Sums:
    """phi(f) = (f, f∘f), `(2, n)`: what batch normalisation and AdaIN (arXiv 1703.06868) keep of a layer."""
    weighted = _weighted(features, weights)
    total = torch.stack([weighted.sum(1), (weighted * features).sum(1)])
    return Sums(total, _mass(features, weights))


def covariance(features: Tensor, weights: Tensor | None = None) -> Sums:
    """phi(f) = (f, f fᵀ), `(n, n + 1)`: the mean in column 0, second moments beside it: a Gaussian fit."""
    first, second = mean(features, weights), gram(features, weights)
    return Sums(torch.cat([first.total[:, None], second.total], 1), first.mass)


def gaussian(frequencies: Tensor) -> Phi:
    """phi(f) = (cos Ωf, sin Ωf) / sqrt(d), `(2, d)`, for frequencies Ω `(d, n)`.

    With rows of Ω drawn from N(0, I/σ²), phi(x)·phi(y) estimates the Gaussian kernel exp(-|x - y|² / 2σ²)
    (Rahimi & Recht, "Random features for large-scale kernel machines", 2007).
    """

    def sums(features: Tensor, weights: Tensor | None = None) -> Sums:
        total = _Waves.apply(features, weights, frequencies)  # type: ignore[no-untyped-call]
        return Sums(total / math.sqrt(len(frequencies)), _mass(features, weights))

    return sums


class _Waves(torch.autograd.Function):
    """Σ w (cos Ωf, sin Ωf), by blocks of positions that are computed once more for the gradient: all phases at once
    would be many times as large as the features."""

    BLOCK = 4096

    @staticmethod
    def forward(ctx: Any, features: Tensor, weights: Tensor | None, frequencies: Tensor) -> Tensor:
        ctx.save_for_backward(features, weights, frequencies)
        total = features.new_zeros(2, len(frequencies))
        for phase, weight, _ in _Waves._blocks(features, weights, frequencies):
            total[0] += _weighted(phase.cos(), weight).sum(1)
            total[1] += _weighted(phase.sin(), weight).sum(1)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        features, weights, frequencies = ctx.saved_tensors
        back = torch.empty_like(features)
        for phase, weight, block in _Waves._blocks(features, weights, frequencies):
            slope = phase.cos() * gradient[1, :, None] - phase.sin() * gradient[0, :, None]
            back[:, block] = _weighted(frequencies.T @ slope, weight)
        return back, None, None

    @staticmethod
    def _blocks(
        features: Tensor, weights: Tensor | None, frequencies: Tensor
    ) -> Iterator[tuple[Tensor, Tensor | None, slice]]:
        for start in range(0, features.shape[1], _Waves.BLOCK):
            block = slice(start, start + _Waves.BLOCK)
            yield frequencies @ features[:, block], None if weights is None else weights[block], block


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
    "gram": lambda reference, seed: Statistic(gram, squared_error),
    "mean": lambda reference, seed: Statistic(mean, squared_error),
    "moments": lambda reference, seed: Statistic(moments, deviation_error),
    "gaussian": _random_fourier,
    "covariance": lambda reference, seed: Statistic(covariance, frobenius),
    "wasserstein": lambda reference, seed: Statistic(covariance, wasserstein),
}
