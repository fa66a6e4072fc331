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
    small = [(label, picture.resized(*images.fit(picture.size, cell))) for label, picture in entries]
    rows = [small[start : start + columns] for start in range(0, len(small), columns)]
    heights = [max(picture.size[0] for _, picture in row) for row in rows]
    width = cell + gap
    sheet = PIL.Image.new("RGB", (columns * width + gap, sum(heights) + len(rows) * (line + 2 * gap) + gap), PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    font = _font(line * 0.72)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, (label, picture) in enumerate(row):
            left, image = gap + column * width, picture.to_pil().convert("RGB")
            sheet.paste(image, (left + (cell - image.width) // 2, top + (height - image.height) // 2))
            fitting = font
            if (length := draw.textlength(label, font)) > cell:
                fitting = _font(line * 0.72 * cell / length)
            draw.text((left + cell / 2, top + height + gap / 2), label, INK, fitting, "ma")
        top += height + line + 2 * gap
    return images.read(np.asarray(sheet))


def _font(size: float) -> PIL.ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows most of the world's letters."""
    return PIL.ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
