"""A style is a distribution of features, and every style loss is a distance between two statistics of it.

At one layer the encoder gives N channels at M positions: features f_1 … f_M, each in R^N. A statistic is the
mean over positions of some map phi. Computed here is the *sum*, with the sum of the positions' weights beside it:
sums over tiles, frames, regions and machines add.

Matching the means of phi is minimising a Maximum Mean Discrepancy with the kernel k(x, y) = phi(x)·phi(y)
(Li et al., "Demystifying Neural Style Transfer", arXiv 1701.01036).

Shapes: features are `(n, m)`, channels by positions, or `(b, n, m)` for a batch of pictures; a mask, where given, has
a weight that is not negative for each position, `(m,)`. The shapes of sums below are those of one picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.devices import CPU_DOUBLE
from impasto.settings.choices import StatisticName

#: How many random frequencies approximate the Gaussian kernel; the error falls as 1/sqrt of it.
FREQUENCIES = 1024


@dataclass(frozen=True, eq=False)
class Sums:
    """An additive statistic: the weighted sum of phi over positions, and the sum of the weights, a scalar."""

    total: Tensor
    weight_sum: Tensor

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.total + other.total, self.weight_sum + other.weight_sum)

    def scaled(self, factor: float) -> Sums:
        """The same mean, with `factor` times the weight."""
        return Sums(factor * self.total, factor * self.weight_sum)

    @property
    def mean(self) -> Tensor:
        """The statistic itself: the mean of phi over positions."""
        return self.total / self.weight_sum


Distance = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Phi:
    """What is averaged over positions, with its backward pass.

    The backward passes are written out because autograd, which computes the sums once more, takes four times as long
    for Gram matrices, up to eighteen times for moments and 1.1 to 1.7 times for random Fourier features.

    Attributes:
        reduce: features, mask -> `Sums`; differentiable.
        accumulate_grad: features `(n, m)`, mask, d loss / d total, and the gradient by the features, `(n, m)`, to
            which the vector-Jacobian product is added in place.
    """

    reduce: Callable[[Tensor, Tensor | None], Sums]
    accumulate_grad: Callable[[Tensor, Tensor | None, Tensor, Tensor], None]


@dataclass(frozen=True)
class Statistic:
    """What is compared, and how.

    Attributes:
        phi: what is averaged.
        distance_to: a target's mean -> the function that gives another mean's distance from it, a scalar
            that is zero for the target itself.
    """

    phi: Phi
    distance_to: Callable[[Tensor], Distance]


def _weight_sum(features: Tensor, mask: Tensor | None) -> Tensor:
    # Not a tensor of the number, which an exported graph would keep as a constant.
    return features.new_ones(()) * features.shape[-1] if mask is None else mask.sum()


def _weighted(features: Tensor, mask: Tensor | None) -> Tensor:
    return features if mask is None else features * mask


# -- phi: what is averaged ---------------------------------------------------------------------------------


def gram(features: Tensor, mask: Tensor | None = None) -> Sums:
    """phi(f) = f fᵀ, `(n, n)`: the Gram matrix F Fᵀ (Gatys et al. 2016, eq. 3)."""
    return Sums(_weighted(features, mask) @ features.mT, _weight_sum(features, mask))


def gram_backward(features: Tensor, mask: Tensor | None, grad_sums: Tensor, grad: Tensor) -> None:
    """(D + Dᵀ) F W: one product, since both factors of the sums are the same."""
    # Transposed, so that the product has the layout that features have in memory.
    grad.T.addmm_(_weighted(features, mask).T, grad_sums + grad_sums.T)


def mean(features: Tensor, mask: Tensor | None = None) -> Sums:
    """phi(f) = f, `(n,)`."""
    return Sums(_weighted(features, mask).sum(-1), _weight_sum(features, mask))


def mean_backward(features: Tensor, mask: Tensor | None, grad_sums: Tensor, grad: Tensor) -> None:
    """D W."""
    grad.add_(_weighted(grad_sums[:, None], mask))


def moments(features: Tensor, mask: Tensor | None = None) -> Sums:
    """phi(f) = (f, f∘f), `(2, n)`: what batch normalisation and AdaIN (arXiv 1703.06868) keep of a layer."""
    weighted = _weighted(features, mask)
    total = torch.stack([weighted.sum(-1), (weighted * features).sum(-1)], -2)
    return Sums(total, _weight_sum(features, mask))


def moments_backward(features: Tensor, mask: Tensor | None, grad_sums: Tensor, grad: Tensor) -> None:
    """(D₁ + 2 D₂ F) W."""
    first, second = grad_sums[:, :, None]
    grad.add_(_weighted(torch.addcmul(first, features, second, value=2), mask))


def covariance(features: Tensor, mask: Tensor | None = None) -> Sums:
    """phi(f) = (f, f fᵀ), `(n, n + 1)`: the mean in column 0, second moments beside it: a Gaussian fit."""
    first, second = mean(features, mask), gram(features, mask)
    return Sums(torch.cat([first.total[..., None], second.total], -1), first.weight_sum)


def covariance_backward(features: Tensor, mask: Tensor | None, grad_sums: Tensor, grad: Tensor) -> None:
    """That of the mean and that of the Gram matrix."""
    mean_backward(features, mask, grad_sums[:, 0], grad)
    gram_backward(features, mask, grad_sums[:, 1:], grad)


def gaussian(frequencies: Tensor, block: int = 4096) -> Phi:
    """phi(f) = (cos Ωf, sin Ωf) / sqrt(d), `(2, d)`, for frequencies Ω `(d, n)` and one picture.

    With rows of Ω drawn from N(0, I/σ²), phi(x)·phi(y) estimates the Gaussian kernel exp(-|x - y|² / 2σ²)
    (Rahimi & Recht, "Random features for large-scale kernel machines", 2007). By blocks of positions: all phases at
    once would be many times as large as the features.
    """
    scale = 1 / math.sqrt(len(frequencies))

    def phases(features: Tensor, mask: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None, slice]]:
        for start in range(0, features.shape[1], block):
            part = slice(start, start + block)
            yield frequencies @ features[:, part], None if mask is None else mask[part], part

    def reduce(features: Tensor, mask: Tensor | None = None) -> Sums:
        total = features.new_zeros(2, len(frequencies))
        for phase, weight, _ in phases(features, mask):
            total = total + torch.stack([_weighted(wave, weight).sum(1) for wave in (phase.cos(), phase.sin())])
        return Sums(scale * total, _weight_sum(features, mask))

    def accumulate_grad(features: Tensor, mask: Tensor | None, grad_sums: Tensor, grad: Tensor) -> None:
        first, second = scale * grad_sums[:, :, None]
        for phase, weight, part in phases(features, mask):
            change = phase.cos() * second - phase.sin() * first
            grad[:, part] += _weighted(frequencies.T @ change, weight)

    return Phi(reduce, accumulate_grad)


MOMENTS = Phi(moments, moments_backward)


def draw_frequencies(reference: Sums, seed: int) -> Tensor:
    """Frequencies for `gaussian`, `(d, n)`, from `moments` of the features they are for.

    The kernel's width σ is the root mean square distance between two features, σ² = 2 Σ variances. Unlike the usual
    median distance it can be computed from sums over tiles.
    """
    _, variance = mean_and_variance(reference.mean)
    width = (2 * variance.sum()).clamp_min(1e-12).sqrt()
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(FREQUENCIES, len(variance), generator=generator, **CPU_DOUBLE)
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
    """d(s) = |μ - μ'|² + |σ - σ'|², on `moments`: the norms of Huang & Belongie (arXiv 1703.06868, eq. 13), squared."""

    # The square root's derivative is infinite at zero, where dead channels are: it starts at this deviation.
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
    Bures metric. Eigenvalues are floored at a 1e-8 part of the target's trace: the root's derivative is
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
    "gram": lambda reference, seed: Statistic(Phi(gram, gram_backward), squared_error),
    "mean": lambda reference, seed: Statistic(Phi(mean, mean_backward), squared_error),
    "moments": lambda reference, seed: Statistic(MOMENTS, deviation_error),
    "gaussian": _random_fourier,
    "covariance": lambda reference, seed: Statistic(Phi(covariance, covariance_backward), frobenius),
    "wasserstein": lambda reference, seed: Statistic(Phi(covariance, covariance_backward), wasserstein),
}
