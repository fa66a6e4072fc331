"""Whitening and colouring: features of a photo transformed so that their distribution becomes that of a painting's.

At one layer both are fitted by Gaussians, with a variance for each channel (`moments`) or a full covariance
(`covariance`), and the photo's features go through the affine map that turns the one into the other:

    f ↦ T (f − μ) + μ',   T = Σ'^½ Σ^-½

(Li et al., "Universal style transfer via feature transforms", arXiv 1705.08086), with the symmetric roots, which change
features least. For `moments` that is σ'/σ per channel: adaptive instance normalisation (Huang & Belongie, arXiv
1703.06868). Maps blend linearly, and the map to the photo's own statistics is the identity: strength and several styles
are weights of one sum. (The optimal transport Σ^-½ (Σ^½ Σ' Σ^½)^½ Σ^-½ changes features less still, but squares the
condition number of the matrix whose root is taken, too much for single precision.)

Shapes: features are `(b, n, m)`, channels by positions, of a batch of pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from impasto.losses import statistics
from impasto.losses.statistics import Sums

#: The statistics that are matched.
TransformKind = Literal["moments", "covariance"]

#: Variances are raised by this part of their mean, so that noise in channels in which the photo has nothing is not
#: amplified by more than the inverse root of it.
FLOOR = 3e-3
#: Newton iterations to a matrix's root: enough for the condition number that the floor leaves.
STEPS = 14


@dataclass(frozen=True, eq=False)
class GaussianFit:
    """A Gaussian for each picture of a batch.

    Attributes:
        mean: `(b, n)`.
        spread: `(b, n)` variances, or `(b, n, n)` covariances.
    """

    mean: Tensor
    spread: Tensor


@dataclass(frozen=True, eq=False)
class AffineMap:
    """f ↦ matrix f + shift.

    Attributes:
        matrix: `(b, n)` for a diagonal one, or `(b, n, n)`.
        shift: `(b, n)`.
    """

    matrix: Tensor
    shift: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """`(b, n, h, w)` mapped."""
        if self.matrix.ndim == 2:
            return features * self.matrix[..., None, None] + self.shift[..., None, None]
        mapped = torch.baddbmm(self.shift[..., None], self.matrix, features.flatten(2))
        return mapped.view_as(features)


def feature_sums(features: Tensor, kind: TransformKind, mask: Tensor | None = None) -> Sums:
    """The sums of `losses.statistics` over features `(b, n, m)`, in single precision at least."""
    features = features if features.dtype == torch.float64 else features.float()
    return (statistics.moments if kind == "moments" else statistics.covariance)(features, mask)


def gaussian_fit(sums: Sums, kind: TransformKind) -> GaussianFit:
    """The Gaussians with the mean and variances of these sums."""
    if kind == "moments":
        mean, square = sums.mean.unbind(-2)
        return GaussianFit(mean, (square - mean.square()).clamp_min(0))
    mean, second = sums.mean[..., 0], sums.mean[..., 1:]
    return GaussianFit(mean, second - mean[:, :, None] * mean[:, None])


def whiten_and_color(own: GaussianFit, styles: Sequence[tuple[GaussianFit, float]]) -> AffineMap:
    """The map from a photo's fit to those of styles, blended by their weights; what these lack to 1 is identity."""
    rest = 1 - sum(weight for _, weight in styles)
    if own.spread.ndim == 2:
        maps = [((regularized(style.spread) / regularized(own.spread)).sqrt(), weight) for style, weight in styles]
        matrix = sum((weight * part for part, weight in maps), rest * torch.ones_like(own.spread))
        moved = matrix * own.mean
    else:
        _, inverse = roots(own.spread)
        identity = torch.eye(own.mean.shape[1], dtype=own.mean.dtype, device=own.mean.device)
        maps = [(roots(style.spread)[0] @ inverse, weight) for style, weight in styles]
        matrix = sum((weight * part for part, weight in maps), rest * identity.expand_as(own.spread))
        moved = (matrix @ own.mean[..., None])[..., 0]
    mean = sum((weight * style.mean for style, weight in styles), rest * own.mean)
    return AffineMap(matrix, mean - moved)


def regularized(spread: Tensor) -> Tensor:
    """Variances `(b, n)` or covariances `(b, n, n)`, raised by the floor."""
    if spread.ndim == 2:
        return spread + FLOOR * spread.mean(1, keepdim=True) + 1e-12
    size = spread.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] + 1e-12
    return spread + FLOOR * size * torch.eye(spread.shape[-1], dtype=spread.dtype, device=spread.device)


def roots(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The square root of positive semi-definite matrices `(b, n, n)`, regularized, and its inverse.

    By the coupled iteration of Newton and Schulz (Higham, "Functions of matrices", 2008, eq. 6.35): products only,
    which run everywhere, an exported graph included, where eigenvectors do not.
    """
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    higher = regularized(matrix)
    norm = higher.square().sum((1, 2), keepdim=True).sqrt()
    y, z = higher / norm, identity.expand_as(matrix)
    for _ in range(STEPS):
        t = 1.5 * identity - 0.5 * (z @ y)
        y, z = y @ t, t @ z
    return y * norm.sqrt(), z / norm.sqrt()
