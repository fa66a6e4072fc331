"""Optical flow between two frames, and where it is reliable.

A flow field is `(h, w, 2)`, float32: for each pixel of one frame, by how many pixels right and down the same point lies
in the other frame. It is estimated by OpenCV's DIS (Kroeger et al., arXiv 1603.03590).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.devices import CPU_FLOAT, CPU_INDEX
from impasto.errors import ClipError

FlowField = np.ndarray[Any, np.dtype[np.float32]]


def estimate(one: Tensor, two: Tensor) -> FlowField:
    """The flow from one frame, `(3, h, w)` in [0, 1], to another."""
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [np.ascontiguousarray((frame.mean(0) * 255).round().byte().cpu().numpy()) for frame in (one, two)]
    return np.asarray(method.calc(grey[0], grey[1], np.zeros((*grey[0].shape, 2), np.float32)), np.float32)


def read(path: Path, height: int, width: int) -> FlowField:
    """The flow from a Middlebury .flo file, resized to `height` × `width`.

    Raises:
        ClipError: the file does not exist, or is no .flo file.
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


def warp(image: Tensor, flow: FlowField) -> Tensor:
    """`image`, `(c, h, w)`, sampled where the flow points to: the other frame, aligned with this one."""
    height, width = image.shape[-2:]
    offset = torch.from_numpy(flow).to(image.device)
    x = torch.arange(width, dtype=torch.int64, device=image.device) + offset[..., 0]
    y = torch.arange(height, dtype=torch.int64, device=image.device)[:, None] + offset[..., 1]
    grid = torch.stack([2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1], -1)
    return F.grid_sample(image[None], grid[None].to(image), "bilinear", "border", align_corners=True)[0]


def reliability(backward: FlowField, forward: FlowField) -> Tensor:
    """Where a frame's backward flow is reliable, `(h, w)`, 1 or 0.

    It is not where forward and backward flow disagree, where it points outside the picture, and at motion boundaries
    (Ruder et al., arXiv 1604.08610, eqs. 5 and 6; the boundaries are those of the backward flow).

    Args:
        backward: from this frame to the earlier one.
        forward: from the earlier frame to this one.
    """
    height, width = backward.shape[:2]
    b = torch.from_numpy(backward).permute(2, 0, 1)
    f = warp(torch.from_numpy(forward).permute(2, 0, 1), backward)
    disoccluded = (f + b).square().sum(0) > 0.01 * (f.square().sum(0) + b.square().sum(0)) + 0.5
    squared_gradient = torch.zeros(height, width, **CPU_FLOAT)
    squared_gradient[:, :-1] += b.diff(dim=2).square().sum(0)
    squared_gradient[:-1] += b.diff(dim=1).square().sum(0)
    boundary = squared_gradient > 0.01 * b.square().sum(0) + 0.002
    x = torch.arange(width, **CPU_INDEX) + b[0]
    y = torch.arange(height, **CPU_INDEX)[:, None] + b[1]
    outside = (x < -0.5) | (y < -0.5) | (x > width - 0.5) | (y > height - 0.5)
    return (~(disoccluded | boundary | outside)).float()


def is_scene_cut(one: Tensor, two: Tensor, reliable: Tensor) -> bool:
    """Whether a scene ends between two frames `(3, h, w)`: most of the flow is unreliable, and the colours differ."""
    small = [F.adaptive_avg_pool2d(frame, 16) for frame in (one, two)]
    return reliable.mean().item() < 0.5 and (small[0] - small[1]).abs().mean().item() > 0.08
