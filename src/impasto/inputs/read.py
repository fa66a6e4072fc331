"""The pictures that an operation is given: read, named, and remembered where several runs share them."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import PIL.Image
from torch import Tensor

from impasto import images
from impasto.errors import PictureError
from impasto.files import StrPath
from impasto.images import Picture, PictureLike
from impasto.inputs import photos

Value = TypeVar("Value")

#: No built-in style is painted larger than this many pixels a side: to paint more takes minutes and gigabytes.
LARGEST_SIDE = 1536

#: What a folder's pictures are called.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")

#: What runs that share pictures need to compute only once: key -> value.
Memo = dict[Hashable, Any]


def remembered(memo: Memo, key: Hashable, make: Callable[[], Value]) -> Value:
    """`make()`, or what it gave when it was called for this key before."""
    if key not in memo:
        memo[key] = make()
    return cast(Value, memo[key])


def identity(given: PictureLike) -> Hashable:
    """What tells one given picture from another, for as long as both are kept."""
    return os.fspath(given) if isinstance(given, (str, os.PathLike)) else id(given)


def read_content(given: PictureLike, what: str = "the content") -> Picture:
    """A photo: anything that `images.read` takes, or the name of one that comes along.

    Raises:
        PictureError, ValueError: see `images.read`.
    """
    if isinstance(given, str) and not os.path.exists(given):
        if given in photos.PHOTOS:
            return images.read(photos.load(given), given)
        from impasto.inputs import styles as built_in

        if given in built_in.STYLES:
            raise PictureError(f"{given} is a style, and no photo: {what} comes first, then the styles")
    return images.read(given, what)


def read_styles(
    given: PictureLike | Sequence[PictureLike], pixels: float, memo: Memo
) -> tuple[tuple[str, Picture], ...]:
    """(name, picture) pairs of one style or several: files, arrays and so on, or names of built-in ones.

    A built-in style is painted as a square of `pixels`, within reason.

    Raises:
        ValueError: no style at all, or a name that is neither a file nor built in.
        PictureError: see `images.read`.
    """
    one = isinstance(given, (str, os.PathLike, bytes, PIL.Image.Image, Picture, Tensor)) or hasattr(given, "shape")
    styles = cast(Sequence[PictureLike], [given] if one else given)
    if not styles:
        raise ValueError("no style was given; needed is one at least")
    return tuple(
        (
            os.fspath(style) if isinstance(style, (str, os.PathLike)) else f"number {number}",
            remembered(memo, ("style", identity(style), pixels), lambda style=style: _read_style(style, pixels)),  # type: ignore[misc]
        )
        for number, style in enumerate(styles, start=1)
    )


def _read_style(style: PictureLike, pixels: float) -> Picture:
    if isinstance(style, (str, os.PathLike)) and not Path(style).exists() and not Path(style).suffix:
        from impasto.inputs import styles as built_in  # a second's third, with what draws them

        if style not in built_in.STYLES:
            raise ValueError(
                f"no such style: {os.fspath(style)!r} is neither a file nor one of {', '.join(built_in.STYLES)}"
            )
        side = min(max(built_in.LEAST_SIDE, round(pixels**0.5)), LARGEST_SIDE)
        return images.read(built_in.paint(str(style), side, side), str(style))
    return images.read(style, "the style")


def files_in(folder: StrPath) -> list[Path]:
    """The picture files in a folder and below, in order of their names.

    Raises:
        PictureError: no such folder, or none in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PictureError(f"no such folder: {folder}")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise PictureError(f"no pictures in {folder}: needed are files called {', '.join('*' + s for s in SUFFIXES)}")
    return found
