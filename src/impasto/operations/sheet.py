"""Variations: the same photo under every combination of some options, on one labelled sheet."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from impasto.images import Picture, PictureLike, sheets
from impasto.inputs.read import Memo
from impasto.operations.stylize import iterate
from impasto.optim.steps import Step
from impasto.presets import preset
from impasto.settings.fields import fields_of, text_of, typed, unknown
from impasto.settings.options import StylizeOptions

#: What may vary beside the options.
STYLE, PRESET = "style", "preset"


@dataclass(frozen=True, eq=False)
class Variation:
    """A step on the way to one cell of a sheet.

    Attributes:
        label: what sets it apart: `strength 0.5 · statistic gram`.
        number, count: which cell this is, from 1, and how many there are.
        step: of this cell.
    """

    label: str
    number: int
    count: int
    step: Step


def parse_axis(text: str) -> tuple[str, list[str]]:
    """`strength=0.5,1,2` -> ("strength", ["0.5", "1", "2"]); values that hold commas are parted by semicolons.

    Raises:
        ValueError: text that is not of this form.
    """
    name, equals, values = text.partition("=")
    parts = [part.strip() for part in values.split(";" if ";" in values else ",") if part.strip()]
    if not equals or not parts:
        raise ValueError(f"vary is {text!r}; needed is OPTION=VALUE,VALUE,… such as strength=0.5,1,2")
    return name.strip().replace("-", "_"), parts


def iterate_variations(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    vary: Mapping[str, Sequence[Any]],
    options: StylizeOptions | None = None,
) -> Iterator[Variation]:
    """The steps of every cell of a sheet, one cell after the other, rows first.

    Pictures are read, and the targets that several cells share computed, only once. What is wrong with the
    arguments is raised before the first step.

    Args:
        content: as in `stylize`.
        styles: likewise.
        vary: option -> its values, or text for them; also `style` and `preset`. The last one varies fastest.
        options: what does not vary; small by default.

    Raises:
        ValueError: an unknown option, values that do not fit; and see `stylize`.
    """
    cells = [
        (_label(cell), *_settings(cell, styles, options or StylizeOptions(size=256)))
        for cell in itertools.product(*([(name, value) for value in values] for name, values in _axes(vary)))
    ]
    memo: Memo = {}
    for _, style, settings in cells:  # what is wrong with any of them should be known before the first is made
        iterate(content, style, settings, memo)

    def steps() -> Iterator[Variation]:
        for number, (label, style, settings) in enumerate(cells, start=1):
            for step in iterate(content, style, settings, memo):
                yield Variation(label, number, len(cells), step)

    return steps()


def sheet(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    vary: Mapping[str, Sequence[Any]],
    options: StylizeOptions | None = None,
) -> Picture:
    """A labelled contact sheet of `content` under every combination of `vary`; see `iterate_variations`."""
    last = {variation.number: variation for variation in iterate_variations(content, styles, vary, options)}
    return lay_out([(cell.label, cell.step.picture) for cell in last.values()], vary)


def lay_out(cells: Sequence[tuple[str, Picture]], vary: Mapping[str, Sequence[Any]]) -> Picture:
    """The sheet of these (label, picture) pairs: a row for each value of all options but the last."""
    fastest = len(list(vary.values())[-1])
    columns = fastest if len(vary) > 1 or fastest <= 5 else next(n for n in (4, 3, 5) if n == 5 or fastest % n == 0)
    side = max(max(picture.size) for _, picture in cells)
    return sheets.contact_sheet(cells, columns=min(columns, len(cells)), cell=side)


def _axes(vary: Mapping[str, Sequence[Any]]) -> list[tuple[str, Sequence[Any]]]:
    known = [STYLE, PRESET, *fields_of(StylizeOptions)]
    if not vary:
        raise ValueError("nothing to vary was given; say for example strength=0.5,1,2")
    for name, values in vary.items():
        if name not in known:
            raise unknown("option to vary", name, known)
        if not values:
            raise ValueError(f"{name} is to vary, but over no values")
    return list(vary.items())


def _settings(cell: Sequence[tuple[str, Any]], styles: Any, options: StylizeOptions) -> tuple[Any, StylizeOptions]:
    """The styles and options of a cell."""
    changes = dict(cell)
    styles = changes.pop(STYLE, styles)
    if PRESET in changes:
        base = preset(changes.pop(PRESET))
        own = {name: getattr(options, name) for name in fields_of(options)}
        default = StylizeOptions()
        options = dataclasses.replace(
            base, **{name: value for name, value in own.items() if value != getattr(default, name)}
        )
    fields = fields_of(StylizeOptions)
    return styles, dataclasses.replace(options, **{name: typed(fields[name], value) for name, value in changes.items()})


def _label(cell: Sequence[tuple[str, Any]]) -> str:
    fields = fields_of(StylizeOptions)
    texts = []
    for name, value in cell:
        text = value if isinstance(value, str) or name not in fields else text_of(fields[name], value) or "default"
        texts.append(f"{name.replace('_', ' ')} {text if isinstance(text, str) else ' '.join(text)}")
    return " · ".join(texts)
