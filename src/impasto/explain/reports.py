"""The explanations: what each layer holds, what excites units, what Gram matrices say, how statistics and runs go.

Every function gives a `Report`, of matplotlib's figures and tables; nothing is written until it is told where.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import impasto
from impasto import checkpoints, images, inputs, statistics, weights
from impasto.checkpoints import Row
from impasto.encoders import Encoder
from impasto.errors import ExtraError, PictureError
from impasto.explain import figures, units
from impasto.explain.report import Report, Section, Table
from impasto.explain.units import Place
from impasto.images import Picture, PictureLike
from impasto.inputs import files_in, read_content, read_styles
from impasto.options import STYLE_LAYERS, ReconstructOptions, StylizeOptions, TextureOptions
from impasto.statistics import STATISTICS, StatisticName
from impasto.steps import Step

#: Told how far an explanation is: (done, in all, what is being done).
Tell = Callable[[int, int, str], None]

LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")


def _quiet(done: int, total: int, what: str) -> None:
    pass


def representations(
    photo: PictureLike, painting: PictureLike, size: int = 256, iterations: int = 150, tell: Tell = _quiet
) -> Report:
    """Content by layer and style by depth: figure 1 of Gatys, Ecker and Bethge, CVPR 2016.

    Raises:
        ValueError, PictureError: see `impasto.stylize`.
    """
    taps, styles = list(LAYERS), list(STYLE_LAYERS)
    content: list[tuple[str, Tensor]] = []
    errors: list[tuple[str | float, ...]] = []
    for number, layer in enumerate(taps):
        tell(number, 2 * len(taps), f"content of {layer}")
        plain = ReconstructOptions(size=size, iterations=iterations, content_layer={layer: 1.0})
        (last,) = deque(impasto.iterate_reconstruction(photo, plain), maxlen=1)
        original = read_content(photo).resized(*last.size).rgb
        content.append((layer, last.picture.rgb))
        errors.append((layer, (last.picture.rgb - original).square().mean().item()))
    ((_, given),) = read_styles(painting, size * size, {})
    height, width = images.fit(given.size, size)
    style: list[tuple[str, Tensor]] = []
    for number in range(1, len(styles) + 1):
        tell(len(taps) + number - 1, 2 * len(taps), f"style of {styles[number - 1]} and below")
        chosen = dict.fromkeys(styles[:number], 1.0)
        plain_texture = TextureOptions(size=(width, height), style_layers=chosen, iterations=max(20, iterations // 3))
        style.append((f"to {styles[number - 1]}", impasto.texture(painting, plain_texture).rgb))
    seen = read_content(photo)
    rows = [
        ("content", [("photo", seen.resized(*images.fit(seen.size, size)).rgb), *content]),
        ("style", [("painting", given.resized(height, width).rgb), *style]),
    ]
    return Report(
        "What each layer knows of a picture",
        [
            Section(
                "Content by layer, style by depth",
                [
                    "Above, the photo reconstructed from noise until one layer sees in it what it sees in the photo. "
                    "Low layers keep every pixel; high ones keep what things are and about where.",
                    "Below, textures that share the painting's Gram matrices at more and more layers. Places are "
                    "forgotten; from colours to strokes to whole shapes, more of the manner is kept.",
                ],
                [("representations", figures.grid(rows, 2.0))],
                [Table("content-error", ["layer", "mean squared error of the pixels"], errors)],
            )
        ],
    )


def unit_report(
    folder: Path,
    layer: str = "relu3_1",
    unit: int | None = None,
    top: int = 16,
    several: bool = False,
    tell: Tell = _quiet,
) -> Report:
    """What excites units of a layer, over a folder of pictures (Zeiler and Fergus 2013).

    Args:
        unit: which; None for the `top` ones that are excited most.
        several: whether a picture may give more than one patch.

    Raises:
        ValueError: there is no such layer or unit.
        PictureError: there are no pictures.
    """
    encoder = weights.load("vgg19", padding="replicate").up_to([layer, layer.replace("relu", "conv")])
    channels = encoder.layers[encoder.depth(layer)].channels
    if unit is not None and not 0 <= unit < channels:
        raise ValueError(f"unit is {unit}; {layer} has {channels}, from 0 to {channels - 1}")
    files = files_in(folder)

    def pictures() -> Iterator[Tensor | None]:
        for number, path in enumerate(files):
            tell(number, len(files) + top, path.name)
            yield units.looked(path)

    best = units.strongest(encoder, layer, pictures(), 9, several)
    if not best:
        raise PictureError(f"none of the {len(files)} files in {folder} is a picture that can be looked at")
    chosen = [unit] if unit is not None else sorted(range(channels), key=lambda u: -_typical(best[u]))[:top]
    rows, table = [], []
    for number, which in enumerate(chosen):
        tell(len(files) + number, len(files) + len(chosen), f"unit {which}")
        rows.append((f"unit {which}", _unit_row(encoder, layer, which, best[which], files)))
        table += [
            (float(which), place.value, files[place.picture].name, place.row, place.column) for place in best[which]
        ]
    field = encoder.layers[encoder.depth(layer)].field
    return Report(
        f"What excites {layer}",
        [
            Section(
                f"{len(chosen)} units of {layer}",
                [
                    f"Each row is a unit: the nine patches of {len(files)} pictures that excite it most, cut at its "
                    f"receptive field of {field}×{field} pixels; what in the first of them matters (guided "
                    "backpropagation); and a picture that was made to excite it.",
                ],
                [("units", figures.grid(rows, 1.1))],
                [Table("units", ["unit", "activation", "picture", "row", "column"], table)],
            )
        ],
    )


def _typical(places: Sequence[Place]) -> float:
    return sum(place.value for place in places) / max(len(places), 1)


def _unit_row(
    encoder: Encoder, layer: str, unit: int, places: Sequence[Place], files: Sequence[Path]
) -> list[tuple[str, Tensor]]:
    row: list[tuple[str, Tensor]] = []
    matters: Tensor | None = None
    for place in places:
        picture = units.looked(files[place.picture])
        assert picture is not None
        row.append((f"{place.value:.0f}", units.patch(encoder, layer, picture, place)))
        if matters is None:
            gradient = units.guided(encoder, layer, unit, picture, place)
            matters = figures.contrasted(units.patch(encoder, layer, gradient, place))
    row += [] if matters is None else [("what matters", matters)]
    return [*row, ("made for it", units.excite(encoder, layer, unit))]


def gram_report(
    one: PictureLike, two: PictureLike, layer: str = "relu3_1", folder: Path | None = None, tell: Tell = _quiet
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


def _distances(folder: Path) -> Section:
    """Every two paintings' distance, and a map on which near styles lie near."""
    try:
        from sklearn.manifold import smacof
    except ModuleNotFoundError:
        raise ExtraError("a map of styles needs scikit-learn: pip install 'impasto[explain]'") from None

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


def statistics_report(
    photo: PictureLike, painting: PictureLike, size: int = 256, iterations: int = 40, tell: Tell = _quiet
) -> Report:
    """A photo and a painting under several statistics, and each result's distance under all (Li et al. 2017)."""
    names: tuple[StatisticName, ...] = ("gram", "mean", "moments", "gaussian", "wasserstein")
    base = StylizeOptions(size=size, iterations=iterations)
    pictures: list[tuple[str, Tensor]] = []
    memo: inputs.Memo = {}
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
        goal = chosen.phi.sums(b, None).mean
        distance = chosen.distance_to(goal)
        found = distance(chosen.phi.sums(a, None).mean) / distance(torch.zeros_like(goal)).clamp_min(1e-12)
        total += found.item() / len(STYLE_LAYERS)
    return total


def run_report(steps: Iterator[Step], snapshots: int = 6, tell: Tell = _quiet) -> Report:
    """A run as it goes: its terms over time and scale, each layer's share, snapshots.

    Args:
        steps: of any operation that optimises a picture.
    """
    curve: list[Row] = []
    kept: list[tuple[str, Tensor]] = []
    last: Step | None = None
    for last in steps:
        curve.append((last.evaluations, last.scale, last.loss, dict(last.losses)))
        tell(round(last.seconds), max(1, round(last.seconds + last.eta)), f"scale {last.scale}/{last.scales}")
        kept.append((f"{last.evaluations}", images.resize(last.picture.rgb, *images.fit(last.size, 224))))
        if len(kept) > 2 * snapshots:  # every other one: in the end they lie evenly
            kept = kept[::2]
    if last is None:
        raise ValueError("there was no step to explain")
    marks = torch.linspace(0, len(kept) - 1, min(snapshots, len(kept))).round().int().tolist()
    return _run("A run, explained", curve, [kept[mark] for mark in marks])


def checkpoint_report(path: Path) -> Report:
    """A run that was put away, as far as it has come: its terms over time and scale, shares, where it stands.

    Raises:
        CheckpointError: the file is damaged.
    """
    checkpoint, settings = checkpoints.read(path, torch.device("cpu"))
    height, width = checkpoint.state.image.shape[-2:]
    if height == 1:
        raise ValueError(f"{path} is of a sound; runs of pictures are explained")
    report = _run(
        f"A run after {checkpoint.evaluations} evaluations",
        list(checkpoint.curve),
        [(f"{checkpoint.evaluations}, {width}×{height} px", checkpoint.state.image[0])],
    )
    options = [(name, repr(value)) for name, value in settings["options"].items()]
    return dataclasses.replace(
        report,
        sections=[
            *report.sections,
            Section("Its settings", tables=[Table("settings", ["option", "value"], options)]),
        ],
    )


def _run(title: str, curve: Sequence[Row], snapshots: list[tuple[str, Tensor]]) -> Report:
    names = list(dict.fromkeys(name for row in curve for name in row[3]))
    rows = [(float(row[0]), float(row[1]), row[2], *(row[3].get(name, 0.0) for name in names)) for row in curve]
    return Report(
        title,
        [
            Section(
                "The loss and its terms",
                [
                    "Above, every term's weighted value, with a dotted line where a larger scale begins; "
                    "below, its share."
                ],
                [("losses", figures.run(curve))],
                [],
            ),
            Section(
                "On the way",
                ["The picture after so many evaluations."],
                [("snapshots", figures.grid([("", snapshots)], 2.0))],
            ),
            Section(
                "The numbers",
                [],
                [],
                [Table("run", ["evaluations", "scale", "loss", *names], rows)],
            ),
        ],
    )


__all__ = ["checkpoint_report", "gram_report", "representations", "run_report", "statistics_report", "unit_report"]
