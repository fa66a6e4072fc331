"""Optical flow between two frames: where every pixel went, and where that is not to be trusted.

A field is `(h, w, 2)`, float32: for each pixel of one frame, how far to the right and down the same point lies in the
other, in pixels. OpenCV's DIS finds it (Kroeger et al., arXiv 1603.03590).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.errors import ClipError

Field = np.ndarray[Any, np.dtype[np.float32]]


def between(one: Tensor, two: Tensor) -> Field:
    """The field from one frame, `(3, h, w)` in [0, 1], to another."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [np.ascontiguousarray((frame.mean(0) * 255).round().byte().cpu().numpy()) for frame in (one, two)]
    return np.asarray(method.calc(grey[0], grey[1], np.zeros((*grey[0].shape, 2), np.float32)), np.float32)


def read(path: Path, height: int, width: int) -> Field:
    """A field from a Middlebury .flo file, brought to this size.

    Raises:
        ClipError: no such file, or not one of these.
    """
    if not path.is_file():
        raise ClipError(f"no such file: {path} (optical flow)")
    found = cv2.readOpticalFlow(str(path))
    if found is None or found.ndim != 3:
        raise ClipError(f"cannot read {path}: it is no .flo file")
    if found.shape[:2] == (height, width):
        return np.asarray(found, np.float32)
    scale = np.array([width / found.shape[1], height / found.shape[0]], np.float32)
    return np.asarray(cv2.resize(found, (width, height)) * scale, np.float32)


def warp(image: Tensor, field: Field) -> Tensor:
    """What lies where the field points, `(c, h, w)`: the other frame, moved into this one's place."""
    height, width = image.shape[-2:]
    there = torch.from_numpy(field).to(image.device)
    x = torch.arange(width, device=image.device) + there[..., 0]
    y = torch.arange(height, device=image.device)[:, None] + there[..., 1]
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1)
    return F.grid_sample(image[None], grid[None].to(image), "bilinear", "border", align_corners=True)[0]


def trust(back: Field, forth: Field) -> Tensor:
    """Where the pixels of a frame can be followed, `(h, w)`, 1 or 0.

    Not where forward and backward flow disagree, where a pixel comes from outside, or at the edge of a motion (Ruder
    et al., arXiv 1604.08610, eqs. 5 and 6; the edges are those of the backward flow).

    Args:
        back: from this frame to the other; `forth`: the way round.
    """
    height, width = back.shape[:2]
    b = torch.from_numpy(back).permute(2, 0, 1)
    f = warp(torch.from_numpy(forth).permute(2, 0, 1), back)
    disagree = (f + b).square().sum(0) > 0.01 * (f.square().sum(0) + b.square().sum(0)) + 0.5
    slopes = torch.zeros(height, width)
    slopes[:, :-1] += b.diff(dim=2).square().sum(0)
    slopes[:-1] += b.diff(dim=1).square().sum(0)
    edge = slopes > 0.01 * b.square().sum(0) + 0.002
    x = torch.arange(width) + b[0]
    y = torch.arange(height)[:, None] + b[1]
    outside = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
    return (~(disagree | edge | outside)).float()


def is_cut(one: Tensor, two: Tensor, trusted: Tensor) -> bool:
    """Whether a scene ends between two frames: little of it can be followed, and much of it looks otherwise."""
    small = [F.adaptive_avg_pool2d(frame, 16) for frame in (one, two)]
    return trusted.mean().item() < 0.5 and (small[0] - small[1]).abs().mean().item() > 0.08
