"""Pictures that visitors upload: checked at once, and turned into files that every browser shows."""

from __future__ import annotations

from pathlib import Path

from impasto import images
from impasto.web.gallery import THUMBNAIL, GalleryStyle
from impasto.web.jobs import Limits, check_pixels
from impasto.web.visitors import Visitor

#: Suffixes of pictures that every browser shows; HEIC and TIFF, say, only some do.
SHOWN = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".avif")
#: Paintings of their own that a visitor is offered, the newest ones.
PAINTINGS_KEPT = 12


def accept_photo(path: str, visitor: Visitor, limits: Limits) -> str:
    """The path of an uploaded photo; of a JPEG copy, or a PNG with its alpha, if some browsers cannot show it.

    Raises:
        PictureError: it cannot be read.
        ValueError: it has more pixels than the server allows.
    """
    check_pixels(path, limits)
    picture = images.read(path)
    if Path(path).suffix.lower() in SHOWN:
        return path
    copy = visitor.new_folder() / f"{Path(path).stem}{'.jpg' if picture.alpha is None else '.png'}"
    images.write(copy, picture)
    return str(copy)


def accept_painting(path: str, visitor: Visitor, limits: Limits, taken: set[str]) -> GalleryStyle:
    """An uploaded painting as a style to choose, which is added to the visitor's paintings.

    Args:
        taken: captions that the page has already.

    Raises:
        PictureError, ValueError: as `accept_photo`.
    """
    check_pixels(path, limits)
    picture = images.read(path)
    thumbnail = visitor.new_folder() / "thumbnail.jpg"
    images.write(thumbnail, picture.on_white().resized(*images.fit(picture.shape, THUMBNAIL)))
    own = {painting.source: painting for painting in visitor.paintings if painting.source != path}
    stem = Path(path).stem.replace("_", " ")
    captions = taken | {painting.name for painting in own.values()}
    name = next(name for name in (stem, *(f"{stem} ({n})" for n in range(2, 99))) if name not in captions)
    style = GalleryStyle(name, path, thumbnail, "your own painting")
    visitor.paintings = [style, *own.values()][:PAINTINGS_KEPT]
    return style
