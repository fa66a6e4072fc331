"""What `stylize`, `texture` and `reconstruct` optimise, and a cluster shards: one `PictureProblem` for all of them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from impasto import images
from impasto.images import Picture, regions
from impasto.images.regions import Region
from impasto.inputs.memo import Memo
from impasto.losses.nearest import INDEX, LARGEST_BANK
from impasto.losses.objective import Objective, View
from impasto.losses.saliency import content_weight
from impasto.losses.targets import ContentFeatures, anchored, content_losses, extract_features, style_losses, weighted
from impasto.losses.terms import ContentLoss, LossTerm, NearestNeighborLoss, StyleLoss, TemporalLoss, TotalVariation
from impasto.operations import calibration
from impasto.optim import memory
from impasto.optim.memory import FLOAT, IMAGE, Plan
from impasto.optim.schedule import Scale
from impasto.settings.choices import ContentNorm
from impasto.settings.options import StyleLossOptions
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder
from impasto.vgg.tiling import divide


def load_encoder(options: StyleLossOptions, memo: Memo) -> Encoder:
    """The network that the options name, on the CPU.

    Raises:
        WeightsError: there are no such weights, or they are damaged.
    """
    network = (options.weights, options.pooling, options.padding, options.preprocessing)
    return memo.get(("encoder", network), lambda: weights.load(*network))


@dataclass(frozen=True, eq=False)
class ContentTarget:
    """What the content loss compares with.

    Attributes:
        photo: `(3, h, w)`, what the network reads of the photo, at the final size.
        layers: layer -> its weight; none where the content weighs nothing.
        weight: of all layers together.
        norm: the scale of each loss.
        bounded_by_style: whether the energy of the paintings' features bounds that of `relative` losses.
        saliency, saliency_share: of the photo, `(h', w')`, and the part of the weight that goes by it; None to spread
            it evenly.
    """

    photo: Tensor
    layers: Mapping[str, float]
    weight: float = 1.0
    norm: ContentNorm = "relative"
    bounded_by_style: bool = False
    saliency: Tensor | None = None
    saliency_share: float = 0.0

    def masks(self, encoder: Encoder, scale: Scale) -> dict[str, Tensor]:
        """Layer -> what each of its positions counts at a scale, `(h, w)`; empty for all alike."""
        if self.saliency is None:
            return {}
        strides = {layer: encoder.stride(layer) for layer in self.layers}
        return {
            layer: content_weight(self.saliency, self.saliency_share, scale.height // stride, scale.width // stride)
            for layer, stride in strides.items()
        }


@dataclass(frozen=True, eq=False)
class PictureProblem:
    """A picture to be optimised towards content and styles; see `optim.problem.Problem`.

    Attributes:
        encoder: up to the deepest layer that is read, on the device to compute on.
        options: the style loss, the network, the optimiser and the machine.
        size: of the result, height and width.
        scales: the sizes to go through.
        finish: makes the result from an image `(3, h, w)` of any scale.
        regions: where each style goes, at the final size.
        style_layers: layer -> its weight; none where the style weighs nothing.
        style_weight: of all layers together.
        content: None for a texture.
        keep: `(h, w)`, 1 where the photo stays as it is.
        luminance_only: whether losses compare the mean of the three channels.
        temporal: holds the last scale near an image.
        wraps: whether the result is seamless.
        anchored: whether half of the distance to nearest neighbours is that to those of the photo's features.
        keeps_details: whether scales pass on the upsampled residual from the start.
        input_hashes: name -> hash of each input, for checkpoints.
        strength: the style weight is corrected after each scale to reach the content distance that this strength
            promises; None to leave it as it is.
        memo: values that runs share, under the `photo_key` and the `style_key`.
    """

    encoder: Encoder
    options: StyleLossOptions
    size: tuple[int, int]
    scales: Sequence[Scale]
    finish: Callable[[Tensor], Picture]
    regions: Sequence[Region]
    style_layers: Mapping[str, float]
    style_weight: float = 1.0
    content: ContentTarget | None = None
    keep: Tensor | None = None
    luminance_only: bool = False
    temporal: TemporalLoss | None = None
    wraps: bool = False
    anchored: bool = False
    keeps_details: bool = False
    input_hashes: Mapping[str, str] = field(default_factory=dict)
    strength: float | None = None
    memo: Memo = field(default_factory=lambda: Memo(0))
    photo_key: Hashable = None
    style_key: Hashable = None

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return self.encoder.mean.device

    @property
    def content_layers(self) -> Mapping[str, float]:
        """Layer -> its weight; none for a texture."""
        return {} if self.content is None else self.content.layers

    @property
    def found(self) -> Mapping[str, float]:
        """The style weight at strength 1, where it is calibrated."""
        return {} if self.strength is None else {"style_weight": self.style_weight / self.strength**3}

    def resumed(self, found: Mapping[str, float]) -> PictureProblem:
        """The problem with what a run had found when it was interrupted."""
        if self.strength is None or "style_weight" not in found:
            return self
        return dataclasses.replace(self, style_weight=found["style_weight"] * self.strength**3)

    def after(self, scale: Scale, plan: Plan, canvas: Tensor) -> PictureProblem:
        """The problem for the scales after this one, given its result, `(1, 3, h, w)`."""
        photo, layer = self.photo_at(scale), calibration.LAYER
        if self.strength is None or photo is None or not calibration.is_judged(scale, self.encoder):
            return self
        view = self.view(photo, (scale.height, scale.width))
        encoder = dataclasses.replace(self.encoder, padding="zeros")  # as VGG was trained
        tiles = divide(encoder, [layer], scale.height, scale.width, plan.tile)
        painted, original = (
            extract_features(encoder, view(image), [layer], tiles)[layer].features for image in (canvas, photo)
        )
        assert painted is not None
        assert original is not None
        free = None if view.keep is None else regions.positions(1 - view.keep, self.encoder.stride(layer))
        distance = calibration.content_distance(painted, original, free)
        weight = calibration.corrected(self.style_weight, distance, self.strength)
        return dataclasses.replace(self, style_weight=weight)

    @property
    def taps(self) -> frozenset[str]:
        """The layers that are read."""
        return frozenset({*self.content_layers, *self.style_layers})

    def plan(self, scale: Scale) -> Plan:
        """How a scale is computed in the memory there is.

        Raises:
            BudgetError: it does not fit.
        """
        return memory.plan(
            self.encoder,
            (scale.height, scale.width),
            (self.content_layers, self.style_layers),
            self.options.optimizer,
            self.options.history,
            memory.budget(self.options.memory, self.device),
            self.auxiliary_bytes_per_pixel,
            scale.evaluations,
        )

    @property
    def auxiliary_bytes_per_pixel(self) -> float:
        """Of masks at every layer, views of the canvas, and the paintings' features that nearest neighbours need."""
        masks = sum(region.mask is not None for region in self.regions) + (self.keep is not None)
        views = self.luminance_only + (self.keep is not None)
        banks = 0.0
        if self.options.statistic == "nearest":
            pixels = self.size[0] * self.size[1]
            sources = [source for region in self.regions for source in region.sources]
            areas = [math.prod(source.size_for(pixels, by)) for source in sources for by in self.options.style_scale]
            read = [layer for layer in self.encoder.layers if layer.name in self.style_layers]
            counts = [layer.channels * min(area // layer.stride**2, LARGEST_BANK) for layer in read for area in areas]
            banks = FLOAT * sum(counts) / pixels
            if self.anchored:
                banks += len(areas) * sum(INDEX / layer.stride**2 for layer in read)
        return masks * 2.5 * FLOAT + views * 2 * IMAGE + banks

    def objective(self, scale: Scale, plan: Plan) -> Objective:
        """What is minimised at a scale, computed as planned."""
        size, photo = (scale.height, scale.width), self.photo_at(scale)
        styles, energy = self.style_losses(scale, plan.tile)
        features: Mapping[str, ContentFeatures] = {}
        if photo is not None:
            features = self.memo.get(
                ("photo", size, plan.tile, plan.caches_content_features, self.photo_key),
                lambda: extract_features(
                    self.encoder,
                    photo,
                    self.content_layers,
                    divide(self.encoder, self.taps, *size, plan.tile),
                    plan.caches_content_features,
                ),
            )
        return Objective(
            plan.network(self.encoder),
            self.losses(features, styles, energy, scale),
            self.total_variation,
            self.view(photo, size),
            divide(self.encoder, self.taps, *size, plan.window),
            photo,
            self.temporal if size == self.size else None,
        )

    @property
    def total_variation(self) -> TotalVariation | None:
        """The loss of that name; None where it weighs nothing."""
        weight = self.options.total_variation
        return TotalVariation(weight, self.encoder.padding == "circular") if weight else None

    def photo_at(self, scale: Scale) -> Tensor | None:
        """What the network reads of the photo at a scale, `(1, 3, h, w)`; None for a texture."""
        if self.content is None:
            return None
        return images.resize(self.content.photo, scale.height, scale.width).to(self.device)[None]

    def view(self, photo: Tensor | None, size: tuple[int, int]) -> View:
        """From the canvas of a scale to the image that losses compare, given the photo at that scale."""
        keep = None if self.keep is None else images.resize(self.keep[None], *size)[0].to(self.device)
        return View(self.luminance_only, photo, keep)

    def style_losses(
        self, scale: Scale, window: int
    ) -> tuple[list[StyleLoss | NearestNeighborLoss], Mapping[str, float] | None]:
        """Style losses of weight 1, and the energy of the paintings' features at the content layers."""
        options, size = self.options, (scale.height, scale.width)
        measured = self.content_layers if self.content is not None and self.content.bounded_by_style else {}

        def of_region(
            region: Region,
        ) -> tuple[Sequence[StyleLoss | NearestNeighborLoss], dict[str, float]]:
            return style_losses(
                self.encoder,
                region.at(size, options.style_scale, self.device),
                self.style_layers,
                size,
                options.style_norm,
                options.statistic,
                options.seed,
                measured,
                window,
            )

        found = self.memo.get(
            ("styles", size, window, self.style_key), lambda: [of_region(each) for each in self.regions]
        )
        losses = [loss for each, _ in found for loss in each]
        if self.anchored and (photo := self.photo_at(scale)) is not None:
            free, tiles = losses, divide(self.encoder, self.style_layers, *size, window)
            losses = self.memo.get(
                ("anchored", size, window, self.photo_key, self.style_key),
                lambda: anchored(self.encoder, photo, free, tiles),
            )
        if not measured:
            return losses, None
        shares = [region.share for region in self.regions]
        cover = max(sum(shares), 1e-12)
        energy = {
            layer: sum(share * energies[layer] for share, (_, energies) in zip(shares, found, strict=True)) / cover
            for layer in self.content_layers
        }
        return losses, energy

    def losses(
        self,
        features: Mapping[str, ContentFeatures],
        styles: Sequence[StyleLoss | NearestNeighborLoss],
        energy: Mapping[str, float] | None,
        scale: Scale,
    ) -> tuple[LossTerm, ...]:
        """All terms of a scale, weighted: content losses for the photo's features, and the style losses."""
        content: tuple[ContentLoss, ...] = ()
        if self.content is not None:
            masks = self.content.masks(self.encoder, scale)
            of_weight_1 = content_losses(features, self.content.norm, energy, masks)
            content = weighted(of_weight_1, self.content.layers, self.content.weight)
        return (*content, *weighted(styles, self.style_layers, self.style_weight))
