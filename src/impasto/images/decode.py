"""Reading picture files and arrays; no other module decodes picture files.

libvips decodes files, converts colour profiles and keeps 16 bits. Pillow is asked for what libvips cannot read, and
pillow-heif for HEIC. Whichever decodes a file, the same rules apply to its values:

- Integers are divided by the largest one of their format: 255, 65535, or 32767 for signed ones of 16 bits.
- Floats are gamma-encoded sRGB in [0, 1], unless the file has a colour profile.
- Values outside these ranges are refused.
"""

from __future__ import annotations

import logging
import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pyvips
import torch
from torch import Tensor

from impasto import devices, extras
from impasto.errors import PictureError
from impasto.files import StrPath, local_path
from impasto.images import formats
from impasto.images.libvips import computing
from impasto.images.picture import BinaryFile, Picture, PictureLike
from impasto.isolation import no_warnings

log = logging.getLogger(__name__)

#: Files with more pixels than this are refused before they are decoded.
MAX_PIXELS = 400_000_000

#: Peak memory of reading a file, in bytes per pixel: its own values and ours.
BYTES_PER_PIXEL = 22

#: The loaders of libvips that read pictures; others read tables, or values without a fixed range.
_LOADERS = ("jpeg", "uhdr", "png", "webp", "tiff", "gif", "svg", "pdf", "heif", "jxl", "jp2k", "ppm")
#: Those that draw vector graphics, at any size.
_DRAWN = ("svg", "pdf")
#: Long side of vector graphics of no given size, in pixels, at least.
MIN_DRAWN = 1024

#: libvips' formats of integers -> the value of full intensity.
_FULL = {"uchar": 255, "char": 127, "ushort": 65535, "short": 32767, "uint": 2**32 - 1, "int": 2**31 - 1}
#: Those whose TIFFs libvips leaves as they are where 0 is white.
_NOT_INVERTED = ("char", "short", "int", "float")
#: libvips' interpretations of values that are not sRGB, which it converts.
_CONVERTED = ("lab", "labs", "labq", "lch", "xyz", "yxy", "cmc", "hsv")


def read(source: PictureLike, what: str = "the picture", long_side: int | None = None) -> Picture:
    """Read a picture.

    Args:
        source: A path or a file:// address, a file's bytes, a file opened as binary, or a PIL image: EXIF orientation
            is applied; an embedded ICC profile is converted to sRGB; grey, palette and CMYK become RGB. Of several
            pictures in a file the largest is read, of several frames the first.
            An array `(h, w)` or `(h, w, c)`, or a tensor `(c, h, w)` or `(1, c, h, w)`, c from 1 to 4: sRGB, the last
            of 2 or 4 channels being alpha; booleans, unsigned integers of 8 or 16 bits over their full range, or
            floats in [0, 1].
            A `Picture` is returned as it is.
        what: what error messages call it.
        long_side: in pixels, the size at which vector graphics are drawn; by default their own, but at least
            `MIN_DRAWN`, since the size of an icon says nothing of its use.

    Raises:
        PictureError: a file that is missing, damaged, not a picture, not supported, or larger than `MAX_PIXELS` or
            the free memory; a file or PIL image whose values are out of range.
        ValueError: an array or tensor of the wrong shape, type or range, or an object of another type.
    """
    if isinstance(source, Picture):
        return source
    if isinstance(source, Tensor):
        return _from_tensor(source, what)
    if isinstance(source, np.ndarray):
        return _from_array(np.asarray(source), what)
    if isinstance(source, PIL.Image.Image):
        return _from_pil(source, what)
    if isinstance(source, (str, os.PathLike)):
        path = _existing(source, what)
        return _decode(path, str(path), long_side)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _decode(bytes(source), what, long_side)
    if hasattr(source, "read"):
        return _decode(contents(source, what), what, long_side)
    raise ValueError(
        f"{what} is of type {type(source).__name__}; expected a path, a file's bytes, an open file, a PIL image, an "
        "array or a tensor"
    )


def contents(file: BinaryFile, what: str) -> bytes:
    """The rest of an open file.

    Raises:
        ValueError: it is opened as text, closed, or was read to its end before.
        PictureError: it cannot be read.
    """
    try:
        data = file.read()
    except OSError as error:
        raise PictureError(f"cannot read {what}: {error}") from error
    except ValueError as error:  # closed
        raise ValueError(f"{what} is a file that cannot be read: {error}") from error
    if data == b"" and _is_behind_content(file):
        raise ValueError(f"nothing is left to read of {what}: the file was read before; call its seek(0) first")
    if not isinstance(data, bytes):
        raise ValueError(f"{what} is a file opened as text; open it as binary: open(path, 'rb')")
    return data


def _is_behind_content(file: BinaryFile) -> bool:
    """Whether an open file that gives nothing more has given something before."""
    try:
        return bool(getattr(file, "tell", lambda: 0)())
    except OSError:  # a pipe
        return False


def size_of(path: StrPath) -> tuple[int, int]:
    """Height and width in pixels by a file's header, before EXIF orientation is applied. Nothing is decoded.

    Raises:
        PictureError: a file that is missing, not a picture, or not supported.
    """
    path = _existing(path, "the picture")
    try:
        image = open_file(path)
        return image.height, image.width
    except PictureError as error:
        raise _named(error, str(path)) from error
    except pyvips.Error as error:
        reason = reason_of(error)
    try:
        with no_warnings(), _open_with_pillow(path) as opened:
            return opened.height, opened.width
    except MemoryError:
        raise
    except PictureError as error:
        raise _named(error, str(path)) from error
    except Exception as error:
        raise _failure(path, str(path), reason) from error


def is_picture(path: StrPath) -> bool:
    """Whether a file's header is that of a picture that `read` supports."""
    try:
        size_of(path)
    except PictureError:
        return False
    return True


# -- arrays ------------------------------------------------------------------------------------------------


def _from_tensor(tensor: Tensor, what: str) -> Picture:
    bands = tensor.detach().cpu()
    if bands.ndim == 4 and bands.shape[0] == 1:
        bands = bands[0]
    if bands.ndim != 3 or bands.shape[0] not in (1, 2, 3, 4):
        advice = ": give tensor.permute(2, 0, 1)" if bands.ndim == 3 and bands.shape[2] in (1, 2, 3, 4) else ""
        raise ValueError(
            f"{what} is a tensor of shape {tuple(tensor.shape)}; expected (c, h, w) with 1 to 4 channels{advice}"
        )
    try:
        # NumPy lacks PyTorch's smaller floats.
        array = (bands.float() if bands.is_floating_point() else bands).permute(1, 2, 0).numpy()
    except (TypeError, RuntimeError) as error:  # sparse, quantised
        raise ValueError(f"{what} is a tensor of {bands.dtype}, {bands.layout}; expected a dense one") from error
    return _from_array(array, what)


def _from_array(array: np.ndarray[Any, Any], what: str) -> Picture:
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4) or 0 in array.shape:
        advice = ": give array.transpose(1, 2, 0)" if array.ndim == 3 and array.shape[0] in (1, 2, 3, 4) else ""
        raise ValueError(f"{what} has shape {array.shape}; expected (h, w) or (h, w, c) with 1 to 4 channels{advice}")
    kind, width = array.dtype.kind, array.dtype.itemsize
    if kind == "b" or (kind == "u" and width <= 2):
        maximum = 1 if kind == "b" else 2 ** (8 * width) - 1
    elif kind == "f":
        maximum = 1
        if not np.isfinite(array).all():
            raise ValueError(f"{what} has values that are not finite (NaN or infinity); replace them first")
        if array.min() < -1e-3 or array.max() > 1 + 1e-3:
            raise ValueError(
                f"{what} has values from {array.min():.4g} to {array.max():.4g}; "
                "floats must lie in [0, 1] (divide by 255, or give integers of 8 or 16 bits)"
            )
    else:
        raise ValueError(
            f"{what} is of type {array.dtype}; expected uint8 (0 to 255), uint16 (0 to 65535) or floats in [0, 1]"
        )
    # Band by band, so that there is no second copy of a large picture in floating point.
    bands = np.empty((array.shape[2], *array.shape[:2]), np.float32)
    for index, band in enumerate(bands):
        np.divide(array[:, :, index], maximum, out=band, casting="unsafe")
        np.clip(band, 0, 1, out=band)
    tensor = torch.from_numpy(bands)
    colors = tensor if len(tensor) in (1, 3) else tensor[:-1]
    alpha = None if len(tensor) in (1, 3) or tensor[-1].min() == 1 else tensor[-1]
    return Picture(colors.expand(3, -1, -1).contiguous(), alpha)


def _from_pil(image: PIL.Image.Image, what: str) -> Picture:
    try:
        converted = _pil_to_vips(image, what)
    except (MemoryError, PictureError):
        raise
    except Exception as error:  # Pillow's decoders raise anything
        raise PictureError(f"cannot read {what}: {_text(error)}") from error
    return _from_vips(converted, what)


def _pil_to_vips(image: PIL.Image.Image, what: str) -> Any:
    """A libvips image of 8 or 16 bits, or of floats, with the profile of a PIL image."""
    profile = image.info.get("icc_profile")
    tags = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    transparent = image.info.get("transparency")
    image.load()
    image = PIL.ImageOps.exif_transpose(image)
    interpretation = {"L": "b-w", "LA": "b-w", "CMYK": "cmyk"}.get(image.mode, "srgb")
    if image.mode == "F":
        array, interpretation = np.asarray(image), "b-w"
    elif image.mode == "I" or image.mode.startswith("I;16"):
        array, interpretation = _deep_grey(image, tags, what), "grey16"
        if isinstance(transparent, int):
            array = np.dstack([array, np.where(np.asarray(image) == transparent, 0, 65535).astype(np.uint16)])
    elif image.mode == "LAB":
        array, profile = np.asarray(image.convert("RGB")), None
    elif image.mode == "La":
        array, interpretation = np.asarray(image.convert("LA")), "b-w"
    elif image.has_transparency_data:
        array, interpretation = np.asarray(image.convert("RGBA")), "srgb"
    elif image.mode in ("L", "CMYK", "RGB"):
        array = np.asarray(image)
    else:
        array = np.asarray(image.convert("RGB"))
    result = pyvips.Image.new_from_array(array).copy(interpretation=interpretation)
    if profile:
        result.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return result


def _deep_grey(image: PIL.Image.Image, tags: Any, what: str) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """The values of one of Pillow's modes I and I;16, of 16 bits unless the tags of a TIFF file say otherwise."""
    array, full = np.asarray(image), 65535
    if tags:
        bits, signed = tags.get(258, (16,))[0], tags.get(339, (1,))[0] == 2
        full = 2 ** (bits - signed) - 1
        if bits == 32 and not signed:
            array = array.view(np.uint32)
    if array.min() < 0 or array.max() > full:
        raise PictureError(
            f"{what} has values from {array.min()} to {array.max()}; integers of mode {image.mode} must lie in "
            f"0 to {full}"
        )
    if tags.get(262) == 0:  # white is 0
        array = full - array
    return array.astype(np.uint16) if full == 65535 else np.round(array * (65535 / full)).astype(np.uint16)


# -- files -------------------------------------------------------------------------------------------------


def _existing(given: StrPath, what: str) -> Path:
    path = local_path(given, PictureError)
    if not os.path.exists(path):  # unlike Path.exists, False for a name that is too long
        raise PictureError(f"no such file: {path} ({what})")
    if path.is_dir():
        raise PictureError(
            f"{path} is a folder; {what} must be a file (for folders of photos there is 'impasto batch')"
        )
    return path


def _decode(given: Path | bytes, what: str, long_side: int | None) -> Picture:
    """Decoded by libvips; by Pillow or pillow-heif if libvips cannot."""
    try:
        if isinstance(given, Path) and given.is_fifo():  # can be read only once
            given = given.read_bytes()
        head, opened = _head(given), None
        try:
            opened = open_file(given, long_side)
            return _from_vips(opened, what)
        except pyvips.Error as error:
            reason = reason_of(error)
            if opened is not None and formats.is_tiff(head) and "support" not in reason:
                raise  # damaged: Pillow would fail too, and libtiff print that on standard error
        # Pillow warns of large pictures, which are checked here, and of flaws that do not prevent reading.
        with no_warnings():
            if formats.is_hevc(head) and extras.is_installed("heif"):
                converted = _heif_to_vips(given, what)
            else:
                with _open_with_pillow(given) as image:
                    _check_pixels(*image.size, what)
                    converted = _pil_to_vips(image, what)
        return _from_vips(converted, what)
    except MemoryError:
        raise
    except PictureError as error:
        raise _named(error, what) from error
    except PIL.UnidentifiedImageError as error:
        raise _failure(given, what, reason) from error
    except OSError as error:
        raise _failure(given, what, error.strerror or _text(error)) from error
    except Exception as error:  # decoders raise anything
        raise _failure(given, what, reason_of(error)) from error


class _Unnamed(PictureError):
    """An error whose text says what a file is, but not which file."""


def _named(error: PictureError, what: str) -> PictureError:
    return PictureError(f"cannot read {what}: {error}") if isinstance(error, _Unnamed) else error


def _failure(given: Path | bytes, what: str, reason: str) -> PictureError:
    """The error for a file that no decoder reads: what it is and what to do, if that is known."""
    try:
        head = _head(given)
        known = formats.explain(head)
        if known is not None:
            text = f"it is {known[0]}, which is not supported; {known[1]}, and give that"
        elif not head:
            text = "the file is empty"
        elif formats.is_hevc(head) and not extras.is_installed("heif"):
            text = (
                f"it is a HEIC picture, which needs pillow-heif: {extras.install_command('heif')}; or save it as JPEG"
            )
        elif formats.is_heif(head):
            text = f"the HEIC or AVIF picture is damaged ({reason})"
        elif formats.is_tiff(head):
            unsupported = _main_directory(given, head).unsupported
            text = (
                f"it is a TIFF with {unsupported}, which is not supported; save it as PNG, or as TIFF of 8 or 16 bits"
                if unsupported
                else f"the TIFF is damaged, or of a rare kind ({reason}); try to save it as PNG with another program"
            )
        else:
            text = f"not a picture, or damaged, or of a kind that is not supported ({reason})"
    except MemoryError:
        raise
    except Exception:
        text = f"not a picture, or damaged, or of a kind that is not supported ({reason})"
    return PictureError(f"cannot read {what}: {text}")


def _head(given: Path | bytes) -> bytes:
    if isinstance(given, bytes):
        return given[:512]
    with open(given, "rb") as file:
        return file.read(512)


def _stream(given: Path | bytes) -> Any:
    return BytesIO(given) if isinstance(given, bytes) else open(given, "rb")


def _main_directory(given: Path | bytes, head: bytes) -> formats.Directory:
    with _stream(given) as file, no_warnings():
        found = formats.directories(file)
    if formats.is_raw(head, found):
        raise _Unnamed(f"it is {formats.RAW}, which is not supported; {formats.DEVELOP}, and give that")
    return formats.main_directory(found)


def open_file(given: Path | bytes, long_side: int | None = None) -> Any:
    """The main picture of a file, opened by libvips; vector graphics at this size.

    Raises:
        pyvips.Error: a file that libvips does not read.
        PictureError: a camera's raw file.
    """

    def load(**options: Any) -> Any:
        # By a source, since libvips reads "[…]" at the end of a file name as options; by bytes, since names may not be
        # UTF-8.
        if isinstance(given, bytes):
            source = pyvips.Source.new_from_memory(given)
        else:
            source = pyvips.Source.new_from_file(os.fsencode(given))
        return pyvips.Image.new_from_source(source, "", fail_on="error", **options)

    head = _head(given)
    options: dict[str, Any] = {}
    white_is_zero = False
    if formats.is_tiff(head):
        try:
            main = _main_directory(given, head)
        except (MemoryError, PictureError):
            raise
        except Exception as error:  # Pillow raises anything
            raise pyvips.Error(f"the directories are damaged: {_text(error)}") from error
        if main.is_plain_ycbcr or main.unsupported.startswith("photometric"):
            raise pyvips.Error(main.unsupported)
        white_is_zero = main.white_is_zero
        if main.page:
            options["page"] = main.page
        if main.sub is not None:
            options["subifd"] = main.sub
    image = load(**options)
    loader = image.get("vips-loader")
    if not loader.startswith(_LOADERS):
        raise pyvips.Error("not a format of pictures")
    if white_is_zero and image.format in _NOT_INVERTED:
        full = _FULL.get(image.format, 1)
        inverted = image.linear([-1, *[1] * image.hasalpha()], [full, *[0] * image.hasalpha()])
        image = inverted.cast(image.format)
    if loader.startswith(_DRAWN):
        own = max(image.width, image.height)
        image = load(scale=(long_side or max(own, MIN_DRAWN)) / own)
    return image


def _open_with_pillow(given: Path | bytes) -> PIL.Image.Image:
    image = PIL.Image.open(BytesIO(given) if isinstance(given, bytes) else given)
    try:
        if image.format in formats.REFUSED:
            what, advice = formats.REFUSED[image.format]
            raise _Unnamed(f"it is {what}, which is not supported; {advice}, and give that")
        if image.format == "TIFF":
            with _stream(given) as file:
                main = formats.main_directory(formats.directories(file))
            if main.sub is not None:
                raise ValueError("Pillow does not read subdirectories")
            image.seek(main.page)
    except BaseException:
        image.close()
        raise
    return image


def _heif_to_vips(given: Path | bytes, what: str) -> Any:
    """By pillow-heif, which turns the picture upright; more than 8 bits become 16."""
    import pillow_heif

    heif = pillow_heif.open_heif(BytesIO(given) if isinstance(given, bytes) else given, convert_hdr_to_8bit=False)
    width, height = heif.size
    _check_pixels(width, height, what)
    array = np.asarray(heif)
    deep = array.dtype.itemsize == 2
    image = pyvips.Image.new_from_array(array)
    grey = image.bands < 3
    image = image.copy(interpretation=("grey16" if grey else "rgb16") if deep else ("b-w" if grey else "srgb"))
    if profile := heif.info.get("icc_profile"):
        image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    return image


def _check_pixels(width: int, height: int, what: str) -> None:
    if width * height > MAX_PIXELS:
        raise PictureError(f"{what} has {width}×{height} pixels; at most {MAX_PIXELS:,} are read")
    needed, free = width * height * BYTES_PER_PIXEL, devices.available()
    if needed > free:
        raise PictureError(
            f"{what} has {width}×{height} pixels; reading it takes {needed / 1e9:.1f} GB of memory, "
            f"and {free / 1e9:.1f} GB are free"
        )


def reason_of(error: Exception) -> str:
    """An error's text, in one line."""
    return _text(error.detail or error.message) if isinstance(error, pyvips.Error) else _text(error)


def _text(error: object) -> str:
    return " ".join(str(error).split()) or type(error).__name__


# -- values ------------------------------------------------------------------------------------------------


@computing()
def _from_vips(image: Any, what: str) -> Picture:
    """The picture of a libvips image.

    Raises:
        PictureError: it is too large, or its values are out of range.
        pyvips.Error: it cannot be decoded.
    """
    _check_pixels(image.width, image.height, what)
    image = _scaled(image.autorot(), what)
    alpha = None
    if image.hasalpha():
        colors = {"cmyk": 4, "b-w": 1, "grey16": 1}.get(image.interpretation, 3 if image.bands > 2 else 1)
        alpha, image = image[colors], image[:colors] if colors > 1 else image[0]
    array = _to_srgb(image, what).numpy()
    if alpha is not None:
        # Alpha keeps the file's depth, which the conversion to sRGB may have changed for the colours.
        opacity = alpha.numpy()
        if opacity.dtype != array.dtype:
            opacity = opacity.astype(np.float64) / _maximum(opacity) * _maximum(array)
        array = np.dstack([array, opacity.astype(array.dtype)])
    try:
        return _from_array(array, what)
    except ValueError as error:
        raise PictureError(str(error)) from error


def _maximum(array: np.ndarray[Any, Any]) -> int:
    """The value that stands for full intensity in an array of this type."""
    return 1 if np.issubdtype(array.dtype, np.floating) else int(np.iinfo(array.dtype).max)


def _scaled(image: Any, what: str) -> Any:
    """The image with integers of other sizes converted to 16 bits, and floats that have a profile."""
    if image.interpretation in _CONVERTED or image.format in ("uchar", "ushort"):
        return image
    has_profile = image.get_typeof("icc-profile-data") != 0
    if image.format in ("float", "double"):
        if not has_profile:
            return image
        least, most, full = 0.0, 1.0, 1.0
    elif image.format in _FULL:
        least, most, full = 0.0, float(_FULL[image.format]), float(_FULL[image.format])
    else:
        raise PictureError(f"{what} holds complex numbers; {formats.SAVE_AS}")
    image = image.copy_memory()
    low, high = image.min(), image.max()
    if not (least - 1e-3 <= low and high <= most + 1e-3):
        raise PictureError(
            f"{what} has values from {low:.4g} to {high:.4g}; they must lie in {least:g} to {most:g}: "
            "scale them first, and save it with 8 or 16 bits"
        )
    colors = image.bands - image.hasalpha()
    deep = {1: "grey16", 4: "cmyk"}.get(colors, "rgb16")
    return (image * (65535 / full)).rint().cast("ushort").copy(interpretation=deep)


def _to_srgb(image: Any, what: str) -> Any:
    """A libvips image without alpha, converted to sRGB at its own depth of 8 or 16 bits; floats are left."""
    deep = image.format == "ushort"
    if image.get_typeof("icc-profile-data"):
        try:
            return image.icc_transform("srgb", embedded=True, intent="relative", depth=16 if deep else 8)
        except pyvips.Error:
            log.warning("%s: the colour profile is damaged and was ignored", what)
    if image.interpretation in _CONVERTED:
        return image.colourspace("srgb")
    if image.format in ("float", "double"):
        return image
    if image.interpretation == "multiband":
        image = image.copy(interpretation="rgb16" if deep else "srgb")
    return image.colourspace("rgb16" if deep else "srgb")
