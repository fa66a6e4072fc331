"""Contact sheets: pictures in a grid, each with a label."""

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
    """A grid of (label, picture) pairs, row by row, each resized to fit a square of `cell` pixels."""
    gap, line = cell // 20, max(14, cell // 14)
    small = [(label, picture.resized(*images.fit(picture.shape, cell))) for label, picture in entries]
    rows = [small[start : start + columns] for start in range(0, len(small), columns)]
    heights = [max(picture.shape[0] for _, picture in row) for row in rows]
    width = cell + gap
    sheet = PIL.Image.new("RGB", (columns * width + gap, sum(heights) + len(rows) * (line + 2 * gap) + gap), PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    font = _font(line * 0.72)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, (label, picture) in enumerate(row):
            left, image = gap + column * width, picture.to_pil().convert("RGB")
            sheet.paste(image, (left + (cell - image.width) // 2, top + (height - image.height) // 2))
            length = draw.textlength(label, font)
            fitting = font if length <= cell else _font(line * 0.72 * cell / length)
            draw.text((left + cell / 2, top + height + gap / 2), label, INK, fitting, "ma")
        top += height + line + 2 * gap
    return images.read(np.asarray(sheet))


def _font(size: float) -> PIL.ImageFont.FreeTypeFont:
    """DejaVu Sans, which is bundled with matplotlib and covers most scripts."""
    return PIL.ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
