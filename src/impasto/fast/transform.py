"""Statistics in exchange: features of a photo moved so that their distribution is that of a painting's.

At one layer both are fitted by Gaussians, with a variance for each channel (`moments`) or a full covariance
(`covariance`), and the photo's features go through an affine map that turns the one into the other:

    f ↦ T (f − μ) + μ',   T = Σ'^½ Σ^-½

which whitens and colours (Li et al., "Universal style transfer via feature transforms", arXiv 1705.08086), with the
symmetric roots, which move features least. For `moments` that is σ'/σ per channel: adaptive instance normalisation
(Huang & Belongie, arXiv 1703.06868). Maps blend linearly, and the map to the photo's own statistics is the identity:
strength and several styles are weights of one sum. (The optimal transport Σ^-½ (Σ^½ Σ' Σ^½)^½ Σ^-½ moves them less
still, but squares the condition of what a root is taken of, which single precision does not bear.)

Shapes: features are `(b, n, m)`, channels by positions, of a batch of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Exchange = Literal["moments", "covariance"]

#: The part of the mean variance by which every variance is raised: where the photo has nothing, the noise that it has
#: is not to be amplified beyond the inverse root of this.
FLOOR = 3e-3
#: Newton's steps to a matrix's root: enough for the condition that the floor leaves.
STEPS = 14


@dataclass(frozen=True, eq=False)
class Sums:
    """What adds up over positions and tiles.

    Attributes:
        first: `(b, n)`, the sum of features.
        second: `(b, n)` or `(b, n, n)`, the sum of their squares, or of f fᵀ.
        mass: `(b,)`, the sum of the positions' weights.
    """

    first: Tensor
    second: Tensor
    mass: Tensor

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.first + other.first, self.second + other.second, self.mass + other.mass)

    def faded(self, share: float) -> Sums:
        """The same, counting for so much of what it did."""
        return Sums(share * self.first, share * self.second, share * self.mass)

    @property
    def fit(self) -> Fit:
        """The Gaussian with these sums' mean and variances."""
        mass = self.mass[:, None]
        mean = self.first / mass
        if self.second.ndim == 2:
            return Fit(mean, (self.second / mass - mean.square()).clamp_min(0))
        return Fit(mean, self.second / mass[..., None] - mean[:, :, None] * mean[:, None])


@dataclass(frozen=True, eq=False)
class Fit:
    """A Gaussian for each picture of a batch.

    Attributes:
        mean: `(b, n)`.
        spread: `(b, n)` variances, or `(b, n, n)` covariances.
    """

    mean: Tensor
    spread: Tensor


@dataclass(frozen=True, eq=False)
class Transport:
    """f ↦ matrix f + shift.

    Attributes:
        matrix: `(b, n)` for a diagonal one, or `(b, n, n)`.
        shift: `(b, n)`.
    """

    matrix: Tensor
    shift: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """`(b, n, h, w)` moved."""
        if self.matrix.ndim == 2:
            return features * self.matrix[..., None, None] + self.shift[..., None, None]
        moved = torch.baddbmm(self.shift[..., None], self.matrix, features.flatten(2))
        return moved.view_as(features)


def sums(features: Tensor, exchange: Exchange, weights: Tensor | None = None) -> Sums:
    """The sums over positions of features `(b, n, m)`, weighted by `(m,)` if given."""
    features = features if features.dtype == torch.float64 else features.float()
    weighted = features if weights is None else features * weights
    ones = features.new_ones(len(features))  # not a tensor of the number: an exported graph would keep this one
    mass = ones * (features.shape[2] if weights is None else weights.sum())
    second = (weighted * features).sum(2) if exchange == "moments" else weighted @ features.mT
    return Sums(weighted.sum(2), second, mass)


def transport(own: Fit, styles: Sequence[tuple[Fit, float]]) -> Transport:
    """The map from a photo's fit to those of styles, blended by their weights; what these lack to 1 is identity."""
    left = 1 - sum(weight for _, weight in styles)
    if own.spread.ndim == 2:
        maps = [((raised(style.spread) / raised(own.spread)).sqrt(), weight) for style, weight in styles]
        matrix = sum((weight * part for part, weight in maps), left * torch.ones_like(own.spread))
        moved = matrix * own.mean
    else:
        _, inverse = roots(own.spread)
        identity = torch.eye(own.mean.shape[1], dtype=own.mean.dtype, device=own.mean.device)
        maps = [(roots(style.spread)[0] @ inverse, weight) for style, weight in styles]
        matrix = sum((weight * part for part, weight in maps), left * identity.expand_as(own.spread))
        moved = (matrix @ own.mean[..., None])[..., 0]
    mean = sum((weight * style.mean for style, weight in styles), left * own.mean)
    return Transport(matrix, mean - moved)


def raised(spread: Tensor) -> Tensor:
    """Variances `(b, n)` or covariances `(b, n, n)` with the floor under them."""
    if spread.ndim == 2:
        return spread + FLOOR * spread.mean(1, keepdim=True) + 1e-12
    size = spread.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-12
    return spread + FLOOR * size * torch.eye(spread.shape[-1], dtype=spread.dtype, device=spread.device)


def roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The square root of positive semi-definite matrices `(b, n, n)`, with the floor under them, and its inverse.

    By the coupled iteration of Newton and Schulz (Higham, "Functions of matrices", 2008, eq. 6.35): products only,
    which run everywhere, an exported graph included, where eigenvectors do not.
    """
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    higher = raised(matrix)
    norm = higher.square().sum((1, 2), keepdim=True).sqrt()
    y, z = higher / norm, identity.expand_as(matrix)
    for _ in range(STEPS):
        t = 1.5 * identity - 0.5 * (z @ y)
        y, z = y @ t, t @ z
    return y * norm.sqrt(), z / norm.sqrt()
