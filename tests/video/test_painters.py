"""The painters of frames."""

import weakref

import torch

from impasto.settings.options import VideoOptions
from impasto.video import painters


class Step:
    def __init__(self, number):
        self.image, self.picture = torch.full((3, 8, 8), number / 8), number


def test_of_a_frame_only_the_last_step_is_kept(monkeypatch):
    """Each holds its own canvas, hundreds of megabytes for a large frame."""
    alive, most = weakref.WeakSet(), 0

    def steps(*_, **__):
        nonlocal most
        for number in range(8):
            step = Step(number)
            alive.add(step)
            most = max(most, len(alive))
            yield step

    monkeypatch.setattr(painters, "iterate_picture", steps)
    painter = painters.make_painter("mosaic", VideoOptions(style_weight=1.0))
    _, picture = painter(torch.zeros(3, 8, 8), None)
    assert picture == 7
    assert most <= 3
