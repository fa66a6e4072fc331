"""The styles that the page offers: the built-in ones, and a folder of the owner's."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from impasto import images
from impasto.errors import ImpastoError
from impasto.inputs import styles
from impasto.inputs.read import SUFFIXES

log = logging.getLogger(__name__)

#: Long side of a thumbnail, in pixels.
THUMBNAIL = 240


@dataclass(frozen=True)
class Style:
    """A style on offer.

    Attributes:
        name: what it is called, once on the page.
        given: what the operation is given for it: a built-in name, or the path of a file.
        thumbnail: a small picture of it.
    """

    name: str
    given: str
    thumbnail: Path


def collect(public: Path, folder: Path | None = None) -> tuple[Style, ...]:
    """All styles, their thumbnails written to `public`. Files that cannot be read are named in the log.

    Raises:
        ValueError: `folder` is none, or holds no picture.
    """
    found: list[Style] = []
    for path in _pictures(folder) if folder else ():
        try:
            picture = images.read(path)
        except (ImpastoError, ValueError) as error:
            log.warning("%s", error)
            continue
        taken = {style.name for style in found}
        name = path.stem.replace("_", " ")
        found.append(_style(path.name if name in taken else name, str(path), picture, public))
    if folder and not found:
        raise ValueError(f"{folder} holds no picture that can be read; needed are files such as .jpg or .png")
    for name in styles.STYLES:
        picture = images.read(styles.paint(name, THUMBNAIL, THUMBNAIL))
        found.append(_style(name, name, picture, public))
    return tuple(found)


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    return sorted(path for path in folder.resolve().iterdir() if path.suffix.lower() in SUFFIXES)


def _style(name: str, given: str, picture: images.Picture, public: Path) -> Style:
    folder = public / "styles"
    folder.mkdir(exist_ok=True)
    path = folder / f"{len(list(folder.iterdir())):04}.jpg"
    images.write(path, picture.resized(*images.fit(picture.size, THUMBNAIL)))
    return Style(name, given, path)
