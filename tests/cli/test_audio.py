"""`impasto audio`, and `impasto texture` of a sound."""

import pytest
from making_sounds import SMALL_ENCODERS, clicks, tune

from impasto import audio
from impasto.audio import encoder, sounds


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    for name, rows in SMALL_ENCODERS.items():
        monkeypatch.setitem(encoder.ENCODERS, name, rows)
    monkeypatch.chdir(tmp_path)
    sounds.write(tmp_path / "tune.wav", tune())
    sounds.write(tmp_path / "clicks.flac", clicks())


def test_audio(run):
    small = ["--sample-rate", "8000", "--iterations", "3"]
    code, out, _ = run("audio", "tune.wav", "clicks.flac", "-o", "out.wav", "--bits", "24", "--plot", "p.png", *small)
    assert code == 0
    assert "out.wav  2.0 s at 8000 Hz, " in out
    assert audio.read("out.wav").samples.shape == (1, 16000)


def test_texture(run):
    assert run("texture", "clicks.flac", "-o", "out.ogg", "--seconds", "1.5", "--iterations", "2")[0] == 0
    assert audio.read("out.ogg").seconds == pytest.approx(1.5, abs=0.01)
    code, _, err = run("texture", "clicks.flac", "-o", "out.ogg", "--seamless")
    assert code == 2
    assert "--seamless is for textures of pictures" in err
    assert run("texture", "mosaic", "-o", "out.png", "--seconds", "3")[0] == 2


def test_mistakes(run):
    for arguments, message in (
        (["none.wav", "clicks.flac", "-o", "out.wav"], "no such file"),
        (["tune.wav", "clicks.flac", "-o", "out.png"], "suffix"),
        (["tune.wav", "clicks.flac", "-o", "tune.wav"], "another name"),
        (["tune.wav", "clicks.flac", "-o", "out.wav", "--encoder", "deep"], "encoder"),
        (
            ["tune.wav", "clicks.flac", "-o", "out.mp3", "--strength", "0", "--content-weight", "0"],
            "weights of both content and style are 0",
        ),
    ):
        code, _, err = run("audio", *arguments)
        assert code == 2
        assert message in err
