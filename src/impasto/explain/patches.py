"""The report on what the units of a layer respond to, over a folder of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from torch import Tensor

from impasto.errors import PictureError
from impasto.explain import figures, units
from impasto.explain.report import Report, Section, Table, counting
from impasto.explain.units import UnitResponse
from impasto.files import StrPath
from impasto.inputs.read import files_in
from impasto.isolation import isolated
from impasto.progress import ProgressOption
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder


@isolated
def unit_report(
    folder: StrPath,
    layer: str = "relu3_1",
    unit: int | None = None,
    top: int = 16,
    several: bool = False,
    progress: ProgressOption = False,
) -> Report:
    """For units of a layer, the nine patches that excite each of them most (Zeiler and Fergus 2013).

    Beside them, the guided gradient of the strongest one, and a picture optimised to excite the unit.

    Args:
        folder: of pictures; its subfolders are searched too.
        unit: the only one to report on; None for the `top` units of the strongest responses.
        several: whether one picture may contribute more than one patch to a unit.

    Raises:
        ValueError: there is no such layer or unit.
        PictureError: the folder holds no pictures that can be read.
    """
    with counting(progress) as count:
        encoder = weights.load("vgg19", padding="replicate").up_to([layer, layer.replace("relu", "conv")])
        channels = encoder.layers[encoder.depth(layer)].channels
        if unit is not None and not 0 <= unit < channels:
            raise ValueError(f"unit is {unit}; {layer} has {channels}, from 0 to {channels - 1}")
        files = files_in(folder)

        def pictures() -> Iterator[Tensor | None]:
            for number, path in enumerate(files):
                count(number, len(files) + top, path.name)
                yield units.load_picture(path)

        best = units.strongest_responses(encoder, layer, pictures(), 9, several)
        if not best:
            raise PictureError(
                f"none of the {len(files)} files in {folder} can be used: each is damaged, or too small for {layer}"
            )
        chosen = [unit] if unit is not None else sorted(range(channels), key=lambda u: -_mean(best[u]))[:top]
        rows, table = [], []
        for number, which in enumerate(chosen):
            count(len(files) + number, len(files) + len(chosen), f"unit {which}")
            rows.append((f"unit {which}", _unit_row(encoder, layer, which, best[which], files)))
            table += [
                (float(which), response.value, files[response.picture].name, response.row, response.column)
                for response in best[which]
            ]
        field = encoder.layers[encoder.depth(layer)].field
    return Report(
        f"What {layer} responds to",
        [
            Section(
                f"{len(chosen)} units of {layer}",
                [
                    f"Each row is a unit: the nine patches of {len(files)} pictures that excite it most, cropped to "
                    f"its receptive field of {field}×{field} pixels and titled with its activation; the gradient of "
                    "the first one by guided backpropagation; and a picture optimised to excite the unit.",
                ],
                [("units", figures.grid(rows, 1.1))],
                [Table("units", ["unit", "activation", "picture", "row", "column"], table)],
            )
        ],
    )


def _mean(responses: Sequence[UnitResponse]) -> float:
    return sum(response.value for response in responses) / max(len(responses), 1)


def _unit_row(
    encoder: Encoder, layer: str, unit: int, responses: Sequence[UnitResponse], files: Sequence[Path]
) -> list[tuple[str, Tensor]]:
    row: list[tuple[str, Tensor]] = []
    guided: list[tuple[str, Tensor]] = []
    for response in responses:
        picture = units.load_picture(files[response.picture])
        assert picture is not None
        row.append((f"{response.value:.0f}", units.patch(encoder, layer, picture, response)))
        if not guided:
            gradient = units.guided_gradient(encoder, layer, unit, picture, response)
            guided = [("guided gradient", figures.gradient_image(units.patch(encoder, layer, gradient, response)))]
    return [*row, *guided, ("optimised input", units.maximize_activation(encoder, layer, unit))]
