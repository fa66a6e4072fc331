"""Reconstructions: low layers know every pixel, high ones what things are, statistics no place at all."""

import numpy as np
import pytest
import torch

import impasto
from impasto import images
from impasto.losses.statistics import gram
from impasto.settings.options import ReconstructOptions
from impasto.vgg import weights


def error(picture, photo):
    return (picture.rgb - images.read(photo).rgb).square().mean().sqrt().item()


def test_low_layers_know_every_pixel(photo):
    errors = [
        error(impasto.reconstruct(photo, ReconstructOptions(size=96, content_layer=layer, iterations=40)), photo)
        for layer in ("relu1_1", "relu3_1", "relu5_1")
    ]
    assert errors == sorted(errors)
    assert errors[0] < 0.02
    assert errors[2] > 0.1


def test_content_looks_the_same_to_its_layer(photo):
    steps = list(impasto.iterate_reconstruction(photo, ReconstructOptions(size=None, iterations=60)))
    assert list(steps[-1].losses) == ["content relu4_2"]
    assert steps[-1].loss < 0.15 * steps[0].loss
    encoder = weights.load("vgg19", padding="replicate")
    target, found = (
        encoder(rgb[None], ["relu4_2"])["relu4_2"] for rgb in (images.read(photo).rgb, steps[-1].picture.rgb)
    )
    assert (found - target).square().sum() / target.square().sum() == pytest.approx(steps[-1].loss, rel=1e-3)


def test_style_has_the_statistics_and_not_the_places(photo):
    options = ReconstructOptions(size=None, style_layers="relu1_1,relu2_1", iterations=60)
    steps = list(impasto.iterate_reconstruction(photo, options))
    assert list(steps[-1].losses) == ["style relu1_1", "style relu2_1"]
    picture = steps[-1].picture
    encoder = weights.load("vgg19", padding="replicate")
    found, target = (
        gram(encoder(rgb[None], ["relu2_1"])["relu2_1"][0].flatten(1)).mean
        for rgb in (picture.rgb, images.read(photo).rgb)
    )
    assert (found - target).norm() < 0.1 * target.norm()
    assert error(picture, photo) > 0.15
    both = ReconstructOptions(size=48, content_layer="relu3_1", style_layers="relu1_1", iterations=2)
    *_, last = impasto.iterate_reconstruction(photo, both)
    assert set(last.losses) == {"content relu3_1", "style relu1_1"}


def test_several_layers_and_sizes(photo):
    options = ReconstructOptions(size=200, scales=2, content_layer="relu2_2,relu4_2=0.5", iterations=2)
    steps = list(impasto.iterate_reconstruction("chelsea", options))
    assert steps[-1].scales == 2
    assert max(steps[-1].picture.shape) == 200
    assert set(steps[-1].losses) == {"content relu2_2", "content relu4_2"}


def test_mistakes(photo):
    with pytest.raises(ValueError, match="unknown layer 'relu9_1'"):
        impasto.reconstruct(photo, ReconstructOptions(content_layer="relu9_1"))
    with pytest.raises(ValueError, match="relu4_2 needs at least 8×8"):
        impasto.reconstruct(np.zeros((6, 6, 3)), ReconstructOptions(size=None))
    assert torch.isfinite(
        impasto.reconstruct(np.zeros((32, 32, 3)), ReconstructOptions(size=None, iterations=3)).rgb
    ).all()
