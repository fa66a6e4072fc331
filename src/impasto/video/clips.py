"""Reading and writing clips: video files through PyAV, and folders of pictures.

Frames are as a player shows them, upright and in RGB. Times are those of the file.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import torch
from torch import Tensor

from impasto import images
from impasto.errors import ClipError
from impasto.files import StrPath, atomic_write, check_writable
from impasto.inputs.read import sorted_out, warn_of

log = logging.getLogger(__name__)

#: Suffix -> (video encoder, audio codecs that the container can hold; None for any).
FORMATS: dict[str, tuple[str, frozenset[str] | None]] = {
    ".mp4": ("libx264", frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})),
    ".m4v": ("libx264", frozenset({"aac", "mp3", "ac3", "eac3", "alac"})),
    ".mov": ("libx264", None),
    ".mkv": ("libx264", None),
    ".webm": ("libvpx-vp9", frozenset({"opus", "vorbis"})),
    ".gif": ("gif", frozenset()),
}
#: Frames a second where neither the file nor the caller says.
DEFAULT_FRAME_RATE = Fraction(25)


@dataclass(frozen=True)
class Clip:
    """A clip's metadata.

    Attributes:
        path: of the file, or of the folder of pictures.
        size: height and width of a frame as shown, in pixels.
        frames: their number according to the file; 0 if it is unknown.
        time_base: seconds per unit of time.
        rate: average frames per second.
        aspect: width of a pixel divided by its height.
        colors: FFmpeg's numbers for matrix, primaries, transfer and range; 2 for an unspecified one.
        audio_codecs: one for each audio track.
    """

    path: Path
    size: tuple[int, int]
    frames: int
    time_base: Fraction
    rate: Fraction
    aspect: Fraction = Fraction(1)
    colors: tuple[int, int, int, int] = (2, 2, 2, 0)
    audio_codecs: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded frame.

    Attributes:
        image: `(3, h, w)`, sRGB in [0, 1].
        time: in units of the clip's time base.
        duration: likewise; 0 if it is unknown.
    """

    image: Tensor
    time: int
    duration: int


def open_clip(path: StrPath, rate: Fraction | None = None) -> Clip:
    """Read the metadata of a video file or a folder of pictures.

    Args:
        rate: frames per second of a folder of pictures.

    Raises:
        ClipError: the file does not exist, has no video in it, or is damaged; the folder has no pictures in it.
        PictureError: the folder's first picture is damaged.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path, rate or DEFAULT_FRAME_RATE)
    if not path.is_file():
        raise ClipError(f"no such file: {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ClipError(f"{path} has no video in it, only sound")
            stream = container.streams.video[0]
            first = next(container.decode(stream), None)
            if first is None:
                raise ClipError(f"{path} has no frame that can be read")
            return _metadata(path, container, stream, first)
    except av.error.FFmpegError as error:
        raise ClipError(f"cannot read {path}: not a clip, or damaged ({error.strerror})") from error


def _metadata(path: Path, container: Any, stream: Any, first: Any) -> Clip:
    context, sideways = stream.codec_context, _quarter_turns(first) % 2
    rate = Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_FRAME_RATE)
    seconds = stream.duration * stream.time_base if stream.duration else Fraction(container.duration or 0, av.time_base)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return Clip(
        path,
        (first.width, first.height) if sideways else (first.height, first.width),
        stream.frames or round(seconds * rate),
        Fraction(stream.time_base),
        rate,
        1 / aspect if sideways else aspect,
        (int(context.colorspace), int(context.color_primaries), int(context.color_trc), int(context.color_range)),
        tuple(track.codec_context.name for track in container.streams.audio),
    )


def _open_folder(path: Path, rate: Fraction) -> Clip:
    files = pictures_in(path)
    warn_of(sorted_out(path.iterdir(), path)[1], path)
    return Clip(path, images.read(files[0]).size, len(files), 1 / rate, rate)


def pictures_in(folder: Path) -> list[Path]:
    """A folder's pictures, sorted by the numbers in their names.

    Raises:
        ClipError: the folder has none.
    """
    files, _ = sorted_out(folder.iterdir(), folder)
    if not files:
        raise ClipError(f"no pictures in {folder}")
    return sorted(files, key=lambda path: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", path.name)])


def frames(clip: Clip) -> Iterator[Frame]:
    """Decode a clip, frame by frame. Damage is logged: broken frames are skipped, an unreadable rest is left out."""
    if clip.path.is_dir():
        for index, path in enumerate(pictures_in(clip.path)):
            yield Frame(images.read(path).rgb, index, 1)
        return
    count, last = 0, None
    try:
        with av.open(str(clip.path)) as container:
            for frame in _decode(container, clip.path):
                rgb = np.rot90(_rgb(frame), _quarter_turns(frame))
                pts = frame.pts if frame.pts is not None else (-1 if last is None else last) + 1
                if last is not None and pts <= last:
                    log.warning("%s: skipped a frame that is out of order", clip.path)
                    continue
                image = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).float() / 255
                last, count = pts, count + 1
                yield Frame(image, pts, frame.duration or 0)
    except av.error.FFmpegError as error:
        log.warning("%s is damaged after frame %d (%s); the rest is left out", clip.path, count, error.strerror)
    if clip.frames - count > max(2, clip.frames // 50):
        log.warning("%s has %d of the %d frames that it declares; it may be truncated", clip.path, count, clip.frames)


def _decode(container: Any, path: Path) -> Iterator[Any]:
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            log.warning("%s is damaged at %.2f s; skipped what cannot be decoded", path, packet.time or 0.0)


def _quarter_turns(frame: Any) -> int:
    """By how many right angles a player rotates the frame counterclockwise."""
    return round(frame.rotation / 90) % 4


def _rgb(frame: Any) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rgb: np.ndarray[Any, np.dtype[np.uint8]] = frame.to_ndarray(format="rgb24")
    return rgb


# -- writing -------------------------------------------------------------------------------------------------


def check_output(path: Path) -> None:
    """Check, before long work, that a clip can be written to `path`.

    Raises:
        ValueError: the suffix names no supported format.
        ClipError: the folder does not exist, or may not be written to.
    """
    if path.suffix and path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"cannot write {path.name!r}: its suffix must be one of {', '.join(FORMATS)}, or none for a folder of "
            "pictures"
        )
    if path.suffix:
        check_writable(path, ClipError)


def write(path: Path, pictures: Iterable[tuple[Path, int, int]], clip: Clip, crf: int = 18) -> None:
    """Write a video file, whole or not at all, or a folder of PNG files.

    Args:
        path: its suffix names the format; without one it is a folder.
        pictures: (file, time, duration) of each frame, in units of the clip's time base.
        clip: the source, whose frame rate, pixel aspect, colour tags and sound are kept.
        crf: constant rate factor of the encoder; 0 is the best quality.

    Raises:
        ClipError: the file cannot be written, for example because the disk is full.
        PictureError: a PNG file of a folder cannot be written.
    """
    if not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        for number, (file, _, _) in enumerate(pictures, start=1):
            images.write(path / f"{number:06}.png", images.read(file))
        return
    try:
        with atomic_write(path, ClipError) as draft:
            (_write_gif if path.suffix.lower() == ".gif" else _write)(draft, list(pictures), clip, crf)
    except av.error.FFmpegError as error:
        raise ClipError(f"cannot write {path}: {error.strerror}") from error


def _write(path: Path, pictures: list[tuple[Path, int, int]], clip: Clip, crf: int) -> None:
    with Writer(path, clip, images.size_of(pictures[0][0]), crf) as writer:
        for file, time, duration in pictures:
            writer.add(images.read(file), time, duration)


class Writer:
    """Writes a video file frame by frame; see `write`. A context manager: the file is complete when it exits."""

    def __init__(self, path: Path, clip: Clip, size: tuple[int, int], crf: int) -> None:
        codec, audio_codecs = FORMATS[path.suffix.lower()]
        height, width = size
        even = height % 2 == 0 and width % 2 == 0
        if not even and codec == "libx264":
            log.warning("%d×%d px has odd sides: written as yuv444p, which not every player supports", width, height)
        self._clip, self._last = clip, (0, 0)
        self._out: Any = av.open(str(path), "w")
        stream: Any = self._out.add_stream(codec, rate=clip.rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if even or codec != "libx264" else "yuv444p"
        self._stream, context = stream, stream.codec_context
        context.time_base = clip.time_base
        context.sample_aspect_ratio = clip.aspect
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = clip.colors
        context.options = {"crf": str(crf), **({"b": "0"} if codec == "libvpx-vp9" else {"preset": "medium"})}
        self._audio = _AudioCopier(self._out, clip, audio_codecs)

    def __enter__(self) -> Writer:
        return self

    def add(self, picture: images.Picture, time: int, duration: int = 0) -> None:
        """Append a frame; `time` and `duration` are in units of the clip's time base."""
        rgb = np.asarray(picture.to_pil().convert("RGB"))
        matrix, _, _, span = self._clip.colors
        frame: Any = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
            format=self._stream.pix_fmt, **_matrix(matrix, span)
        )
        frame.pts, frame.time_base = time, self._clip.time_base
        if duration:
            frame.duration = duration
        self._last = time, duration
        self._audio.copy_until(time * self._clip.time_base)
        self._out.mux(self._stream.encode(frame))

    def __exit__(self, *failure: object) -> None:
        try:
            if failure[0] is None:
                self._out.mux(self._stream.encode(None))
                time, duration = self._last
                base = self._clip.time_base
                self._audio.copy_until((time + (duration or 1 / (self._clip.rate * base))) * base)
                self._audio.close()
        finally:
            self._out.close()


def _matrix(matrix: int, span: int) -> dict[str, Any]:
    """PyAV's arguments to convert RGB by the source's colour matrix and range (`span`)."""
    names = {1: "ITU709", 5: "ITU624", 6: "SMPTE170M"}
    return {
        **({"dst_colorspace": names[matrix]} if matrix in names else {}),
        **({"dst_color_range": "JPEG"} if span == 2 else {}),
    }


class _AudioCopier:
    """Copies a clip's audio tracks packet by packet; those with a codec that `out` cannot hold become Opus."""

    def __init__(self, out: Any, clip: Clip, codecs: frozenset[str] | None) -> None:
        self._out, self._next = out, None
        self._streams: dict[int, tuple[Any, Any]] = {}
        self._packets: Iterator[Any] = iter(())
        if not clip.audio_codecs or clip.path.is_dir():
            return
        self._source: Any = av.open(str(clip.path))
        for track in self._source.streams.audio:
            name = track.codec_context.name
            if codecs is None or name in codecs:
                self._streams[track.index] = (out.add_stream_from_template(track), None)
            else:
                log.warning("this format cannot hold %s sound, which is re-encoded as Opus", name)
                encoder = out.add_stream("libopus", rate=48000)
                self._streams[track.index] = (encoder, av.AudioResampler(format="s16", layout="stereo", rate=48000))
        self._packets = self._source.demux(*self._source.streams.audio)

    def copy_until(self, seconds: Fraction | float) -> None:
        """Write the packets up to this time."""
        while True:
            packet = self._next or next(self._packets, None)
            self._next = None
            if packet is None:
                return
            if packet.dts is None:  # the end of a stream
                continue
            if packet.pts is not None and packet.pts * packet.time_base >= seconds:
                self._next = packet
                return
            stream, resampler = self._streams[packet.stream.index]
            if resampler is None:
                packet.stream = stream
                self._out.mux(packet)
            else:
                for frame in packet.decode():
                    for part in resampler.resample(frame):
                        self._out.mux(stream.encode(part))

    def close(self) -> None:
        """Flush the encoders."""
        for stream, resampler in self._streams.values():
            if resampler is not None:
                self._out.mux(stream.encode(None))
        if hasattr(self, "_source"):
            self._source.close()


def _write_gif(path: Path, pictures: list[tuple[Path, int, int]], clip: Clip, crf: int) -> None:
    times = [time for _, time, _ in pictures]
    last_duration = pictures[-1][2] or 1 / (clip.rate * clip.time_base)
    ends = [*times[1:], times[-1] + last_duration]
    durations = [max(20, round(1000 * (end - time) * clip.time_base)) for time, end in zip(times, ends, strict=True)]
    shown = (images.read(file).to_pil().convert("RGB").quantize(256) for file, _, _ in pictures)
    first = next(shown)
    first.save(path, "GIF", save_all=True, append_images=shown, duration=durations, loop=0, disposal=1)
