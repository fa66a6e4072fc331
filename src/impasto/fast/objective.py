"""What feed-forward networks are trained on: the objective of the optimisation, at painted crops.

`Objective` gives the loss and its gradient by the painted pixels; only from there on, through the small network, does
autograd compute. Content and style thus mean what they mean for `stylize`, and cost what they cost there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from impasto.fast import models
from impasto.fast.network import Network, StyleReader, noise, summarize
from impasto.images import regions
from impasto.images.regions import Region, StyleSource
from impasto.losses.objective import Objective
from impasto.losses.statistics import moments
from impasto.losses.targets import content_losses, extract_features, nonzero, style_losses, weighted
from impasto.losses.terms import NearestNeighborLoss, StyleLoss, TotalVariation, flat
from impasto.settings.options import FeedForwardObjective
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder
from impasto.vgg.workspace import Workspace

#: The area at which paintings are read, in pixels.
PAINTING_AREA = 512 * 512
#: Pixels around a crop that are painted but not compared: a network that sees many borders paints them everywhere.
CROP_MARGIN = 24
#: The part that is compared.
INNER = (..., slice(CROP_MARGIN, -CROP_MARGIN), slice(CROP_MARGIN, -CROP_MARGIN))
#: Weight of the mean squared error of crops that should come out as they are.
IDENTITY_WEIGHT = 20.0


@dataclass(frozen=True, eq=False)
class StyleTargets:
    """What a picture in the style of a painting is compared with.

    Attributes:
        losses: of weight beta in all.
        energy: layer -> the mean square of the painting's features at the content layers.
        summary: `(2 StyleReader.CHANNELS,)`, what a network predicts the painting's vector from.
    """

    losses: Sequence[StyleLoss | NearestNeighborLoss]
    energy: dict[str, float]
    summary: Tensor


@dataclass(frozen=True, eq=False)
class CropObjective:
    """alpha * content + beta * style + total variation of painted crops.

    Attributes:
        encoder: on the device to compute on.
    """

    encoder: Encoder
    options: FeedForwardObjective
    workspace: Workspace = field(default_factory=Workspace)

    def targets(self, painting: StyleSource) -> StyleTargets:
        """The targets of a painting, read at `PAINTING_AREA` times the style scale, or at its own size if smaller."""
        options = self.options
        source = painting.resized(*painting.size_for(PAINTING_AREA, options.style_scale)).to(self.encoder.mean.device)
        layers = nonzero(options.style_layers)
        losses, energy = style_losses(
            self.encoder,
            Region(None, (source,)),
            layers,
            (options.crop, options.crop),
            options.style_norm,
            options.statistic,
            options.seed,
            options.content_layers if options.content_norm == "relative" else (),
        )
        return StyleTargets(weighted(losses, layers, options.style_weight), energy, summary(self.encoder, source))

    def value_and_grad(
        self, photo: Tensor, painted: Tensor, targets: StyleTargets, strength: float = 1.0
    ) -> tuple[dict[str, float], Tensor]:
        """The weighted losses by name, and their gradient by the painted crop.

        Args:
            photo, painted: `(1, 3, h, w)`, sRGB in [0, 1].
            strength: as of `StylizeOptions`: the style weight grows with its cube.
        """
        options = self.options
        layers = nonzero(options.content_layers, options.content_weight)
        features = extract_features(self.encoder, photo, layers)
        content = content_losses(features, options.content_norm, targets.energy or None)
        style = tuple(dataclasses.replace(loss, weight=loss.weight * strength**3) for loss in targets.losses)
        variation = TotalVariation(options.total_variation) if options.total_variation else None
        objective = Objective(
            self.encoder,
            (*weighted(content, layers, options.content_weight), *style),
            variation,
            workspace=self.workspace,
        )
        found = objective.value_and_grad(painted)
        sums = dict.fromkeys(("content", "style"), 0.0)
        for name, value in found.terms.items():
            kind = name.partition(" ")[0] if name != TotalVariation.name else name
            sums[kind] = sums.get(kind, 0.0) + value
        return sums, found.gradient


def paint_crops(network: Network, photos: Tensor, vectors: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Photos `(b, 3, h, w)` painted in the styles `(b, length)`, with convolutions computed in `dtype`."""
    with models.computing_in(dtype, photos.device):
        painted: Tensor = network(photos + noise(photos.shape[-2:], photos.device), vectors)
    return painted.float()


def decay(step: int, done: float, warmup: int = 10) -> float:
    """The learning rate relative to the initial one: a warm-up of some steps, then along a cosine to a fiftieth."""
    return min(1.0, (step + 1) / warmup) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)


def painted_losses(
    objective: CropObjective,
    photos: Tensor,
    painted: Tensor,
    targets: Sequence[StyleTargets],
    strengths: Sequence[float],
) -> tuple[dict[str, float], Tensor]:
    """The sums of the weighted losses over a batch of painted crops, and their gradient by these, `(b, 3, h, w)`.

    At strength 0 the crop is compared with the photo itself.
    """
    losses = {"content": 0.0, "style": 0.0}
    grad = torch.zeros_like(painted)
    for i, (target, strength) in enumerate(zip(targets, strengths, strict=True)):
        photo, own = photos[i : i + 1][INNER].contiguous(), painted[i : i + 1][INNER].contiguous()
        if strength == 0:
            weight, error = IDENTITY_WEIGHT, own - photo
            found, gradient = {"identity": weight * error.square().mean().item()}, 2 * weight / own.numel() * error
        else:
            found, gradient = objective.value_and_grad(photo, own, target, strength)
        grad[i : i + 1][INNER] = gradient
        for name, value in found.items():
            losses[name] = losses.get(name, 0.0) + value
    return losses, grad


def encoder_for(options: FeedForwardObjective, device: torch.device) -> Encoder:
    """VGG-19 down to the deepest layer that the losses or a `StyleReader` read."""
    encoder = weights.load("vgg19", padding="replicate")
    encoder.check_layers([*options.content_layers, *options.style_layers])
    return encoder.up_to([*options.content_layers, *options.style_layers, *StyleReader.LAYERS]).to(device)


def summary(encoder: Encoder, painting: StyleSource) -> Tensor:
    """What a network predicts the vector of a painting from, `(2 StyleReader.CHANNELS,)`."""
    found = []
    with torch.no_grad():
        for layer, features, _ in encoder.walk(painting.image[None], StyleReader.LAYERS):
            mask = regions.positions(painting.mask, encoder.stride(layer))
            found.append(moments(*flat(features, mask)).mean)
    return summarize(found)
