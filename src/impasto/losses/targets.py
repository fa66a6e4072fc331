"""The targets of loss terms, measured on the photo and on the paintings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from impasto.images import regions
from impasto.images.regions import Region, StyleSource
from impasto.losses import nearest
from impasto.losses.nearest import FeatureBank
from impasto.losses.statistics import MOMENTS, STATISTICS, Distance, Phi, Sums
from impasto.losses.terms import ContentLoss, NearestNeighborLoss, StyleLoss, as_matrix, flat, row_chunks
from impasto.settings.choices import ContentNorm, StyleName, StyleNorm
from impasto.vgg.encoder import Encoder
from impasto.vgg.tiles import Tile, whole
from impasto.vgg.tiling import divide, walk

Weighted = TypeVar("Weighted", ContentLoss, StyleLoss | NearestNeighborLoss)

#: Name -> what the sum of squared differences of one content layer is multiplied by, given how many numbers it has
#: and the mean of their squares.
CONTENT_NORMS: dict[ContentNorm, Callable[[int, float], float]] = {
    # 1/2 Σ (F - P)²: Gatys et al. 2016, eq. 1.
    "half": lambda count, energy: 1 / 2,
    # 1/(4 n_H n_W n_C) Σ (F - P)².
    "course": lambda count, energy: 1 / (4 * count),
    # Σ (F - P)² / Σ P²: features that are all zero have a loss of 1, at every layer and every size of picture. A soft
    # painting excites the layer less than the photo does, and so must a picture in its style: `energy` is the smaller
    # one of the two, since the photo's excess cannot be kept.
    "relative": lambda count, energy: 1 / max(count * energy, 1e-12),
}

#: Name -> what one style layer's distance is multiplied by, given itself, the target and channels N.
STYLE_NORMS: dict[StyleNorm, Callable[[Distance, Tensor, int], float]] = {
    # 1/(4N²) of the distance between *means* over positions. With Gram matrices and as many positions M in
    # both pictures that is Gatys's 1/(4N²M²) Σ (G - A)² (eq. 4), which is also the course's
    # 1/(2 n_H n_W n_C)² Σ (G_S - G_G)²; and it keeps its meaning where the sizes differ.
    "gatys": lambda distance, target, channels: 1 / (4 * channels**2),
    # The distance over that of features that are all zero: about 1 at every layer for every style.
    "relative": lambda distance, target, channels: 1 / max(distance(torch.zeros_like(target)).item(), 1e-12),
}


@dataclass(frozen=True, eq=False)
class ContentFeatures:
    """The photo's features at one layer.

    Attributes:
        features: `(1, n, h, w)`; None where they are not cached.
        count: how many numbers they are.
        energy: the mean of their squares.
    """

    features: Tensor | None
    count: int
    energy: float


def extract_features(
    encoder: Encoder, photo: Tensor, layers: Collection[str], tiles: Sequence[Tile] = (), cache: bool = True
) -> dict[str, ContentFeatures]:
    """The features of a photo, `(1, 3, h, w)`, at `layers`; computed tile by tile, if there are any.

    Features that are not cached are computed again by every evaluation of the objective.
    """
    height, width = photo.shape[-2:]
    tiles = tiles or [whole(height, width)]
    found: dict[str, ContentFeatures] = {}
    with torch.no_grad():
        for tile, layer, features in walk(encoder, photo, layers, tiles):
            before = found.get(layer, ContentFeatures(None, 0, 0.0))
            count = before.count + features.numel()
            energy = (before.energy * before.count + features.square().sum().item()) / count
            kept, stride = before.features, encoder.stride(layer)
            if cache and features.shape[-2:] == (height // stride, width // stride):
                kept = features
            elif cache:
                if kept is None:
                    kept = features.new_empty(*features.shape[:2], height // stride, width // stride)
                tile.owned(kept, stride).copy_(features)
            found[layer] = ContentFeatures(kept, count, energy)
    return found


def content_losses(
    photo: Mapping[str, ContentFeatures],
    norm: ContentNorm,
    style_energy: Mapping[str, float] | None = None,
    masks: Mapping[str, Tensor] | None = None,
) -> tuple[ContentLoss, ...]:
    """One content loss of weight 1 for each layer of a photo.

    Args:
        style_energy: layer -> the mean square of the paintings' features, which bounds the energy of `relative`.
        masks: layer -> what each position counts, `(h, w)`.
    """
    return tuple(
        ContentLoss(
            layer,
            found.features,
            CONTENT_NORMS[norm](found.count, min(found.energy, style_energy[layer] if style_energy else math.inf)),
            masks.get(layer) if masks else None,
        )
        for layer, found in photo.items()
    )


def style_losses(
    encoder: Encoder,
    region: Region,
    layers: Collection[str],
    size: tuple[int, int],
    norm: StyleNorm = "relative",
    statistic: StyleName = "gram",
    seed: int = 0,
    measured: Collection[str] = (),
    window: int = 1 << 30,
) -> tuple[tuple[StyleLoss | NearestNeighborLoss, ...], dict[str, float]]:
    """Style losses whose target are the sources of a region, one per layer; and the sources' energy.

    Several sources are one distribution, of which each makes up its share: the mean of a statistic over them is
    the weighted mean of theirs. For nearest neighbours, which have no mean, the distances are averaged. A loss
    is weighted by the area of its region, so that the gradient of a pixel does not depend on it.

    Args:
        region: at the size of one scale, on the encoder's device.
        size: of that scale, height and width.
        norm: how a loss is scaled; the angles of `nearest` need no norm.
        measured: layers at which the energy, the mean square of the sources' features, is returned.
        window: pixels that may be evaluated at once; a forward pass over a source takes half the memory.

    Returns:
        The losses, of weight 1, without layers at which the region or all of its sources vanish; and layer ->
        energy, infinite where all of the sources vanish.
    """
    if encoder.padding == "circular":  # the picture is seamless, its paintings are not
        encoder = dataclasses.replace(encoder, padding="replicate")
    extractors = [_SourceFeatures(encoder, source, window) for source in region.sources]
    read = [layer for layer in sorted(layers, key=encoder.depth) if regions.covers(region.mask, encoder.stride(layer))]
    masks = {layer: regions.positions(region.mask, encoder.stride(layer)) for layer in read}
    squares: dict[Wanted, Phi] = {(layer, "moments"): MOMENTS for layer in measured}
    losses: list[StyleLoss | NearestNeighborLoss] = []
    if statistic == "nearest":
        fits = _blended_sums(extractors, squares)
        found = [(each.banks(read), each.source.weight) for each in extractors]
        for layer in read:
            banks = tuple((bank[layer], share) for bank, share in found if layer in bank)
            mask, stride = masks[layer], encoder.stride(layer)
            total = (size[0] // stride) * (size[1] // stride) if mask is None else mask.sum().item()
            if banks:
                present = sum(share for _, share in banks)  # a small mask has no positions at a deep layer
                banks = tuple((bank, share / present) for bank, share in banks)
                losses.append(NearestNeighborLoss(layer, banks, region.share, total, mask, region.name))
        return tuple(losses), _energies(fits, measured)
    # Only the frequencies of 'gaussian' depend on the features they are for.
    moments = {(layer, "moments"): MOMENTS for layer in read} if statistic == "gaussian" else {}
    known = _blended_sums(extractors, moments)
    chosen = {layer: STATISTICS[statistic](known.get((layer, "moments")), seed) for layer in read}
    fits = _blended_sums(extractors, squares | {(layer, "target"): chosen[layer].phi for layer in read})
    for layer in read:
        if (layer, "target") in fits:
            target, phi = fits[layer, "target"].mean, chosen[layer].phi
            distance = chosen[layer].distance_to(target)
            scale = STYLE_NORMS[norm](distance, target, encoder.layers[encoder.depth(layer)].channels)
            losses.append(StyleLoss(layer, phi, distance, region.share * scale, masks[layer], region.name))
    return tuple(losses), _energies(fits, measured)


def anchored(
    encoder: Encoder, photo: Tensor, losses: Sequence[StyleLoss | NearestNeighborLoss], tiles: Sequence[Tile]
) -> list[StyleLoss | NearestNeighborLoss]:
    """The losses, those of nearest neighbours with the anchors that a photo, `(1, 3, h, w)`, chooses."""
    found = {number: loss for number, loss in enumerate(losses) if isinstance(loss, NearestNeighborLoss)}
    layers = {loss.layer for loss in found.values()}
    sums: dict[int, Sums] = {}
    anchors: dict[int, tuple[Tensor, ...]] = {}
    with torch.no_grad():
        for tile, layer, features in walk(encoder, photo, layers, tiles):
            for number, loss in found.items():
                if loss.layer == layer:
                    mask = None if loss.mask is None else tile.owned(loss.mask, encoder.stride(layer))
                    part = MOMENTS.reduce(*flat(features, mask))
                    sums[number] = sums[number] + part if number in sums else part
        for tile, layer, features in walk(encoder, photo, layers, tiles):
            stride = encoder.stride(layer)
            for number, loss in found.items():
                if loss.layer == layer:
                    shape = (photo.shape[-2] // stride, photo.shape[-1] // stride)
                    if number not in anchors:
                        empty = torch.empty(shape, dtype=torch.int64, device=photo.device)
                        anchors[number] = tuple(empty.clone() for _ in loss.banks)
                    for whole, (bank, _) in zip(anchors[number], loss.banks, strict=True):
                        chosen = nearest.anchors(as_matrix(features), sums[number].mean[0], bank)
                        own = tile.owned(whole, stride)
                        own.copy_(chosen.view(own.shape))
    return [
        dataclasses.replace(loss, anchors=anchors[number]) if isinstance(loss, NearestNeighborLoss) else loss
        for number, loss in enumerate(losses)
    ]


#: A layer, and a name for what is added up there.
Wanted = tuple[str, str]


def _energies(fits: Mapping[Wanted, Sums], layers: Collection[str]) -> dict[str, float]:
    """Layer -> the mean of the features' squares; infinite where there are no features."""
    return {
        layer: fits[layer, "moments"].mean[1].mean().item() if (layer, "moments") in fits else math.inf
        for layer in layers
    }


@dataclass(frozen=True, eq=False)
class _SourceFeatures:
    """The features of a source, computed tile by tile."""

    encoder: Encoder
    source: StyleSource
    window: int

    def masks(self, layers: Collection[str]) -> dict[str, Tensor | None]:
        """Layer -> the source's mask there, `(h, w)`; without layers at which it vanishes."""
        strides = {layer: self.encoder.stride(layer) for layer in layers}
        mask = self.source.mask
        return {at: regions.positions(mask, stride) for at, stride in strides.items() if regions.covers(mask, stride)}

    def chunks(self, masks: Mapping[str, Tensor | None]) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """(layer, features `(n, m)`, mask `(m,)` or None) of some rows of each tile, at the layers of these masks."""
        tiles = divide(self.encoder, masks, *self.source.size, 2 * self.window)
        with torch.no_grad():
            for tile, layer, features in walk(self.encoder, self.source.image[None], masks, tiles):
                mask = masks[layer]
                owned = None if mask is None else tile.owned(mask, self.encoder.stride(layer))
                for part in row_chunks(features, owned):
                    yield layer, *flat(*part)

    def sums(self, phis: Mapping[Wanted, Phi]) -> dict[Wanted, Sums]:
        """The sums of each phi over the source, in one pass."""
        sums: dict[Wanted, Sums] = {}
        for layer, features, mask in self.chunks(self.masks({layer for layer, _ in phis})):
            for wanted in [wanted for wanted in phis if wanted[0] == layer]:
                part = phis[wanted].reduce(features, mask)
                sums[wanted] = sums[wanted] + part if wanted in sums else part
        return sums

    def banks(self, layers: Collection[str]) -> dict[str, FeatureBank]:
        """Layer -> the features of the source that are searched there."""
        height, width = self.source.size
        chosen: dict[str, Tensor | None] = {}
        for layer, mask in self.masks(layers).items():
            stride = self.encoder.stride(layer)
            chosen[layer] = nearest.sample(height // stride, width // stride, mask)
        parts: dict[str, list[Tensor]] = {layer: [] for layer in chosen}
        for layer, features, mask in self.chunks(chosen):
            assert mask is not None
            parts[layer].append(features[:, mask.nonzero()[:, 0].to(features.device)])
        return {layer: nearest.feature_bank(torch.cat(found, 1)) for layer, found in parts.items()}


def _blended_sums(extractors: Sequence[_SourceFeatures], phis: Mapping[Wanted, Phi]) -> dict[Wanted, Sums]:
    """Sums whose mean is the weighted mean of the sources' means; without those that no source has."""
    blended: dict[Wanted, Sums] = {}
    for each in extractors if phis else ():
        for wanted, sums in each.sums(phis).items():
            weight = each.source.weight
            part = Sums(weight * sums.mean, sums.weight_sum.new_tensor(weight))
            blended[wanted] = blended[wanted] + part if wanted in blended else part
    return blended


def weighted(losses: Sequence[Weighted], layers: Mapping[str, float], weight: float) -> tuple[Weighted, ...]:
    """The same losses, their weights multiplied by `weight` and their layer's own; without those that weigh nothing."""
    return tuple(
        dataclasses.replace(loss, weight=loss.weight * weight * layers[loss.layer])
        for loss in losses
        if weight * layers[loss.layer]
    )


def nonzero(layers: Mapping[str, float], weight: float = 1.0) -> dict[str, float]:
    """The layers that weigh something: others are not computed."""
    return {layer: own for layer, own in layers.items() if own * weight}
