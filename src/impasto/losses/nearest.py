"""Style as nearest neighbours: every feature of the picture should resemble *some* feature of the style's.

A statistic keeps only a mean over the style's features; this keeps them all. At each position the picture's feature is
compared with the nearest of the style's, by the cosine of the angle between them (Kolkin et al., "Neural neighbor
style transfer", arXiv 2203.13215). We depart from the paper in that both sides are centred by the *style's* mean: with
the picture's own mean a common shift of all its features would not be penalised, and the loss would not be a sum over
positions, which is what makes it exact in tiles.

Shapes: features are `(n, m)`, channels by positions; a mask, where given, is `(m,)` and not negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Similarities are computed in blocks of at most this many rows and columns: 64 MiB, whatever the pictures' sizes.
ROWS, COLUMNS = 2048, 8192


@dataclass(frozen=True, eq=False)
class FeatureBank:
    """The style's features at a layer.

    Attributes:
        units: `(n, m)`, centred and of length 1.
        centre: `(n, 1)`, the mean that was subtracted.
        least: centred features shorter than this have no direction.
    """

    units: Tensor
    centre: Tensor
    least: Tensor


def feature_bank(features: Tensor, mask: Tensor | None = None) -> FeatureBank:
    """The features of a style, those that lie at least half within its mask."""
    if mask is not None:
        features = features[:, mask >= mask.max() / 2]
    centre = features.mean(1, keepdim=True)
    centred = features - centre
    lengths = centred.norm(dim=0)
    least = (1e-4 * lengths.square().mean().sqrt()).clamp_min(1e-12)
    return FeatureBank(centred.div_(lengths.clamp_min(least)), centre, least)


def distances(features: Tensor, bank: FeatureBank) -> Tensor:
    """1 - cos of the angle between each feature and the nearest of the bank's, `(m,)` in [0, 2].

    The gradient is that of the neighbour chosen: where the choice does not change, neither does the formula.
    """
    centred = features - bank.centre
    units = centred / centred.norm(dim=0).clamp_min(bank.least)
    with torch.no_grad():
        chosen = nearest(units, bank.units)
    return 1 - (units * bank.units[:, chosen]).sum(0)


def nearest(units: Tensor, among: Tensor) -> Tensor:
    """For each column of `units`, `(n, m)`, the index of the column of `among`, `(n, m')`, most similar to it.

    Exact, in blocks; of several equally near ones the first.
    """
    chosen = []
    for start in range(0, units.shape[1], ROWS):
        rows = units[:, start : start + ROWS].T
        best = torch.full((len(rows),), -torch.inf, dtype=units.dtype, device=units.device)
        number = torch.zeros(len(rows), dtype=torch.long, device=units.device)
        for offset in range(0, among.shape[1], COLUMNS):
            similarity, index = (rows @ among[:, offset : offset + COLUMNS]).max(1)
            nearer = similarity > best
            best = torch.where(nearer, similarity, best)
            number = torch.where(nearer, index + offset, number)
        chosen.append(number)
    return torch.cat(chosen)
