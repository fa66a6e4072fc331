"""Passes in a preallocated workspace."""

import pytest
import torch

from impasto.vgg import native
from impasto.vgg import workspace as workspaces
from impasto.vgg.encoder import random_encoder
from impasto.vgg.workspace import Workspace

pytestmark = pytest.mark.skipif(native.library() is None, reason="the library in C was not built")
BLOCKS = ((2, 16), (2, 24), (3, 40))
TAPS = [{"relu3_1"}, {"relu1_1", "relu2_1", "relu3_2"}, {"conv1_1", "conv2_2", "pool2"}, {"pool3"}, {"relu1_1"}]


@pytest.fixture(params=["max", "average"])
def encoder(request):
    return random_encoder(BLOCKS, pooling=request.param).to("cpu", torch.float32)


def accumulate(name, features, gradient):
    gradient.add_(features, alpha=2).add_(1)


@pytest.mark.parametrize("taps", TAPS, ids=lambda taps: "-".join(sorted(taps)))
def test_a_workspace_changes_nothing(encoder, taps, generator):
    """Not for pictures of any size, in any order, though the workspace holds what was there before."""
    workspace = Workspace()
    for height, width in ((16, 24), (48, 40), (48, 40), (17, 23), (64, 64), (33, 48), (64, 64)):
        image = torch.rand(1, 3, height, width, generator=generator)
        found = encoder.backward(image, taps, accumulate, workspace)
        assert torch.equal(found, encoder.backward(image, taps, accumulate))
        walked = {name: features.clone() for name, features, _ in encoder.walk(image, taps, workspace)}
        for name, features in encoder(image, taps).items():
            assert torch.equal(walked[name], features)


@pytest.mark.parametrize("taps", TAPS[:2], ids=lambda taps: "-".join(sorted(taps)))
def test_the_second_pass_allocates_nothing(encoder, taps, generator, monkeypatch):
    workspace, image, taken = Workspace(), torch.rand(1, 3, 40, 48, generator=generator), []

    def counted(*shape):
        taken.append(shape)
        return real(*shape)

    real = native.empty_nhwc
    monkeypatch.setattr(workspaces, "empty_nhwc", counted)
    encoder.backward(image, taps, accumulate, workspace)
    assert taken
    taken.clear()
    encoder.backward(image, taps, accumulate, workspace)
    assert not taken
    workspace.free()
    encoder.backward(image, taps, accumulate, workspace)
    assert not taken


def test_a_workspace_holds_no_more_than_was_there_at_once(generator):
    """Two layers of the picture's size: the peak is in the first block."""
    encoder, side = random_encoder(((2, 32), (2, 32), (2, 32))).to("cpu", torch.float32), 64
    workspace, layer = Workspace(), 32 * 64 * 64
    for _ in range(2):
        encoder.backward(torch.rand(1, 3, side, side, generator=generator), {"relu3_2"}, accumulate, workspace)
    assert workspace.size <= 2.1 * layer
