"""Optical flow: estimated, warped along, and unreliable where something was hidden."""

import cv2
import numpy as np
import pytest
import torch

from impasto.errors import ClipError
from impasto.video import flow


def tensor(frame):
    return torch.from_numpy(frame).permute(2, 0, 1).float() / 255


@pytest.fixture
def pair(make_scene):
    return [tensor(frame) for frame in make_scene(2, step=4)]


def test_a_moving_square_is_found(pair):
    backward = flow.estimate(pair[1], pair[0])
    inside, outside = backward[24:32, 20:32], backward[48:60, 60:90]
    assert np.abs(inside - [-4, 0]).mean() < 1
    assert np.abs(outside).mean() < 0.5


def test_warping_moves_by_the_flow():
    image = torch.arange(20.0).view(1, 1, 20).expand(3, 10, 20)
    field = np.zeros((10, 20, 2), np.float32)
    field[..., 0] = -3
    assert torch.allclose(flow.warp(image, field)[:, :, 3:], image[:, :, :-3], atol=1e-5)
    still = torch.rand(3, 10, 20)
    assert torch.allclose(flow.warp(still, 0 * field), still, atol=1e-6)


def test_disocclusions_are_unreliable(pair):
    backward, forward = flow.estimate(pair[1], pair[0]), flow.estimate(pair[0], pair[1])
    reliable = flow.reliability(backward, forward)
    assert reliable[48:60, 60:90].mean() > 0.95  # the ground lies still
    assert reliable[18:38, 8:12].mean() < 0.5  # the ground that the square has left


def test_flow_from_outside_is_unreliable():
    backward = np.zeros((20, 30, 2), np.float32)
    backward[..., 0] = 6
    reliable = flow.reliability(backward, -backward)
    assert reliable[:, :24].min() == 1
    assert reliable[:, 25:].max() == 0


def test_motion_boundaries_are_unreliable():
    """By the formula, pixel by pixel."""
    backward = np.zeros((8, 9, 2), np.float32)
    backward[:, 5:, 0] = 2
    reliable = flow.reliability(backward, -backward)
    assert reliable[2, 4] == 0  # |∇u|² = 4 > 0.01 · 0 + 0.002
    assert reliable[2, 2] == 1


def test_scene_cuts(make_scene):
    one, other = tensor(make_scene(1)[0]), tensor(make_scene(1, seed=9)[0])
    moved = tensor(make_scene(2)[1])

    def cut(a, b):
        backward, forward = flow.estimate(b, a), flow.estimate(a, b)
        return flow.is_scene_cut(b, a, flow.reliability(backward, forward))

    assert cut(one, other)
    assert not cut(one, moved)
    assert not cut(one, one)
    assert not cut(one, (one * 0.8).clamp(0, 1))  # a lamp goes out


def test_flo_files(tmp_path):
    field = np.random.default_rng(0).normal(size=(6, 8, 2)).astype(np.float32)
    cv2.writeOpticalFlow(str(tmp_path / "a.flo"), field)
    np.testing.assert_array_equal(flow.read(tmp_path / "a.flo", 6, 8), field)
    twice = flow.read(tmp_path / "a.flo", 12, 16)
    assert twice.shape == (12, 16, 2)
    assert np.abs(twice.mean((0, 1)) - 2 * field.mean((0, 1))).max() < 0.2
    with pytest.raises(ClipError, match="no such file"):
        flow.read(tmp_path / "b.flo", 6, 8)
    (tmp_path / "c.flo").write_bytes(b"not this")
    with pytest.raises(ClipError, match="no .flo file"):
        flow.read(tmp_path / "c.flo", 6, 8)
