"""Reports: one self-contained HTML file, and its figures and tables as PNG and CSV files beside it."""

from __future__ import annotations

import base64
import csv
import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import jinja2
from matplotlib.figure import Figure

from impasto._version import __version__
from impasto.errors import FileError
from impasto.files import StrPath, atomic_write
from impasto.progress import Progress, ProgressOption, shown

#: The most rows of a table that the HTML file shows.
MAX_ROWS = 48

TEMPLATE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem;
         color: #282624; background: #faf9f6; }
  h1, h2 { line-height: 1.2; } figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
  figcaption { color: #6b665f; } table { display: block; max-width: 100%; overflow-x: auto; }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
  td, th { padding: .2rem .7rem; border-bottom: 1px solid #ddd8cf; text-align: right; } th:first-child,
  td:first-child { text-align: left; }
</style></head><body>
<h1>{{ title }}</h1>
{% for section in sections %}<section><h2>{{ section.title }}</h2>
{% for paragraph in section.text %}<p>{{ paragraph }}</p>{% endfor %}
{% for name, image in section.images %}<figure><img alt="{{ section.title }}: {{ name }}"
  src="data:image/png;base64,{{ image }}"><figcaption>{{ name }}.png</figcaption></figure>{% endfor %}
{% for table in section.tables %}<table><tr>{% for cell in table.header %}<th>{{ cell }}</th>{% endfor %}</tr>
{% for row in table.excerpt %}<tr>{% for cell in row %}<td>{{ table.formatted(cell) }}</td>{% endfor %}</tr>{% endfor %}
</table>{% endfor %}</section>{% endfor %}
<p><small>Made by impasto {{ version }}.</small></p></body></html>
"""


@dataclass(frozen=True)
class Table:
    """A table of text and numbers.

    Attributes:
        name: of its CSV file, without the suffix.
        header: the columns' titles.
    """

    name: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | float]]

    @property
    def excerpt(self) -> Sequence[Sequence[str | float]]:
        """At most `MAX_ROWS` rows, evenly spaced; the CSV file has all of them."""
        return self.rows[:: -(-len(self.rows) // MAX_ROWS)] if self.rows else []

    @staticmethod
    def formatted(cell: str | float) -> str:
        """A cell of the HTML file: numbers to four significant digits."""
        return cell if isinstance(cell, str) else f"{cell:.4g}"


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        text: paragraphs.
        figures: (name, figure) pairs; the name is that of the PNG file, without the suffix.
    """

    title: str
    text: Sequence[str] = ()
    figures: Sequence[tuple[str, Figure]] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Report:
    """Sections under a title."""

    title: str
    sections: Sequence[Section] = field(default_factory=list)

    def write(self, folder: StrPath) -> Path:
        """Write `report.html` and the files beside it into a folder, which is made if missing.

        Returns:
            The path of `report.html`.

        Raises:
            FileError: the folder or a file cannot be written. Files that were there stay whole.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"cannot write to {folder}: {error.strerror}") from error
        sections = []
        for section in self.sections:
            pictures = []
            for name, figure in section.figures:
                data = png(figure)
                with atomic_write(folder / f"{name}.png") as draft:
                    draft.write_bytes(data)
                pictures.append((name, base64.b64encode(data).decode()))
            for table in section.tables:
                with atomic_write(folder / f"{table.name}.csv") as draft, open(draft, "w", newline="") as file:
                    csv.writer(file).writerows([table.header, *table.rows])
            sections.append(
                {"title": section.title, "text": section.text, "images": pictures, "tables": section.tables}
            )
        page = jinja2.Environment(autoescape=True).from_string(TEMPLATE)
        path = folder / "report.html"
        with atomic_write(path) as draft:
            draft.write_text(page.render(title=self.title, sections=sections, version=__version__), encoding="utf-8")
        return path


def png(figure: Figure) -> bytes:
    """The content of a figure's PNG file."""
    memory = io.BytesIO()
    figure.savefig(memory, format="png", dpi=110)
    return memory.getvalue()


@contextmanager
def counting(progress: ProgressOption) -> Iterator[Callable[[int, int, str], object]]:
    """What to call with the steps done, the steps in total, and what is computed now."""
    started = time.monotonic()

    def count(done: int, total: int, what: str) -> None:
        eta = (time.monotonic() - started) / done * (total - done) if done else None
        report(Progress(what, done / max(total, 1), eta))

    with shown(progress) as report:
        yield count
