"""What excites the units of a layer, over a folder of pictures: their nine patches each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from impasto.errors import PictureError
from impasto.explain import figures, units
from impasto.explain.report import Report, Section, Table, Tell, quiet
from impasto.explain.units import Place
from impasto.files import StrPath
from impasto.inputs.read import files_in
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder


def unit_report(
    folder: StrPath,
    layer: str = "relu3_1",
    unit: int | None = None,
    top: int = 16,
    several: bool = False,
    tell: Tell = quiet,
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
