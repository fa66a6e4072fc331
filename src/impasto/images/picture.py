"""A picture in memory: upright, sRGB, in [0, 1]; and its sizes."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any, Protocol

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.files import StrPath


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A picture, upright and in sRGB; it shows itself in notebooks, and converts to PIL, NumPy and PyTorch.

    Attributes:
        rgb: `(3, h, w)`, float32 in [0, 1], gamma-encoded sRGB.
        alpha: `(h, w)`, float32 in [0, 1], 1 where opaque; None for a picture without transparency.
    """

    rgb: Tensor
    alpha: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels, as arrays have it."""
        return self.rgb.shape[-2], self.rgb.shape[-1]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels, as PIL images have it."""
        return self.width, self.height

    @property
    def width(self) -> int:
        """In pixels."""
        return self.rgb.shape[-1]

    @property
    def height(self) -> int:
        """In pixels."""
        return self.rgb.shape[-2]

    @cached_property
    def digest(self) -> str:
        """A hash of all values, in hexadecimal digits; the tensors must not be changed afterwards."""
        found = hashlib.sha256()
        for part in (self.rgb, self.alpha):
            if part is not None:
                found.update(str(tuple(part.shape)).encode())
                found.update(part.detach().cpu().contiguous().numpy().data)
        return found.hexdigest()

    def resized(self, height: int, width: int) -> Picture:
        """The picture resampled to exactly this size, see `resize`. Each pixel's colour counts by its alpha."""
        plain = resize(self.rgb, height, width)
        if self.alpha is None or (height, width) == self.shape:
            return Picture(plain, self.alpha)
        alpha = resize(self.alpha[None], height, width)[0]
        # Otherwise hidden colours would make a fringe.
        weighted = torch.cat([resize((band * self.alpha)[None], height, width) for band in self.rgb])
        return Picture(torch.where(alpha > 1e-3, (weighted / alpha).clamp_max(1), plain), alpha)

    def on_white(self) -> Picture:
        """The picture blended with white, without transparency."""
        return self if self.alpha is None else Picture(self.rgb * self.alpha + (1 - self.alpha))

    def to_pil(self) -> PIL.Image.Image:
        """The picture as 8-bit RGB or RGBA."""
        return PIL.Image.fromarray(to_integers(self, 8))

    def to_numpy(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The picture as `(h, w, 3 or 4)`, float32 in [0, 1]."""
        bands = self.rgb if self.alpha is None else torch.cat([self.rgb, self.alpha[None]])
        return bands.permute(1, 2, 0).cpu().numpy()

    def save(self, path: StrPath, bits: int = 8) -> None:
        """Write a file, whole or not at all; see `images.write`.

        Raises:
            ValueError: an unknown format.
            PictureError: a file that cannot be written.
        """
        from impasto.images.encode import write

        write(path, self, bits)

    def show(self) -> None:
        """Open the picture in the system's viewer."""
        self.to_pil().show()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """`np.asarray(picture)`: `(h, w, 3 or 4)`, uint8, as of PIL images; `to_numpy` gives floats."""
        if copy is False:
            raise ValueError("the pixels of a Picture are converted to 8 bits, which copies them")
        return to_integers(self, 8).astype(np.uint8 if dtype is None else dtype, copy=False)

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.to_pil().save(file, "PNG", compress_level=1)
        return file.getvalue()

    def __repr__(self) -> str:
        return f"<Picture {self.width}×{self.height}{'' if self.alpha is None else ' with alpha'}>"


class BinaryFile(Protocol):
    """A file opened as binary."""

    def read(self, size: int = -1, /) -> bytes:
        """The rest of the file."""
        ...


#: What `read` accepts: a file's path or its bytes, an open file, a PIL image, an array, a tensor, or a `Picture`.
PictureLike = StrPath | bytes | BinaryFile | PIL.Image.Image | np.ndarray[Any, Any] | Tensor | Picture


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

    Raises:
        ValueError: a side is shorter than 1 pixel.
    """
    if min(height, width) < 1:
        raise ValueError(f"a picture of {width}×{height} pixels; expected at least 1 on each side")
    if bands.shape[-2:] == (height, width):
        return bands
    if wrap:
        tiled = resize(bands.repeat(1, 3, 3), 3 * height, 3 * width)
        return tiled[:, height : 2 * height, width : 2 * width].contiguous()
    source = bands.cpu() if bands.device.type == "mps" else bands  # Apple's GPUs lack the antialiased kernel
    resized = F.interpolate(source[None], (height, width), mode="bicubic", align_corners=False, antialias=True)
    return resized[0].clamp(0, 1).to(bands.device)


def to_integers(picture: Picture, bits: int) -> np.ndarray[Any, Any]:
    """`(h, w, 3 or 4)`, integers of this many bits over their full range."""
    bands = [*picture.rgb, *([] if picture.alpha is None else [picture.alpha])]
    array = np.empty((*picture.shape, len(bands)), np.uint8 if bits == 8 else np.uint16)
    for index, band in enumerate(bands):
        array[:, :, index] = band.cpu().clamp(0, 1).mul_(2**bits - 1).round_().numpy()
    return array
