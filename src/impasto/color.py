"""Colour transfer between pictures."""

from __future__ import annotations

import torch
from torch import Tensor


def match(picture: Tensor, reference: Tensor) -> Tensor:
    """`picture` with the mean and covariance of `reference`'s colours.

    The linear map is the optimal transport between the two Gaussian fits (Pitié & Kokaram, "The linear
    Monge-Kantorovitch linear colour mapping", 2007): of all that match, the one that moves colours least.

    Args:
        picture: `(3, h, w)`, sRGB in [0, 1].
        reference: `(3, h', w')`, sRGB in [0, 1].

    Returns:
        `(3, h, w)`, clipped to [0, 1].
    """
    pixels = picture.flatten(1).double().cpu()
    mean, covariance = pixels.mean(1, keepdim=True), _covariance(pixels)
    target = reference.flatten(1).double().cpu()
    root = _root(covariance)
    inverse = torch.linalg.inv(root)
    transport = inverse @ _root(root @ _covariance(target) @ root) @ inverse
    moved = transport @ (pixels - mean) + target.mean(1, keepdim=True)
    return moved.clamp(0, 1).view(picture.shape).to(picture)


def _covariance(pixels: Tensor) -> Tensor:
    # One grey level in 8 bits of spread: a picture of one colour has an invertible covariance too.
    return torch.cov(pixels, correction=0) + torch.eye(3, dtype=pixels.dtype) / 255**2


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T
