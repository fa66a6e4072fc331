"""Reading the pictures of an operation: files, arrays, bundled photos and styles."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import cast

import PIL.Image
import torch
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.errors import PictureError
from impasto.files import StrPath, local_path
from impasto.images import Picture, PictureLike
from impasto.inputs import photos
from impasto.inputs.gallery import PAINTINGS, path_of
from impasto.inputs.memo import Memo, identity
from impasto.settings.fields import suggested, unknown

log = logging.getLogger(__name__)

#: Built-in styles are painted at most this large, in pixels a side: larger ones take minutes and gigabytes.
MAX_PAINTED_SIDE = 1536

#: Files of a folder that count as pictures by their names; others are looked into.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif", ".svg")

#: Stands for a picture that is not needed.
BLANK = Picture(torch.zeros(3, 8, 8, **CPU_FLOAT))


def opened(given: PictureLike, what: str) -> StrPath | bytes | Picture:
    """A picture that can be read more than once: a path or a file's bytes, as given, or a `Picture` of anything else.

    Raises:
        PictureError, ValueError: see `images.read`.
    """
    if isinstance(given, (str, os.PathLike, bytes)):
        return given
    return images.contents(given, what) if hasattr(given, "read") else images.read(given, what)


def opened_styles(given: PictureLike | Sequence[PictureLike]) -> list[StrPath | bytes | Picture]:
    """Likewise one style or several.

    Raises:
        ValueError: an empty sequence.
        PictureError, ValueError: see `images.read`.
    """
    single = isinstance(given, (str, os.PathLike, bytes, PIL.Image.Image, Picture, Tensor))
    single = single or hasattr(given, "shape") or hasattr(given, "read")
    styles = cast(Sequence[PictureLike], [given] if single else given)
    if not styles:
        raise ValueError("no style was given; expected at least one")
    return [opened(style, "the style") for style in styles]


def read_content(given: PictureLike, what: str = "the content", long_side: int | None = None) -> Picture:
    """A photo: anything that `images.read` accepts, or the name of a bundled one (`photos.PHOTOS`).

    Args:
        what: what error messages call it.
        long_side: in pixels, the size at which vector graphics are drawn.

    Raises:
        PictureError, ValueError: see `images.read`.
    """
    if isinstance(given, str) and not os.path.exists(given):
        if given in photos.PHOTOS:
            return images.read(photos.load(given), given)
        from impasto.inputs import styles as built_in

        if given in built_in.STYLES or given in PAINTINGS:
            raise PictureError(f"{given} is a style, not a photo: {what} comes first, then the styles")
        if not Path(given).suffix and (suggestion := suggested(given, photos.PHOTOS)):
            raise PictureError(f"no such file: {given} ({what}); {suggestion}")
    return images.read(given, what, long_side)


def read_styles(
    given: PictureLike | Sequence[PictureLike], pixels: float, memo: Memo | None = None, known: Collection[str] = ()
) -> tuple[tuple[str, Picture], ...]:
    """(name, picture) pairs of one style or several.

    Args:
        given: anything that `images.read` accepts, or the name of a built-in style or a painting of the gallery, of
            which there is a small copy; or a sequence of these.
        pixels: the area at which a built-in style is painted, as a square of 64 to `MAX_PAINTED_SIDE` pixels a side;
            vector graphics are drawn at twice that area.
        known: further names, of styles that are known without their pictures: a blank one stands for each.

    Raises:
        ValueError: an empty sequence, or a name that is neither a file nor built in.
        PictureError: see `images.read`.
    """
    memo = Memo(0) if memo is None else memo
    return tuple(
        (
            os.fspath(style) if isinstance(style, (str, os.PathLike)) else f"number {number}",
            BLANK
            if is_named(style, known)
            else memo.get(("style", identity(style), pixels), lambda style=style: _read_style(style, pixels)),  # type: ignore[misc]
        )
        for number, style in enumerate(opened_styles(given), start=1)
    )


def is_named(style: PictureLike, names: Collection[str]) -> bool:
    """Whether a style is one of these names, rather than a file that is called so."""
    named = isinstance(style, (str, os.PathLike)) and str(style) in names
    return named and not local_path(cast(StrPath, style), PictureError).exists()


def _read_style(style: PictureLike, pixels: float) -> Picture:
    if isinstance(style, (str, os.PathLike)) and not may_be_file(style):
        from impasto.inputs import styles as built_in  # takes a third of a second to import

        if style in PAINTINGS:
            return images.read(path_of(str(style)), str(style))
        if style not in built_in.STYLES:
            raise unknown("style", os.fspath(style), [*built_in.STYLES, *PAINTINGS], ", or give a file")
        side = min(max(built_in.LEAST_SIDE, round(pixels**0.5)), MAX_PAINTED_SIDE)
        return images.read(built_in.paint(str(style), side, side), str(style))
    return images.read(style, "the style", round((2 * pixels) ** 0.5))


def may_be_file(given: StrPath) -> bool:
    """Whether this is a file, or called like one, rather than a built-in name; a PictureError if it is an address."""
    path = local_path(given, PictureError)
    return path.exists() or path.suffix != ""


def files_in(folder: StrPath) -> list[Path]:
    """The pictures in a folder and its subfolders, sorted by path; other files are named in a warning.

    Raises:
        PictureError: the folder does not exist, or holds none.
    """
    folder = local_path(folder, PictureError)
    if not folder.is_dir():
        raise PictureError(f"no such folder: {folder}")
    found, skipped = sorted_out(sorted(folder.rglob("*")), folder)
    if not found:
        raise PictureError(f"no pictures in {folder}: expected files such as {', '.join('*' + s for s in SUFFIXES)}")
    warn_of(skipped, folder)
    return found


def sorted_out(paths: Iterable[Path], folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures among the files in a folder, and the other files.

    Hidden files and folders, whose names begin with a dot, are neither. A damaged file is a picture if it is called
    like one (`SUFFIXES`).
    """
    found: list[Path] = []
    skipped: list[Path] = []
    for path in paths:
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            is_picture = path.suffix.lower() in SUFFIXES or images.is_picture(path)
            (found if is_picture else skipped).append(path)
    return found, skipped


def warn_of(skipped: Sequence[Path], folder: Path) -> None:
    """Name the files of a folder that are no pictures in the log."""
    if skipped:
        names = ", ".join(path.name for path in skipped[:5]) + (", …" if len(skipped) > 5 else "")
        what = "1 file that is no picture" if len(skipped) == 1 else f"{len(skipped)} files that are no pictures"
        log.warning("%s: skipped %s: %s", folder, what, names)
