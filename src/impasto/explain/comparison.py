"""The report that compares statistics: one photo and painting, stylised by each."""

from __future__ import annotations

import dataclasses
from collections import deque

import torch
from torch import Tensor

import impasto
from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.explain import figures
from impasto.explain.report import Report, Section, Table, counting
from impasto.images import PictureLike
from impasto.inputs.memo import Memo
from impasto.inputs.read import read_styles
from impasto.isolation import isolated
from impasto.losses import statistics
from impasto.losses.statistics import STATISTICS
from impasto.progress import ProgressOption
from impasto.settings.choices import StatisticName
from impasto.settings.options import STYLE_LAYERS, StylizeOptions
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder


@isolated
def statistics_report(
    photo: PictureLike,
    painting: PictureLike,
    size: int = 256,
    iterations: int = 40,
    progress: ProgressOption = False,
) -> Report:
    """A photo stylised by matching each of several statistics, and every result's distance by all of them.

    Li et al., "Demystifying neural style transfer" (arXiv 1701.01036).

    Args:
        size: long side of the results, in pixels.
        iterations: evaluations at the last scale, for each statistic.

    Raises:
        ValueError, PictureError: see `impasto.stylize`.
    """
    with counting(progress) as count:
        names: tuple[StatisticName, ...] = ("gram", "mean", "moments", "gaussian", "wasserstein")
        base = StylizeOptions(size=size, iterations=iterations)
        pictures: list[tuple[str, Tensor]] = []
        memo = Memo()
        for number, name in enumerate(names):
            count(number, len(names), name)
            steps = impasto.iterate(photo, painting, dataclasses.replace(base, statistic=name), memo=memo)
            (last,) = deque(steps, maxlen=1)
            pictures.append((name, last.picture.rgb))
        encoder = weights.load("vgg19", padding="replicate").up_to(STYLE_LAYERS)
        ((_, original),) = read_styles(painting, size * size)
        pixels = min(pictures[0][1][0].numel(), original.rgb[0].numel())
        target = original.resized(*images.fit_area(original.shape, pixels)).rgb
        values = torch.tensor(
            [[_distance(encoder, name, picture, target) for name in names] for _, picture in pictures], **CPU_FLOAT
        )
        rows = [(f"made with {name}", *line) for (name, _), line in zip(pictures, values.tolist(), strict=True)]
    return Report(
        "Statistics compared",
        [
            Section(
                "The same photo and painting",
                [
                    "Matching Gram matrices is one way to match two distributions of features; each of these "
                    "statistics is another (Li et al., arXiv 1701.01036). The table gives the distance of each "
                    "picture from the painting by every statistic, relative to the distance of a statistic of 0."
                ],
                [
                    ("statistics", figures.grid([("", pictures)], 2.4)),
                    (
                        "values",
                        figures.heat_map(values.clamp_min(1e-8), [row[0] for row in rows], names, "distance"),
                    ),
                ],
                [Table("statistics", ["", *names], rows)],
            )
        ],
    )


def _distance(encoder: Encoder, name: StatisticName, picture: Tensor, target: Tensor) -> float:
    """The relative distance of two images `(3, h, w)` by a statistic, averaged over the style layers."""
    with torch.no_grad():
        features, target_features = (encoder(image[None], list(STYLE_LAYERS)) for image in (picture, target))
    total = 0.0
    for layer in STYLE_LAYERS:
        a, b = (activations[layer][0].flatten(1) for activations in (features, target_features))
        statistic = STATISTICS[name](statistics.moments(b), 0)
        goal = statistic.phi.reduce(b, None).mean
        distance = statistic.distance_to(goal)
        relative = distance(statistic.phi.reduce(a, None).mean) / distance(torch.zeros_like(goal)).clamp_min(1e-12)
        total += relative.item() / len(STYLE_LAYERS)
    return total
