"""Sounds in files: what goes in comes out, and what is no sound is said to be none."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
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


@pytest.mark.parametrize("form", ["WAV", "AIFF", "AU", "CAF", "FLAC", "W64"])
def test_samples_are_scaled_by_the_range_of_their_type(tmp_path, form):
    samples = 0.5 * np.sin(np.arange(8000) / 5)
    for subtype in soundfile.available_subtypes(form):
        if not soundfile.check_format(form, subtype) or "DWVW" in subtype:  # which libsndfile cannot seek in
            continue
        try:
            soundfile.write(tmp_path / "a", samples, 8000, subtype, format=form)
        except soundfile.LibsndfileError:  # not at this rate, or not written at all
            continue
        assert sounds.read(tmp_path / "a").level == pytest.approx(0.5 / 2**0.5, rel=0.15), subtype


def encoded(path, samples, codec, layout, rate=48000):
    """Sound `(c, t)` in a file, by FFmpeg."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        size = stream.codec_context.frame_size or 1024
        resampler = av.AudioResampler(stream.codec_context.format, layout, rate)
        for start in range(0, samples.shape[1], size):
            part = np.ascontiguousarray(samples[:, start : start + size])
            frame = av.AudioFrame.from_ndarray(part, "fltp", layout)
            frame.sample_rate, frame.pts = rate, start
            for converted in resampler.resample(frame):
                out.mux(stream.encode(converted))
        out.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("suffix", "codec", "layout", "channels"),
    [
        (".m4a", "aac", "stereo", 2),
        (".m4a", "alac", "mono", 1),
        (".aac", "aac", "5.1", 6),
        (".mp4", "aac", "mono", 1),
        (".webm", "libopus", "stereo", 2),
        (".mkv", "pcm_s24le", "stereo", 2),
        (".mov", "pcm_s32le", "stereo", 2),
        (".avi", "pcm_u8", "mono", 1),
        (".mkv", "pcm_f64le", "mono", 1),
    ],
)
def test_what_libsndfile_does_not_know_is_read_by_ffmpeg(tmp_path, suffix, codec, layout, channels):
    samples = np.repeat(0.5 * np.sin(2 * np.pi * 440 * np.arange(24000) / 48000)[None], channels, 0).astype(np.float32)
    sound = sounds.read(encoded(tmp_path / f"a{suffix}", samples, codec, layout))
    assert (sound.samples.shape[0], sound.samples.dtype, sound.rate) == (channels, torch.float32, 48000)
    assert sound.seconds == pytest.approx(0.5, abs=0.05)
    assert sound.samples[0, 4000:20000].square().mean().sqrt().item() == pytest.approx(0.5 / 2**0.5, rel=0.03)


def test_layout_and_rate_may_change_within_a_file(tmp_path):
    """As in joined recordings: those that it begins with remain, and so does the pitch."""
    parts = []
    for layout, rate in (("mono", 48000), ("stereo", 48000), ("stereo", 24000), ("mono", 48000)):
        tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)).astype(np.float32)
        samples = tone[None].repeat(2 if layout == "stereo" else 1, 0)
        parts.append(encoded(tmp_path / "part.aac", samples, "aac", layout, rate).read_bytes())
    (tmp_path / "a.aac").write_bytes(b"".join(parts))
    sound = sounds.read(tmp_path / "a.aac")
    assert (sound.samples.shape[0], sound.rate) == (1, 48000)
    assert sound.seconds == pytest.approx(2, abs=0.2)
    for start in (0.15, 0.65, 1.2, 1.75):
        piece = sound.samples[0, round(48000 * start) :][:9600].numpy()
        assert np.abs(np.fft.rfft(piece)).argmax() * 5 == pytest.approx(440, abs=5)
        assert 0.4 < np.abs(piece).max() < 0.8


def test_flac_of_unknown_length(make_tune, tmp_path, monkeypatch):
    """As programs write it that do not know how long a stream will be."""
    pytest.importorskip("av")
    given = make_tune(0.5, 44100, 2)
    sounds.write(tmp_path / "a.flac", given)
    stored = bytearray((tmp_path / "a.flac").read_bytes())
    stored[21:26] = bytes([stored[21] & 0xF0, 0, 0, 0, 0])  # the number of samples, 36 bits
    (tmp_path / "b.flac").write_bytes(stored)
    assert torch.equal(sounds.read(tmp_path / "b.flac").samples, sounds.read(tmp_path / "a.flac").samples)
    monkeypatch.setattr(sounds, "find_spec", lambda name: None)
    with pytest.raises(SoundError, match=r"does not say how long it is.* pip install"):
        sounds.read(tmp_path / "b.flac")


def test_what_to_install_is_said(tmp_path, monkeypatch):
    encoded(tmp_path / "a.m4a", np.full((1, 4800), 0.1, np.float32), "aac", "mono")
    monkeypatch.setattr(sounds, "find_spec", lambda name: None)
    with pytest.raises(SoundError, match='pip install "av>=17" "opencv-python-headless'):
        sounds.read(tmp_path / "a.m4a")


def test_a_truncated_file_gives_what_it_has(tmp_path, caplog):
    samples = (0.3 * np.sin(np.arange(96000) / 9)[None]).astype(np.float32)
    whole = encoded(tmp_path / "a.mka", samples, "aac", "mono").read_bytes()
    (tmp_path / "cut.mka").write_bytes(whole[: len(whole) // 2])
    assert 0.2 < sounds.read(tmp_path / "cut.mka").seconds < 1.8


def test_a_clip_without_sound_is_no_sound(tmp_path):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        out.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
        out.mux(stream.encode(None))
    with pytest.raises(SoundError, match="there is no sound in it"):
        sounds.read(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", [b"\xff\xe9", "Ünïcödé ☃".encode(), b"12:30", b"-x", b"file:x"])
def test_any_file_name(make_tune, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = make_tune(0.5, 48000, 1)
    wav, m4a = (Path(os.fsdecode(name + suffix)) for suffix in (b".wav", b".m4a"))
    try:
        sounds.write(wav, given)
    except SoundError:
        pytest.skip("this file system has no such names")
    assert sounds.read(wav).level == pytest.approx(given.level, rel=1e-3)
    os.replace(encoded(tmp_path / "a.m4a", given.samples.numpy(), "aac", "mono"), m4a)
    assert sounds.read(m4a).level == pytest.approx(given.level, rel=0.05)


def test_more_channels_than_a_format_holds(tmp_path):
    many = Sound(torch.full((9, 4800), 0.1), 48000)
    sounds.write(tmp_path / "a.wav", many)
    assert sounds.read(tmp_path / "a.wav").samples.shape == (9, 4800)
    for suffix in (".mp3", ".flac"):
        with pytest.raises(SoundError, match="9 channels at 48000 Hz"):
            sounds.write(tmp_path / f"a{suffix}", many)
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


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
