"""Pictures: reading and writing files, colour transfer, regions, contact sheets."""

from impasto.images.picture import (
    FORMATS,
    Picture,
    PictureLike,
    check_output,
    check_space,
    fit,
    fit_area,
    read,
    read_settings,
    resize,
    size_of,
    write,
)

__all__ = [
    "FORMATS",
    "Picture",
    "PictureLike",
    "check_output",
    "check_space",
    "fit",
    "fit_area",
    "read",
    "read_settings",
    "resize",
    "size_of",
    "write",
]
