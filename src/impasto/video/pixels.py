"""From decoded frames to upright sRGB. FFmpeg converts matrices, primaries and HLG; highlights of HDR are rolled off.

Clips in HDR (PQ or HLG) are brought to sRGB as ITU-R BT.2390 (section 5.4) describes: from a peak of 1000 cd/m² to
203 cd/m², the reference white of BT.2408.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from av.sidedata.sidedata import Type
from av.video.reformatter import ColorPrimaries, ColorTrc, Interpolation, VideoReformatter
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.images import Picture

log = logging.getLogger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]

#: H.273's numbers of matrices.
BT709, UNSPECIFIED, BT601, BT2020 = 1, 2, 6, 9
_HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
#: Transfers that players do not show as if they were sRGB.
_CONVERTED = (ColorTrc.LINEAR, ColorTrc.LOG, ColorTrc.LOG_SQRT, ColorTrc.SMPTE428)
_PEAK, _WHITE = 1000.0, 203.0
#: White as FFmpeg writes it in 16 bits.
_WHITE_16 = 255 << 8


class FrameConverter:
    """Converts the frames of one clip; FFmpeg's tables are computed once, by the first frame that needs them.

    Args:
        name: of the clip, for warnings.
        long_side: larger frames are reduced to this many pixels, along with the conversion, which is then faster.
    """

    def __init__(self, name: str | Path, long_side: int | None = None) -> None:
        self._name, self._reformatter, self._long_side = name, VideoReformatter(), long_side
        self._warned: set[str] = set()

    def __call__(self, frame: Any) -> Tensor:
        """The frame as a player shows it, `(3, h, w)`, sRGB in [0, 1], on white where it is transparent."""
        if frame.interlaced_frame:
            self._warn("is interlaced: both fields are painted as one frame; deinterlace it first to avoid combs")
        array = upright(self._to_srgb(frame), frame)
        bands = torch.from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1))).to(**CPU_FLOAT)
        if len(bands) == 3:
            return bands
        rgb, alpha = bands[:3], bands[3]
        if alpha.min() < 1:
            self._warn("is transparent in parts: they are blended with white")
        return Picture(rgb, alpha).on_white().rgb

    def _warn(self, what: str) -> None:
        if what not in self._warned:
            self._warned.add(what)
            log.warning("%s %s", self._name, what)

    def _to_srgb(self, frame: Any) -> Array:
        """`(h, w, 3 or 4)`, float32 in [0, 1]."""
        components = frame.format.components
        has_alpha = any(part.is_alpha for part in components) or frame.format.name == "pal8"
        is_hdr = frame.color_trc in _HDR
        is_deep = is_hdr or any(part.bits > 8 for part in components)
        complete_tags(frame, is_hdr)
        options: dict[str, Any] = {}
        if self._long_side is not None and max(frame.width, frame.height) > self._long_side:
            height, width = images.fit((frame.height, frame.width), self._long_side)
            options = {"width": width, "height": height, "interpolation": Interpolation.AREA}
        if is_hdr:  # PQ of BT.709's primaries
            options |= {"dst_color_trc": ColorTrc.SMPTE2084, "dst_color_primaries": ColorPrimaries.BT709}
        elif frame.color_primaries != ColorPrimaries.BT709 or frame.color_trc in _CONVERTED:
            if frame.color_trc not in _CONVERTED:
                frame.color_trc = ColorTrc.IEC61966_2_1
            options |= {"dst_color_trc": ColorTrc.IEC61966_2_1, "dst_color_primaries": ColorPrimaries.BT709}
        pixel_format = {3: "rgb24", 4: "rgba", 6: "rgb48le", 8: "rgba64le"}[(3 + has_alpha) * (1 + is_deep)]
        array: Array = self._reformatter.reformat(frame, format=pixel_format, **options).to_ndarray()
        if not is_deep:
            return array.astype(np.float32) / 255
        values = np.minimum(array.astype(np.float32) / _WHITE_16, 1)
        if is_hdr:
            values[..., :3] = hdr_table()[array[..., :3]]
        return values


def complete_tags(frame: Any, is_hdr: bool) -> None:
    """Fill in the tags that a frame lacks, as players do."""
    if frame.color_primaries not in list(ColorPrimaries) or frame.color_primaries == ColorPrimaries.UNSPECIFIED:
        frame.color_primaries = ColorPrimaries.BT2020 if is_hdr else ColorPrimaries.BT709
    if frame.colorspace == UNSPECIFIED and not frame.format.is_rgb:
        is_hd = frame.width >= 1280 or frame.height > 576
        frame.colorspace = BT2020 if is_hdr else BT709 if is_hd else BT601


def upright(array: Array, frame: Any) -> Array:
    """The rows and columns of `(h, w, …)` as the frame's display matrix has them: turned, mirrored, or as they are."""
    matrix = frame.side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return array
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]
    if abs(b) > abs(a):
        array, a, d = array.swapaxes(0, 1), c, b
    return array[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


@functools.cache
def hdr_table() -> Array:
    """The sRGB value in [0, 1] of each PQ value of 16 bits, `(65536,)`, float32: the EETF of BT.2390."""
    code = np.minimum(np.arange(1 << 16) / _WHITE_16, 1)
    peak, white = pq_code(_PEAK), pq_code(_WHITE)
    given, most = np.minimum(code / peak, 1), white / peak
    knee = 1.5 * most - 0.5
    t = np.maximum(given - knee, 0) / (1 - knee)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (3 * t**2 - 2 * t**3) * most
    linear = np.clip(pq_luminance(np.where(given < knee, given, spline) * peak) / _WHITE, 0, 1)
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return srgb.astype(np.float32)


#: The constants of SMPTE ST 2084.
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128


def pq_code(luminance: Any) -> Any:
    """The PQ code in [0, 1] of a luminance in cd/m²."""
    power = (luminance / 10000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def pq_luminance(code: Any) -> Any:
    """The luminance in cd/m² of a PQ code in [0, 1]."""
    power = code ** (1 / _M2)
    return 10000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)
