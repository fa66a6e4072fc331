"""Stylised clips: steadier than frame by frame, divided at scene cuts, resumed at the last finished frame."""

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
import torch

from impasto import images, video
from impasto.errors import CheckpointError
from impasto.settings.options import VideoOptions
from impasto.video import clips, flow
from impasto.video.frame_store import frames_folder
from impasto.video.stylizer import PreviousFrame, temporal_loss

SMALL = {"size": 96, "scales": 1, "iterations": 12, "later": 6, "style_layers": "relu1_1,relu2_1,relu3_1"}


def pictures(path):
    return [frame.image for frame in clips.frames(clips.open_clip(path))]


def paint(clip, output, **changes):
    return list(video.iterate(clip, "mosaic", output, VideoOptions(**{**SMALL, **changes})))


def test_farther_frames_count_where_nearer_ones_do_not():
    still = np.zeros((4, 6, 2), np.float32)
    near, far = (PreviousFrame(n, torch.zeros(3, 4, 6), torch.full((3, 4, 6), v)) for n, v in ((2, 0.2), (1, 0.8)))
    reliable = torch.zeros(4, 6)
    reliable[:, :3] = 1
    loss = temporal_loss([(far, still, torch.ones(4, 6)), (near, still, reliable)], 5.0)
    assert torch.allclose(loss.image[0, :, :, :3], torch.tensor(0.2))
    assert torch.allclose(loss.image[0, :, :, 3:], torch.tensor(0.8))
    assert loss.trust.min() == 1
    assert temporal_loss([], 5.0) is None


def unsteadiness(frames, source):
    """Mean squared difference of each frame from the one before, warped along the source's flow, where reliable."""
    found = []
    for one, two, before, after in zip(frames, frames[1:], source, source[1:], strict=False):
        backward, forward = flow.estimate(after, before), flow.estimate(before, after)
        reliable = flow.reliability(backward, forward)
        error = (two - flow.warp(one, backward)).square().mean(0)
        found.append(((error * reliable).sum() / reliable.sum()).item())
    return sum(found) / len(found)


@pytest.mark.parametrize("fast", [False, True])
def test_is_steadier_than_frame_by_frame(make_scene, write_clip, tmp_path, fast):
    rng = np.random.default_rng(0)
    noisy = [np.clip(f + rng.normal(0, 6, f.shape), 0, 255).astype(np.uint8) for f in make_scene(4)]
    source = write_clip(tmp_path / "a.mp4", noisy)
    together = paint(source, tmp_path / "out.mp4", fast=fast)
    assert all(frame.scene == 1 for frame in together)
    apart = []
    for number, frame in enumerate(pictures(source)):
        alone = tmp_path / f"alone{number}"
        alone.mkdir()
        images.write(alone / "1.png", images.read(frame))
        apart += paint(alone, tmp_path / f"alone{number}.gif", fast=fast)
    ours, theirs = (unsteadiness([s.picture.rgb for s in frames], pictures(source)) for frames in (together, apart))
    assert ours < theirs / 3


def test_a_still_clip_does_not_drift(make_scene, write_clip, tmp_path):
    """Over 28 frames (with few layers and pixels): neither darker nor lighter, and always the same picture."""
    source = write_clip(tmp_path / "a.mp4", make_scene(1, 48, 64) * 28)
    tiny = {"size": 64, "style_layers": "relu1_1", "content_layers": "relu1_2", "later": 2, "iterations": 8}
    frames = paint(source, tmp_path / "out.mp4", **tiny)
    assert len(frames) == 28
    assert {frame.scene for frame in frames} == {1}
    light = [frame.picture.rgb.mean().item() for frame in frames]
    assert max(light) - min(light) < 0.02
    changes = [(b.picture.rgb - a.picture.rgb).abs().mean().item() for a, b in pairwise(frames)]
    assert max(changes[14:]) < 0.004
    assert (frames[-1].picture.rgb - frames[14].picture.rgb).abs().mean() < 0.03


def test_passes_alternate_in_direction(moving, tmp_path):
    frames = paint(moving, tmp_path / "out.mp4", passes=3, later=2, iterations=3, size=64)
    assert [frame.pass_number for frame in frames] == [1] * 6 + [2] * 6 + [3] * 6
    assert [frame.number for frame in frames] == [1, 2, 3, 4, 5, 6, 6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6]
    assert frames[-1].eta == 0
    first, last = ([frame.picture.rgb for frame in frames if frame.pass_number == number] for number in (1, 3))
    source = [images.resize(frame, 42, 64) for frame in pictures(moving)]
    assert unsteadiness(last, source) < 1.5 * unsteadiness(first, source) + 1e-4
    written = pictures(tmp_path / "out.mp4")
    assert (images.resize(written[3], 42, 64) - last[3]).abs().mean() < 0.02


def test_a_later_pass_is_resumed(moving, tmp_path):
    options = VideoOptions(**SMALL | {"passes": 2, "later": 2, "iterations": 2, "size": 48})
    frames = video.iterate(moving, "mosaic", tmp_path / "out.mp4", options)
    for _ in range(8):
        next(frames)
    frames.close()
    assert len(pictures(tmp_path / "out.mp4")) == 6
    rest = list(video.iterate(moving, "mosaic", tmp_path / "out.mp4", options, resume=True))
    assert [(frame.pass_number, frame.number) for frame in rest] == [(2, 4), (2, 3), (2, 2), (2, 1)]


def test_scenes_are_independent(make_scene, write_clip, tmp_path):
    source = write_clip(tmp_path / "a.mp4", make_scene(2) + make_scene(2, seed=9))
    frames = paint(source, tmp_path / "out.mp4", fast=True)
    assert [frame.scene for frame in frames] == [1, 1, 2, 2]
    assert [frame.reliable_share > 0 for frame in frames] == [False, True, False, True]


def test_writes_the_clip_and_deletes_the_frames(moving, tmp_path):
    frames = paint(moving, tmp_path / "out.mp4", fast=True, size=64)
    assert len(frames) == 6
    assert frames[-1].eta == 0
    assert clips.open_clip(tmp_path / "out.mp4").size == (42, 64)
    assert clips.open_clip(tmp_path / "out.mp4").audio_codecs == ("aac",)
    assert not frames_folder(tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("fast", [False, True])
def test_resumed_at_the_last_finished_frame(moving, tmp_path, fast):
    options = VideoOptions(**SMALL | {"fast": fast, "later": 3, "iterations": 4, "size": 64})
    whole = [frame.picture.rgb for frame in video.iterate(moving, "mosaic", tmp_path / "whole.mp4", options)]
    frames = video.iterate(moving, "mosaic", tmp_path / "out.mp4", options)
    for _ in range(3):
        next(frames)
    frames.close()
    assert len(pictures(tmp_path / "out.mp4")) == 3
    rest = list(video.iterate(moving, "mosaic", tmp_path / "out.mp4", options, resume=True))
    assert [frame.number for frame in rest] == [4, 5, 6]
    assert len(pictures(tmp_path / "out.mp4")) == 6
    assert (rest[-1].picture.rgb - whole[-1]).abs().mean() < 0.03
    assert not frames_folder(tmp_path / "out.mp4").exists()


def test_does_not_resume_from_other_settings(moving, tmp_path):
    options = VideoOptions(**SMALL | {"fast": True, "size": 48})
    frames = video.iterate(moving, "mosaic", tmp_path / "out.mp4", options)
    next(frames)
    frames.close()
    with pytest.raises(CheckpointError, match="made with another strength"):
        video.iterate(moving, "mosaic", tmp_path / "out.mp4", dataclasses.replace(options, strength=0.5), resume=True)
    (frames_folder(tmp_path / "out.mp4") / "settings.json").write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        video.iterate(moving, "mosaic", tmp_path / "out.mp4", options, resume=True)


def test_flow_from_files(make_scene, tmp_path):
    import cv2

    (tmp_path / "in").mkdir()
    for number, frame in enumerate(make_scene(2, step=0), start=1):
        images.write(tmp_path / "in" / f"{number}.png", images.read(frame))
    zero = np.zeros((64, 96, 2), np.float32)
    (tmp_path / "flow").mkdir()
    for name in ("backward_2_1.flo", "forward_1_2.flo"):
        cv2.writeOpticalFlow(str(tmp_path / "flow" / name), zero)
    frames = paint(tmp_path / "in", tmp_path / "out.gif", fast=True, flow=str(tmp_path / "flow"))
    assert frames[1].reliable_share == 1


@pytest.mark.parametrize("color", ["luminance", "match", "both"])
@pytest.mark.parametrize("fast", [False, True])
def test_colours(moving, tmp_path, color, fast):
    frames = paint(moving, tmp_path / "out.gif", fast=fast, color=color, size=48, iterations=2, later=1)
    assert len(frames) == 6
    assert all(frame.picture.rgb.isfinite().all() for frame in frames)
