"""Stylised clips: steadier than frame by frame, divided at scene cuts, resumed at the last finished frame."""

import dataclasses
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from impasto import images, video
from impasto.errors import CheckpointError, ClipError
from impasto.images import Picture
from impasto.settings.options import VideoOptions
from impasto.video import clips, flow, frame_store, stylizer
from impasto.video.frame_store import frames_folder
from impasto.video.stylizer import PreviousFrame, temporal_loss

SMALL = {"size": 96, "scales": 1, "iterations": 12, "later": 6, "style_layers": "relu1_1,relu2_1,relu3_1"}


def pictures(path):
    return [frame.image for frame in clips.frames(clips.open_clip(path))]


def paint(clip, output, **changes):
    return list(video.iterate(clip, "mosaic", output, VideoOptions(**{**SMALL, **changes})))


class Negatives:
    """A painter that takes no time: the negatives of frames, halfway to what they are held near, half as light."""

    def __init__(self):
        self.scenes = 0

    def begin_scene(self, photo):
        self.scenes += 1

    def __call__(self, photo, temporal):
        canvas = 1 - photo if temporal is None else (1 - photo).lerp(temporal.image[0], 0.5)
        return canvas, Picture(canvas / 2)


@pytest.fixture
def painter(monkeypatch):
    painter = Negatives()
    monkeypatch.setattr(stylizer, "make_painter", lambda *_: painter)
    return painter


def paint_some(clip, output, count, style="mosaic", **changes):
    """Interrupted after so many frames."""
    frames = video.iterate(clip, style, output, VideoOptions(**{**SMALL, **changes}))
    for _ in range(count):
        next(frames)
    frames.close()


def resume(clip, output, style="mosaic", **changes):
    return list(video.iterate(clip, style, output, VideoOptions(**{**SMALL, **changes}), resume=True))


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


def test_a_later_pass_is_resumed(painter, moving, tmp_path):
    paint_some(moving, tmp_path / "out.mp4", 8, passes=2)
    assert len(pictures(tmp_path / "out.mp4")) == 6
    rest = resume(moving, tmp_path / "out.mp4", passes=2)
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
    """The rest is as though nothing had happened, also where pictures are recoloured and canvases are not."""
    options = {"fast": fast, "color": "both", "later": 2, "iterations": 3, "size": 48}
    options |= {"style_layers": "relu1_1", "content_layers": "relu1_2", "style_weight": 8.0}
    whole = [frame.picture.rgb for frame in paint(moving, tmp_path / "whole.mp4", **options)]
    paint_some(moving, tmp_path / "out.mp4", 3, **options)
    assert len(pictures(tmp_path / "out.mp4")) == 3
    rest = resume(moving, tmp_path / "out.mp4", **options)
    assert [frame.number for frame in rest] == [4, 5, 6]
    assert len(pictures(tmp_path / "out.mp4")) == 6
    for ours, theirs in zip(rest, whole[3:], strict=True):
        assert torch.equal(ours.picture.rgb, theirs)
    assert not frames_folder(tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("count", [1, 5])
def test_resumed_with_farther_frames(painter, moving, tmp_path, count):
    whole = paint(moving, tmp_path / "whole.mp4", long_term=4)
    paint_some(moving, tmp_path / "out.mp4", count, long_term=4)
    assert len(list(frames_folder(tmp_path / "out.mp4").glob("*.npy"))) == min(count, 4)
    for ours, theirs in zip(resume(moving, tmp_path / "out.mp4", long_term=4), whole[count:], strict=True):
        assert torch.equal(ours.picture.rgb, theirs.picture.rgb)


def test_only_the_scene_that_continues_is_prepared_again(painter, make_scene, write_clip, tmp_path):
    source = write_clip(tmp_path / "a.mp4", make_scene(2) + make_scene(2, seed=9) + make_scene(2, seed=20))
    paint_some(source, tmp_path / "out.mp4", 5)
    painter.scenes = 0
    assert [frame.scene for frame in resume(source, tmp_path / "out.mp4")] == [3]
    assert painter.scenes == 1


@pytest.mark.parametrize(
    ("missing", "first"),
    [("settings.json", 1), ("frames.jsonl", 1), ("00000001.png", 1), ("00000003.png", 3), ("canvas-*", 4), ("*", 1)],
)
def test_resumed_after_a_kill(painter, moving, tmp_path, missing, first):
    """Wherever it struck: while the folder was made, or while it was removed."""
    paint_some(moving, tmp_path / "out.mp4", 3)
    for file in frames_folder(tmp_path / "out.mp4").glob(missing):
        file.unlink()
    assert [frame.number for frame in resume(moving, tmp_path / "out.mp4")] == list(range(first, 7))
    assert len(pictures(tmp_path / "out.mp4")) == 6
    assert not frames_folder(tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(("missing", "first"), [("settings.json", 6), ("*", 6), ("00000005.png", 5)])
def test_a_later_pass_is_resumed_after_a_kill(painter, moving, tmp_path, missing, first):
    paint_some(moving, tmp_path / "out.mp4", 9, passes=2)
    for file in (frames_folder(tmp_path / "out.mp4") / "pass-2").glob(missing):
        file.unlink()
    (frames_folder(tmp_path / "out.mp4") / "source-00000002.png").unlink()
    frames = resume(moving, tmp_path / "out.mp4", passes=2)
    assert [(frame.pass_number, frame.number) for frame in frames] == [(2, number) for number in range(first, 0, -1)]


def test_resumed_after_a_kill_while_the_folder_is_removed(painter, moving, tmp_path, monkeypatch):
    frames = video.iterate(moving, "mosaic", tmp_path / "out.mp4", VideoOptions(**SMALL))
    next(frames)
    with monkeypatch.context() as patched:
        patched.setattr(frame_store.shutil, "rmtree", lambda *_, **__: sys.exit())
        with pytest.raises(SystemExit):
            list(frames)
    assert len(resume(moving, tmp_path / "out.mp4")) == 6


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


def test_does_not_resume_from_other_files_of_the_same_names(painter, make_scene, write_clip, tmp_path):
    def write_picture(path, seed):
        images.write(path, images.read(make_scene(1, seed=seed)[0]))

    out, painting, mask = tmp_path / "out.mp4", tmp_path / "painting.png", tmp_path / "mask.png"
    clip, masks = tmp_path / "a.mp4", {"content_mask": {"1": str(mask)}}
    changes = {
        "clip": lambda seed: write_clip(clip, make_scene(2, seed=seed)),
        "style 1": lambda seed: write_picture(painting, seed),
        "mask of 1": lambda seed: write_picture(mask, seed),
    }
    for name, change in changes.items():
        for make in changes.values():
            make(0)
        paint_some(clip, out, 1, str(painting), **masks)
        change(5)
        with pytest.raises(CheckpointError, match=f"made with another {name}; give the same"):
            resume(clip, out, str(painting), **masks)


def test_does_not_resume_from_other_pictures_of_a_folder(painter, make_scene, tmp_path):
    (tmp_path / "in").mkdir()
    for number, frame in enumerate(make_scene(3)):
        images.write(tmp_path / "in" / f"{number}.png", images.read(frame))
    paint_some(tmp_path / "in", tmp_path / "out.gif", 1)
    images.write(tmp_path / "in" / "2.png", images.read(make_scene(1, seed=5)[0]))
    with pytest.raises(CheckpointError, match="made with another clip"):
        resume(tmp_path / "in", tmp_path / "out.gif")


@pytest.mark.parametrize("passes", [1, 3])
def test_flow_from_files(painter, make_scene, tmp_path, passes):
    import cv2

    (tmp_path / "in").mkdir()
    for number, frame in enumerate(make_scene(2, step=0), start=1):
        images.write(tmp_path / "in" / f"{number}.png", images.read(frame))
    zero = np.zeros((64, 96, 2), np.float32)
    (tmp_path / "flow").mkdir()
    with pytest.raises(ClipError, match=r"no such file: .*forward_1_2.flo"):
        paint(tmp_path / "in", tmp_path / "out.gif", flow=str(tmp_path / "flow"))
    for name in ("backward_2_1.flo", "forward_1_2.flo"):
        cv2.writeOpticalFlow(str(tmp_path / "flow" / name), zero)
    frames = paint(tmp_path / "in", tmp_path / "out.gif", flow=str(tmp_path / "flow"), passes=passes)
    assert [frame.reliable_share for frame in frames] == [0, 1] * passes


@pytest.mark.parametrize("color", ["luminance", "match", "both"])
@pytest.mark.parametrize("fast", [False, True])
def test_colours(moving, tmp_path, color, fast):
    frames = paint(moving, tmp_path / "out.gif", fast=fast, color=color, size=48, iterations=2, later=1)
    assert len(frames) == 6
    assert all(frame.picture.rgb.isfinite().all() for frame in frames)


def test_the_clip_itself_is_not_written_to(make_scene, write_clip, tmp_path):
    clip = write_clip(tmp_path / "in.mp4", make_scene(2))
    before = clip.read_bytes()
    with pytest.raises(ValueError, match="in.mp4 is the input clip; write to another name"):
        video.iterate(clip, "mosaic", clip)
    assert clip.read_bytes() == before


def test_a_folder_that_is_needed_for_frames_is_not_emptied(make_scene, write_clip, tmp_path):
    """That of the clip itself, or any that holds something else."""
    clip, folder = write_clip(tmp_path / "in.mp4", make_scene(2)), tmp_path / "shots.frames"
    folder.mkdir()
    for number, picture in enumerate(make_scene(2)):
        images.write(folder / f"{number}.png", images.read(picture))
    with pytest.raises(ValueError, match="shots.frames is the input clip"):
        video.iterate(folder, "mosaic", tmp_path / "shots")
    for again in (False, True):
        with pytest.raises(CheckpointError, match="shots.frames is needed for finished frames"):
            video.iterate(clip, "mosaic", tmp_path / "shots", resume=again)
    assert len(list(folder.iterdir())) == 2
