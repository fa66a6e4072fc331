"""Reading and writing sounds; no other module decodes or encodes sound files.

libsndfile reads and writes them; FFmpeg, where PyAV is installed, reads what libsndfile does not know.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile
import torch
from torch import Tensor

from impasto.devices import CPU_FLOAT
from impasto.errors import SoundError
from impasto.extras import install_command
from impasto.files import StrPath, atomic_write, check_writable

log = logging.getLogger(__name__)

#: Suffix -> (format, what it is written in by bits per sample; 0 for what has none).
FORMATS: dict[str, tuple[str, dict[int, str]]] = {
    ".wav": ("WAV", {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}),
    ".flac": ("FLAC", {16: "PCM_16", 24: "PCM_24"}),
    ".ogg": ("OGG", {0: "VORBIS"}),
    ".mp3": ("MP3", {0: "MPEG_LAYER_III"}),
}
#: What of a file is read at most, in seconds: more is refused before it is decoded.
LONGEST = 6 * 3600
#: From so many samples on, libsndfile means that the file does not say how many it has, as streamed FLAC does not.
UNKNOWN_LENGTH = 1 << 62


@dataclass(frozen=True, eq=False)
class Sound:
    """A sound.

    Attributes:
        samples: `(channels, t)`, float32, mostly in [-1, 1].
        rate: samples a second.
    """

    samples: Tensor
    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.samples.shape[1] / self.rate

    @property
    def level(self) -> float:
        """Root mean square of its samples."""
        return self.samples.square().mean().sqrt().item()

    def save(self, path: StrPath, bits: int = 16) -> None:
        """Write a file, whole or not at all; see `write`.

        Raises:
            ValueError: an unknown format.
            SoundError: a file that cannot be written.
        """
        write(path, self, bits)

    def at(self, rate: int) -> Sound:
        """The same sound at another rate, what that cannot hold filtered out before."""
        if rate == self.rate:
            return self
        ratio = Fraction(rate, self.rate)
        moved = scipy.signal.resample_poly(self.samples.numpy(), ratio.numerator, ratio.denominator, axis=1)
        return Sound(torch.from_numpy(np.ascontiguousarray(moved, np.float32)), rate)


def read(given: StrPath | Sound, what: str = "the sound") -> Sound:
    """A sound from a file: what libsndfile knows (WAV, FLAC, OGG, MP3, …), and with PyAV what FFmpeg knows (M4A, …).

    Integers are scaled by the range of their type. Of several tracks the default one is read, or else the first.

    Raises:
        SoundError: a file that is missing, damaged, too long or no sound; silence; samples that are no numbers.
    """
    sound = given if isinstance(given, Sound) else _from_file(Path(given))
    if sound.samples.numel() == 0:
        raise SoundError(f"{what} has no samples in it")
    if not torch.isfinite(sound.samples).all():
        raise SoundError(f"{what} has samples that are not finite (NaN or infinity); mend them first")
    if sound.level < 1e-6:
        raise SoundError(f"{what} is silent: there is nothing to go by")
    return sound


def _from_file(path: Path) -> Sound:
    if not path.is_file():
        raise SoundError(f"no such file: {path}")
    try:
        with soundfile.SoundFile(_name(path)) as file:
            if file.frames < UNKNOWN_LENGTH:
                return _from_libsndfile(path, file)
            if find_spec("av") is None:
                raise SoundError(
                    f"cannot read {path}: it does not say how long it is, and is read with PyAV only; "
                    f"{install_command('video')}, or convert it to .wav"
                )
    except OSError as error:
        raise SoundError(f"cannot read {path}: {error.strerror}") from error
    except MemoryError as error:
        raise SoundError(f"cannot read {path}: it does not fit in memory") from error
    except (soundfile.SoundFileError, RuntimeError) as error:
        if find_spec("av") is None:
            reason = str(error).rpartition(": ")[2]
            raise SoundError(
                f"cannot read {path}: not a sound that is known here, or damaged ({reason}); for .m4a and other "
                f"formats, and the sound of clips: {install_command('video')}"
            ) from error
    return _from_ffmpeg(path)


def _from_libsndfile(path: Path, file: soundfile.SoundFile) -> Sound:
    declared = file.frames / file.samplerate
    _check_length(path, declared)
    samples = file.read(file.frames, dtype="float32", always_2d=True)
    if len(samples) < file.frames // 2:
        raise SoundError(
            f"{path} is damaged: it says that it lasts {declared:.1f} s, and has {len(samples) / file.samplerate:.1f}"
        )
    return Sound(torch.from_numpy(np.ascontiguousarray(samples.T)), file.samplerate)


def _name(path: Path) -> str | bytes:
    """As soundfile takes it: names on POSIX are bytes, not always UTF-8."""
    return os.fsencode(path) if os.name == "posix" else str(path)


def _check_length(path: Path, seconds: float) -> None:
    if seconds > LONGEST:
        raise SoundError(f"{path} lasts {seconds / 3600:.1f} hours; at most 6 are read")


def _from_ffmpeg(path: Path) -> Sound:
    """What can be decoded, in the layout and at the rate that it begins with; damage is logged."""
    import av
    import av.error
    from av.stream import Disposition

    parts: list[np.ndarray[Any, Any]] = []
    layout: Any = None
    rate = 0
    given: tuple[str, str, int] | None = None
    damage: av.error.FFmpegError | None = None
    try:
        # An absolute path, since FFmpeg takes "12:30.m4a" for an address. Tags may be in any encoding.
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            tracks = [track for track in container.streams.audio if track.codec_context is not None]
            if not tracks:
                missing = "FFmpeg has no decoder for it" if container.streams.audio else "there is no sound in it"
                raise SoundError(f"cannot read {path}: not a sound that is known here ({missing})")
            track = next((track for track in tracks if track.disposition & Disposition.default), tracks[0])
            _check_length(path, (container.duration or 0) / av.time_base)
            resampler, seconds = av.AudioResampler("fltp"), 0.0
            for packet in container.demux(track):
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError as error:
                    damage = error
                    continue
                for frame in frames:
                    before, given = given, (frame.format.name, frame.layout.name, frame.sample_rate)
                    if given != before:
                        parts += [part.to_ndarray() for part in resampler.resample(None)]
                        layout, rate = layout or frame.layout, rate or frame.sample_rate
                        resampler = av.AudioResampler("fltp", layout, rate)
                    parts += [part.to_ndarray() for part in resampler.resample(frame)]
                    seconds += frame.samples / frame.sample_rate
                    _check_length(path, seconds)
            parts += [part.to_ndarray() for part in resampler.resample(None)]
    except av.error.FFmpegError as error:
        damage = error
    if not parts and damage is not None:
        raise SoundError(
            f"cannot read {path}: not a sound that is known here, or damaged ({damage.strerror})"
        ) from damage
    if damage is not None:
        log.warning("%s is damaged (%s); what cannot be decoded is left out", path, damage.strerror)
    return Sound(torch.from_numpy(np.concatenate(parts, 1)) if parts else torch.zeros(1, 0, **CPU_FLOAT), rate)


def check_output(path: Path, bits: int = 16) -> None:
    """Raise an error if no sound can be written there.

    Raises:
        ValueError: a suffix that names no format that we write, or a depth that it does not hold.
        SoundError: no such folder, or no permission.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"cannot write {path.name!r}: its suffix must be one of {', '.join(FORMATS)}")
    _, depths = FORMATS[path.suffix.lower()]
    if 0 not in depths and bits not in depths:
        raise ValueError(f"bits is {bits}; {path.suffix} holds {', '.join(map(str, depths))}")
    check_writable(path, SoundError)


def write(path: StrPath, sound: Sound, bits: int = 16, comment: str = "") -> None:
    """Write a sound: whole, or not at all. `comment` is kept in the file, where its format has a place for it.

    Raises:
        SoundError: the file cannot be written: the disk is full, or the format holds fewer channels.
    """
    path = Path(path)
    check_output(path, bits)
    kind, depths = FORMATS[path.suffix.lower()]
    samples = sound.samples.clamp(-1, 1).T.contiguous().cpu().numpy()
    channels = samples.shape[1]
    subtype = depths.get(0) or depths[bits]
    try:
        with (
            atomic_write(path, SoundError) as draft,
            soundfile.SoundFile(_name(draft), "w", sound.rate, channels, subtype, format=kind) as file,
        ):
            if comment:
                file.comment = comment
            file.write(samples)
    except (soundfile.SoundFileError, RuntimeError) as error:
        reason = str(error).rpartition(": ")[2]
        raise SoundError(
            f"cannot write {path}: {channels} channels at {sound.rate} Hz ({reason}); .wav holds any number and rate"
        ) from error
