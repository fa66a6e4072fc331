"""The report on Gram matrices: as heat maps, as correlated channels, as distances between paintings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.explain import figures, units
from impasto.explain.report import Report, Section, Table, counting
from impasto.explain.units import UnitResponse
from impasto.extras import require_extra
from impasto.files import StrPath
from impasto.images import Picture, PictureLike
from impasto.inputs.read import files_in, read_styles
from impasto.isolation import isolated
from impasto.losses import statistics
from impasto.progress import ProgressOption
from impasto.settings.options import STYLE_LAYERS
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder


@isolated
def gram_report(
    one: PictureLike,
    two: PictureLike,
    layer: str = "relu3_1",
    folder: StrPath | None = None,
    progress: ProgressOption = False,
) -> Report:
    """The Gram matrices of two pictures and their difference, the most correlated channels, and a map of styles.

    Args:
        one, two: as `impasto.stylize` takes styles; large ones are scaled down to 384 pixels.
        folder: of paintings, for the map, which needs the extra `explain`; None for no map.

    Raises:
        ValueError: there is no such layer, or only one picture in the folder.
        PictureError: a picture cannot be read, or the folder has none.
        ExtraError: scikit-learn is not installed.
    """
    paintings = [] if folder is None else _read_paintings(folder)
    with counting(progress) as count:
        encoder = weights.load("vgg19", padding="replicate").up_to([layer])
        pictures = [_limited(read_styles(given, 1 << 16)[0][1]) for given in (one, two)]
        count(0, 3, "Gram matrices")
        features = [_features(encoder, layer, picture) for picture in pictures]
        grams = [statistics.gram(each.flatten(1)).mean for each in features]
        order = grams[0].diagonal().argsort(descending=True)[:64]
        first, second = (gram[order][:, order].sqrt() for gram in grams)
        sections = [
            Section(
                f"Gram matrices at {layer}",
                [
                    "Each cell is the square root of the mean product of two channels over all positions. Shown are "
                    "the 64 channels that are strongest in the first picture.",
                ],
                [
                    ("pictures", figures.grid([("", [("first", pictures[0].rgb), ("second", pictures[1].rgb)])], 3.0)),
                    ("gram", figures.matrices([("first", first), ("second", second)])),
                    ("gram-difference", figures.matrices([("first minus second", first - second)], signed=True)),
                ],
            )
        ]
        count(1, 3, "correlated channels")
        sections.append(_pairs(encoder, layer, pictures[0], features[0], grams[0]))
        if paintings:
            count(2, 3, "distances between styles")
            sections.append(_distances(paintings))
    return Report("What a Gram matrix measures", sections)


def _read_paintings(folder: StrPath) -> list[tuple[str, Picture]]:
    """The names and pictures of a folder, for a map of their styles."""
    require_extra("explain", "a map of styles")
    files = files_in(folder)
    if len(files) < 2:
        raise ValueError(f"{folder} holds one picture; a map of styles needs at least two")
    return [(path.stem[:18], _limited(images.read(path), 256)) for path in files]


def _limited(picture: Picture, side: int = 384) -> Picture:
    """The picture, scaled down if its long side exceeds `side` pixels."""
    return picture if max(picture.shape) <= side else picture.resized(*images.fit(picture.shape, side))


def _features(encoder: Encoder, layer: str, picture: Picture) -> Tensor:
    """`(n, h, w)`."""
    with torch.no_grad():
        return encoder(picture.rgb[None], [layer])[layer][0]


def _pairs(encoder: Encoder, layer: str, picture: Picture, features: Tensor, gram: Tensor, count: int = 5) -> Section:
    """The `count` most correlated pairs of channels, with the patches at which both are most active."""
    energy = gram.diagonal().clamp_min(1e-9)
    correlation = gram / torch.outer(energy, energy).sqrt()
    strong = energy > 0.1 * energy.mean()
    correlation = torch.where(strong[:, None] & strong[None], correlation, 0).triu(1)
    rows, table = [], []
    for index in correlation.flatten().topk(count).indices.tolist():
        a, b = divmod(index, len(gram))
        product = features[a] * features[b]
        patches = []
        for _ in range(5):
            row, column = divmod(int(product.argmax()), product.shape[1])
            response = UnitResponse(product[row, column].item(), 0, row, column)
            patches.append(("", units.patch(encoder, layer, picture.rgb, response)))
            reach = max(1, min(product.shape) // 8)  # the next patch is taken elsewhere
            product[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = -1
        rows.append((f"{a} & {b}", patches))
        table.append((float(a), float(b), correlation[a, b].item()))
    return Section(
        "Correlated channels",
        ["The most correlated pairs of channels in the first picture, and the patches at which both are most active."],
        [("pairs", figures.grid(rows, 1.3))],
        [Table("pairs", ["channel", "channel", "correlation"], table)],
    )


def _distances(paintings: Sequence[tuple[str, Picture]]) -> Section:
    """The distance between every two paintings, by name, and a map of the plane with about these distances."""
    from sklearn.manifold import smacof

    encoder = weights.load("vgg19", padding="replicate").up_to(STYLE_LAYERS)
    grams, thumbnails = [], []
    for _, picture in paintings:
        with torch.no_grad():
            features = encoder(picture.rgb[None], list(STYLE_LAYERS))
        of_picture = [statistics.gram(features[layer][0].flatten(1)).mean for layer in STYLE_LAYERS]
        grams.append([gram / gram.norm() for gram in of_picture])
        thumbnails.append(picture.resized(*images.fit(picture.shape, 64)).rgb)
    count = len(paintings)
    distance = torch.zeros(count, count, **CPU_FLOAT)
    for i in range(count):
        for j in range(i):
            parts = [(a - b).norm() for a, b in zip(grams[i], grams[j], strict=True)]
            distance[i, j] = distance[j, i] = torch.stack(parts).mean()
    names = [name for name, _ in paintings]
    points, _ = smacof(distance.double().numpy(), n_components=2, init=_classical_scaling(distance), n_init=1)
    rows = [(name, *line) for name, line in zip(names, distance.tolist(), strict=True)]
    return Section(
        "Distances between styles",
        [
            "The mean distance between the Gram matrices of every two paintings over five layers, each matrix "
            "normalised to norm 1; and a map that preserves these distances as well as two dimensions allow "
            "(multidimensional scaling)."
        ],
        [
            ("distances", figures.matrices([("distance", distance)], axis="painting")),
            ("map", figures.scatter(torch.from_numpy(points), thumbnails, names)),
        ],
        [Table("distances", ["", *names], rows)],
    )


def _classical_scaling(distance: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Points `(n, 2)` with about these distances (Torgerson 1952), from which the iterative scaling starts."""
    centre = torch.eye(len(distance), **CPU_FLOAT) - 1 / len(distance)
    values, vectors = torch.linalg.eigh((-0.5 * centre @ distance.square() @ centre).double())
    return (vectors[:, -2:] * values[-2:].clamp_min(1e-9).sqrt()).numpy()
