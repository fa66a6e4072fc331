"""Sound in files: the only room that touches them. libsndfile reads and writes them."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
import torch
from torch import Tensor

from impasto.errors import SoundError
from impasto.files import StrPath, atomic_write, check_writable

#: Suffix -> (format, what it is written in by bits per sample; 0 for what has none).
FORMATS: dict[str, tuple[str, dict[int, str]]] = {
    ".wav": ("WAV", {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}),
    ".flac": ("FLAC", {16: "PCM_16", 24: "PCM_24"}),
    ".ogg": ("OGG", {0: "VORBIS"}),
    ".mp3": ("MP3", {0: "MPEG_LAYER_III"}),
}
#: What of a file is read at most, in seconds: more is refused before it is decoded.
LONGEST = 6 * 3600


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

    def at(self, rate: int) -> Sound:
        """The same sound at another rate, what that cannot hold filtered out before."""
        if rate == self.rate:
            return self
        ratio = Fraction(rate, self.rate)
        moved = scipy.signal.resample_poly(self.samples.numpy(), ratio.numerator, ratio.denominator, axis=1)
        return Sound(torch.from_numpy(np.ascontiguousarray(moved, np.float32)), rate)


def read(given: StrPath | Sound, what: str = "the sound") -> Sound:
    """A sound from a file: WAV, FLAC, OGG, MP3 or what else libsndfile knows.

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
        with soundfile.SoundFile(path) as file:
            claimed = file.frames / file.samplerate
            if claimed > LONGEST:
                raise SoundError(f"{path} says that it lasts {claimed / 3600:.1f} hours; at most 6 are read")
            samples = file.read(dtype="float32", always_2d=True)
            if len(samples) < file.frames // 2:
                raise SoundError(
                    f"{path} is damaged: it says that it lasts {claimed:.1f} s, and has "
                    f"{len(samples) / file.samplerate:.1f}"
                )
            return Sound(torch.from_numpy(np.ascontiguousarray(samples.T)), file.samplerate)
    except (soundfile.SoundFileError, RuntimeError, MemoryError) as error:
        reason = str(error).rpartition(": ")[2]
        raise SoundError(f"cannot read {path}: not a sound that is known here, or damaged ({reason})") from error


def check_output(path: Path, bits: int = 16) -> None:
    """Raise an error if no sound can be written there.

    Raises:
        ValueError: a suffix that names no format that we write, or a depth that it does not hold.
        PictureError: no such folder, or no permission.
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
        PictureError: what the system has against it, the disk full say.
    """
    path = Path(path)
    check_output(path, bits)
    kind, depths = FORMATS[path.suffix.lower()]
    samples = sound.samples.clamp(-1, 1).T.contiguous().cpu().numpy()
    channels = samples.shape[1]
    with (
        atomic_write(path, SoundError) as draft,
        soundfile.SoundFile(draft, "w", sound.rate, channels, depths.get(0) or depths[bits], format=kind) as file,
    ):
        if comment:
            file.comment = comment
        file.write(samples)
