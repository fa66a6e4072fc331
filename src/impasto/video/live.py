"""A camera or a stream, repainted as it comes: frames that come while one is painted are dropped, so nothing lags."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import cv2
import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.devices import choose_device
from impasto.errors import ClipError
from impasto.fast.stylizer import FramePainter, load_model, styles_for
from impasto.images import Picture, PictureLike
from impasto.inputs.prepare import prepare_inputs
from impasto.inputs.read import Memo
from impasto.settings.options import FastOptions
from impasto.video import clips, flow
from impasto.video.clips import Clip

#: Seconds to wait for a frame before a source is given up.
PATIENCE = 10.0
#: Of the frame before, what stays in a frame where it can be followed.
SMOOTHING = 0.6


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame that was painted.

    Attributes:
        picture: what there is to see.
        seconds: when it was seen, since the beginning.
        painted, dropped: frames so far.
        pace: frames painted per second, lately.
    """

    picture: Picture
    seconds: float
    painted: int
    dropped: int
    pace: float


class Latest:
    """The last frame of a source that a thread of its own reads; whoever is slower misses some."""

    def __init__(self, source: Iterator[Tensor]) -> None:
        self._source = source
        self._change = threading.Condition()
        self._frame: Tensor | None = None
        self._failure: BaseException | None = None
        self._over = False
        self.seen = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for frame in self._source:
                with self._change:
                    self._frame, self.seen = frame, self.seen + 1
                    self._change.notify()
                    if self._over:
                        return
        except Exception as error:  # told to whoever waits
            self._failure = error
        finally:
            with self._change:
                self._over = True
                self._change.notify()

    def take(self, patience: float = PATIENCE) -> Tensor | None:
        """The newest frame that nobody took yet; None when there are no more.

        Raises:
            ClipError: none came for so many seconds, or what reading failed with.
        """
        with self._change:
            if not self._change.wait_for(lambda: self._frame is not None or self._over, patience):
                raise ClipError(f"no frame came for {patience:.0f} seconds")
            frame, self._frame = self._frame, None
            if frame is None and self._failure is not None:
                raise self._failure
            return frame

    def stop(self) -> None:
        """Read no further."""
        self._over = True


def frames_of(source: str) -> Iterator[Tensor]:
    """The frames of a camera, by its number, or of a file or address, at the pace at which they are meant to be seen.

    Raises:
        ClipError: there is no such camera, or nothing that can be read.
    """
    if source.isdecimal():
        return _camera(int(source))
    if "://" not in source and not Path(source).exists():
        raise ClipError(f"no such file: {source}; a camera is given by its number, 0 say")
    return _stream(source)


def _camera(number: int) -> Iterator[Tensor]:
    camera = cv2.VideoCapture(number)
    try:
        while True:
            there, frame = camera.read()
            if not there:
                raise ClipError(f"camera {number} gives no frames: is it there, and free?")
            yield torch.from_numpy(np.ascontiguousarray(frame[..., ::-1])).permute(2, 0, 1).float() / 255
    finally:
        camera.release()


def _stream(source: str) -> Iterator[Tensor]:
    started = time.monotonic()
    first: float | None = None
    try:
        with av.open(source) as container:
            for frame in container.decode(video=0):
                first = frame.time if first is None else first
                wait = started + (frame.time or 0.0) - (first or 0.0) - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                rgb: Any = frame.to_ndarray(format="rgb24")
                yield torch.from_numpy(rgb).permute(2, 0, 1).float() / 255
    except av.error.FFmpegError as error:
        raise ClipError(f"cannot read {source}: {error.strerror}") from error


def live(
    source: str | Iterator[Tensor], styles: PictureLike | Sequence[PictureLike], options: FastOptions | None = None
) -> Iterator[Moment]:
    """Repaint what comes from a camera, a file or an address; to end, stop asking.

    Args:
        source: see `frames_of`; or frames, `(3, h, w)`, sRGB in [0, 1].
        options: of the fast way; `size` is the long side of what is painted.

    Raises:
        ClipError: nothing comes from the source.
        ValueError: options that do not fit.
    """
    options = options or FastOptions(size=320)
    latest = Latest(frames_of(source) if isinstance(source, str) else source)
    started, painted = time.monotonic(), 0
    painter: FramePainter | None = None
    before: tuple[Tensor, Tensor] | None = None
    device, memo, paces = choose_device(options.device), Memo(), [time.monotonic()]
    try:
        while (frame := latest.take()) is not None:
            seen = time.monotonic() - started
            size = images.fit((frame.shape[1], frame.shape[2]), options.size or max(frame.shape[1:]))
            photo = images.resize(frame, *size)
            if painter is None or before is None or before[0].shape != photo.shape:
                given = styles_for(load_model(options, device, memo), styles, options)
                scene = prepare_inputs(Picture(photo), given, options, device, {})
                painter, before = FramePainter(scene, options, device, memo), None
            canvas = painter.paint(photo).cpu()
            if before is not None:
                back, forth = flow.between(photo, before[0]), flow.between(before[0], photo)
                canvas = canvas.lerp(flow.warp(before[1], back), SMOOTHING * flow.trust(back, forth))
            before, painted = (photo, canvas), painted + 1
            paces = [*paces[-10:], time.monotonic()]
            pace = (len(paces) - 1) / max(paces[-1] - paces[0], 1e-9)
            yield Moment(painter.finish(canvas, photo), seen, painted, latest.seen - painted, pace)
    finally:
        latest.stop()


def untimed(path: Path, size: tuple[int, int]) -> Clip:
    """What a `Writer` is told of frames at times in thousandths of a second, without sound."""
    return Clip(path, size, 0, Fraction(1, 1000), clips.RATE)
