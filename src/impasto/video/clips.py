"""Reading and writing clips: video files through PyAV, and folders of pictures.

Frames are as a player shows them: upright, in sRGB, on white. Times are those of the file, from its start. What is
written is tagged as what it is, BT.709.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import av.format
import numpy as np
from av.stream import Disposition
from torch import Tensor

from impasto import images
from impasto.errors import ClipError, PictureError
from impasto.files import StrPath, atomic_write, check_writable
from impasto.inputs.read import sorted_out, warn_of
from impasto.video.pixels import BT709, FrameConverter, upright

log = logging.getLogger(__name__)

_PCM = {f"pcm_{kind}" for kind in ("s16le", "s16be", "s24le", "s24be", "s32le", "s32be", "f32le", "f32be")}
#: Suffix -> (video encoder, audio codecs that the container can hold, None for what FFmpeg says; encoder for others).
FORMATS: dict[str, tuple[str, set[str] | None, str]] = {
    ".mp4": ("libx264", {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"}, "libopus"),
    ".m4v": ("libx264", {"aac", "mp3", "ac3", "eac3", "alac"}, "aac"),
    ".mov": ("libx264", {"aac", "mp3", "ac3", "eac3", "alac", *_PCM}, "aac"),
    ".mkv": ("libx264", None, "libopus"),
    ".webm": ("libvpx-vp9", {"opus", "vorbis"}, "libopus"),
    ".gif": ("gif", set(), ""),
}
#: Bytes at the beginning of a file that its clip is told from others by.
HASHED = 1 << 18
#: Frames a second where neither the file nor the caller says.
DEFAULT_FRAME_RATE = Fraction(25)
#: Seconds: timestamps that go back by more than the first, or forward by more than the second in a format of joined
#: streams such as MPEG-TS, begin anew.
BACKWARD, FORWARD = 0.25, 10.0


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
        colors: FFmpeg's numbers for the source's matrix, primaries, transfer and range; 2 for an unspecified one.
        audio_codecs: one for each audio track that can be decoded.
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
        time: in units of the clip's time base, from the start of the file's first track.
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
        with opened(path.absolute()) as container:
            stream = video_track(container, path)
            first = next(decode(stream, path), None)
            if first is None:
                raise ClipError(f"{path} has no frame that can be read")
            return _metadata(path, container, stream, first)
    except av.error.FFmpegError as error:
        raise ClipError(f"cannot read {path}: not a clip, or damaged ({error.strerror})") from error


def opened(path: StrPath) -> Any:
    """FFmpeg's container of an absolute path (it takes "12:30.mp4" for an address), or of an address; to be closed."""
    return av.open(os.fspath(path), metadata_errors="replace")  # tags may be in any encoding


def video_track(container: Any, path: StrPath) -> Any:
    """The default video track, or else the first; a cover is none."""
    still = Disposition.attached_pic | Disposition.timed_thumbnails
    tracks = [track for track in container.streams.video if not track.disposition & still]
    if not tracks:
        raise ClipError(f"{path} has no moving pictures in it" + (", only sound" if container.streams.audio else ""))
    track = next((track for track in tracks if track.disposition & Disposition.default), tracks[0])
    if track.codec_context is None:
        raise ClipError(f"cannot read {path}: FFmpeg has no decoder for its video; convert it to H.264 first")
    return track


def _is_joined(container: Any) -> bool:
    """Whether timestamps of this format may jump, as in joined recordings of MPEG-TS."""
    return bool(container.format.flags & av.format.Flags.ts_discont.value)


def _audio_tracks(container: Any) -> list[Any]:
    """Those with a decoder."""
    return [track for track in container.streams.audio if track.codec_context is not None]


def _codec(track: Any) -> str:
    name: str = track.codec_context.codec.canonical_name
    return name


def _metadata(path: Path, container: Any, stream: Any, first: Any) -> Clip:
    context, size = stream.codec_context, upright(np.empty((first.height, first.width), bool), first).shape
    rate = Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_FRAME_RATE)
    seconds = stream.duration * stream.time_base if stream.duration else Fraction(container.duration or 0, av.time_base)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    frames = stream.frames or round(seconds * rate)
    if _is_joined(container) and frames * 188 > path.stat().st_size:  # more than packets: by timestamps that jump
        frames = 0
    sounds = _audio_tracks(container)
    if missing := len(container.streams.audio) - len(sounds):
        log.warning("%s: FFmpeg has no decoder for %d of its sound tracks, left out", path, missing)
    return Clip(
        path,
        (size[0], size[1]),
        frames,
        Fraction(stream.time_base),
        rate,
        aspect if size == (first.height, first.width) else 1 / aspect,
        (int(context.colorspace), int(context.color_primaries), int(context.color_trc), int(context.color_range)),
        tuple(_codec(track) for track in sounds),
    )


def _open_folder(path: Path, rate: Fraction) -> Clip:
    files = pictures_in(path)
    warn_of(sorted_out(path.iterdir(), path)[1], path)
    return Clip(path, images.read(files[0]).shape, len(files), 1 / rate, rate)


def pictures_in(folder: Path) -> list[Path]:
    """A folder's pictures, sorted by the numbers in their names.

    Raises:
        ClipError: the folder has none.
    """
    files, _ = sorted_out(folder.iterdir(), folder)
    if not files:
        raise ClipError(f"no pictures in {folder}")
    return sorted(files, key=lambda path: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", path.name)])


def digest(clip: Clip) -> str:
    """A hash, in hexadecimal digits, of the size and the first bytes of its file, or of each of its pictures."""
    found = hashlib.sha256()
    for path in pictures_in(clip.path) if clip.path.is_dir() else [clip.path]:
        found.update(f"{path.stat().st_size} ".encode())
        with open(path, "rb") as file:
            found.update(file.read(HASHED))
    return found.hexdigest()


def frames(clip: Clip) -> Iterator[Frame]:
    """Decode a clip, frame by frame. Damage is logged: broken frames are skipped, an unreadable rest is left out."""
    if clip.path.is_dir():
        for index, path in enumerate(pictures_in(clip.path)):
            try:
                picture = images.read(path)
            except PictureError as error:
                log.warning("%s; skipped", error)
                continue
            yield Frame(picture.on_white().rgb, index, 1)
        return
    count, convert = 0, FrameConverter(clip.path)
    try:
        with opened(clip.path.absolute()) as container:
            stream = video_track(container, clip.path)
            timeline = _Timeline(container, clip.time_base, 1 / clip.rate)
            is_avi = container.format.name == "avi"
            for frame in decode(stream, clip.path):
                # AVI has no presentation timestamps, and FFmpeg's guesses are out of order.
                time = timeline.next_time(frame.dts if is_avi else frame.pts, frame.duration)
                if time is None:
                    log.warning("%s: skipped a frame that is out of order", clip.path)
                    continue
                count += 1
                yield Frame(convert(frame), time, frame.duration or 0)
    except av.error.FFmpegError as error:
        log.warning("%s is damaged after frame %d (%s); the rest is left out", clip.path, count, error.strerror)
    if clip.frames - count > max(2, clip.frames // 50):
        log.warning("%s has %d of the %d frames that it declares; it may be truncated", clip.path, count, clip.frames)


def decode(stream: Any, path: StrPath) -> Iterator[Any]:
    """The frames of a video track; damaged ones are skipped, and logged."""
    decoder = stream.codec_context
    decoder.thread_type = "AUTO"
    # FFmpeg's own decoders of VP8 and VP9 ignore transparency.
    if "1" in (stream.metadata.get("alpha_mode"), stream.metadata.get("ALPHA_MODE")):
        decoder = av.CodecContext.create({"vp8": "libvpx", "vp9": "libvpx-vp9"}[_codec(stream)], "r")
    for packet in stream.container.demux(stream):
        try:
            yield from decoder.decode(packet if packet.size else None)
        except av.error.InvalidDataError:
            log.warning("%s is damaged at %.2f s; skipped what cannot be decoded", path, packet.time or 0.0)
        except av.error.EOFError:
            return


class _Timeline:
    """The timestamps of a track, from the file's start, increasing also where they begin anew in the file.

    Args:
        time_base: seconds per unit.
        step: seconds between timestamps where no duration is known.

    Attributes:
        offset: what is added to the file's timestamps now.
    """

    def __init__(self, container: Any, time_base: Fraction, step: Fraction) -> None:
        start = max(Fraction(0), Fraction(container.start_time or 0, av.time_base))
        self.offset, self._expected = -round(start / time_base), 0
        self._last: int | None = None
        self._backward, self._step = round(BACKWARD / time_base), max(1, round(step / time_base))
        self._forward = round(FORWARD / time_base) if _is_joined(container) else None

    def next_time(self, time: int | None, duration: int | None) -> int | None:
        """The continuous timestamp of one in the file; None if it does not come after the previous one."""
        shifted = self._expected if time is None else time + self.offset
        if self._last is not None:
            ahead = shifted - self._expected
            if ahead < -self._backward or (self._forward is not None and ahead > self._forward):
                self.offset, shifted = self.offset - ahead, self._expected
            if shifted <= self._last:
                return None
        self._last, self._expected = shifted, shifted + (duration or self._step)
        return shifted


# -- writing -------------------------------------------------------------------------------------------------


def check_output(path: Path) -> None:
    """Check, before long work, that a clip can be written to `path`.

    Raises:
        ValueError: the suffix names no supported format.
        ClipError: the folder does not exist, or may not be written to; or `path`, for a folder of pictures, is a file.
    """
    if path.suffix and path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"cannot write {path.name!r}: its suffix must be one of {', '.join(FORMATS)}, or none for a folder of "
            "pictures"
        )
    if path.suffix:
        check_writable(path, ClipError)
    elif path.exists() and not path.is_dir():
        raise ClipError(f"cannot write {path}: it is a file; a name without a suffix is a folder of pictures")


def write(
    path: Path, pictures: Iterable[tuple[Path, int, int]], clip: Clip, crf: int = 18, complete: bool = True
) -> None:
    """Write a video file, whole or not at all, or a folder of PNG files.

    Args:
        path: its suffix names the format; without one it is a folder.
        pictures: (file, time, duration) of each frame, in units of the clip's time base.
        clip: the source, whose frame rate, pixel aspect and sound are kept; formats without pixel aspect get square
            pixels.
        crf: constant rate factor of the encoder; 0 is the best quality.

    Raises:
        ClipError: the file cannot be written, for example because the disk is full.
        PictureError: a PNG file of a folder cannot be written.
    """
    if not path.suffix:
        path.mkdir(parents=True, exist_ok=True)
        number = 0
        for number, (file, _, _) in enumerate(pictures, start=1):
            images.write(path / f"{number:06}.png", _with_square_pixels(images.read(file), clip))
        while complete and (later := path / f"{number + 1:06}.png").exists():
            later.unlink()
            number += 1
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
        codec = FORMATS[path.suffix.lower()][0]
        height, width = size
        even = height % 2 == 0 and width % 2 == 0
        if not even and codec == "libx264":
            log.warning("%d×%d px has odd sides: written as yuv444p, which not every player supports", width, height)
        self._clip, self._last = clip, (0, 0)
        self._out: Any = av.open(str(path.absolute()), "w")
        stream: Any = self._out.add_stream(codec, rate=clip.rate)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p" if even or codec != "libx264" else "yuv444p"
        self._stream, context = stream, stream.codec_context
        context.time_base = clip.time_base
        context.sample_aspect_ratio = clip.aspect
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = 1  # limited
        context.options = {"crf": str(crf), **({"b": "0"} if codec == "libvpx-vp9" else {"preset": "medium"})}
        self._audio = _AudioCopier(self._out, clip, path.suffix.lower())

    def __enter__(self) -> Writer:
        return self

    def add(self, picture: images.Picture, time: int, duration: int = 0) -> None:
        """Append a frame; `time` and `duration` are in units of the clip's time base."""
        rgb = np.asarray(picture.on_white().to_pil())
        frame: Any = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(
            format=self._stream.pix_fmt, dst_colorspace="ITU709", dst_color_range="MPEG"
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


class _AudioCopier:
    """Copies a clip's audio tracks packet by packet; those with a codec that `out` cannot hold are re-encoded."""

    def __init__(self, out: Any, clip: Clip, suffix: str) -> None:
        self._out, self._clip = out, clip
        self._next: tuple[Any, Any] | None = None
        self._streams: dict[int, tuple[Any, _Resampler | None]] = {}
        self._packets: Iterator[tuple[Any, Any]] = iter(())
        if not clip.audio_codecs or clip.path.is_dir():
            return
        _, codecs, encoder = FORMATS[suffix]
        self._source: Any = opened(clip.path.absolute())
        for track in _audio_tracks(self._source):
            is_held = codecs is None or _codec(track) in codecs
            stream: Any
            resampler: _Resampler | None = None
            if is_held and track.codec_context.name in out.supported_codecs:
                stream = out.add_stream_from_template(track)
            else:
                shown = encoder.removeprefix("lib").capitalize() if encoder == "libopus" else encoder.upper()
                log.warning("%s cannot hold %s sound, which is re-encoded as %s", suffix, _codec(track), shown)
                stream = out.add_stream(encoder, rate=48000)
                resampler = _Resampler(stream.codec_context.format)
            if language := track.metadata.get("language"):
                stream.metadata["language"] = language
            self._streams[track.index] = stream, resampler
        self._packets = self._read()

    def _read(self) -> Iterator[tuple[Any, Any]]:
        """(packet, the seconds of its start), timestamps continuous from the clip's start; an unreadable rest is left
        out."""
        tracks = _audio_tracks(self._source)
        timelines = {
            track.index: _Timeline(self._source, track.time_base, 1024 / Fraction(track.rate or 48000))
            for track in tracks
        }
        try:
            for packet in self._source.demux(tracks):
                if packet.size == 0 or (packet.dts is None and packet.pts is None):  # the end of a stream
                    continue
                given = packet.pts if packet.dts is None else packet.dts
                time = timelines[packet.stream.index].next_time(given, packet.duration)
                if time is None:
                    continue
                packet.pts, packet.dts = time + (0 if packet.pts is None else packet.pts - given), time
                yield packet, packet.pts * packet.time_base
        except av.error.FFmpegError as error:
            log.warning("the sound of %s is damaged (%s); the rest is left out", self._clip.path, error.strerror)

    def copy_until(self, seconds: Fraction | float) -> None:
        """Write the packets up to this time."""
        while (following := self._next or next(self._packets, None)) is not None:
            packet, start = self._next = following
            if start >= seconds:
                return
            self._next = None
            stream, resampler = self._streams[packet.stream.index]
            if resampler is None:
                packet.stream = stream
                self._out.mux(packet)
                continue
            try:
                sounds = packet.decode()
            except av.error.InvalidDataError:
                log.warning("the sound of %s is damaged at %.2f s; skipped", self._clip.path, float(start))
                continue
            for sound in sounds:
                for part in resampler(sound):
                    self._out.mux(stream.encode(part))

    def close(self) -> None:
        """Flush the encoders."""
        for stream, resampler in self._streams.values():
            if resampler is not None:
                for part in resampler(None):
                    self._out.mux(stream.encode(part))
                self._out.mux(stream.encode(None))
        if hasattr(self, "_source"):
            self._source.close()


class _Resampler:
    """Converts decoded sound for an encoder: to stereo at 48 kHz, also where the source changes in the middle."""

    def __init__(self, sample_format: Any) -> None:
        self._format = sample_format
        self._given: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def __call__(self, sound: Any) -> list[Any]:
        """What a frame of sound gives; None, after the last, gives the rest."""
        given = None if sound is None else (sound.format.name, sound.layout.name, sound.sample_rate)
        converted = []
        if given != self._given and self._resampler is not None:
            converted = self._resampler.resample(None)
        if given != self._given:
            self._given, self._resampler = given, av.AudioResampler(self._format, layout="stereo", rate=48000)
        return converted + (self._resampler.resample(sound) if sound is not None else [])


def _with_square_pixels(picture: images.Picture, clip: Clip) -> images.Picture:
    height, width = picture.shape
    return picture.resized(height, max(1, round(width * clip.aspect)))


def _write_gif(path: Path, pictures: list[tuple[Path, int, int]], clip: Clip, crf: int) -> None:
    times = [time for _, time, _ in pictures]
    last_duration = pictures[-1][2] or 1 / (clip.rate * clip.time_base)
    ends = [*times[1:], times[-1] + last_duration]
    durations: list[int] = []  # milliseconds, of whole hundredths of a second
    end = round(100 * times[0] * clip.time_base)
    for time in ends:
        start, end = end, max(end + 2, round(100 * time * clip.time_base))
        durations.append(10 * (end - start))
    shown = (
        _with_square_pixels(images.read(file), clip).to_pil().convert("RGB").quantize(256) for file, _, _ in pictures
    )
    first = next(shown)
    first.save(path, "GIF", save_all=True, append_images=shown, duration=durations, loop=0, disposal=1)
