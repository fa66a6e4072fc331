"""The styles that the page offers: the pictures in a folder, the paintings of the gallery, and the built-in styles."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from impasto import images
from impasto.errors import ImpastoError
from impasto.inputs import styles
from impasto.inputs.gallery import PAINTINGS, path_of
from impasto.inputs.read import sorted_out, warn_of

log = logging.getLogger(__name__)

#: Long side of a thumbnail, in pixels.
THUMBNAIL = 240
#: Those of the built-in styles, which take seconds to paint; `browser/gallery.py` writes them.
THUMBNAILS = Path(__file__).with_name("thumbnails")
#: Captions of the styles that come with the program.
BUNDLED = {*styles.STYLES, *(painting.title for painting in PAINTINGS.values())}


@dataclass(frozen=True)
class GalleryStyle:
    """A style that visitors can choose.

    Attributes:
        name: its caption, unique on the page.
        source: the name of a built-in style or of a painting of the gallery, or the path of a file.
        thumbnail: path of a small picture of it.
        painter: who painted it, and when; empty if that is not known.
    """

    name: str
    source: str
    thumbnail: Path
    painter: str = ""


def collect(public: Path, folder: Path | None = None) -> tuple[GalleryStyle, ...]:
    """The pictures in `folder`, the paintings of the gallery, and the built-in styles; writes thumbnails to `public`.

    Files that cannot be read are skipped with a warning in the log.

    Raises:
        ValueError: `folder` does not exist, or holds no readable picture.
    """
    found: list[GalleryStyle] = []
    for path in _picture_files(folder) if folder else ():
        try:
            picture = images.read(path)
        except (ImpastoError, ValueError) as error:
            log.warning("%s", error)
            continue
        taken = {style.name for style in found} | BUNDLED
        name = path.stem.replace("_", " ")
        found.append(_with_thumbnail(path.name if name in taken else name, str(path), picture, public))
    if folder and not found:
        raise ValueError(f"no picture in {folder} can be read; add files such as .jpg or .png")
    for name, painting in PAINTINGS.items():
        picture = images.read(path_of(name))
        painter = f"{painting.artist}, {painting.year}"
        found.append(_with_thumbnail(painting.title, name, picture, public, painter))
    for name in styles.STYLES:
        found.append(_with_thumbnail(name, name, images.read(THUMBNAILS / f"{name}.webp"), public))
    return tuple(found)


def _picture_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"no folder {folder}")
    found, skipped = sorted_out(sorted(folder.resolve().iterdir()), folder.resolve())
    warn_of(skipped, folder)
    return found


def _with_thumbnail(name: str, source: str, picture: images.Picture, public: Path, painter: str = "") -> GalleryStyle:
    folder = public / "styles"
    folder.mkdir(exist_ok=True)
    path = folder / f"{len(list(folder.iterdir())):04}.jpg"
    images.write(path, picture.resized(*images.fit(picture.shape, THUMBNAIL)))
    return GalleryStyle(name, source, path, painter)
