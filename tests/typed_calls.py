"""Calls as type checkers see them; nothing runs this. mypy reports an `ignore` that is not needed as an error."""

from pathlib import Path

import numpy as np

import impasto
from impasto import Picture, Progress, StylizeOptions
from impasto.fast import stylize as stylize_fast


def calls(photo: Path, array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    picture: Picture = impasto.stylize(photo, "udnie", size=512, strength=0.8, preset="preview", progress=True)
    impasto.stylize(photo, [array, picture], StylizeOptions(), style_weights=[0.7, 0.3], size="original")
    impasto.stylize(photo, "udnie", strngth=0.8)  # type: ignore[call-arg]
    impasto.stylize(photo, "udnie", color="luminence")  # type: ignore[arg-type]
    impasto.stylize(photo, "udnie", {"size": 512})  # type: ignore[arg-type]
    impasto.stylize(photo, "udnie", progress="bar")  # type: ignore[arg-type]

    def shown(progress: Progress) -> None:
        progress.stage.upper()

    stylize_fast(photo, "udnie", progress=shown, style_scale=2.0)
    stylize_fast(photo, "udnie", iterations=3)  # type: ignore[call-arg]
    impasto.texture(photo, size="1024x512", seamless=True)
    impasto.reconstruct(photo, content_layer="relu3_1")
    impasto.sheet(photo, "udnie", {"strength": [1, 2]}, size=128)
    impasto.preset("gatys2016", size=400)
    with photo.open("rb") as file, impasto.Painter() as painter:
        painter.stylize(file, "udnie", size=256)
        painter.fast(photo, "udnie", siz=256)  # type: ignore[call-arg]
    np.asarray(picture).reshape(picture.height, picture.width, 3)
