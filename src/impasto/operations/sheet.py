"""Contact sheets comparing settings: one photo under every combination of some options."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from impasto.images import Picture, PictureLike, sheets
from impasto.inputs.memo import Memo
from impasto.inputs.read import opened, opened_styles
from impasto.isolation import isolated
from impasto.operations.stylize import iterate
from impasto.optim.clock import fraction_done
from impasto.optim.steps import Step
from impasto.presets import options_from, preset
from impasto.progress import Progress, ProgressOption, shown
from impasto.settings.fields import fields_of, text_of, typed, unknown
from impasto.settings.keywords import StylizeKeywords
from impasto.settings.options import StylizeOptions

#: What may vary, apart from options.
STYLE, PRESET = "style", "preset"


@dataclass(frozen=True, eq=False)
class Variation:
    """A step of one cell of a contact sheet.

    Attributes:
        label: the values that vary: `strength 0.5 · statistic gram`.
        number, count: which cell this is, from 1, and how many there are.
        step: of the cell's run.
        earlier: seconds that the cells before took.
    """

    label: str
    number: int
    count: int
    step: Step
    earlier: float = 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning of the sheet."""
        return self.earlier + self.step.seconds

    @property
    def progress(self) -> Progress:
        """How far the sheet is; cells are assumed to take equally long."""
        eta = self.step.eta + (self.count - self.number) * (self.step.seconds + self.step.eta)
        return Progress(f"{self.number}/{self.count} {self.label}", fraction_done(self.seconds, eta), eta, self.step)


def parse_axis(text: str) -> tuple[str, list[str]]:
    """`strength=0.5,1,2` -> ("strength", ["0.5", "1", "2"]); values that contain commas are separated by semicolons.

    Raises:
        ValueError: the text is not of this form.
    """
    name, equals, values = text.partition("=")
    parts = [part.strip() for part in values.split(";" if ";" in values else ",") if part.strip()]
    if not equals or not parts:
        raise ValueError(f"vary is {text!r}; expected OPTION=VALUE,VALUE,… such as strength=0.5,1,2")
    return name.strip().replace("-", "_"), parts


@isolated
def iterate_variations(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    vary: Mapping[str, Sequence[Any]],
    options: StylizeOptions | None = None,
    **changes: Unpack[StylizeKeywords],
) -> Iterator[Variation]:
    """The steps of every cell of a contact sheet, one cell after the other, row by row.

    Pictures are read once, and targets that several cells share are computed once.

    Args:
        content, styles: as in `stylize`.
        vary: option -> its values, as such or as text; also `style` and `preset`. The last one varies fastest.
        options, changes: the options that do not vary; by default a size of 256.

    Raises:
        ValueError: an unknown option, or a wrong value; and what `stylize` raises. Both before the first step.
    """
    content, styles = opened(content, "the content"), opened_styles(styles)
    if options is None and "preset" not in changes:
        changes = {"size": 256, **changes}
    options = options_from(StylizeOptions, options, changes)
    cells = [
        (_label(cell), *_settings(cell, styles, options))
        for cell in itertools.product(*([(name, value) for value in values] for name, values in _axes(vary)))
    ]
    memo = Memo()
    for _, style, settings in cells:  # raises errors in the arguments of any cell before the first run begins
        weight = 1.0 if settings.style_weight is None else settings.style_weight  # calibrated when the run begins
        iterate(content, style, dataclasses.replace(settings, style_weight=weight), memo=memo)

    def steps() -> Iterator[Variation]:
        earlier = 0.0
        for number, (label, style, settings) in enumerate(cells, start=1):
            for step in iterate(content, style, settings, memo=memo):
                yield Variation(label, number, len(cells), step, earlier)
            earlier += step.seconds

    return steps()


@isolated
def sheet(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    vary: Mapping[str, Sequence[Any]],
    options: StylizeOptions | None = None,
    *,
    progress: ProgressOption = False,
    **changes: Unpack[StylizeKeywords],
) -> Picture:
    """A labelled contact sheet of `content` under every combination of `vary`; see `iterate_variations`."""
    last: dict[int, Variation] = {}
    with shown(progress) as report:
        for variation in iterate_variations(content, styles, vary, options, **changes):
            last[variation.number] = variation
            report(variation.progress)
    return lay_out([(cell.label, cell.step.picture) for cell in last.values()], vary)


def lay_out(cells: Sequence[tuple[str, Picture]], vary: Mapping[str, Sequence[Any]]) -> Picture:
    """The contact sheet of (label, picture) pairs: the last option varies along a row."""
    fastest = len(list(vary.values())[-1])
    columns = fastest if len(vary) > 1 or fastest <= 5 else next(n for n in (4, 3, 5) if n == 5 or fastest % n == 0)
    side = max(max(picture.shape) for _, picture in cells)
    return sheets.contact_sheet(cells, columns=min(columns, len(cells)), cell=side)


def _axes(vary: Mapping[str, Sequence[Any]]) -> list[tuple[str, Sequence[Any]]]:
    known = [STYLE, PRESET, *fields_of(StylizeOptions)]
    if not vary:
        raise ValueError("nothing to vary was given; give an option and its values, such as strength=0.5,1,2")
    for name, values in vary.items():
        if name not in known:
            raise unknown("option to vary", name, known)
        if not values:
            raise ValueError(f"no values were given for {name}")
    return list(vary.items())


def _settings(cell: Sequence[tuple[str, Any]], styles: Any, options: StylizeOptions) -> tuple[Any, StylizeOptions]:
    """The styles and options of a cell. Options that are not at their defaults override a preset that varies."""
    changes, fields = dict(cell), fields_of(StylizeOptions)
    styles = changes.pop(STYLE, styles)
    if PRESET in changes:
        base = preset(changes.pop(PRESET))
        default = StylizeOptions()
        given = {name: getattr(options, name) for name in fields}
        options = dataclasses.replace(
            base, **{name: value for name, value in given.items() if value != getattr(default, name)}
        )
    return styles, dataclasses.replace(options, **{name: typed(fields[name], value) for name, value in changes.items()})


def _label(cell: Sequence[tuple[str, Any]]) -> str:
    fields = fields_of(StylizeOptions)
    texts = []
    for name, value in cell:
        text = value if isinstance(value, str) or name not in fields else text_of(fields[name], value) or "default"
        texts.append(f"{name.replace('_', ' ')} {text if isinstance(text, str) else ' '.join(text)}")
    return " · ".join(texts)
