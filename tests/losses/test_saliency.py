"""The content weight goes where people look."""

import pytest
import skimage.data
import torch
from torch.testing import assert_close

import impasto
from impasto import images
from impasto.losses.objective import Objective
from impasto.losses.saliency import CEILING, content_weight, saliency
from impasto.losses.terms import ContentLoss
from impasto.presets import preset
from impasto.vgg import tiling, weights
from impasto.vgg.encoder import random_encoder


def mean_over(map, top, bottom, left, right):
    """The mean of a map over a part of the picture, given as shares of its height and width."""
    height, width = map.shape
    rows = slice(round(top * height), round(bottom * height))
    return map[rows, round(left * width) : round(right * width)].mean().item()


def test_faces_and_eyes_are_salient():
    encoder = weights.load("vgg19", padding="replicate")
    astronaut = saliency(encoder, images.read(skimage.data.astronaut()).rgb)
    assert mean_over(astronaut, 0.1, 0.35, 0.35, 0.52) > 1.5  # her face
    assert mean_over(astronaut, 0, 0.3, 0.6, 0.72) < 0.7  # the curtain behind her
    cat = saliency(encoder, images.read(skimage.data.chelsea()).rgb)
    assert mean_over(cat, 0.35, 0.65, 0.3, 0.7) > 1.5 * mean_over(cat, 0.8, 1, 0, 0.3)  # eyes, and the fur below
    for map in (astronaut, cat):
        assert map.min() >= 0
        assert map.max() <= CEILING


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (300, 17)])
def test_any_picture_has_some(size):
    encoder = weights.load("vgg19", padding="replicate")
    for photo in (torch.rand(3, *size, generator=torch.Generator().manual_seed(0)), torch.zeros(3, *size)):
        found = content_weight(saliency(encoder, photo), 0.5, 7, 9)
        assert found.isfinite().all()
        assert found.mean().item() == pytest.approx(1)


def test_a_share_is_spread_evenly():
    map = torch.tensor([[0.0, 4.0], [0.0, 0.0]])
    assert_close(content_weight(map, 0, 6, 5), torch.ones(6, 5))
    half = content_weight(map, 0.5, 2, 2)
    assert_close(half, torch.tensor([[0.5, 2.5], [0.5, 0.5]]))
    assert content_weight(map, 1, 2, 2)[0, 0] == 0


@pytest.mark.parametrize("window", [1, 900])
@pytest.mark.parametrize("caches", [True, False])
def test_a_masked_content_loss_whole_and_in_tiles(window, caches):
    encoder, size = random_encoder(((1, 3), (2, 4), (1, 5))), (41, 55)
    generator = torch.Generator().manual_seed(2)
    image, photo = (torch.rand(1, 3, *size, generator=generator, dtype=torch.float64) for _ in range(2))
    target = encoder(photo, ["relu2_1"])["relu2_1"]
    mask = torch.rand(target.shape[-2:], generator=generator, dtype=torch.float64)
    term = ContentLoss("relu2_1", target if caches else None, 0.7, mask)
    tiles = tiling.divide(encoder, ["relu2_1"], *size, window)
    x = image.clone().requires_grad_()
    expected = 0.7 * (mask * (encoder(x, ["relu2_1"])["relu2_1"] - target) ** 2).sum()
    (gradient,) = torch.autograd.grad(expected, x)
    for each in ((), tiles):
        found = Objective(encoder, (term,), tiles=each, photo=photo).value_and_grad(image)
        assert_close(found.loss, expected.item(), rtol=1e-12, atol=0)
        assert_close(found.gradient, gradient, rtol=1e-9, atol=1e-14)


def test_the_photo_is_kept_where_it_is_salient():
    options = preset(size=192, iterations=15, scales=1, style_weight=20)
    encoder = weights.load("vgg19", padding="replicate")
    photo = images.read(skimage.data.astronaut()).resized(192, 192).rgb
    original = encoder(photo[None], ["relu4_2"])["relu4_2"]
    map = content_weight(saliency(encoder, photo), 1, *original.shape[-2:])
    errors = {}
    for share in (0, 1):
        painted = impasto.stylize("astronaut", "woodcut", options, saliency=share).rgb
        error = (encoder(painted[None], ["relu4_2"])["relu4_2"] - original).square().sum(1)[0]
        errors[share] = (error * map).sum() / error.sum()
    assert errors[1] < 0.97 * errors[0]
