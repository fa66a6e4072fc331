"""What the terms of an objective aim at, measured on the photo and on the paintings.

Terms are made with weight 1; `weighed` weighs them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor

from impasto.images import regions
from impasto.images.regions import Region, Source
from impasto.losses import nearest
from impasto.losses.nearest import Bank
from impasto.losses.objective import Content, Nearest, Style, Term, flat, strips
from impasto.losses.statistics import MOMENTS, STATISTICS, Distance, Phi, StatisticName, Sums
from impasto.vgg.encoder import Encoder
from impasto.vgg.tiling import Tile, divide, walk, whole

#: What of a style is matched: the mean of a statistic, or the nearest of its features at each position.
StyleName = Literal[StatisticName, "nearest"]
ContentNorm = Literal["half", "course", "relative"]
StyleNorm = Literal["gatys", "relative"]

AnyTerm = TypeVar("AnyTerm", bound=Term)

#: Name -> what the sum of squared differences of one content layer is multiplied by, given how many numbers it has
#: and the mean of their squares.
CONTENT_NORMS: dict[ContentNorm, Callable[[int, float], float]] = {
    # 1/2 Σ (F - P)²: Gatys et al. 2016, eq. 1.
    "half": lambda count, energy: 1 / 2,
    # 1/(4 n_H n_W n_C) Σ (F - P)².
    "course": lambda count, energy: 1 / (4 * count),
    # Σ (F - P)² / Σ P²: 1 is the loss of seeing nothing, at every layer and every size of picture. A soft
    # painting excites the layer less than the photo does, and so must a picture in its style: what the photo
    # has in excess cannot be kept, and the error is measured against what can.
    "relative": lambda count, energy: 1 / max(count * energy, 1e-12),
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
class Sight:
    """A photo at one layer.

    Attributes:
        features: `(1, n, h, w)`; None where they are not kept.
        count: how many numbers they are.
        energy: the mean of their squares.
    """

    features: Tensor | None
    count: int
    energy: float


def look_at(
    encoder: Encoder, photo: Tensor, layers: Collection[str], tiles: Sequence[Tile] = (), keep: bool = True
) -> dict[str, Sight]:
    """What `layers` see of a photo, `(1, 3, h, w)`; in tiles, if there are any.

    Features that are not to be kept, content terms compute anew whenever they need them.
    """
    height, width = photo.shape[-2:]
    sights: dict[str, Sight] = {}
    with torch.no_grad():
        for tile, layer, features in walk(encoder, photo, layers, tiles or [whole(height, width)]):
            before = sights.get(layer, Sight(None, 0, 0.0))
            count = before.count + features.numel()
            energy = (before.energy * before.count + features.square().sum().item()) / count
            kept = features if keep and not tiles else before.features
            if keep and tiles:
                stride = encoder.stride(layer)
                if kept is None:
                    kept = features.new_empty(*features.shape[:2], height // stride, width // stride)
                tile.owned(kept, stride).copy_(features)
            sights[layer] = Sight(kept, count, energy)
    return sights


def content_terms(
    photo: Mapping[str, Sight], norm: ContentNorm, energy: Mapping[str, float] | None = None
) -> tuple[Content, ...]:
    """Content terms whose targets are what layers see of a photo, one for each.

    `energy` is the mean square of the paintings' features at each layer, which tells `relative` what can be kept.
    """
    return tuple(
        Content(
            layer,
            sight.features,
            CONTENT_NORMS[norm](sight.count, min(sight.energy, energy[layer] if energy else math.inf)),
        )
        for layer, sight in photo.items()
    )


def style_terms(
    encoder: Encoder,
    region: Region,
    layers: Collection[str],
    norm: StyleNorm = "relative",
    statistic: StyleName = "gram",
    seed: int = 0,
    measured: Collection[str] = (),
    window: int = 1 << 30,
) -> tuple[tuple[Style | Nearest, ...], dict[str, float]]:
    """Style terms whose target are the sources of a region, one per layer; and the energy of these there.

    Several sources are one distribution, of which each makes up its share: the mean of a statistic over them is
    the weighted mean of theirs. For the nearest neighbours, which have no mean, the distances are averaged. A
    term counts as much as its region covers, so that a pixel is pulled alike in large and in small ones.

    Args:
        region: at the size of one scale, on the encoder's device.
        norm: how a term is scaled; the angles of `nearest` need none.
        measured: layers at which the sources' mean square is returned.
        window: pixels that may be evaluated at once; to look at a source takes half the memory.

    Returns:
        The terms, of weight 1, without layers at which the region or all of its sources vanish; and layer ->
        mean square of the sources' features, infinite where all of them vanish.
    """
    if encoder.padding == "circular":  # it is the picture that tiles, not what its style comes from
        encoder = dataclasses.replace(encoder, padding="replicate")
    looks = [_Look(encoder, source, window) for source in region.sources]
    read = [
        layer for layer in sorted(layers, key=encoder.depth) if regions.covers(region.where, encoder.stride(layer))
    ]
    weights = {layer: regions.positions(region.where, encoder.stride(layer)) for layer in read}
    squares: dict[Wanted, Phi] = {(layer, "moments"): MOMENTS for layer in measured}
    if statistic == "nearest":
        fits = _mean_over(looks, squares)
        found = [(look.banks(read), look.source.weight) for look in looks]
        banks = {layer: tuple((bank[layer], share) for bank, share in found if layer in bank) for layer in read}
        terms: list[Style | Nearest] = [
            Nearest(layer, banks[layer], region.share, weights[layer], region.name) for layer in read if banks[layer]
        ]
        return tuple(terms), _energies(fits, measured)
    # Of all statistics only the frequencies of 'gaussian' are drawn for features that were seen before.
    known = _mean_over(looks, {(layer, "moments"): MOMENTS for layer in read}) if statistic == "gaussian" else {}
    chosen = {layer: STATISTICS[statistic](known.get((layer, "moments")), seed) for layer in read}
    fits = _mean_over(looks, squares | {(layer, "target"): chosen[layer].phi for layer in read})
    targets = {layer: fits[layer, "target"] for layer in read if (layer, "target") in fits}
    terms = []
    for layer in read:
        if layer in targets:
            target = targets[layer].mean
            distance = chosen[layer].distance_to(target)
            scale = STYLE_NORMS[norm](distance, target, encoder.layers[encoder.depth(layer)].channels)
            terms.append(Style(layer, chosen[layer].phi, distance, region.share * scale, weights[layer], region.name))
    return tuple(terms), _energies(fits, measured)


#: A layer, and a name for what is added up there.
Wanted = tuple[str, str]


def _energies(fits: Mapping[Wanted, Sums], layers: Collection[str]) -> dict[str, float]:
    """Layer -> the mean of the features' squares; without bound where none were seen."""
    return {
        layer: fits[layer, "moments"].mean[1].mean().item() if (layer, "moments") in fits else math.inf
        for layer in layers
    }


@dataclass(frozen=True, eq=False)
class _Look:
    """A source as the encoder sees it: tile by tile, and only at layers at which its mask does not vanish."""

    encoder: Encoder
    source: Source
    window: int

    def features(self, layers: Collection[str]) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """(layer, features `(n, m)`, weights `(m,)` or None) of each strip of each tile."""
        seen = [layer for layer in layers if regions.covers(self.source.where, self.encoder.stride(layer))]
        tiles = divide(self.encoder, seen, *self.source.size, 2 * self.window) or (whole(*self.source.size),)
        where = {layer: regions.positions(self.source.where, self.encoder.stride(layer)) for layer in seen}
        with torch.no_grad():
            for tile, layer, features in walk(self.encoder, self.source.image[None], seen, tiles):
                mask = where[layer]
                weights = None if mask is None else tile.owned(mask, self.encoder.stride(layer))
                for strip in strips(features, weights):
                    yield layer, *flat(strip)

    def sums(self, phis: Mapping[Wanted, Phi]) -> dict[Wanted, Sums]:
        """The sums of each phi over the source, all in one walk."""
        sums: dict[Wanted, Sums] = {}
        for layer, features, weights in self.features({layer for layer, _ in phis}):
            for wanted in [wanted for wanted in phis if wanted[0] == layer]:
                part = phis[wanted].sums(features, weights)
                sums[wanted] = sums[wanted] + part if wanted in sums else part
        return sums

    def banks(self, layers: Collection[str]) -> dict[str, Bank]:
        """Layer -> all features of the source."""
        parts: dict[str, list[tuple[Tensor, Tensor | None]]] = {}
        for layer, features, weights in self.features(layers):
            parts.setdefault(layer, []).append((features, weights))
        return {
            layer: nearest.bank(
                torch.cat([features for features, _ in seen], 1),
                None if seen[0][1] is None else torch.cat([weights for _, weights in seen if weights is not None]),
            )
            for layer, seen in parts.items()
        }


def _mean_over(looks: Sequence[_Look], phis: Mapping[Wanted, Phi]) -> dict[Wanted, Sums]:
    """Sums whose mean is the weighted mean of the sources' means; without those that no source has."""
    blended: dict[Wanted, Sums] = {}
    for look in looks if phis else ():
        for wanted, sums in look.sums(phis).items():
            weight = look.source.weight
            part = Sums(weight * sums.mean, sums.mass.new_tensor(weight))
            blended[wanted] = blended[wanted] + part if wanted in blended else part
    return blended


def weighed(terms: Sequence[AnyTerm], layers: Mapping[str, float], weight: float) -> tuple[AnyTerm, ...]:
    """The same terms, their weights multiplied by `weight` and their layer's own."""
    return tuple(
        dataclasses.replace(term, weight=term.weight * weight * layers[term.layer])
        for term in terms
        if weight * layers[term.layer]
    )
