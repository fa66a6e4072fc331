"""Sample photos: those of scikit-image, by name, wherever a content is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from impasto.settings.fields import unknown

if TYPE_CHECKING:
    import numpy as np

#: Names of the photos, all free of restrictions (see scikit-image's notes on each).
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")


def load(name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A sample photo, `(h, w, 3)` in 0–255.

    Raises:
        ValueError: an unknown name.
    """
    if name not in PHOTOS:
        raise unknown("photo", name, PHOTOS)
    import skimage.data

    photo: np.ndarray[Any, np.dtype[np.uint8]] = getattr(skimage.data, name)()
    return photo
