"""Live: the newest frame is stylised, and the others are dropped."""

import threading

import pytest
import torch

from impasto import cli, images
from impasto.errors import ClipError
from impasto.settings.options import FastOptions
from impasto.video import clips
from impasto.video.live import LatestFrame, frames_of, live


def test_a_slow_reader_gets_the_newest_frame():
    more, read = threading.Event(), threading.Event()

    def source():
        for value in range(5):
            yield torch.full((3, 2, 2), float(value))
        read.set()
        more.wait(30)
        yield torch.full((3, 2, 2), 9.0)

    latest = LatestFrame(source())
    read.wait(30)
    assert latest.take()[0, 0, 0] == 4
    more.set()
    assert latest.take()[0, 0, 0] == 9
    assert latest.take() is None
    assert latest.frames_read == 6


def test_a_source_that_fails_or_is_silent():
    def fails():
        yield torch.zeros(3, 2, 2)
        raise ClipError("the cable is out")

    latest = LatestFrame(fails())
    with pytest.raises(ClipError, match="cable"):
        list(iter(latest.take, None))
    silent = threading.Event()

    def waits():
        silent.wait(30)
        yield torch.zeros(3, 2, 2)

    with pytest.raises(ClipError, match="no frame came"):
        LatestFrame(waits()).take(0.05)
    silent.set()


def test_frames_are_painted(make_scene):
    step = threading.Semaphore(1)

    def source():  # the next frame only when the one before is painted
        for frame in make_scene(3):
            step.acquire()
            yield torch.from_numpy(frame).permute(2, 0, 1).float() / 255

    frames = []
    for frame in live(source(), "mosaic", FastOptions(size=64)):
        frames.append(frame)
        step.release()
    assert [frame.painted for frame in frames] == [1, 2, 3]
    assert frames[-1].dropped == 0
    assert frames[-1].picture.shape == (43, 64)


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(ClipError, match="a camera is given by its number"):
        frames_of(str(tmp_path / "none.mp4"))
    with pytest.raises(ClipError, match="camera 97 gives no frames"):
        next(frames_of("97"))
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(ClipError, match="cannot read"):
        next(frames_of(str(tmp_path / "a.mp4")))


def test_recorded(moving, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["live", str(moving), "mosaic", "-o", "out.mp4", "--no-window", "--size", "48", "-q"]) == 0
    found = list(clips.frames(clips.open_clip(tmp_path / "out.mp4")))
    assert 1 <= len(found) <= 6
    assert images.read(found[0].image).shape == (32, 48)
    assert cli.run(["live", str(moving), "mosaic", "-o", "b.mp4", "--no-window", "--size", "48", "--seconds", "0"]) == 0
    assert len(list(clips.frames(clips.open_clip(tmp_path / "b.mp4")))) == 1
    for wrong, said in (
        (["live", "0", "mosaic", "--no-window"], "nothing to see"),
        (["live", "0", "mosaic", "--no-window", "-o", "out.gif"], "expected a name such as clip.mp4"),
        (["live", "none.mp4", "mosaic", "--no-window", "-o", "out.mp4"], "no such file"),
    ):
        assert cli.run(wrong) == 2
        assert said in capsys.readouterr().err


def test_what_was_recorded_is_kept_when_the_camera_is_unplugged(moving, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def unplugged(*given):
        for number, frame in enumerate(live(str(moving), *given[1:])):
            yield frame
            if number == 0:
                raise ClipError("the camera gives no frames any more")

    monkeypatch.setattr("impasto.video.live.live", unplugged)
    assert cli.run(["live", "0", "mosaic", "-o", "out.mp4", "--no-window", "--size", "48", "-q"]) == 2
    assert "the camera gives no frames any more" in capsys.readouterr().err
    assert len(list(clips.frames(clips.open_clip(tmp_path / "out.mp4")))) == 1
