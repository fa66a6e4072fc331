"""Pictures: reading and writing files, colour transfer, regions, contact sheets."""

from impasto.images.decode import contents, is_picture, read, size_of
from impasto.images.encode import FORMATS, check_output, check_space, read_settings, write
from impasto.images.picture import Picture, PictureLike, fit, fit_area, resize

__all__ = [
    "FORMATS",
    "Picture",
    "PictureLike",
    "check_output",
    "check_space",
    "contents",
    "fit",
    "fit_area",
    "is_picture",
    "read",
    "read_settings",
    "resize",
    "size_of",
    "write",
]
