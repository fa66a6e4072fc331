"""A camera or stream stylised in real time: frames that arrive while another is stylised are dropped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av.error
import cv2
import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.devices import choose_device
from impasto.errors import ClipError
from impasto.fast.stylizer import FramePainter, frame_painter
from impasto.images import Picture, PictureLike
from impasto.inputs.memo import Memo
from impasto.inputs.read import opened_styles
from impasto.isolation import isolated
from impasto.settings.options import FastOptions
from impasto.video import clips, flow
from impasto.video.clips import Clip
from impasto.video.pixels import FrameConverter

#: Seconds to wait for a frame before giving up.
TIMEOUT = 10.0
#: The share of the frame before that is blended into a frame, where the flow is reliable.
SMOOTHING = 0.6


@dataclass(frozen=True, eq=False)
class LiveFrame:
    """A stylised frame.

    Attributes:
        seconds: from the start to the arrival of the source frame.
        painted, dropped: frames so far.
        frame_rate: stylised frames per second, over the last ten.
    """

    picture: Picture
    seconds: float
    painted: int
    dropped: int
    frame_rate: float


#: A frame `(3, h, w)`, sRGB in [0, 1], or what gives one: frames that are dropped need not be converted.
SourceFrame = Tensor | Callable[[], Tensor]


class LatestFrame:
    """Reads a source in a thread of its own, and keeps only the newest frame."""

    def __init__(self, source: Iterator[SourceFrame]) -> None:
        self._source = source
        self._change = threading.Condition()
        self._frame: SourceFrame | None = None
        self._error: BaseException | None = None
        self._stopped = False
        self.frames_read = 0
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for frame in self._source:
                with self._change:
                    self._frame, self.frames_read = frame, self.frames_read + 1
                    self._change.notify()
                    if self._stopped:
                        return
        except Exception as error:  # raised by `take`, in the caller's thread
            self._error = error
        finally:
            with self._change:
                self._stopped = True
                self._change.notify()

    def take(self, timeout: float = TIMEOUT) -> Tensor | None:
        """The newest frame that was not taken before, waiting for it if necessary; None after the last.

        Raises:
            ClipError: no frame arrived within `timeout` seconds.
            Exception: whatever reading the source raised.
        """
        with self._change:
            if not self._change.wait_for(lambda: self._frame is not None or self._stopped, timeout):
                raise ClipError(f"no frame came for {timeout:.0f} seconds")
            frame, self._frame = self._frame, None
            if frame is None and self._error is not None:
                raise self._error
        return frame if frame is None or isinstance(frame, Tensor) else frame()

    def stop(self) -> None:
        self._stopped = True


def frames_of(source: str, long_side: int | None = None) -> Iterator[SourceFrame]:
    """The frames of a camera, a file or a URL, in real time.

    Args:
        source: a camera's number, a file, or a URL such as rtsp://….
        long_side: those of files and URLs are reduced to this many pixels.

    Raises:
        ClipError: there is no such camera or file, or it cannot be read.
    """
    if source.isdecimal():
        return _camera(int(source))
    if "://" not in source and not Path(source).exists():
        raise ClipError(f"no such file: {source}; a camera is given by its number, such as 0")
    return _stream(source, long_side)


def _camera(number: int) -> Iterator[SourceFrame]:
    camera = cv2.VideoCapture(number)
    try:
        while True:
            success, frame = camera.read()
            if not success:
                raise ClipError(f"camera {number} gives no frames: is it connected, and not in use?")
            yield partial(_from_bgr, frame)
    finally:
        camera.release()


def _from_bgr(frame: np.ndarray[Any, Any]) -> Tensor:
    """`(h, w, 3)`, 8 bits, as `(3, h, w)`, sRGB in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frame[..., ::-1])).permute(2, 0, 1).float() / 255


def _converted(convert: FrameConverter, frame: Any, source: str) -> Tensor:
    """A decoded frame as `(3, h, w)`, sRGB in [0, 1]."""
    try:
        return convert(frame)
    except av.error.FFmpegError as error:
        raise ClipError(f"cannot read {source}: {error.strerror}") from error


def _stream(source: str, long_side: int | None) -> Iterator[SourceFrame]:
    started = time.monotonic()
    first: float | None = None
    try:
        with clips.opened(source if "://" in source else Path(source).absolute()) as container:
            convert = FrameConverter(source, long_side)
            for frame in clips.decode(clips.video_track(container, source), source):
                first = frame.time if first is None else first
                wait = started + (frame.time or 0.0) - (first or 0.0) - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                yield partial(_converted, convert, frame, source)
    except av.error.FFmpegError as error:
        raise ClipError(f"cannot read {source}: {error.strerror}") from error


@isolated
def live(
    source: str | Iterator[Tensor], styles: PictureLike | Sequence[PictureLike], options: FastOptions | None = None
) -> Iterator[LiveFrame]:
    """Stylise a camera, a file or a URL in real time, with the feed-forward network, until the iterator is closed.

    Args:
        source: see `frames_of`; or an iterator of frames, `(3, h, w)`, sRGB in [0, 1].
        options: `size` is the long side of the stylised frames, in pixels.

    Raises:
        ClipError: the source cannot be read.
        ValueError: options that do not fit.
        PictureError, WeightsError: a file that is missing or damaged.
    """
    options = options or FastOptions(size=320)
    styles = opened_styles(styles)
    latest = LatestFrame(frames_of(source, options.size) if isinstance(source, str) else source)
    started, painted = time.monotonic(), 0
    painter: FramePainter | None = None
    previous: tuple[Tensor, Tensor] | None = None
    device, memo, times = choose_device(options.device), Memo(), [time.monotonic()]
    try:
        while (frame := latest.take()) is not None:
            arrived = time.monotonic() - started
            size = images.fit((frame.shape[1], frame.shape[2]), options.size or max(frame.shape[1:]))
            photo = images.resize(frame, *size)
            if painter is None or previous is None or previous[0].shape != photo.shape:
                painter, previous = frame_painter(Picture(photo), styles, options, device, memo), None
            canvas = painter.paint(photo).cpu()
            if previous is not None:
                backward, forward = flow.estimate(photo, previous[0]), flow.estimate(previous[0], photo)
                warped = flow.warp(previous[1], backward)
                canvas = canvas.lerp(warped, SMOOTHING * flow.reliability(backward, forward))
            previous, painted = (photo, canvas), painted + 1
            times = [*times[-10:], time.monotonic()]
            rate = (len(times) - 1) / max(times[-1] - times[0], 1e-9)
            yield LiveFrame(painter.finish(canvas, photo), arrived, painted, latest.frames_read - painted, rate)
    finally:
        latest.stop()


def recording_clip(path: Path, size: tuple[int, int]) -> Clip:
    """The metadata for a `Writer` of a live recording: times in milliseconds, no sound."""
    return Clip(path, size, 0, Fraction(1, 1000), clips.DEFAULT_FRAME_RATE)
