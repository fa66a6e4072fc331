"""Contact sheets: pictures side by side with a line of text under each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from impasto import images
from impasto.images import Picture

PAPER, INK = (250, 249, 246), (40, 38, 36)


def contact_sheet(entries: Sequence[tuple[str, Picture]], columns: int, cell: int = 320) -> Picture:
    """Pictures in rows of `columns`, each within a square of `cell` pixels, its label beneath.

    Args:
        entries: (label, picture) pairs, left to right and down.
        columns: pictures in a row.
        cell: side of the square that a picture fits into.
    """
    gap, line = cell // 20, max(14, cell // 14)
    rows = -(-len(entries) // columns)
    tallest = max(images.fit(picture.size, cell)[0] for _, picture in entries)
    height, width = tallest + line + 2 * gap, cell + gap
    sheet = PIL.Image.new("RGB", (columns * width + gap, rows * height + gap), PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    font = _font(line * 0.72)
    for index, (label, picture) in enumerate(entries):
        small = picture.resized(*images.fit(picture.size, cell)).to_pil().convert("RGB")
        left, top = gap + index % columns * width, gap + index // columns * height
        sheet.paste(small, (left + (cell - small.width) // 2, top + (tallest - small.height) // 2))
        fitting = font
        if (length := draw.textlength(label, font)) > width:
            fitting = _font(line * 0.72 * width / length)
        draw.text((left + cell / 2, top + tallest + gap / 2), label, INK, fitting, "ma")
    return images.read(np.asarray(sheet))


def _font(size: float) -> PIL.ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows most of the world's letters."""
    return PIL.ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
