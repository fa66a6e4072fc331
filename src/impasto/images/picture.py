"""Picture files, in and out: the only room that touches them.

A `Picture` is what the rest of impasto sees: upright, sRGB, in [0, 1]. libvips reads and writes the formats,
applies colour profiles and keeps 16 bits where a file has them; Pillow reads the settings back out.
"""

from __future__ import annotations

import json
import logging
import math
import os
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pyvips
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import devices, files
from impasto.errors import PictureError
from impasto.files import StrPath, atomic_write, check_writable

log = logging.getLogger(__name__)

#: More pixels than this in one file are refused before they are decoded.
MOST_PIXELS = 400_000_000

#: Bytes per pixel that reading takes at its peak: as the file has them, and as we do.
TAKEN = 22

#: Suffix -> (libvips' options for saving, the longest side the format allows, whether it holds 16 bits, alpha).
FORMATS: dict[str, tuple[dict[str, Any], int, bool, bool]] = {
    ".png": ({"compression": 6}, 2**31 - 1, True, True),
    ".jpg": ({"Q": 95}, 65535, False, False),
    ".jpeg": ({"Q": 95}, 65535, False, False),
    ".webp": ({"Q": 95}, 16383, False, True),
    ".tif": ({"compression": "deflate", "predictor": "horizontal"}, 2**31 - 1, True, True),
    ".tiff": ({"compression": "deflate", "predictor": "horizontal"}, 2**31 - 1, True, True),
}

_DESCRIPTION = 0x010E  # EXIF and TIFF: ImageDescription


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, upright and in sRGB.

    Attributes:
        rgb: `(3, h, w)`, float32 in [0, 1], gamma-encoded sRGB.
        alpha: `(h, w)` in [0, 1], 1 where opaque; None where the picture has none.
    """

    rgb: Tensor
    alpha: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.rgb.shape[-2], self.rgb.shape[-1]

    def resized(self, height: int, width: int) -> Picture:
        """The same picture at exactly this size."""
        alpha = None if self.alpha is None else resize(self.alpha[None], height, width)[0]
        return Picture(resize(self.rgb, height, width), alpha)

    def to_pil(self) -> PIL.Image.Image:
        """The picture as 8-bit RGB or RGBA."""
        return PIL.Image.fromarray(_to_integers(self, 8))

    def to_numpy(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The picture as `(h, w, 3 or 4)`, float32 in [0, 1]."""
        bands = self.rgb if self.alpha is None else torch.cat([self.rgb, self.alpha[None]])
        return bands.permute(1, 2, 0).cpu().numpy()


#: Anything that `read` takes: a file's path or content, a PIL picture, an array, a tensor, or what it gave before.
PictureLike = StrPath | bytes | PIL.Image.Image | np.ndarray[Any, Any] | Tensor | Picture


def fit(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Height and width of the same shape as `size` whose longer side is `long_side`."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def fit_area(size: tuple[int, int], pixels: float) -> tuple[int, int]:
    """Height and width of the same shape as `size` with about this many pixels."""
    scale = math.sqrt(pixels / (size[0] * size[1]))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize(bands: Tensor, height: int, width: int, wrap: bool = False) -> Tensor:
    """Resample `(c, h, w)` to exactly `(c, height, width)`: bicubic, antialiased, within [0, 1].

    With `wrap`, as though the picture were tiled, so that one that tiles still does.
    """
    if bands.shape[-2:] == (height, width):
        return bands
    if wrap:
        tiled = resize(bands.repeat(1, 3, 3), 3 * height, 3 * width)
        return tiled[:, height : 2 * height, width : 2 * width].contiguous()
    here = bands.cpu() if bands.device.type == "mps" else bands  # Apple's GPUs lack the antialiased kernel
    resized = F.interpolate(here[None], (height, width), mode="bicubic", align_corners=False, antialias=True)
    return resized[0].clamp(0, 1).to(bands.device)


# -- reading -----------------------------------------------------------------------------------------------


def read(source: PictureLike, what: str = "the picture") -> Picture:
    """A picture from a file, or what is in one, from a PIL picture, an array or a tensor.

    Files, their bytes, PIL pictures: EXIF orientation is applied, embedded ICC profiles are converted to sRGB, grey,
    palette, CMYK and 16-bit pictures are expanded, alpha is kept apart; of several frames the first is taken.
    Arrays are `(h, w)`, `(h, w, 1|2|3|4)`, tensors `(c, h, w)` or `(1, c, h, w)`: integers of 8 or 16 bits
    over their full range, or floats in [0, 1]; sRGB. A `Picture` stays itself.

    Raises:
        PictureError: a file that is missing, damaged, too large or not a picture.
        ValueError: an array of the wrong shape, type or range.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Tensor):
        bands = source.detach().cpu()
        if bands.ndim == 4 and bands.shape[0] == 1:
            bands = bands[0]
        if bands.ndim != 3 or bands.shape[0] not in (1, 2, 3, 4):
            raise ValueError(
                f"{what} is a tensor of shape {tuple(source.shape)}; needed is (c, h, w) with 1 to 4 bands"
            )
        return _from_array(bands.permute(1, 2, 0).numpy(), what)
    if isinstance(source, np.ndarray):
        return _from_array(source, what)
    if isinstance(source, PIL.Image.Image):
        return _from_pil(source, what)
    if isinstance(source, (str, os.PathLike)):
        return _from_file(Path(source), what)
    if isinstance(source, bytes):
        return _decoded(pyvips.Source.new_from_memory(source), BytesIO(source), what)
    raise ValueError(
        f"{what} is of type {type(source).__name__}; needed is a path, a file's bytes, a PIL picture, an array or a "
        "tensor"
    )


def _from_array(array: np.ndarray[Any, Any], what: str) -> Picture:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ValueError(f"{what} has shape {array.shape}; needed is (h, w) or (h, w, c) with 1 to 4 bands")
    if array.dtype in (np.bool_, np.uint8, np.uint16):
        full = 1 if array.dtype == np.bool_ else np.iinfo(array.dtype).max
    elif np.issubdtype(array.dtype, np.floating):
        full = 1
        if not np.isfinite(array).all():
            raise ValueError(f"{what} has values that are not finite (NaN or infinity); mend them first")
        if array.min() < -1e-3 or array.max() > 1 + 1e-3:
            raise ValueError(
                f"{what} has values from {array.min():.4g} to {array.max():.4g}; "
                "floats must lie in [0, 1] (divide by 255, or give integers of 8 or 16 bits)"
            )
    else:
        raise ValueError(f"{what} is of type {array.dtype}; needed is uint8, uint16 or floats in [0, 1]")
    # Band by band: a large picture is never there twice in floating point.
    bands = np.empty((array.shape[2], *array.shape[:2]), np.float32)
    for index, band in enumerate(bands):
        np.divide(array[:, :, index], full, out=band, casting="unsafe")
        np.clip(band, 0, 1, out=band)
    tensor = torch.from_numpy(bands)
    colours = tensor if len(tensor) in (1, 3) else tensor[:-1]
    alpha = None if len(tensor) in (1, 3) else tensor[-1]
    return Picture(colours.expand(3, -1, -1).contiguous(), alpha)


def _from_pil(image: PIL.Image.Image, what: str) -> Picture:
    """Through memory as TIFF, which holds every mode and profile, down the same road as a file."""
    try:
        profile = image.info.get("icc_profile")
        image = PIL.ImageOps.exif_transpose(image)
        if "transparency" in image.info:
            image = image.convert("RGBA")
        elif image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"):
            image = image.convert("RGB")
        memory = BytesIO()
        image.save(memory, "TIFF", icc_profile=profile)
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError(f"cannot read {what}: {error}") from error
    return _decode(pyvips.Image.new_from_buffer(memory.getvalue(), ""), what)


def _from_file(path: Path, what: str) -> Picture:
    if not os.path.exists(path):  # which no name is too long for
        raise PictureError(f"no such file: {path} ({what})")
    if path.is_dir():
        raise PictureError(
            f"{path} is a folder; {what} must be a file (for folders of photos there is 'impasto batch')"
        )
    return _decoded(path, path, str(path))


def _decoded(source: Any, again: Path | BytesIO, what: str) -> Picture:
    """A picture from where libvips reads it, or Pillow again."""
    try:
        image = _open(source)
    except pyvips.Error as error:
        return _from_rare_file(again, what, _reason(error))
    return _decode(image, what)


def size_of(path: StrPath) -> tuple[int, int]:
    """Height and width that a file says its picture has, in pixels, as it lies in the file: nothing is decoded.

    Raises:
        PictureError: no such file, or no picture.
    """
    try:
        image = _open(path)
        return image.height, image.width
    except pyvips.Error as error:
        reason = _reason(error)
    try:
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(path) as rare:
            return rare.height, rare.width
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise PictureError(f"cannot read {path}: not a picture, or damaged ({reason})") from error


def _open(given: StrPath | pyvips.Source) -> Any:
    # libvips would take "[…]" at a name's end for options: a source has no name to misread.
    source = given if isinstance(given, pyvips.Source) else pyvips.Source.new_from_file(os.fspath(given))
    return pyvips.Image.new_from_source(source, "", fail_on="error")


def _from_rare_file(given: Path | BytesIO, what: str, reason: str) -> Picture:
    """BMP, TGA and other formats that libvips leaves to Pillow."""
    try:
        # What Pillow warns of, large pictures and flaws, is checked here, or does not matter.
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(given) as image:
            _check_pixels(*image.size, what)
            return _from_pil(image, what)
    except PIL.UnidentifiedImageError as error:
        raise PictureError(f"cannot read {what}: not a picture, or damaged ({reason})") from error
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise PictureError(f"cannot read {what}: {error}") from error


def _check_pixels(width: int, height: int, what: str) -> None:
    if width * height > MOST_PIXELS:
        raise PictureError(f"{what} has {width}×{height} pixels; at most {MOST_PIXELS:,} are read")
    needed, free = width * height * TAKEN, devices.available()
    if needed > free:
        raise PictureError(
            f"{what} has {width}×{height} pixels; to read them takes {needed / 1e9:.1f} GB of memory, "
            f"and {free / 1e9:.1f} GB are free"
        )


def _reason(error: pyvips.Error) -> str:
    return " ".join(str(error.detail or error.message).split())


def _decode(image: Any, what: str) -> Picture:
    _check_pixels(image.width, image.height, what)
    try:
        alpha = None
        image = image.autorot()
        if image.hasalpha():
            alpha, image = image[image.bands - 1], image[: image.bands - 1]
        array = _srgb(image, what).numpy()
        if alpha is not None:
            # Alpha has the file's own depth, whatever became of the colours.
            opacity = alpha.numpy()
            if opacity.dtype != array.dtype:
                opacity = opacity.astype(np.float64) / _full(opacity) * _full(array)
            array = np.dstack([array, opacity.astype(array.dtype)])
    except pyvips.Error as error:
        raise PictureError(f"cannot read {what}: the file is damaged ({_reason(error)})") from error
    return _from_array(array, what)


def _full(array: np.ndarray[Any, Any]) -> int:
    return 1 if np.issubdtype(array.dtype, np.floating) else int(np.iinfo(array.dtype).max)


def _srgb(image: Any, what: str) -> Any:
    """An image without alpha as sRGB, 8 or 16 bits as it came."""
    deep = image.format == "ushort"
    if image.get_typeof("icc-profile-data"):
        try:
            return image.icc_transform("srgb", embedded=True, intent="relative", depth=16 if deep else 8)
        except pyvips.Error:
            log.warning("%s: its colour profile is damaged and was ignored", what)
    if image.format in ("float", "double"):
        if image.interpretation == "scrgb":  # linear light, as in HDR pictures
            return image.colourspace("srgb")
        return image if image.bands == 3 else image[0]
    if image.interpretation == "multiband":
        image = image.copy(interpretation="rgb16" if deep else "srgb")
    return image.colourspace("rgb16" if deep else "srgb")


# -- writing -----------------------------------------------------------------------------------------------


def check_output(path: StrPath, size: tuple[int, int] | None = None, bits: int = 8) -> Path:
    """The path, if a picture of this size and depth can be written there; ask before the long work.

    Raises:
        PictureError: no such folder, no permission, or a folder in the way.
        ValueError: a suffix that names no known format, or a format that cannot hold the picture.
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
    """Raise a PictureError if there is no room on the disk for a picture of this size and depth."""
    lossy = "Q" in FORMATS[Path(path).suffix.lower()][0]
    files.check_space(Path(path), size[0] * size[1] * 3 * bits // 8 // (4 if lossy else 1), PictureError)


def write(
    path: StrPath,
    picture: Picture,
    bits: int = 8,
    settings: dict[str, Any] | None = None,
) -> None:
    """Write a picture, tagged as sRGB, in the format that the suffix names: whole, or not at all.

    `settings` are stored in the file as JSON: a PNG text chunk named `impasto`, elsewhere the EXIF or TIFF
    image description. Formats without alpha get the picture on white.

    Raises:
        PictureError, ValueError: see `check_output`; and PictureError where writing fails, the disk full
            say: a file that was there before is left as it was.
    """
    path = check_output(path, picture.size, bits)
    suffix = path.suffix.lower()
    options, _, _, holds_alpha = FORMATS[suffix]
    if picture.alpha is not None and not holds_alpha:
        picture = Picture(picture.rgb * picture.alpha + (1 - picture.alpha))
        log.warning("%s holds no transparency: the picture was put on white", suffix)
    image = pyvips.Image.new_from_array(_to_integers(picture, bits))
    image = image.copy(interpretation="srgb" if bits == 8 else "rgb16")
    if settings is not None:
        text = json.dumps(settings, separators=(",", ":"))
        if suffix == ".png":
            image.set_type(pyvips.GValue.gstr_type, "png-comment-0-impasto", text)
        elif suffix in (".tif", ".tiff"):
            image.set_type(pyvips.GValue.gstr_type, "image-description", text)
        else:
            exif = PIL.Image.Exif()
            exif[_DESCRIPTION] = text
            image.set_type(pyvips.GValue.blob_type, "exif-data", exif.tobytes())
    try:
        with atomic_write(path, PictureError) as draft:
            image.write_to_file(str(draft), profile="srgb", **options)
    except pyvips.Error as error:
        raise PictureError(f"cannot write {path}: {_reason(error)}") from error


def _to_integers(picture: Picture, bits: int) -> np.ndarray[Any, Any]:
    bands = [*picture.rgb, *([] if picture.alpha is None else [picture.alpha])]
    full = 2**bits - 1
    whole = np.empty((*picture.size, len(bands)), np.uint8 if bits == 8 else np.uint16)
    for index, band in enumerate(bands):
        whole[:, :, index] = band.cpu().clamp(0, 1).mul_(full).round_().numpy()
    return whole


def read_settings(path: StrPath) -> dict[str, Any] | None:
    """The settings that `write` stored in a file; None where there are none.

    Raises:
        PictureError: a file that is missing, or of none of the formats that impasto writes.
    """
    if not Path(path).is_file():
        raise PictureError(f"no such file: {os.fspath(path)}")
    try:
        image = _open(path)
        texts = [image.get(field) for field in image.get_fields() if field.endswith("-impasto")]
        if image.get_typeof("image-description"):
            texts.append(image.get("image-description"))
        if image.get_typeof("exif-data"):
            exif = PIL.Image.Exif()
            with warnings.catch_warnings(action="ignore"):
                exif.load(image.get("exif-data"))
                texts.append(exif.get(_DESCRIPTION, ""))
    except (pyvips.Error, OSError, ValueError, SyntaxError) as error:
        reason = _reason(error) if isinstance(error, pyvips.Error) else error
        raise PictureError(f"cannot read {os.fspath(path)}: {reason}") from error
    for text in texts:
        try:
            settings = json.loads(text)
        except (TypeError, ValueError):
            continue
        if isinstance(settings, dict) and "impasto" in settings:
            return settings
    return None
