"""Loss terms: what is compared at one layer, and the contract that each of them keeps.

A loss at a layer is a class with the methods of `LossTerm`. `Objective` asks nothing else of it, so that a new one runs
whole, in tiles and on many machines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from impasto.losses import nearest
from impasto.losses.nearest import FeatureBank
from impasto.losses.statistics import Distance, Phi, Sums

#: Numbers of a layer that a term processes at once, so that its temporaries are small beside the layers.
CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class Positions:
    """Some positions of a layer: those that a tile owns, or the rows of a worker.

    Attributes:
        rows, columns: of the whole layer.
        photo: `(1, n, h, w)`, the photo's features there, for terms that read them.
    """

    rows: slice
    columns: slice
    photo: Tensor | None = None

    def of(self, whole: Tensor | None) -> Tensor | None:
        """These positions of `(…, h, w)`; None stays None."""
        return None if whole is None else whole[..., self.rows, self.columns]


class LossTerm(Protocol):
    """A loss at one layer, as a sum over positions or as a function of such sums.

    A class of your own may inherit from this one, for the defaults.

    Attributes:
        layer: whose features it reads.
        name: by which its value is reported, unique among the terms.
        is_local: whether it is a sum of one number for each position, which needs no `reduce` and `finish`.
        reads_photo: whether it needs the photo's features at its positions.
    """

    layer: str
    is_local: ClassVar[bool] = False

    @property
    def name(self) -> str: ...

    @property
    def reads_photo(self) -> bool:
        return False

    def restricted_to(self, positions: Positions) -> LossTerm:
        """The same term for some positions: whatever it holds for each position, cut to them."""
        return self

    def reduce(self, features: Tensor) -> Sums:
        """The sums over the features `(1, n, h, w)` of its positions. Sums over the parts of a picture add."""
        raise TypeError(f"{self.name} is a local loss, which has no sums")

    def finish(self, sums: Sums) -> tuple[float, Tensor]:
        """The value, given the sums over the whole picture, and d value / d sums."""
        raise TypeError(f"{self.name} is a local loss, which has no sums")

    def accumulate_grad(self, features: Tensor, grad_sums: Tensor | None, grad: Tensor) -> float:
        """Add d value / d features to `grad`, both `(1, n, h, w)`, given d value / d sums (None for a local loss).

        Returns:
            The part of a local loss that these positions make up; 0 for others, whose value `finish` gives.
        """
        ...


@dataclass(frozen=True, eq=False)
class ContentLoss(LossTerm):
    """weight * Σ m (F - target)² at one layer, m the mask.

    Attributes:
        target: `(1, n, h, w)`; None to compare with the photo's features, computed again for every evaluation.
        mask: `(h, w)`, what each position counts; None for all alike.
    """

    layer: str
    target: Tensor | None
    weight: float
    mask: Tensor | None = None
    is_local: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return f"content {self.layer}"

    @property
    def reads_photo(self) -> bool:
        return self.target is None

    def restricted_to(self, positions: Positions) -> ContentLoss:
        target = positions.photo if self.target is None else positions.of(self.target)
        return dataclasses.replace(self, target=target, mask=positions.of(self.mask))

    def accumulate_grad(self, features: Tensor, grad_sums: Tensor | None, grad: Tensor) -> float:
        assert self.target is not None
        values = []
        for part, target, mask, own in row_chunks(features, self.target, self.mask, grad):
            error = part - target
            weighted = error if mask is None else error * mask
            own.add_(weighted, alpha=2 * self.weight)
            values.append(error.mul_(weighted).sum())
        return self.weight * sum(value.item() for value in values)


@dataclass(frozen=True, eq=False)
class StyleLoss(LossTerm):
    """weight * distance(S(F)) at one layer, S the mean of `phi` over its positions, weighted by the mask.

    Attributes:
        mask: `(h, w)`, the region's weight at each position; None for the whole picture.
        region: its name.
    """

    layer: str
    phi: Phi
    distance: Distance
    weight: float
    mask: Tensor | None = None
    region: str = ""

    @property
    def name(self) -> str:
        return _style_name(self.layer, self.region)

    def restricted_to(self, positions: Positions) -> StyleLoss:
        return dataclasses.replace(self, mask=positions.of(self.mask))

    def reduce(self, features: Tensor) -> Sums:
        return reduce(add, (self.phi.reduce(*flat(*part)) for part in row_chunks(features, self.mask)))

    def finish(self, sums: Sums) -> tuple[float, Tensor]:
        with torch.enable_grad():
            total = sums.total.detach().requires_grad_()
            value = self.weight * self.distance(total / sums.weight_sum)
            (grad_sums,) = torch.autograd.grad(value, total)
        return value.item(), grad_sums

    def accumulate_grad(self, features: Tensor, grad_sums: Tensor | None, grad: Tensor) -> float:
        assert grad_sums is not None
        for part, mask, own in row_chunks(features, self.mask, grad):
            positions = as_matrix(own)
            self.phi.accumulate_grad(*flat(part, mask), grad_sums, positions)
            if positions.data_ptr() != own.data_ptr():  # not contiguous: that was a copy
                own.copy_(positions.view(own.shape))
        return 0.0


@dataclass(frozen=True, eq=False)
class NearestNeighborLoss(LossTerm):
    """weight * the mean over positions of 1 - cos to the nearest feature of a style, at one layer.

    Attributes:
        banks: (features of a style, its share) pairs.
        anchors: for each bank, the features that the photo chose of it, `(h, w)`, see `nearest.anchors`; or none.
        weight_sum: the sum of the mask over the whole picture, or the number of all positions.
        mask, region: as in `StyleLoss`.
    """

    layer: str
    banks: tuple[tuple[FeatureBank, float], ...]
    weight: float
    weight_sum: float
    mask: Tensor | None = None
    region: str = ""
    anchors: tuple[Tensor, ...] = ()
    is_local: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return _style_name(self.layer, self.region)

    def restricted_to(self, positions: Positions) -> NearestNeighborLoss:
        anchors = tuple(whole[..., positions.rows, positions.columns] for whole in self.anchors)
        return dataclasses.replace(self, mask=positions.of(self.mask), anchors=anchors)

    def accumulate_grad(self, features: Tensor, grad_sums: Tensor | None, grad: Tensor) -> float:
        values = []
        anchors = self.anchors or (None,) * len(self.banks)
        for part, mask, own, *chosen in row_chunks(features, self.mask, grad, *anchors):
            with torch.enable_grad():
                x = part.detach().requires_grad_()
                positions, weights = flat(x, mask)
                distances = [
                    share * nearest.distances(positions, bank, None if indices is None else indices.flatten())
                    for (bank, share), indices in zip(self.banks, chosen, strict=True)
                ]
                total = torch.stack(distances).sum(0)
                value = self.weight / self.weight_sum * (total if weights is None else total * weights).sum()
                own.add_(torch.autograd.grad(value, x)[0])
            values.append(value.detach())
        return sum(value.item() for value in values)


def _style_name(layer: str, region: str) -> str:
    return f"style {layer}" + (f" in {region}" if region else "")


# -- losses of pixels ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TotalVariation:
    """weight * the mean over pixels of the squared differences to the right and lower neighbours.

    Mahendran & Vedaldi (arXiv 1412.0035, eq. 3) with β = 2, per pixel.

    Attributes:
        wraps: whether the neighbours of the last row and column are the first ones, as in a seamless texture.
    """

    weight: float
    wraps: bool = False
    name: ClassVar[str] = "total variation"

    def accumulate_grad(self, image: Tensor, grad: Tensor, band: int = 256) -> float:
        """The value at an image `(1, 3, h, w)`; its gradient is added to `grad`.

        By bands of rows: the differences of a large picture are two more of its size.
        """
        height, width = image.shape[-2:]
        value = sum(
            self.accumulate_rows(image, grad, start, min(start + band, height), (height, width))
            for start in range(0, height, band)
        )
        factor = self.weight / (height * width)
        for dim in (-2, -1) if self.wraps else ():
            step = image.select(dim, 0) - image.select(dim, -1)
            grad.select(dim, 0).add_(step, alpha=2 * factor)
            grad.select(dim, -1).sub_(step, alpha=2 * factor)
            value += factor * step.square().sum().item()
        return value

    def accumulate_rows(self, image: Tensor, grad: Tensor, start: int, stop: int, size: tuple[int, int]) -> float:
        """The part of rows `start` to `stop`, of a picture of `size` whose rows from some on are in `image`."""
        factor = self.weight / (size[0] * size[1])
        rows, part = image[..., start : stop + 1, :], grad[..., start : stop + 1, :]
        down = rows.diff(dim=-2)
        right = rows[..., : stop - start, :].diff(dim=-1)
        part[..., 1:, :].add_(down, alpha=2 * factor)
        part[..., : down.shape[-2], :].sub_(down, alpha=2 * factor)
        part[..., : right.shape[-2], 1:].add_(right, alpha=2 * factor)
        part[..., : right.shape[-2], :-1].sub_(right, alpha=2 * factor)
        value: float = factor * (right.square().sum().item() + down.square().sum().item())
        return value


@dataclass(frozen=True, eq=False)
class TemporalLoss:
    """weight * the mean over pixels and channels of trust * (canvas - image)²: holds a frame near the one before.

    Ruder et al. (arXiv 1604.08610, eq. 7).

    Attributes:
        image: `(1, 3, h, w)`, sRGB in [0, 1].
        trust: `(h, w)` in [0, 1].
        start: `(3, h, w)`, what the frame is optimised from.
    """

    image: Tensor
    trust: Tensor
    weight: float
    start: Tensor
    name: ClassVar[str] = "temporal"

    def to(self, device: torch.device) -> TemporalLoss:
        """The same loss on a device."""
        return TemporalLoss(self.image.to(device), self.trust.to(device), self.weight, self.start.to(device))

    def accumulate_grad(self, canvas: Tensor, grad: Tensor) -> float:
        """The value at a canvas `(1, 3, h, w)`; its gradient is added to `grad`."""
        factor = self.weight / canvas.numel()
        error = canvas - self.image
        trusted = error * self.trust
        grad.add_(trusted, alpha=2 * factor)
        return factor * (trusted * error).sum().item()


# -- shapes --------------------------------------------------------------------------------------------------


def row_chunks(features: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """The same rows of features `(1, n, h, w)` and of others `(…, h, w)`, `CHUNK` numbers at a time."""
    _, channels, height, width = features.shape
    count = max(1, CHUNK // (channels * width))
    for start in range(0, height, count):
        rows = slice(start, start + count)
        yield tuple(None if each is None else each[..., rows, :] for each in (features, *others))


def flat(features: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Features `(1, n, h, w)` and a mask `(h, w)` as the `(n, m)` and `(m,)` that statistics take."""
    return as_matrix(features), None if mask is None else mask.flatten()


def as_matrix(features: Tensor) -> Tensor:
    """`(1, n, h, w)` as `(n, m)`: a view where the memory layout allows it."""
    return features.flatten(2).squeeze(0)
