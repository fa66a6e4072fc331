"""What a picture is judged by: content, style and total variation, as one value and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from impasto.encoders import Encoder
from impasto.statistics import STATISTICS, Distance, Phi, StatisticName, moments

ContentNorm = Literal["half", "course", "relative"]
StyleNorm = Literal["gatys", "relative"]

#: Name -> what the sum of squared differences of one content layer is multiplied by, given the features there of
#: the photo, P, and of the painting, S, each `(1, n, h, w)`.
CONTENT_NORMS: dict[ContentNorm, Callable[[Tensor, Tensor], float]] = {
    # 1/2 Σ (F - P)²: Gatys et al. 2016, eq. 1.
    "half": lambda photo, painting: 1 / 2,
    # 1/(4 n_H n_W n_C) Σ (F - P)².
    "course": lambda photo, painting: 1 / (4 * photo.numel()),
    # Σ (F - P)² / Σ P²: 1 is the loss of seeing nothing, at every layer and every size of picture. A soft
    # painting excites the layer less than the photo does, and so must a picture in its style: what the photo
    # has in excess cannot be kept, and the error is measured against what can.
    "relative": lambda photo, painting: (
        1 / max(photo.numel() * min(photo.square().mean().item(), painting.square().mean().item()), 1e-12)
    ),
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


@dataclass(frozen=True, eq=False)
class Style:
    """weight * distance(S(F)) at one layer, S the mean of `sums` over its positions."""

    layer: str
    sums: Phi
    distance: Distance
    weight: float


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
    """alpha * content + beta * style + total variation, as a function of the image."""

    encoder: Encoder
    content: tuple[Content, ...] = ()
    style: tuple[Style, ...] = ()
    total_variation: float = 0.0
    taps: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        layers = [term.layer for term in self.content] + [term.layer for term in self.style]
        object.__setattr__(self, "taps", frozenset(layers))

    def terms(self, image: Tensor) -> dict[str, Tensor]:
        """Each term's weighted value, a scalar tensor, at an image `(1, 3, h, w)` in [0, 1]."""
        terms: dict[str, Tensor] = {}
        for layer, features in self.encoder.walk(image, self.taps):
            for content in self.content:
                if content.layer == layer:
                    error = (features - content.target).square().sum()
                    terms[f"content {layer}"] = content.weight * error
            for style in self.style:
                if style.layer == layer:
                    statistic = style.sums(positions_of(features), None).mean
                    terms[f"style {layer}"] = style.weight * style.distance(statistic)
        if self.total_variation:
            terms["total variation"] = self.total_variation * total_variation(image)
        return terms

    def value_and_grad(self, image: Tensor) -> Evaluation:
        """The objective and its gradient at an image `(1, 3, h, w)`, sRGB in [0, 1]."""
        image = image.detach().requires_grad_()
        terms = self.terms(image)
        total = torch.stack(list(terms.values())).sum()
        (gradient,) = torch.autograd.grad(total, image)
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


def content_terms(
    encoder: Encoder,
    photo: Tensor,
    painting: Tensor,
    layers: Mapping[str, float],
    weight: float,
    norm: ContentNorm,
) -> tuple[Content, ...]:
    """Content terms whose target is `photo`, one per layer, weighted `weight` times its own.

    Both pictures are `(1, 3, h, w)`; the painting only tells `norm` what can be kept.
    """
    shares = _weighing(layers, weight)
    with torch.no_grad():
        return tuple(
            Content(layer, target, shares[layer] * CONTENT_NORMS[norm](target, style))
            for (layer, target), (_, style) in zip(
                encoder.walk(photo, shares), encoder.walk(painting, shares), strict=True
            )
        )


def style_terms(
    encoder: Encoder,
    painting: Tensor,
    layers: Mapping[str, float],
    weight: float,
    norm: StyleNorm,
    statistic: StatisticName = "gram",
    seed: int = 0,
) -> tuple[Style, ...]:
    """Style terms whose target is `painting`, `(1, 3, h, w)`: one per layer, weighted `weight` times its own."""
    shares, terms = _weighing(layers, weight), []
    with torch.no_grad():
        for layer, features in encoder.walk(painting, shares):
            positions = positions_of(features)
            chosen = STATISTICS[statistic](moments(positions), seed)
            target = chosen.sums(positions, None).mean
            distance = chosen.distance_to(target)
            scale = STYLE_NORMS[norm](distance, target, len(positions))
            terms.append(Style(layer, chosen.sums, distance, shares[layer] * scale))
    return tuple(terms)


def _weighing(layers: Mapping[str, float], weight: float) -> dict[str, float]:
    """The layers that weigh anything: `weight` times their own."""
    return {layer: weight * share for layer, share in layers.items() if weight * share}
