"""The losses that networks are trained with: those of the optimisation, for batches, through autograd.

Each is relative to its target, so that weights mean the same at every layer: all-zero features have a loss of 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.losses import statistics
from impasto.vgg.encoder import Encoder

STYLE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
CONTENT_LAYERS = ("relu3_1", "relu4_1")
LAYERS = tuple(sorted({*STYLE_LAYERS, *CONTENT_LAYERS}))

#: Layer -> means and second moments, `(b, n, n + 1)`; see `losses.statistics.covariance`.
StyleStatistics = Mapping[str, Tensor]


@dataclass(frozen=True, eq=False)
class PerceptualLoss:
    """Compares batches of pictures. The encoder may compute in bfloat16; statistics are in float32."""

    encoder: Encoder

    def features(self, pictures: Tensor, layers: Sequence[str] = LAYERS) -> dict[str, Tensor]:
        """The features of `(b, 3, h, w)`, sRGB in [0, 1], at these layers."""
        return self.encoder(pictures.to(self.encoder.mean.dtype), layers)

    def style(self, features: Mapping[str, Tensor]) -> StyleStatistics:
        return {layer: statistics.covariance(features[layer].flatten(2).float()).mean for layer in STYLE_LAYERS}

    def content_loss(self, features: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """Mean over layers of |F - P|² / |P|², of features normalised to zero mean and unit variance per channel."""
        parts = []
        for layer in CONTENT_LAYERS:
            found, wanted = (F.instance_norm(part[layer].float(), eps=1.0) for part in (features, target))
            parts.append((found - wanted).square().mean() / wanted.square().mean().clamp_min(1e-6))
        return torch.stack(parts).mean()

    def gram_loss(self, style: StyleStatistics, target: StyleStatistics) -> Tensor:
        """Mean over layers and pictures of |G - A|² / |A|²."""
        parts = []
        for layer in STYLE_LAYERS:
            found, wanted = style[layer][..., 1:], target[layer][..., 1:]
            parts.append((found - wanted).square().sum((1, 2)) / wanted.square().sum((1, 2)).clamp_min(1e-6))
        return torch.stack(parts).mean()

    def moments_loss(self, style: StyleStatistics, target: StyleStatistics) -> Tensor:
        """Mean over layers and pictures of (|μ - μ'|² + |σ - σ'|²) / (|μ'|² + |σ'|²)."""
        parts = []
        for layer in STYLE_LAYERS:
            (m, s), (m2, s2) = _moments(style[layer]), _moments(target[layer])
            size = (m2.square() + s2.square()).sum(1).clamp_min(1e-6)
            parts.append(((m - m2).square() + (s - s2).square()).sum(1) / size)
        return torch.stack(parts).mean()


def _moments(statistic: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations, each `(b, n)`."""
    mean = statistic[..., 0]
    variance = statistic[..., 1:].diagonal(dim1=1, dim2=2) - mean.square()
    return mean, (variance.clamp_min(0) + 1e-4 * variance.detach().mean(1, keepdim=True).clamp_min(1e-3)).sqrt()


def total_variation(pictures: Tensor) -> Tensor:
    """Mean squared difference of vertical neighbours plus that of horizontal ones."""
    down, across = pictures.diff(dim=-2), pictures.diff(dim=-1)
    return down.square().mean() + across.square().mean()
