"""Gram matrices made visible: as pictures, as channels that fire together, as distances between paintings."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.explain import figures, units
from impasto.explain.report import Report, Section, Table, Tell, quiet
from impasto.explain.units import Place
from impasto.extras import require_extra
from impasto.files import StrPath
from impasto.images import Picture, PictureLike
from impasto.inputs.read import files_in, read_styles
from impasto.losses import statistics
from impasto.settings.options import STYLE_LAYERS
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder


def gram_report(
    one: PictureLike, two: PictureLike, layer: str = "relu3_1", folder: StrPath | None = None, tell: Tell = quiet
) -> Report:
    """Gram matrices made visible: of two pictures, their difference, channels that fire together, styles on a map.

    Raises:
        ValueError: there is no such layer.
    """
    encoder = weights.load("vgg19", padding="replicate").up_to([layer])
    pictures = [_sized(read_styles(given, 1 << 16, {})[0][1]) for given in (one, two)]
    tell(0, 3, "Gram matrices")
    seen = [_features(encoder, layer, picture) for picture in pictures]
    grams = [statistics.gram(found.flatten(1)).mean for found in seen]
    order = grams[0].diagonal().argsort(descending=True)[:64]
    first, second = (gram[order][:, order].sqrt() for gram in grams)
    sections = [
        Section(
            f"Gram matrices at {layer}",
            [
                "Each cell says how much two channels fire together, over all places: the 64 strongest channels of "
                "the first picture, as square roots.",
            ],
            [
                ("pictures", figures.grid([("", [("first", pictures[0].rgb), ("second", pictures[1].rgb)])], 3.0)),
                ("gram", figures.matrices([("first", first), ("second", second)])),
                ("gram-difference", figures.matrices([("first less second", first - second)], signed=True)),
            ],
        )
    ]
    tell(1, 3, "channels that fire together")
    sections.append(_pairs(encoder, layer, pictures[0], seen[0], grams[0]))
    if folder is not None:
        tell(2, 3, "distances between styles")
        sections.append(_distances(folder))
    return Report("What a Gram matrix says", sections)


def _sized(picture: Picture, side: int = 384) -> Picture:
    return picture if max(picture.size) <= side else picture.resized(*images.fit(picture.size, side))


def _features(encoder: Encoder, layer: str, picture: Picture) -> Tensor:
    """`(n, h, w)`."""
    with torch.no_grad():
        return encoder(picture.rgb[None], [layer])[layer][0]


def _pairs(encoder: Encoder, layer: str, picture: Picture, seen: Tensor, gram: Tensor, count: int = 5) -> Section:
    """The channel pairs of the highest correlation, with the places where both fire."""
    energy = gram.diagonal().clamp_min(1e-9)
    together = gram / torch.outer(energy, energy).sqrt()
    strong = energy > 0.1 * energy.mean()
    together = torch.where(strong[:, None] & strong[None], together, 0).triu(1)
    rows, table = [], []
    for place in together.flatten().topk(count).indices.tolist():
        a, b = place // len(gram), place % len(gram)
        both = (seen[a] * seen[b]).clone()
        patches = []
        for _ in range(5):
            where = int(both.argmax())
            row, column = where // both.shape[1], where % both.shape[1]
            found = Place(both[row, column].item(), 0, row, column)
            patches.append(("", units.patch(encoder, layer, picture.rgb, found)))
            reach = max(1, min(both.shape) // 8)  # another place, not the one beside it
            both[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = -1
        rows.append((f"{a} & {b}", patches))
        table.append((float(a), float(b), together[a, b].item()))
    return Section(
        "Channels that fire together",
        ["The pairs whose correlation is highest in the first picture, and where both fire: what the matrix stores."],
        [("pairs", figures.grid(rows, 1.3))],
        [Table("pairs", ["channel", "channel", "correlation"], table)],
    )


def _distances(folder: StrPath) -> Section:
    """Every two paintings' distance, and a map on which near styles lie near."""
    require_extra("explain", "a map of styles")
    from sklearn.manifold import smacof

    encoder = weights.load("vgg19", padding="replicate").up_to(STYLE_LAYERS)
    files, grams, small = files_in(folder), [], []
    for path in files:
        picture = _sized(images.read(path), 256)
        with torch.no_grad():
            seen = encoder(picture.rgb[None], list(STYLE_LAYERS))
        found = [statistics.gram(seen[layer][0].flatten(1)).mean for layer in STYLE_LAYERS]
        grams.append([gram / gram.norm() for gram in found])
        small.append(picture.resized(*images.fit(picture.size, 64)).rgb)
    count = len(files)
    distance = torch.zeros(count, count)
    for i in range(count):
        for j in range(i):
            parts = [(a - b).norm() for a, b in zip(grams[i], grams[j], strict=True)]
            distance[i, j] = distance[j, i] = torch.stack(parts).mean()
    names = [path.stem[:18] for path in files]
    places, _ = smacof(distance.double().numpy(), n_components=2, init=_spread(distance), n_init=1)
    rows = [(name, *line) for name, line in zip(names, distance.tolist(), strict=True)]
    return Section(
        "How far styles lie apart",
        [
            "The distance between the Gram matrices of every two paintings, each of norm 1, over five layers; and a "
            "map that keeps these distances as well as two dimensions can."
        ],
        [
            ("distances", figures.matrices([("distance", distance)], of="painting")),
            ("map", figures.scatter(torch.from_numpy(places), small, names)),
        ],
        [Table("distances", ["", *names], rows)],
    )


def _spread(distance: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Places in the plane to begin from: classical scaling (Torgerson 1952)."""
    centre = torch.eye(len(distance)) - 1 / len(distance)
    values, vectors = torch.linalg.eigh((-0.5 * centre @ distance.square() @ centre).double())
    return (vectors[:, -2:] * values[-2:].clamp_min(1e-9).sqrt()).numpy()
