"""The losses of the papers against literal transcriptions, loop by loop, in float64."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from impasto import transfer
from impasto.objective import Objective, content_terms, style_terms, total_variation
from impasto.options import preset
from impasto.statistics import STATISTICS

SIZE = (32, 48)


@pytest.fixture
def pictures(generator):
    return [torch.rand(1, 3, *SIZE, generator=generator, dtype=torch.float64) for _ in range(3)]


def literal_gram(features):
    """G_ij = Σ_k F_ik F_jk."""
    channels, positions = features.shape
    gram = np.zeros((channels, channels))
    for i in range(channels):
        for j in range(channels):
            for k in range(positions):
                gram[i, j] += features[i, k] * features[j, k]
    return gram


def literal_gatys_content(f, p):
    total = 0.0
    for i in range(f.shape[0]):
        for j in range(f.shape[1]):
            total += (f[i, j] - p[i, j]) ** 2
    return total / 2


def literal_gatys_style(f, a):
    channels, positions = f.shape
    difference = literal_gram(f) - literal_gram(a)
    total = 0.0
    for i in range(channels):
        for j in range(channels):
            total += difference[i, j] ** 2
    return total / (4 * channels**2 * positions**2)


def literal_course_content(f, p):
    channels, positions = f.shape
    return ((f - p) ** 2).sum() / (4 * positions * channels)


def literal_course_style(f, a):
    channels, positions = f.shape
    return ((literal_gram(a) - literal_gram(f)) ** 2).sum() / (2 * positions * channels) ** 2


def flat(encoder, image, layer):
    return encoder(image, [layer])[layer][0].flatten(1).numpy()


@pytest.mark.parametrize(
    ("name", "content_loss", "style_loss", "alpha", "beta"),
    [
        ("gatys2016", literal_gatys_content, literal_gatys_style, 1e-3, 1),
        ("course", literal_course_content, literal_course_style, 10, 40),
    ],
)
def test_presets_are_the_papers(name, content_loss, style_loss, alpha, beta, tiny_encoder, pictures):
    image, photo, painting = pictures
    encoder = dataclasses.replace(tiny_encoder, pooling=preset(name).pooling)
    objective = transfer._objective(encoder, preset(name), photo[0], painting[0])
    ours = objective.value_and_grad(image)
    expected = alpha * content_loss(flat(encoder, image, "relu4_2"), flat(encoder, photo, "relu4_2"))
    assert_close(ours.terms["content relu4_2"], expected, rtol=1e-10, atol=0)
    for layer in ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"):
        share = beta * 0.2 * style_loss(flat(encoder, image, layer), flat(encoder, painting, layer))
        assert_close(ours.terms[f"style {layer}"], share, rtol=1e-10, atol=0)
        expected += share
    assert_close(ours.loss, expected, rtol=1e-10, atol=0)
    assert len(ours.terms) == 6


def test_total_variation_literally(pictures):
    x = pictures[0][0].numpy()
    total = 0.0
    for c in range(3):
        for i in range(SIZE[0]):
            for j in range(SIZE[1]):
                total += (x[c, i, j + 1] - x[c, i, j]) ** 2 if j + 1 < SIZE[1] else 0
                total += (x[c, i + 1, j] - x[c, i, j]) ** 2 if i + 1 < SIZE[0] else 0
    assert_close(total_variation(pictures[0]).item(), total / (SIZE[0] * SIZE[1]), rtol=1e-12, atol=0)


@pytest.mark.parametrize("statistic", list(STATISTICS))
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_gradient(statistic, pooling, tiny_encoder, pictures):
    image, photo, painting = (picture[..., :16, :16] for picture in pictures)
    encoder = dataclasses.replace(tiny_encoder, pooling=pooling)
    layers = {"relu1_1": 1.0, "relu2_1": 0.5}
    objective = Objective(
        encoder,
        content_terms(encoder, photo, painting, {"relu2_1": 1.0}, 1.0, "relative"),
        style_terms(encoder, painting, layers, 2.0, "relative", statistic),
        0.3,
    )
    evaluation = objective.value_and_grad(image)
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    h = 1e-6
    up, down = (objective.value_and_grad(image + s * h * direction).loss for s in (1, -1))
    assert_close((evaluation.gradient * direction).sum().item(), (up - down) / (2 * h), rtol=1e-4, atol=1e-8)
    assert evaluation.gradient.shape == image.shape


def test_relative_norms_measure_against_seeing_nothing(tiny_encoder, pictures):
    """A loss of 1 is that of a picture whose features are all zero, at every layer and scale of features."""
    _, photo, painting = pictures
    (content,) = content_terms(tiny_encoder, photo, photo, {"relu4_2": 1.0}, 1.0, "relative")
    assert_close(content.weight * content.target.square().sum().item(), 1.0)
    for statistic in STATISTICS:
        for style in style_terms(
            tiny_encoder, painting, {"relu1_1": 1.0, "relu5_1": 1.0}, 1.0, "relative", statistic
        ):
            features = tiny_encoder(painting, [style.layer])[style.layer][0].flatten(1)
            nothing = torch.zeros_like(style.sums(features, None).mean)
            assert_close(style.weight * style.distance(nothing).item(), 1.0)


def test_content_is_measured_against_what_a_soft_painting_lets_be_kept(tiny_encoder, pictures):
    _, photo, _ = pictures
    features = tiny_encoder(photo, ["relu4_2"])["relu4_2"].square().mean()
    for factor in (0.1, 10.0):
        painting = 0.5 + (photo - 0.5) * factor
        (content,) = content_terms(tiny_encoder, photo, painting, {"relu4_2": 1.0}, 1.0, "relative")
        energy = tiny_encoder(painting, ["relu4_2"])["relu4_2"].square().mean()
        assert_close(content.weight, 1 / (content.target.numel() * min(features, energy).item()))


def test_layers_without_weight_cost_nothing(tiny_encoder, pictures):
    _, photo, painting = pictures
    layers = {"relu1_1": 1.0, "relu5_1": 0.0}
    objective = Objective(
        tiny_encoder,
        content_terms(tiny_encoder, photo, painting, {"relu4_2": 1.0}, 0.0, "half"),
        style_terms(tiny_encoder, painting, layers, 1.0, "gatys"),
    )
    assert objective.taps == {"relu1_1"}
    assert set(objective.value_and_grad(photo).terms) == {"style relu1_1"}
