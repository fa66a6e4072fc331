"""Sounds in files: what goes in comes out, and what is no sound is said to be none."""

import struct

import numpy as np
import pytest
import torch

from impasto.audio import sounds
from impasto.audio.sounds import Sound
from impasto.errors import SoundError


@pytest.mark.parametrize(
    ("suffix", "bits", "error"),
    [(".wav", 16, 1e-4), (".wav", 24, 1e-6), (".wav", 32, 1e-7), (".flac", 16, 1e-4), (".flac", 24, 1e-6)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_lossless_files_keep_the_samples(make_tune, tmp_path, suffix, bits, error, channels):
    given = make_tune(0.5, 44100, channels)
    sounds.write(tmp_path / f"a{suffix}", given, bits)
    back = sounds.read(tmp_path / f"a{suffix}")
    assert back.rate == 44100
    assert (back.samples - given.samples).abs().max() < error


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_lossy_files_keep_length_and_level(make_tune, tmp_path, suffix):
    given = make_tune(1.0, 44100, 2)
    sounds.write(tmp_path / f"a{suffix}", given)
    back = sounds.read(tmp_path / f"a{suffix}")
    assert back.samples.shape[0] == 2
    assert abs(back.seconds - 1) < 0.1
    assert back.level == pytest.approx(given.level, rel=0.1)


def test_other_rates_keep_pitch_and_length(make_tune):
    given = make_tune(1.0, 44100)
    moved = given.at(22050)
    assert (moved.rate, moved.samples.shape[1]) == (22050, 22050)
    peaks = [np.abs(np.fft.rfft(s.samples[0, : s.rate // 4].numpy())).argmax() * 4 for s in (given, moved)]
    assert abs(peaks[0] - peaks[1]) <= 4


def test_what_is_beyond_a_rate_is_filtered_out():
    time = torch.arange(44100) / 44100
    high = Sound(0.5 * torch.sin(2 * torch.pi * 15000 * time)[None], 44100)
    assert high.at(22050).level < 0.02


class TestBadFiles:
    def test_missing(self, tmp_path):
        with pytest.raises(SoundError, match="no such file"):
            sounds.read(tmp_path / "a.wav")

    @pytest.mark.parametrize("content", [b"", b"no sound" * 50, b"RIFF\x00\x00\x00\x00WAVE"])
    def test_no_sound(self, tmp_path, content):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(SoundError, match="cannot read|no samples"):
            sounds.read(tmp_path / "a.wav")

    def test_a_day_long_header_on_an_empty_file(self, tmp_path):
        size = 24 * 3600 * 44100 * 2 % 2**32
        header = b"RIFF" + struct.pack("<I", min(size + 36, 2**32 - 1)) + b"WAVEfmt "
        header += (
            struct.pack("<IHHIIHH", 16, 1, 1, 11025, 22050, 2, 16) + b"data" + struct.pack("<I", 24 * 3600 * 22050)
        )
        (tmp_path / "a.wav").write_bytes(header)
        with pytest.raises(SoundError, match="hours|damaged|no samples|cannot read"):
            sounds.read(tmp_path / "a.wav")

    def test_silence_and_no_numbers(self):
        with pytest.raises(SoundError, match="silent"):
            sounds.read(Sound(torch.zeros(1, 4000), 8000))
        with pytest.raises(SoundError, match="not finite"):
            sounds.read(Sound(torch.full((1, 4000), torch.nan), 8000))
        with pytest.raises(SoundError, match="no samples"):
            sounds.read(Sound(torch.zeros(1, 0), 8000))

    def test_a_picture(self, tmp_path, photo):
        import PIL.Image

        PIL.Image.fromarray(photo).save(tmp_path / "a.png")
        with pytest.raises(SoundError, match="not a sound that is known"):
            sounds.read(tmp_path / "a.png")


def test_places_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match="its suffix must be one of .wav"):
        sounds.check_output(tmp_path / "a.aac")
    with pytest.raises(ValueError, match="bits is 32; .flac holds 16, 24"):
        sounds.check_output(tmp_path / "a.flac", 32)
    with pytest.raises(SoundError, match="no folder"):
        sounds.check_output(tmp_path / "no" / "a.wav")
