"""What a picture is judged by: content, style and total variation, as one value and its gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import torch
from torch import Tensor

from impasto import neighbours, regions
from impasto.encoders import Encoder
from impasto.neighbours import Bank
from impasto.regions import Region
from impasto.statistics import STATISTICS, Distance, Phi, StatisticName, Sums, moments

#: What of a style is matched: the mean of a statistic, or the nearest of its features at each position.
StyleName = Literal[StatisticName, "nearest"]
ContentNorm = Literal["half", "course", "relative"]
StyleNorm = Literal["gatys", "relative"]

#: Name -> what the sum of squared differences of one content layer is multiplied by, given the photo's features
#: there, P, `(1, n, h, w)`, and the mean square of the paintings'.
CONTENT_NORMS: dict[ContentNorm, Callable[[Tensor, float], float]] = {
    # 1/2 Σ (F - P)²: Gatys et al. 2016, eq. 1.
    "half": lambda photo, energy: 1 / 2,
    # 1/(4 n_H n_W n_C) Σ (F - P)².
    "course": lambda photo, energy: 1 / (4 * photo.numel()),
    # Σ (F - P)² / Σ P²: 1 is the loss of seeing nothing, at every layer and every size of picture. A soft
    # painting excites the layer less than the photo does, and so must a picture in its style: what the photo
    # has in excess cannot be kept, and the error is measured against what can.
    "relative": lambda photo, energy: 1 / max(photo.numel() * min(photo.square().mean().item(), energy), 1e-12),
}

#: Name -> what one style layer's distance is multiplied by, given itself, the target and channels N.
STYLE_NORMS: dict[StyleNorm, Callable[[Distance, Tensor, int], float]] = {
    # 1/(4N²) of the distance between *means* over positions. With Gram matrices and as many positions M in
    # both pictures that is Gatys's 1/(4N²M²) Σ (G - A)² (eq. 4), which is also the course's
    # 1/(2 n_H n_W n_C)² Σ (G_S - G_G)²; and it keeps its meaning where the sizes differ.
    "gatys": lambda distance, target, channels: 1 / (4 * channels**2),
    # The distance over the target's own distance from nothing: about 1 at every layer for every style.
    "relative": lambda distance, target, channels: 1 / max(distance(torch.zeros_like(target)).item(), 1e-12),
}


@dataclass(frozen=True, eq=False)
class Content:
    """weight * Σ (F - target)² at one layer; `target` is `(1, n, h, w)`."""

    layer: str
    target: Tensor
    weight: float

    @property
    def name(self) -> str:
        """What the term is called among others."""
        return f"content {self.layer}"

    def __call__(self, features: Tensor) -> Tensor:
        """The term's value, a scalar, at features `(1, n, h, w)` of its layer."""
        return self.weight * (features - self.target).square().sum()


@dataclass(frozen=True, eq=False)
class Style:
    """weight * distance(S(F)) at one layer, S the mean of `sums` over its positions, each counted by `where`.

    Attributes:
        where: `(m,)`, the region's weight at each position; None for the whole picture.
        region: its name.
    """

    layer: str
    sums: Phi
    distance: Distance
    weight: float
    where: Tensor | None = None
    region: str = ""

    @property
    def name(self) -> str:
        """What the term is called among others."""
        return _name(self.layer, self.region)

    def __call__(self, features: Tensor) -> Tensor:
        """The term's value, a scalar, at features `(1, n, h, w)` of its layer."""
        return self.weight * self.distance(self.sums(positions_of(features), self.where).mean)


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

    def __call__(self, features: Tensor) -> Tensor:
        """The term's value, a scalar, at features `(1, n, h, w)` of its layer."""
        found = torch.stack(
            [share * neighbours.distances(positions_of(features), bank) for bank, share in self.banks]
        ).sum(0)
        mean = found.mean() if self.where is None else (found * self.where).sum() / self.where.sum()
        return self.weight * mean


Term = Content | Style | Nearest
AnyTerm = TypeVar("AnyTerm", bound=Term)


def _name(layer: str, region: str) -> str:
    return f"style {layer}" + (f" in {region}" if region else "")


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

    Attributes:
        parts: content and style terms.
        total_variation: its weight.
        view: makes of what is optimised, `(1, 3, h, w)`, the image that is judged: the same, or one that is grey, or
            one in which some pixels are given.
    """

    encoder: Encoder
    parts: Sequence[Term]
    total_variation: float = 0.0
    view: Callable[[Tensor], Tensor] = lambda image: image
    taps: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        object.__setattr__(self, "taps", frozenset(term.layer for term in self.parts))

    def terms(self, image: Tensor) -> dict[str, Tensor]:
        """Each term's weighted value, a scalar tensor, at an image `(1, 3, h, w)` in [0, 1]."""
        terms: dict[str, Tensor] = {}
        for layer, features in self.encoder.walk(image, self.taps):
            terms |= {term.name: term(features) for term in self.parts if term.layer == layer}
        if self.total_variation:
            terms["total variation"] = self.total_variation * total_variation(image)
        return terms

    def value_and_grad(self, canvas: Tensor) -> Evaluation:
        """The objective and its gradient at what is optimised, `(1, 3, h, w)`, sRGB in [0, 1]."""
        canvas = canvas.detach().requires_grad_()
        terms = self.terms(self.view(canvas))
        total = torch.stack(list(terms.values())).sum()
        (gradient,) = torch.autograd.grad(total, canvas)
        values = {name: value.item() for name, value in terms.items()}
        return Evaluation(sum(values.values()), values, gradient)


def positions_of(features: Tensor) -> Tensor:
    """`(1, n, h, w)` as the `(n, m)` that statistics take: a view, and so is its gradient."""
    return features.flatten(2).squeeze(0)


def total_variation(image: Tensor) -> Tensor:
    """Mean over pixels of the squared differences to the right and lower neighbours.

    The total variation of Mahendran & Vedaldi (arXiv 1412.0035, eq. 3) with β = 2, per pixel.
    """
    right = (image[..., 1:] - image[..., :-1]).square().sum()
    down = (image[..., 1:, :] - image[..., :-1, :]).square().sum()
    return (right + down) / (image.shape[-2] * image.shape[-1])


# -- terms and their targets: all of weight 1, for `weighed` to weigh --------------------------------------


def content_terms(
    photo: Mapping[str, Tensor], norm: ContentNorm, energy: Mapping[str, float] | None = None
) -> tuple[Content, ...]:
    """Content terms, one per layer, whose targets are the features of a photo there, `(1, n, h, w)`.

    `energy` is the mean square of the paintings' features at each layer, which tells `relative` what can be kept.
    """
    return tuple(
        Content(layer, target, CONTENT_NORMS[norm](target, energy[layer] if energy else float("inf")))
        for layer, target in photo.items()
    )


def style_terms(
    encoder: Encoder,
    region: Region,
    layers: Collection[str],
    norm: StyleNorm = "relative",
    statistic: StyleName = "gram",
    seed: int = 0,
    measured: Collection[str] = (),
) -> tuple[tuple[Style | Nearest, ...], dict[str, float]]:
    """Style terms whose target are the sources of a region, one per layer; and the energy of these there.

    Several sources are one distribution, of which each makes up its share: the mean of a statistic over them is
    the weighted mean of theirs. For the nearest neighbours, which have no mean, the distances are averaged. A
    term counts as much as its region covers, so that a pixel is pulled alike in large and in small ones.

    Args:
        region: at the size of one scale, on the encoder's device.
        norm: how a term is scaled; the angles of `nearest` need none.
        measured: layers at which the sources' mean square is returned.

    Returns:
        The terms, of weight 1, without layers at which the region or all of its sources vanish; and layer ->
        mean square of the sources' features.
    """
    terms: list[Style | Nearest] = []
    energy: dict[str, float] = {}
    taps = {*layers, *measured}
    if encoder.padding == "circular":  # it is the picture that tiles, not what its style comes from
        encoder = dataclasses.replace(encoder, padding="replicate")
    with torch.no_grad():
        for layers_there in zip(*(encoder.walk(source.image[None], taps) for source in region.sources), strict=True):
            layer = layers_there[0][0]
            stride = encoder.layers[encoder.depth(layer)].stride
            seen = [
                (positions_of(features), regions.positions(source.where, stride), source.weight)
                for source, (_, features) in zip(region.sources, layers_there, strict=True)
                if regions.covers(source.where, stride)
            ]
            if layer in measured:
                squares = [(_mean_square(f, w), share) for f, w, share in seen]
                energy[layer] = sum(s * share for s, share in squares) / max(
                    sum(share for _, share in squares), 1e-12
                )
            if layer not in layers or not seen or not regions.covers(region.where, stride):
                continue
            where = regions.positions(region.where, stride)
            if statistic == "nearest":
                banks = tuple((neighbours.bank(f, w), share) for f, w, share in seen)
                terms.append(Nearest(layer, banks, region.share, where, region.name))
                continue
            chosen = STATISTICS[statistic](_blend([(moments(f, w), share) for f, w, share in seen]), seed)
            target = _blend([(chosen.sums(f, w), share) for f, w, share in seen]).mean
            distance = chosen.distance_to(target)
            scale = STYLE_NORMS[norm](distance, target, len(seen[0][0]))
            terms.append(Style(layer, chosen.sums, distance, region.share * scale, where, region.name))
    return tuple(terms), energy


def _blend(parts: Sequence[tuple[Sums, float]]) -> Sums:
    """Sums whose mean is the weighted mean of the parts' means."""
    total = sum(share * sums.mean for sums, share in parts)
    assert isinstance(total, Tensor)
    return Sums(total, total.new_tensor(sum(share for _, share in parts)))


def _mean_square(features: Tensor, weights: Tensor | None) -> float:
    square = features.square().mean(0)
    return (square.mean() if weights is None else (square * weights).sum() / weights.sum()).item()


def weighed(terms: Sequence[AnyTerm], layers: Mapping[str, float], weight: float) -> tuple[AnyTerm, ...]:
    """The same terms, their weights multiplied by `weight` and their layer's own."""
    return tuple(
        dataclasses.replace(term, weight=term.weight * weight * layers[term.layer])
        for term in terms
        if weight * layers[term.layer]
    )
