"""Texture synthesis: sizes, statistics, seams."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import impasto
from impasto import images
from impasto.inputs.styles import paint
from impasto.losses.statistics import gram
from impasto.operations import texture
from impasto.settings.options import TextureOptions
from impasto.vgg import encoder as vgg
from impasto.vgg import weights

FAST = {"iterations": 8, "style_layers": "relu1_1,relu2_1,relu3_1"}


def test_a_texture_has_the_style_and_its_own_size():
    painting = paint("swirls", 96, 96)
    picture = impasto.texture(painting, TextureOptions(size="150x70", iterations=25, style_layers=FAST["style_layers"]))
    assert picture.shape == (70, 150)
    encoder = weights.load("vgg19", padding="replicate")
    noise = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
    for layer in ("relu1_1", "relu2_1", "relu3_1"):
        own, target, other = (
            gram(encoder(rgb[None], [layer])[layer][0].flatten(1)).mean
            for rgb in (picture.rgb, images.read(painting).rgb, noise)
        )
        assert (own - target).norm() < 0.2 * target.norm() < 0.5 * (other - target).norm()


def test_it_starts_from_noise_by_seed():
    pictures = [impasto.texture("mosaic", TextureOptions(size=64, seed=seed, **FAST)).rgb for seed in (1, 1, 2)]
    assert torch.equal(pictures[0], pictures[1])
    assert (pictures[0] - pictures[2]).abs().mean() > 0.05


def seam(rgb):
    """How much rougher than elsewhere the old border is, once the picture is rolled by half."""
    height, width = rgb.shape[-2:]
    rolled = rgb.roll((height // 2, width // 2), (-2, -1))
    right, down = (rolled.diff(dim=dim).abs().mean(0) for dim in (-1, -2))
    across = right[:, width // 2 - 1].mean() / right.mean()
    along = down[height // 2 - 1].mean() / down.mean()
    return across.item(), along.item()


@pytest.mark.parametrize("size", ["96x64", "99x67"])
def test_seamless(size):
    """Also where the size is no multiple of the deepest layer's stride."""
    options = TextureOptions(size=size, iterations=30, style_layers=FAST["style_layers"], seamless=True)
    tiled = seam(impasto.texture("swirls", options).rgb)
    plain = seam(impasto.texture("swirls", dataclasses.replace(options, seamless=False)).rgb)
    for with_it, without in zip(tiled, plain, strict=True):
        assert with_it < 1.3
        assert with_it - 1 < 0.6 * (without - 1)


def test_circular_padding_sees_no_border(generator):
    """Rolled pictures have rolled features, and the gradient rolls along."""
    encoder = dataclasses.replace(vgg.random_encoder(((1, 2), (2, 3), (1, 4))), padding="circular")
    image = torch.rand(1, 3, 16, 24, generator=generator, dtype=torch.float64)
    features = encoder(image, ["relu3_1"])["relu3_1"]
    rolled = encoder(image.roll((4, 8), (-2, -1)), ["relu3_1"])["relu3_1"]
    assert_close(rolled, features.roll((1, 2), (-2, -1)))

    def value(x):
        return sum(f.square().sum() for f in encoder(x, ["relu1_1", "relu2_2"]).values())

    x = image[..., :8, :8].clone().requires_grad_()
    assert torch.autograd.gradcheck(value, (x,))


def test_resizing_what_tiles_leaves_it_tiling():
    wave = torch.sin(torch.arange(64) / 64 * 2 * torch.pi) * 0.4 + 0.5
    rgb = wave.expand(3, 64, 64) * 0.5 + wave[:, None] * 0.5
    resized = images.resize(rgb, 50, 75, wrap=True)
    expected = torch.sin((torch.arange(75) + 0.5) / 75 * 2 * torch.pi - torch.pi / 64) * 0.4 + 0.5
    assert_close(resized[0].mean(0), expected * 0.5 + 0.25, rtol=0, atol=2e-3)
    edge = images.resize(rgb, 50, 75)[0].mean(0)
    assert abs(edge[0] - expected[0] * 0.5 - 0.25) > abs(resized[0].mean(0)[0] - expected[0] * 0.5 - 0.25)


def test_scales_of_the_style_and_several_styles():
    painting = images.read(paint("swirls", 192, 192))
    coarse, fine = (
        impasto.texture(painting, TextureOptions(size=96, style_scale=scale, **FAST)).rgb for scale in (2, 0.5)
    )
    assert coarse.diff(dim=-1).abs().mean() < 0.95 * fine.diff(dim=-1).abs().mean()
    both = impasto.texture(["swirls", "mosaic"], TextureOptions(size=64, style_weights=(1, 1), **FAST))
    assert both.shape == (64, 64)
    mask = np.zeros((192, 192), np.uint8)
    mask[:96] = 255
    assert impasto.texture(painting, TextureOptions(size=64, style_mask={"1": mask}, **FAST)).shape == (64, 64)


def test_mistakes():
    for size, message in (("12x300", r"the texture is 12×300 px; relu5_1 needs at least 16×16"), ("0", "size")):
        with pytest.raises(ValueError, match=message):
            impasto.texture("swirls", TextureOptions(size=size, iterations=1))
    with pytest.raises(ValueError, match="unknown style"):
        impasto.texture("nothing", TextureOptions(size=64))


@pytest.mark.parametrize("size", [(4000, 4000), (200, 150), (400, 100)])
def test_coarser_scales_of_a_seamless_one_can_be_pooled_and_tiled(monkeypatch, size):
    problems = []
    monkeypatch.setattr(texture, "optimize_scales", lambda execution, *given: problems.append(execution.problem))
    monkeypatch.setattr(texture, "check_regions", lambda *given: None)
    texture.iterate_texture("mosaic", TextureOptions(size=size, seamless=True, memory="4GB"))
    *coarser, last = problems[0].scales
    assert (last.width, last.height) == size
    assert coarser
    assert all(scale.height % 16 == scale.width % 16 == 0 for scale in coarser)
