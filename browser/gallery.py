"""Writes what the page shows and paints with into `public/`, from the bundled model: run it whenever that changes.

Also the thumbnails of the built-in styles for `impasto web`, since they take seconds to paint.

.venv/bin/python browser/gallery.py
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnxruntime

from impasto import images
from impasto.fast.export import ExportableModel, export
from impasto.fast.models import load
from impasto.inputs import photos, styles
from impasto.inputs.gallery import PAINTINGS, path_of
from impasto.web import gallery as form

PUBLIC = Path(__file__).with_name("public")
#: Pixels of a thumbnail, a square, twice as many as on the page.
THUMBNAIL = 160
#: Sides of the icon of the installed page, for systems that take no vector graphics.
ICONS = (192, 512)
#: The style in which the sample photo is painted at first.
FIRST = "stained-glass"
#: The side of the picture by which a browser checks what its graphics processor computes, and the step of the samples.
CHECK_SIDE, CHECK_STEP = 64, 16


def main() -> None:
    model = load()
    graph = PUBLIC / "gallery.onnx"
    export(model, graph, tiles=True)
    folder = PUBLIC / "styles"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    entries = []
    for name in model.styles:
        if name in PAINTINGS:
            painting = PAINTINGS[name]
            entry = {"name": name, "title": painting.title, "painter": f"{painting.artist}, {painting.year}"}
            picture = images.read(path_of(name))
        else:
            entry = {"name": name, "title": name.replace("-", " ").capitalize(), "painter": ""}
            picture = images.read(styles.paint(name, 256, 256))
        write_thumbnail(picture, folder / f"{name}.webp")
        entries.append(entry)
    for name in styles.STYLES:
        images.write(form.THUMBNAILS / f"{name}.webp", images.read(styles.paint(name, form.THUMBNAIL, form.THUMBNAIL)))
    for side in ICONS:
        icon = images.read(PUBLIC / "icon.svg", long_side=side)
        images.write(PUBLIC / f"icon-{side}.png", icon.on_white())
    images.write(PUBLIC / "sample.webp", images.read(photos.load("astronaut")))
    module = ExportableModel(model)
    about = {
        "model": model.digest,
        "length": model.network.length,
        "statistics": module.statistics_length,
        "first": FIRST,
        "check": expected(graph, len(entries), model.network.length, module.statistics_length),
        "styles": entries,
    }
    (PUBLIC / "gallery.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")


def write_thumbnail(picture: images.Picture, path: Path) -> None:
    """The square in the middle."""
    height, width = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = images.Picture(picture.on_white().rgb[:, top : top + side, left : left + side])
    images.write(path, square.resized(THUMBNAIL, THUMBNAIL))


def expected(graph: Path, styles_count: int, length: int, statistics: int) -> list[float]:
    """Some pixels of a pattern painted in the first style."""
    band, row, column = np.mgrid[:3, :CHECK_SIDE, :CHECK_SIDE]
    pattern = ((column * 3 + row * 5 + band * 7) % 32 / 31).astype(np.float32)[None]
    given = {
        "photo": pattern,
        "shares": np.eye(1, styles_count, dtype=np.float32),
        "vector": np.zeros((1, length), np.float32),
        "statistics": np.zeros((1, statistics), np.float32),
        "share": np.zeros(1, np.float32),
    }
    painted, _ = onnxruntime.InferenceSession(graph.read_bytes()).run(None, given)
    return [round(float(value), 4) for value in painted[0, :, ::CHECK_STEP, ::CHECK_STEP].flat]


if __name__ == "__main__":
    main()
