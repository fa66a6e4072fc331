"""Reading and writing pictures; no other module decodes or encodes picture files.

The rest of impasto works on a `Picture`: upright, sRGB, in [0, 1]. libvips decodes and encodes files, converts colour
profiles and keeps 16 bits; Pillow decodes the formats that libvips does not know, and reads EXIF.
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

#: Files with more pixels than this are refused before they are decoded.
MAX_PIXELS = 400_000_000

#: Peak memory of reading a file, in bytes per pixel: its own values and ours.
BYTES_PER_PIXEL = 22

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


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, upright and in sRGB.

    Attributes:
        rgb: `(3, h, w)`, float32 in [0, 1], gamma-encoded sRGB.
        alpha: `(h, w)`, float32 in [0, 1], 1 where opaque; None for a picture without transparency.
    """

    rgb: Tensor
    alpha: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.rgb.shape[-2], self.rgb.shape[-1]

    def resized(self, height: int, width: int) -> Picture:
        """The picture resampled to exactly this size, see `resize`."""
        alpha = None if self.alpha is None else resize(self.alpha[None], height, width)[0]
        return Picture(resize(self.rgb, height, width), alpha)

    def to_pil(self) -> PIL.Image.Image:
        """The picture as 8-bit RGB or RGBA."""
        return PIL.Image.fromarray(_to_integers(self, 8))

    def to_numpy(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The picture as `(h, w, 3 or 4)`, float32 in [0, 1]."""
        bands = self.rgb if self.alpha is None else torch.cat([self.rgb, self.alpha[None]])
        return bands.permute(1, 2, 0).cpu().numpy()


#: What `read` accepts: a file's path or its bytes, a PIL image, an array, a tensor, or a `Picture`.
PictureLike = StrPath | bytes | PIL.Image.Image | np.ndarray[Any, Any] | Tensor | Picture


def fit(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """The height and width with the aspect ratio of `size` whose longer side is `long_side`; at least 1 pixel each."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def fit_area(size: tuple[int, int], pixels: float) -> tuple[int, int]:
    """The height and width with the aspect ratio of `size` and about this many pixels; at least 1 pixel each."""
    scale = math.sqrt(pixels / (size[0] * size[1]))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize(bands: Tensor, height: int, width: int, wrap: bool = False) -> Tensor:
    """Resample `(c, h, w)` to exactly `(c, height, width)`: bicubic, antialiased, clipped to [0, 1].

    With `wrap`, the picture continues on the opposite side of each border, so that a seamless one stays seamless. A
    tensor of this size already is returned as it is.
    """
    if bands.shape[-2:] == (height, width):
        return bands
    if wrap:
        tiled = resize(bands.repeat(1, 3, 3), 3 * height, 3 * width)
        return tiled[:, height : 2 * height, width : 2 * width].contiguous()
    source = bands.cpu() if bands.device.type == "mps" else bands  # Apple's GPUs lack the antialiased kernel
    resized = F.interpolate(source[None], (height, width), mode="bicubic", align_corners=False, antialias=True)
    return resized[0].clamp(0, 1).to(bands.device)


# -- reading -----------------------------------------------------------------------------------------------


def read(source: PictureLike, what: str = "the picture") -> Picture:
    """Read a picture.

    Args:
        source: A path, a file's bytes or a PIL image: EXIF orientation is applied; an embedded ICC profile is converted
            to sRGB; grey, palette and CMYK become RGB; of several frames the first is read.
            An array `(h, w)` or `(h, w, c)`, or a tensor `(c, h, w)` or `(1, c, h, w)`, c from 1 to 4: sRGB, the last
            of 2 or 4 channels being alpha; booleans, unsigned integers of 8 or 16 bits over their full range, or
            floats in [0, 1].
            A `Picture` is returned as it is.
        what: what error messages call it.

    Raises:
        PictureError: a file that is missing, damaged, not a picture, or larger than `MAX_PIXELS` or the free memory.
        ValueError: an array or tensor of the wrong shape, type or range, or an object of another type.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Tensor):
        bands = source.detach().cpu()
        if bands.ndim == 4 and bands.shape[0] == 1:
            bands = bands[0]
        if bands.ndim != 3 or bands.shape[0] not in (1, 2, 3, 4):
            raise ValueError(
                f"{what} is a tensor of shape {tuple(source.shape)}; expected (c, h, w) with 1 to 4 channels"
            )
        return _from_array(bands.permute(1, 2, 0).numpy(), what)
    if isinstance(source, np.ndarray):
        return _from_array(source, what)
    if isinstance(source, PIL.Image.Image):
        return _from_pil(source, what)
    if isinstance(source, (str, os.PathLike)):
        return _from_file(Path(source), what)
    if isinstance(source, bytes):
        return _decode(pyvips.Source.new_from_memory(source), BytesIO(source), what)
    raise ValueError(
        f"{what} is of type {type(source).__name__}; expected a path, a file's bytes, a PIL image, an array or a tensor"
    )


def _from_array(array: np.ndarray[Any, Any], what: str) -> Picture:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        raise ValueError(f"{what} has shape {array.shape}; expected (h, w) or (h, w, c) with 1 to 4 channels")
    if array.dtype in (np.bool_, np.uint8, np.uint16):
        maximum = 1 if array.dtype == np.bool_ else np.iinfo(array.dtype).max
    elif np.issubdtype(array.dtype, np.floating):
        maximum = 1
        if not np.isfinite(array).all():
            raise ValueError(f"{what} has values that are not finite (NaN or infinity); replace them first")
        if array.min() < -1e-3 or array.max() > 1 + 1e-3:
            raise ValueError(
                f"{what} has values from {array.min():.4g} to {array.max():.4g}; "
                "floats must lie in [0, 1] (divide by 255, or give integers of 8 or 16 bits)"
            )
    else:
        raise ValueError(f"{what} is of type {array.dtype}; expected uint8, uint16 or floats in [0, 1]")
    # Band by band, so that there is no second copy of a large picture in floating point.
    bands = np.empty((array.shape[2], *array.shape[:2]), np.float32)
    for index, band in enumerate(bands):
        np.divide(array[:, :, index], maximum, out=band, casting="unsafe")
        np.clip(band, 0, 1, out=band)
    tensor = torch.from_numpy(bands)
    colors = tensor if len(tensor) in (1, 3) else tensor[:-1]
    alpha = None if len(tensor) in (1, 3) else tensor[-1]
    return Picture(colors.expand(3, -1, -1).contiguous(), alpha)


def _from_pil(image: PIL.Image.Image, what: str) -> Picture:
    """Converted by libvips like a file, from a TIFF in memory, which holds every mode and profile."""
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
    return _converted(pyvips.Image.new_from_buffer(memory.getvalue(), ""), what)


def _from_file(path: Path, what: str) -> Picture:
    if not os.path.exists(path):  # unlike Path.exists, False for a name that is too long
        raise PictureError(f"no such file: {path} ({what})")
    if path.is_dir():
        raise PictureError(
            f"{path} is a folder; {what} must be a file (for folders of photos there is 'impasto batch')"
        )
    return _decode(path, path, str(path))


def _decode(source: StrPath | pyvips.Source, pillow_source: Path | BytesIO, what: str) -> Picture:
    """Decoded by libvips, or by Pillow if libvips does not know the format."""
    try:
        image = _open(source)
    except pyvips.Error as error:
        return _decode_with_pillow(pillow_source, what, _reason(error))
    return _converted(image, what)


def size_of(path: StrPath) -> tuple[int, int]:
    """Height and width in pixels by a file's header, before EXIF orientation is applied. Nothing is decoded.

    Raises:
        PictureError: a file that is missing or not a picture.
    """
    try:
        image = _open(path)
        return image.height, image.width
    except pyvips.Error as error:
        reason = _reason(error)
    try:
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(path) as opened:
            return opened.height, opened.width
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise PictureError(f"cannot read {path}: not a picture, or damaged ({reason})") from error


def _open(given: StrPath | pyvips.Source) -> Any:
    # By a source, since libvips reads "[…]" at the end of a file name as options.
    source = given if isinstance(given, pyvips.Source) else pyvips.Source.new_from_file(os.fspath(given))
    return pyvips.Image.new_from_source(source, "", fail_on="error")


def _decode_with_pillow(source: Path | BytesIO, what: str, reason: str) -> Picture:
    """BMP, TGA and other formats that libvips does not know; `reason` is what libvips reported."""
    try:
        # Pillow warns of large pictures, which are checked here, and of flaws that do not prevent reading.
        with warnings.catch_warnings(action="ignore"), PIL.Image.open(source) as image:
            _check_pixels(*image.size, what)
            return _from_pil(image, what)
    except PIL.UnidentifiedImageError as error:
        raise PictureError(f"cannot read {what}: not a picture, or damaged ({reason})") from error
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise PictureError(f"cannot read {what}: {error}") from error


def _check_pixels(width: int, height: int, what: str) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(f"{what} has {width}×{height} pixels; at most {MAX_PIXELS:,} are read")
    needed, free = width * height * BYTES_PER_PIXEL, devices.available()
    if needed > free:
        raise PictureError(
            f"{what} has {width}×{height} pixels; reading it takes {needed / 1e9:.1f} GB of memory, "
            f"and {free / 1e9:.1f} GB are free"
        )


def _reason(error: pyvips.Error) -> str:
    return " ".join(str(error.detail or error.message).split())


def _converted(image: Any, what: str) -> Picture:
    """The picture of a libvips image."""
    _check_pixels(image.width, image.height, what)
    try:
        alpha = None
        image = image.autorot()
        if image.hasalpha():
            alpha, image = image[image.bands - 1], image[: image.bands - 1]
        array = _to_srgb(image, what).numpy()
        if alpha is not None:
            # Alpha keeps the file's depth, which the conversion to sRGB may have changed for the colours.
            opacity = alpha.numpy()
            if opacity.dtype != array.dtype:
                opacity = opacity.astype(np.float64) / _maximum(opacity) * _maximum(array)
            array = np.dstack([array, opacity.astype(array.dtype)])
    except pyvips.Error as error:
        raise PictureError(f"cannot read {what}: the file is damaged ({_reason(error)})") from error
    return _from_array(array, what)


def _maximum(array: np.ndarray[Any, Any]) -> int:
    """The value that stands for full intensity in an array of this type."""
    return 1 if np.issubdtype(array.dtype, np.floating) else int(np.iinfo(array.dtype).max)


def _to_srgb(image: Any, what: str) -> Any:
    """A libvips image without alpha, converted to sRGB at its own depth of 8 or 16 bits."""
    deep = image.format == "ushort"
    if image.get_typeof("icc-profile-data"):
        try:
            return image.icc_transform("srgb", embedded=True, intent="relative", depth=16 if deep else 8)
        except pyvips.Error:
            log.warning("%s: the colour profile is damaged and was ignored", what)
    if image.format in ("float", "double"):
        if image.interpretation == "scrgb":  # linear, as in HDR pictures
            return image.colourspace("srgb")
        return image if image.bands == 3 else image[0]
    if image.interpretation == "multiband":
        image = image.copy(interpretation="rgb16" if deep else "srgb")
    return image.colourspace("rgb16" if deep else "srgb")


# -- writing -----------------------------------------------------------------------------------------------


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
        ValueError: see `check_output`.
    """
    path = check_output(path, picture.size, bits)
    suffix = path.suffix.lower()
    options, _, _, holds_alpha = FORMATS[suffix]
    if picture.alpha is not None and not holds_alpha:
        picture = Picture(picture.rgb * picture.alpha + (1 - picture.alpha))
        log.warning("%s cannot store transparency: the picture was blended with white", suffix)
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
            exif[_IMAGE_DESCRIPTION] = text
            image.set_type(pyvips.GValue.blob_type, "exif-data", exif.tobytes())
    try:
        with atomic_write(path, PictureError) as draft:
            image.write_to_file(str(draft), profile="srgb", **options)
    except pyvips.Error as error:
        raise PictureError(f"cannot write {path}: {_reason(error)}") from error


def _to_integers(picture: Picture, bits: int) -> np.ndarray[Any, Any]:
    """`(h, w, 3 or 4)`, integers of this many bits over their full range."""
    bands = [*picture.rgb, *([] if picture.alpha is None else [picture.alpha])]
    array = np.empty((*picture.size, len(bands)), np.uint8 if bits == 8 else np.uint16)
    for index, band in enumerate(bands):
        array[:, :, index] = band.cpu().clamp(0, 1).mul_(2**bits - 1).round_().numpy()
    return array


def read_settings(path: StrPath) -> dict[str, Any] | None:
    """The settings that `write` stored in a file; None if it has none.

    Raises:
        PictureError: a file that is missing, damaged, or of a format that libvips does not read.
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
                texts.append(exif.get(_IMAGE_DESCRIPTION, ""))
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
