"""What a picture is judged by: content, style and total variation, as one value and its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from impasto.losses import nearest
from impasto.losses.nearest import Bank
from impasto.losses.statistics import Distance, Phi, Sums
from impasto.vgg.encoder import Encoder, Pull
from impasto.vgg.tiling import Tile, walk, whole
from impasto.vgg.workspace import Room

#: Numbers of a layer that terms look at at once, so that what they compute of them is small beside the layers.
STRIP = 1 << 20


@dataclass(frozen=True, eq=False)
class Content:
    """weight * Σ (F - target)² at one layer.

    Attributes:
        target: `(1, n, h, w)`; None if it is to be computed from the photo whenever it is needed, tile by tile.
    """

    layer: str
    target: Tensor | None
    weight: float

    @property
    def name(self) -> str:
        """What the term is called among others."""
        return f"content {self.layer}"

    def pull(self, features: Tensor, target: Tensor, gradient: Tensor) -> float:
        """The part of the term that features `(1, n, h, w)` and their target make up: a sum over positions.

        Its gradient is added to `gradient`, of the features' shape.
        """
        values = []
        for seen, wanted, own in strips(features, target, gradient):
            error = seen - wanted
            own.add_(error, alpha=2 * self.weight)
            values.append(error.square_().sum())
        return self.weight * sum(value.item() for value in values)


@dataclass(frozen=True, eq=False)
class Style:
    """weight * distance(S(F)) at one layer, S the mean of `phi` over its positions, each counted by `where`.

    Attributes:
        where: `(h, w)`, the region's weight at each position; None for the whole picture.
        region: its name.
    """

    layer: str
    phi: Phi
    distance: Distance
    weight: float
    where: Tensor | None = None
    region: str = ""

    @property
    def name(self) -> str:
        """What the term is called among others."""
        return _name(self.layer, self.region)

    def sums(self, features: Tensor, where: Tensor | None) -> Sums:
        """The sums over features `(1, n, h, w)`, whose weights are `(h, w)`: those of parts add."""
        return reduce(add, (self.phi.sums(*part) for part in map(flat, strips(features, where))))

    def slope(self, sums: Sums) -> tuple[float, Tensor]:
        """The term's value, given the sums over the whole picture, and d value / d total."""
        with torch.enable_grad():
            total = sums.total.detach().requires_grad_()
            value = self.weight * self.distance(total / sums.mass)
            (slope,) = torch.autograd.grad(value, total)
        return value.item(), slope

    def pull(self, features: Tensor, where: Tensor | None, slope: Tensor, gradient: Tensor) -> None:
        """Add to `gradient`, of the shape `(1, n, h, w)` of the features, theirs, given that of the sums."""
        for seen, weights, own in strips(features, where, gradient):
            positions = positions_of(own)
            self.phi.pull(*flat((seen, weights)), slope, positions)
            if positions.data_ptr() != own.data_ptr():  # a part of a larger one: that was a copy
                own.copy_(positions.view(own.shape))


@dataclass(frozen=True, eq=False)
class Nearest:
    """weight * the mean over positions of 1 - cos to the nearest feature of a style, at one layer.

    Attributes:
        banks: (features of a style, its share) pairs.
        where, region: as in `Style`.
    """

    layer: str
    banks: tuple[tuple[Bank, float], ...]
    weight: float
    where: Tensor | None = None
    region: str = ""

    @property
    def name(self) -> str:
        """What the term is called among others."""
        return _name(self.layer, self.region)

    def pull(self, features: Tensor, where: Tensor | None, mass: float, gradient: Tensor) -> float:
        """The part of the term that features `(1, n, h, w)` make up, of the whole picture's mass: a sum.

        Its gradient is added to `gradient`, of the features' shape.
        """
        values = []
        for part, inside, own in strips(features, where, gradient):
            with torch.enable_grad():
                seen = part.detach().requires_grad_()
                positions, weights = flat((seen, inside))
                far = [share * nearest.distances(positions, bank) for bank, share in self.banks]
                found = torch.stack(far).sum(0)
                value = self.weight / mass * (found.sum() if weights is None else (found * weights).sum())
                own.add_(torch.autograd.grad(value, seen)[0])
            values.append(value.detach())
        return sum(value.item() for value in values)


Term = Content | Style | Nearest


def _name(layer: str, region: str) -> str:
    return f"style {layer}" + (f" in {region}" if region else "")


@dataclass(frozen=True, eq=False)
class View:
    """What of a canvas is looked at: by itself all of it.

    Attributes:
        grey: only the mean of the three channels.
        photo, keep: `(1, 3, h, w)` and `(h, w)`: where `keep` is 1, the photo.
    """

    grey: bool = False
    photo: Tensor | None = None
    keep: Tensor | None = None

    def __call__(self, canvas: Tensor) -> Tensor:
        """The image that is judged, `(1, 3, h, w)`."""
        if self.grey:
            canvas = canvas.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        if self.keep is None or self.photo is None:
            return canvas
        return canvas.lerp(self.photo, self.keep)

    def back(self, gradient: Tensor) -> Tensor:
        """The canvas's gradient, given the image's."""
        if self.keep is not None:
            gradient = gradient * (1 - self.keep)
        if self.grey:
            gradient = gradient.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
        return gradient


@dataclass(frozen=True, eq=False)
class Anchor:
    """weight * the mean over pixels and channels of trust * (canvas - image)²: what a frame of a clip is kept near.

    Ruder et al. (arXiv 1604.08610, eq. 7).

    Attributes:
        image: `(1, 3, h, w)`, sRGB in [0, 1].
        trust: `(h, w)` in [0, 1].
        begin: where to start from, as `image`, if not there.
    """

    image: Tensor
    trust: Tensor
    weight: float
    begin: Tensor | None = None

    @property
    def start(self) -> Tensor:
        """Where to start from, `(3, h, w)`."""
        return (self.image if self.begin is None else self.begin)[0]

    def to(self, device: torch.device) -> Anchor:
        """The same on a device."""
        begin = None if self.begin is None else self.begin.to(device)
        return Anchor(self.image.to(device), self.trust.to(device), self.weight, begin)

    def add(self, canvas: Tensor, gradient: Tensor) -> float:
        """The term's value at a canvas `(1, 3, h, w)`; its gradient is added to `gradient`."""
        factor = self.weight / canvas.numel()
        error = canvas - self.image
        pull = error * self.trust
        gradient.add_(pull, alpha=2 * factor)
        return factor * (pull * error).sum().item()


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The objective at one picture.

    Attributes:
        loss: the value that is minimised, the sum of `terms`.
        terms: each term's weighted value, by name: `content relu4_2`, `style relu1_1`, `total variation`.
        gradient: d loss / d image, in the image's shape.
    """

    loss: float
    terms: Mapping[str, float]
    gradient: Tensor


@dataclass(frozen=True, eq=False)
class Objective:
    """alpha * content + beta * style + total variation, as a function of the image.

    Evaluated whole, or tile by tile in memory that depends on the tiles alone: sums over positions add, so that value
    and gradient are the same but for rounding. In tiles, every position is seen twice: first without a gradient,
    for the sums S over the whole picture; then, with d distance / d S known, once more for the gradient.

    Attributes:
        parts: content and style terms.
        total_variation: its weight.
        view: what of the canvas is judged.
        tiles: how the picture is divided; empty for not at all.
        photo: `(1, 3, h, w)`, for content terms that keep no target.
        anchor: what the canvas is kept near, if anything.
        room: memory for evaluating it.
    """

    encoder: Encoder
    parts: Sequence[Term]
    total_variation: float = 0.0
    view: View = View()
    tiles: Sequence[Tile] = ()
    photo: Tensor | None = None
    anchor: Anchor | None = None
    room: Room = field(default_factory=Room)

    @property
    def taps(self) -> frozenset[str]:
        """The layers that are looked at."""
        return frozenset(term.layer for term in self.parts)

    @torch.no_grad()
    def value_and_grad(self, canvas: Tensor) -> Evaluation:
        """The objective and its gradient at what is optimised, `(1, 3, h, w)`, sRGB in [0, 1]."""
        image = self.view(canvas)
        values, slopes = self.slopes(self.sums(image)) if self.tiles else ({}, {})
        gradient = self.pull(image, values, slopes)
        if self.total_variation:
            circular = self.encoder.padding == "circular"
            values["total variation"] = add_total_variation(image, gradient, self.total_variation, circular)
        gradient = self.view.back(gradient)
        if self.anchor is not None:
            values["temporal"] = self.anchor.add(canvas, gradient)
        values = self.in_order(values)
        return Evaluation(sum(values.values()), values, gradient)

    def in_order(self, values: Mapping[str, float]) -> dict[str, float]:
        """Terms' values in the order of the terms, whichever pass they came from."""
        order = [term.name for term in self.parts if term.name in values]
        return {name: values[name] for name in [*order, *values]}

    def sums(self, image: Tensor) -> dict[str, Sums]:
        """The style terms' sums over all tiles, by name: the first pass."""
        styles = [term for term in self.parts if isinstance(term, Style)]
        sums: dict[str, Sums] = {}
        taps = {term.layer for term in styles}
        for tile, layer, features in walk(self.encoder, image, taps, self.tiles, self.room):
            stride = self.encoder.stride(layer)
            for term in styles:
                if term.layer == layer:
                    where = None if term.where is None else tile.owned(term.where, stride)
                    part = term.sums(features, where)
                    sums[term.name] = sums[term.name] + part if term.name in sums else part
        return sums

    def slopes(self, sums: Mapping[str, Sums]) -> tuple[dict[str, float], dict[str, Tensor]]:
        """The style terms' values, and d value / d sums, by name."""
        found = {term.name: term.slope(sums[term.name]) for term in self.parts if isinstance(term, Style)}
        values = {name: value for name, (value, _) in found.items()}
        return values, {name: slope for name, (_, slope) in found.items()}

    def pull(self, image: Tensor, values: dict[str, float], slopes: Mapping[str, Tensor]) -> Tensor:
        """The gradient of all terms by the image, tile after tile: the second pass; fills in the values not known."""
        height, width = image.shape[-2:]
        gradient = torch.zeros(image.shape, dtype=image.dtype, device=image.device)
        for tile in self.tiles or (whole(height, width),) if self.parts else ():
            pull = self._pull(tile, (height, width), values, slopes)
            tile.add(gradient, self.encoder.gradient(tile.window(image), self.taps, pull, self.room))
        if self.tiles:  # the whole picture may need it more
            self.room.clear()
        return gradient

    def _pull(
        self, tile: Tile, size: tuple[int, int], values: dict[str, float], slopes: Mapping[str, Tensor]
    ) -> Pull:
        """Adds up what a tile makes of each term, and the gradient; of terms that have a slope already, only this."""
        targets = self._targets(tile)

        def pull(layer: str, seen: Tensor, back: Tensor) -> None:
            stride = self.encoder.stride(layer)
            features, gradient = tile.inside(seen, stride), tile.inside(back, stride)
            for term in [term for term in self.parts if term.layer == layer]:
                if isinstance(term, Content):
                    target = targets[layer] if term.target is None else tile.owned(term.target, stride)
                    value = term.pull(features, target, gradient)
                    values[term.name] = values.get(term.name, 0.0) + value
                    continue
                where = None if term.where is None else tile.owned(term.where, stride)
                if isinstance(term, Nearest):
                    mass = (
                        (size[0] // stride) * (size[1] // stride) if term.where is None else term.where.sum().item()
                    )
                    value = term.pull(features, where, mass, gradient)
                    values[term.name] = values.get(term.name, 0.0) + value
                    continue
                if (slope := slopes.get(term.name)) is None:
                    values[term.name], slope = term.slope(term.sums(features, where))
                term.pull(features, where, slope, gradient)

        return pull

    def _targets(self, tile: Tile) -> dict[str, Tensor]:
        """The features of the photo that a tile owns, for content terms that do not keep them."""
        layers = {term.layer for term in self.parts if isinstance(term, Content) and term.target is None}
        if not layers:
            return {}
        if self.photo is None:
            raise ValueError("content terms without a target need the photo")
        found = walk(self.encoder, self.photo, layers, [tile], self.room)
        return {layer: features.clone() for _, layer, features in found}


def strips(features: Tensor, *others: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """The same rows of features `(1, n, h, w)` and others `(…, h, w)`, some at a time."""
    _, channels, height, width = features.shape
    count = max(1, STRIP // (channels * width))
    for start in range(0, height, count):
        rows = slice(start, start + count)
        yield tuple(None if each is None else each[..., rows, :] for each in (features, *others))


def flat(part: tuple[Tensor, Tensor | None]) -> tuple[Tensor, Tensor | None]:
    """Features `(1, n, h, w)` and weights `(h, w)` as statistics take them."""
    features, weights = part
    return positions_of(features), None if weights is None else weights.flatten()


def positions_of(features: Tensor) -> Tensor:
    """`(1, n, h, w)` as the `(n, m)` that statistics take: a view where it can be, and so is its gradient."""
    return features.flatten(2).squeeze(0)


def add_total_variation(
    image: Tensor, gradient: Tensor, weight: float, circular: bool = False, band: int = 256
) -> float:
    """The weighted total variation of an image, `(1, 3, h, w)`; its gradient is added to `gradient`.

    The mean over pixels of the squared differences to the right and lower neighbours: Mahendran & Vedaldi (arXiv
    1412.0035, eq. 3) with β = 2, per pixel. By bands of rows, since the differences of a large picture are two more
    of its size. In a `circular` image the neighbours of the last row and column are the first ones.
    """
    height, width = image.shape[-2:]
    factor = weight / (height * width)
    value = sum(
        add_variation(image, gradient, start, min(start + band, height), factor) for start in range(0, height, band)
    )
    for dim in (-2, -1) if circular else ():
        step = image.select(dim, 0) - image.select(dim, -1)
        gradient.select(dim, 0).add_(step, alpha=2 * factor)
        gradient.select(dim, -1).sub_(step, alpha=2 * factor)
        value += factor * step.square().sum().item()
    return value


def add_variation(image: Tensor, gradient: Tensor, start: int, stop: int, factor: float) -> float:
    """`factor` times the squared differences of rows `start` to `stop` to their right and lower neighbours."""
    rows, part = image[..., start : stop + 1, :], gradient[..., start : stop + 1, :]
    down = rows.diff(dim=-2)
    right = rows[..., : stop - start, :].diff(dim=-1)
    part[..., 1:, :].add_(down, alpha=2 * factor)
    part[..., : down.shape[-2], :].sub_(down, alpha=2 * factor)
    part[..., : right.shape[-2], 1:].add_(right, alpha=2 * factor)
    part[..., : right.shape[-2], :-1].sub_(right, alpha=2 * factor)
    value: float = factor * (right.square().sum().item() + down.square().sum().item())
    return value
