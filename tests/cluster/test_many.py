"""Batches and clips over the nodes of a cluster, one of which is killed."""

import json
import os
import signal
from itertools import pairwise

import pytest
import torch

from impasto import cluster as many
from impasto import images, video
from impasto.batch import items, run
from impasto.cluster import clips
from impasto.settings.options import BatchOptions, VideoOptions
from impasto.video import clips as files

FEW = BatchOptions(size=48, iterations=2, scales=1, style_weight=8, threads=1, workers=1)


@pytest.fixture
def photos(tmp_path, photo):
    picture = images.read(photo)
    for number in range(6):
        path = tmp_path / f"photos/{number:02}.png"
        path.parent.mkdir(exist_ok=True)
        images.write(path, images.Picture((picture.resized(32, 48).rgb + number / 40).clamp(0, 1)))
    return tmp_path


def pictures(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.png")}


def test_a_batch_equals_the_local_one_though_a_node_is_killed(nodes, photos):
    todo = items([str(photos / "photos")], ["swirls"])
    for _ in run(todo, photos / "here", FEW):
        pass
    more = nodes.start()
    nodes.wait(3)
    pool = many.Workers(1)
    outcomes = []
    for outcome in run(todo, photos / "there", FEW, pool=pool):
        outcomes.append(outcome)
        if len(outcomes) == 2:
            os.killpg(more.pid, signal.SIGKILL)
            more.wait()
    assert [outcome.status for outcome in outcomes] == ["done"] * 6
    assert pictures(photos / "there") == pictures(photos / "here")
    lines = [json.loads(line) for line in (photos / "there/manifest.jsonl").read_text().splitlines()]
    assert sorted(line["output"] for line in lines if line["event"] == "done") == sorted(pictures(photos / "here"))
    nodes.wait(2)


def test_errors_keep_their_message(nodes, photos):
    (photos / "photos/00.png").write_bytes(b"no picture")
    todo = items([str(photos / "photos/00.png")], ["swirls"])
    (outcome,) = run(todo, photos / "out", FEW, pool=many.Workers(1))
    assert outcome.status == "failed"
    assert outcome.error.startswith("cannot read")
    assert "Traceback" not in outcome.error


def test_scenes_are_stylised_in_parallel(nodes, tmp_path, make_scene, write_clip):
    clip = write_clip(tmp_path / "in.mp4", make_scene(5) + make_scene(4, seed=9), sound=True)
    options = VideoOptions(size=64, fast=True)
    here = list(video.iterate(clip, ["swirls"], tmp_path / "here.mp4", options))
    there = list(clips.iterate(clip, ["swirls"], tmp_path / "there.mp4", options))
    assert [frame.number for frame in there] == list(range(1, 10))
    assert [frame.scene for frame in there] == [frame.scene for frame in here]
    for one, two in zip(here, there, strict=True):
        assert (one.picture.rgb - two.picture.rgb).abs().max() <= 1 / 255 + 1e-6
    one, two = (files.open_clip(tmp_path / name) for name in ("here.mp4", "there.mp4"))
    assert [frame.time for frame in files.frames(one)] == [frame.time for frame in files.frames(two)]


def test_segments_of_a_long_scene_are_cross_faded(nodes, tmp_path, make_scene, write_clip, monkeypatch):
    monkeypatch.setattr(clips, "SEGMENT", 6)
    monkeypatch.setattr(clips, "OVERLAP", 3)
    clip = files.open_clip(write_clip(tmp_path / "in.mp4", make_scene(16)))
    found = list(clips.segments(clip, (64, 96)))
    assert [(s.start, s.stop, s.is_continued) for s in found] == [(1, 10, False), (7, 16, True), (13, 17, True)]
    options = VideoOptions(size=64, fast=True)
    stylized = list(clips.iterate(clip, ["swirls"], tmp_path / "out.mp4", options))
    assert [frame.number for frame in stylized] == list(range(1, 17))
    steps = [(one.picture.rgb - two.picture.rgb).abs().mean().item() for one, two in pairwise(stylized)]
    assert max(steps) < 3 * torch.tensor(steps).median()  # no frame jumps


def test_a_clip_is_resumed(nodes, tmp_path, make_scene, write_clip, monkeypatch):
    monkeypatch.setattr(clips, "SEGMENT", 4)
    monkeypatch.setattr(clips, "OVERLAP", 2)
    clip = write_clip(tmp_path / "in.mp4", make_scene(11))
    options = VideoOptions(size=64, fast=True)
    whole = list(clips.iterate(clip, ["swirls"], tmp_path / "whole.mp4", options))
    stylized = clips.iterate(clip, ["swirls"], tmp_path / "out.mp4", options)
    for _ in range(6):
        next(stylized)
    stylized.close()
    again = list(clips.iterate(clip, ["swirls"], tmp_path / "out.mp4", options, resume=True))
    assert [frame.number for frame in again] == [7, 8, 9, 10, 11]
    for one, two in zip(whole[6:], again, strict=True):
        assert torch.equal(one.picture.rgb, two.picture.rgb)


@pytest.mark.parametrize("wrong", [{"passes": 2}, {"flow": "folder"}])
def test_unsupported_options(wrong, tmp_path):
    with pytest.raises(ValueError, match="one pass only|files of optical flow"):
        clips.iterate(tmp_path / "in.mp4", ["swirls"], tmp_path / "out.mp4", VideoOptions(**wrong))
