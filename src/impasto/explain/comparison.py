"""One photo and painting under several statistics."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

import impasto
from impasto import images
from impasto.explain import figures
from impasto.explain.report import Report, Section, Table, Tell, quiet
from impasto.images import PictureLike
from impasto.inputs import read
from impasto.inputs.read import read_styles
from impasto.losses import statistics
from impasto.losses.statistics import STATISTICS
from impasto.settings.choices import StatisticName
from impasto.settings.options import STYLE_LAYERS, StylizeOptions
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder


def statistics_report(
    photo: PictureLike, painting: PictureLike, size: int = 256, iterations: int = 40, tell: Tell = quiet
) -> Report:
    """A photo and a painting under several statistics, and each result's distance under all (Li et al. 2017)."""
    names: tuple[StatisticName, ...] = ("gram", "mean", "moments", "gaussian", "wasserstein")
    base = StylizeOptions(size=size, iterations=iterations)
    pictures: list[tuple[str, Tensor]] = []
    memo: read.Memo = {}
    for number, name in enumerate(names):
        tell(number, len(names), name)
        chosen = dataclasses.replace(base, statistic=name)
        *_, last = impasto.iterate(photo, painting, chosen, memo)
        pictures.append((name, last.picture.rgb))
    encoder = weights.load("vgg19", padding="replicate").up_to(STYLE_LAYERS)
    ((_, given),) = read_styles(painting, size * size, {})
    pixels = pictures[0][1].shape[1] * pictures[0][1].shape[2]
    target = given.resized(*images.fit_area(given.size, min(pixels, given.size[0] * given.size[1]))).rgb
    values = torch.tensor([[_under(encoder, name, picture, target) for name in names] for _, picture in pictures])
    rows = [(f"made with {name}", *line) for (name, _), line in zip(pictures, values.tolist(), strict=True)]
    return Report(
        "Statistics compared",
        [
            Section(
                "The same photo and painting",
                [
                    "Matching Gram matrices is one way to bring two distributions of features together: each of "
                    "these is another (Li et al., arXiv 1701.01036). Below, how far each picture is from the "
                    "painting under every statistic, relative to the painting's own distance from nothing."
                ],
                [
                    ("statistics", figures.grid([("", pictures)], 2.4)),
                    ("values", figures.table(values.clamp_min(1e-8), [row[0] for row in rows], names, "distance")),
                ],
                [Table("statistics", ["", *names], rows)],
            )
        ],
    )


def _under(encoder: Encoder, name: StatisticName, picture: Tensor, target: Tensor) -> float:
    """Mean over the style layers of the relative distance under a statistic."""
    with torch.no_grad():
        seen, wanted = (encoder(image[None], list(STYLE_LAYERS)) for image in (picture, target))
    total = 0.0
    for layer in STYLE_LAYERS:
        a, b = (found[layer][0].flatten(1) for found in (seen, wanted))
        chosen = STATISTICS[name](statistics.moments(b), 0)
        goal = chosen.phi.reduce(b, None).mean
        distance = chosen.distance_to(goal)
        found = distance(chosen.phi.reduce(a, None).mean) / distance(torch.zeros_like(goal)).clamp_min(1e-12)
        total += found.item() / len(STYLE_LAYERS)
    return total
