"""Writing picture files, and the settings that they store."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import PIL.Image
import pyvips

from impasto import files
from impasto.errors import PictureError
from impasto.files import StrPath, atomic_write, check_writable, local_path
from impasto.images.decode import open_file, reason_of
from impasto.images.libvips import computing
from impasto.images.picture import Picture, to_integers
from impasto.isolation import no_warnings

log = logging.getLogger(__name__)

#: Suffix -> (libvips' options for saving, the format's longest side in pixels, whether it holds 16 bits, alpha).
FORMATS: dict[str, tuple[dict[str, Any], int, bool, bool]] = {
    ".png": ({"compression": 6}, 2**31 - 1, True, True),
    ".jpg": ({"Q": 95}, 65535, False, False),
    ".jpeg": ({"Q": 95}, 65535, False, False),
    ".webp": ({"Q": 95}, 16383, False, True),
    ".tif": ({"compression": "deflate", "predictor": "horizontal"}, 2**31 - 1, True, True),
    ".tiff": ({"compression": "deflate", "predictor": "horizontal"}, 2**31 - 1, True, True),
}

#: The tag of EXIF and TIFF that is called ImageDescription.
_IMAGE_DESCRIPTION = 0x010E


def check_output(path: StrPath, size: tuple[int, int] | None = None, bits: int = 8) -> Path:
    """The path, checked before long work: a picture of this height and width, of `bits` per channel, can be written.

    Raises:
        PictureError: the folder does not exist or is not writable, or the path is a folder.
        ValueError: the suffix is not one of `FORMATS`, or that format cannot hold the size or depth.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"cannot write {path.name!r}: its suffix must be one of {', '.join(FORMATS)}")
    _, longest, deep, _ = FORMATS[suffix]
    if bits not in (8, 16):
        raise ValueError(f"bits is {bits}; choose 8 or 16")
    if bits == 16 and not deep:
        raise ValueError(f"{suffix} holds 8 bits per channel; for 16 write .png or .tif")
    if size is not None and max(size) > longest:
        raise ValueError(f"the picture is {size[1]}×{size[0]} px; {suffix} holds at most {longest}; write .png")
    check_writable(path, PictureError)
    return path


def check_space(path: StrPath, size: tuple[int, int], bits: int = 8) -> None:
    """Raise a PictureError if the disk lacks space for a picture of this height and width and of `bits` per channel."""
    lossy = "Q" in FORMATS[Path(path).suffix.lower()][0]
    files.check_space(Path(path), size[0] * size[1] * 3 * bits // 8 // (4 if lossy else 1), PictureError)


@computing()
def write(
    path: StrPath,
    picture: Picture,
    bits: int = 8,
    settings: dict[str, Any] | None = None,
) -> None:
    """Write a picture with an sRGB profile and `bits` per channel, 8 or 16, in the format of the suffix.

    If writing fails, an existing file stays as it was. Transparency is blended with white in formats without alpha.
    `settings` are stored as JSON in a PNG text chunk named `impasto`, or in the EXIF or TIFF image description.

    Raises:
        PictureError: see `check_output`; or writing fails, because the disk is full for example.
        ValueError: see `check_output`; a destination that is no path.
    """
    if not isinstance(path, (str, os.PathLike)):
        given = type(path).__name__
        raise ValueError(f"the destination is of type {given}; expected a path (to_pil().save writes to open files)")
    path = check_output(path, picture.shape, bits)
    suffix = path.suffix.lower()
    options, _, _, holds_alpha = FORMATS[suffix]
    if picture.alpha is not None and not holds_alpha and picture.alpha.min() < 1:
        picture = picture.on_white()
        log.warning("%s cannot store transparency: the picture was blended with white", suffix)
    image = pyvips.Image.new_from_array(to_integers(picture, bits))
    image = image.copy(interpretation="srgb" if bits == 8 else "rgb16")
    if settings is not None:
        text = json.dumps(settings, separators=(",", ":"))
        if suffix == ".png":
            image.set_type(pyvips.GValue.gstr_type, "png-comment-0-impasto", text)
        elif suffix in (".tif", ".tiff"):
            image.set_type(pyvips.GValue.gstr_type, "image-description", text)
        else:
            exif = PIL.Image.Exif()
            exif[_IMAGE_DESCRIPTION] = text
            image.set_type(pyvips.GValue.blob_type, "exif-data", exif.tobytes())
    try:
        with atomic_write(path, PictureError) as draft:
            # By bytes, since names may not be UTF-8.
            image.write_to_target(pyvips.Target.new_to_file(os.fsencode(draft)), suffix, profile="srgb", **options)
    except pyvips.Error as error:
        raise PictureError(f"cannot write {path}: {reason_of(error)}") from error


def read_settings(path: StrPath) -> dict[str, Any] | None:
    """The settings that `write` stored in a file; None if it has none.

    Raises:
        PictureError: a file that is missing, damaged, or of a format that libvips does not read.
    """
    path = local_path(path, PictureError)
    if not path.is_file():
        raise PictureError(f"no such file: {path}")
    try:
        image = open_file(path)
        texts = [image.get(field) for field in image.get_fields() if field.endswith("-impasto")]
        if image.get_typeof("image-description"):
            texts.append(image.get("image-description"))
        if image.get_typeof("exif-data"):
            exif = PIL.Image.Exif()
            with no_warnings():
                exif.load(image.get("exif-data"))
                texts.append(exif.get(_IMAGE_DESCRIPTION, ""))
    except MemoryError:
        raise
    except Exception as error:  # decoders raise anything
        raise PictureError(f"cannot read {path}: {reason_of(error)}") from error
    for text in texts:
        try:
            settings = json.loads(text)
        except (TypeError, ValueError):
            continue
        if isinstance(settings, dict) and "impasto" in settings:
            return settings
    return None
