"""Style as nearest neighbours: every feature of the picture should resemble *some* feature of the style's.

A statistic keeps only a mean over the style's features; this keeps them all. At each position the picture's feature is
compared with the nearest of the style's, by the cosine of the angle between them (Kolkin et al., "Neural neighbor
style transfer", arXiv 2203.13215). We depart from the paper in that both sides are centred by the *style's* mean: with
the picture's own mean a common shift of all its features would not be penalised, and the loss would not be a sum over
positions, which is what makes it exact in tiles. Of a large painting a sample of features is searched, so that the cost
grows with the picture and not with its square: strokes recur.

Left to itself the search confirms what it finds: a dull feature is near to dull ones, and stays. So half of the
distance is that to an anchor, which is chosen once: the style's feature nearest to the photo's, each centred by its own
mean, so that the photo's darkest parts find the painting's.

Shapes: features are `(n, m)`, channels by positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.devices import CPU_INDEX

#: Features of a style that are searched at a layer, at most.
LARGEST_BANK = 8192
#: Bytes of an anchor.
INDEX = 8
#: Features of the picture that are compared with them at once: similarities take 64 MiB, whatever the pictures' sizes.
ROWS = 2048


@dataclass(frozen=True, eq=False)
class FeatureBank:
    """The style's features at a layer, or a sample of them.

    Attributes:
        units: `(n, m)`, centred and of length 1.
        centre: `(n, 1)`, the mean that was subtracted.
        least: centred features shorter than this have no direction.
    """

    units: Tensor
    centre: Tensor
    least: Tensor


def sample(height: int, width: int, mask: Tensor | None = None) -> Tensor:
    """Which positions of a style at a layer are searched, `(h, w)` on the CPU: of many always the same `LARGEST_BANK`.

    Args:
        mask: `(h, w)`; positions that lie at least half within it are searched.
    """
    found = torch.arange(height * width, **CPU_INDEX)
    if mask is not None:
        inside = mask.flatten().cpu()
        found = found[inside >= inside.max() / 2]
    order = torch.randperm(len(found), generator=torch.Generator().manual_seed(0), **CPU_INDEX)
    chosen = torch.zeros(height * width, dtype=torch.bool, device="cpu")
    chosen[found[order[:LARGEST_BANK]]] = True
    return chosen.view(height, width)


def feature_bank(features: Tensor) -> FeatureBank:
    """The features `(n, m)` of a style."""
    centre = features.mean(1, keepdim=True)
    centred = features - centre
    lengths = centred.norm(dim=0)
    least = (1e-4 * lengths.square().mean().sqrt()).clamp_min(1e-12)
    return FeatureBank(centred.div_(lengths.clamp_min(least)), centre, least)


def anchors(features: Tensor, mean: Tensor, bank: FeatureBank) -> Tensor:
    """The index `(m,)` of the bank's feature nearest to each of a photo's, `(n, m)`, whose mean is `(n,)`."""
    return nearest(F.normalize(features - mean[:, None], dim=0, eps=1e-12), bank.units)


def distances(features: Tensor, bank: FeatureBank, anchors: Tensor | None = None) -> Tensor:
    """1 - cos of the angle between each feature and the nearest of the bank's, `(m,)` in [0, 2].

    With anchors, `(m,)`, it is the mean of that and of 1 - cos to the bank's features of these indices. The gradient is
    that of the neighbour chosen: where the choice does not change, neither does the formula.
    """
    centred = features - bank.centre
    units = centred / centred.norm(dim=0).clamp_min(bank.least)
    with torch.no_grad():
        neighbors = bank.units[:, nearest(units, bank.units)]
        if anchors is not None:
            neighbors.add_(bank.units[:, anchors]).div_(2)
    return 1 - (units * neighbors).sum(0)


def nearest(units: Tensor, among: Tensor) -> Tensor:
    """For each column of `units`, `(n, m)`, the index of the column of `among`, `(n, m')`, most similar to it."""
    parts = [(units[:, start : start + ROWS].T @ among).argmax(1) for start in range(0, units.shape[1], ROWS)]
    return torch.cat(parts)
