"""The losses of the papers against literal transcriptions, loop by loop, in float64."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from impasto import images
from impasto.images import Picture
from impasto.images.regions import Region, StyleSource
from impasto.inputs import styles
from impasto.inputs.prepare import Inputs
from impasto.losses import nearest
from impasto.losses.objective import Objective
from impasto.losses.statistics import STATISTICS
from impasto.losses.targets import content_losses, extract_features, style_losses, weighted
from impasto.losses.terms import ContentLoss, StyleLoss, TemporalLoss, TotalVariation
from impasto.operations import stylize
from impasto.optim.memory import Plan
from impasto.optim.schedule import Scale
from impasto.presets import preset
from impasto.settings.options import StylizeOptions
from impasto.vgg import weights

SIZE = (32, 48)
#: As a whole.
PLAN = Plan(1 << 20, "lbfgs", 10, True, 0)


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


def content_of(encoder, photo, layers, weight, norm, painting=None):
    """Content losses, weighted, with the painting's energy measured as the program does."""
    energy = None
    if painting is not None:
        _, energy = style_losses(encoder, whole_of(painting), (), SIZE, measured=layers)
    return weighted(content_losses(extract_features(encoder, photo, layers), norm, energy), layers, weight)


def style_of(encoder, painting, layers, weight, norm, statistic="gram", size=SIZE):
    return weighted(style_losses(encoder, whole_of(painting), layers, size, norm, statistic)[0], layers, weight)


def whole_of(*paintings):
    return Region(None, tuple(StyleSource("painting", p[0], None, 1 / len(paintings)) for p in paintings))


def objective_of(monkeypatch, encoder, options, photo, painting, size=SIZE, keep=None, luminance_only=False):
    """The objective of `stylize` at one scale, of pictures of its size, seen by this encoder."""
    monkeypatch.setattr(weights, "load", lambda *_: encoder)
    picture, styles = Picture(photo[0]), [("painting", Picture(painting[0]))]
    inputs = Inputs(picture, picture, styles, photo[0], (whole_of(painting),), keep, luminance_only)
    problem, _ = stylize.problem_of(inputs, options, torch.device("cpu"))
    problem = dataclasses.replace(problem, encoder=encoder)
    return problem.objective(Scale(*size, 1), PLAN)


def flat(encoder, image, layer):
    return encoder(image, [layer])[layer][0].flatten(1).numpy()


@pytest.mark.parametrize(
    ("name", "content_loss", "style_loss", "alpha", "beta"),
    [
        ("gatys2016", literal_gatys_content, literal_gatys_style, 1e-3, 1),
        ("course", literal_course_content, literal_course_style, 10, 40),
    ],
)
def test_presets_are_the_papers(name, content_loss, style_loss, alpha, beta, tiny_encoder, pictures, monkeypatch):
    image, photo, painting = pictures
    encoder = dataclasses.replace(tiny_encoder, pooling=preset(name).pooling)
    objective = objective_of(monkeypatch, encoder, preset(name), photo, painting)
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
    assert_close(
        TotalVariation(1.0).accumulate_grad(pictures[0], torch.zeros_like(pictures[0])),
        total / (SIZE[0] * SIZE[1]),
        rtol=1e-12,
        atol=0,
    )


@pytest.mark.parametrize("band", [1, 7, 32, 100])
@pytest.mark.parametrize("circular", [False, True])
def test_total_variation_by_bands(pictures, band, circular):
    image = pictures[0].clone().requires_grad_()
    steps = [image.roll(-1, dim) - image if circular else image.diff(dim=dim) for dim in (-1, -2)]
    squares = sum(step.square().sum() for step in steps)
    value = 0.3 * squares / (SIZE[0] * SIZE[1])
    (expected,) = torch.autograd.grad(value, image)
    gradient = torch.ones_like(image)
    assert_close(TotalVariation(0.3, circular).accumulate_grad(image.detach(), gradient, band), value.item())
    assert_close(gradient - 1, expected)


@pytest.mark.parametrize("statistic", [*STATISTICS, "nearest"])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_gradient(statistic, pooling, tiny_encoder, pictures):
    image, photo, painting = (picture[..., :16, :16] for picture in pictures)
    encoder = dataclasses.replace(tiny_encoder, pooling=pooling)
    layers = {"relu1_1": 1.0, "relu2_1": 0.5}
    objective = Objective(
        encoder,
        (
            *content_of(encoder, photo, {"relu2_1": 1.0}, 1.0, "relative", painting),
            *style_of(encoder, painting, layers, 2.0, "relative", statistic, (16, 16)),
        ),
        TotalVariation(0.3),
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
    (content,) = content_of(tiny_encoder, photo, {"relu4_2": 1.0}, 1.0, "relative")
    assert_close(content.weight * content.target.square().sum().item(), 1.0)
    for statistic in STATISTICS:
        for style in style_of(tiny_encoder, painting, {"relu1_1": 1.0, "relu5_1": 1.0}, 1.0, "relative", statistic):
            features = tiny_encoder(painting, [style.layer])[style.layer][0].flatten(1)
            nothing = torch.zeros_like(style.phi.reduce(features, None).mean)
            assert_close(style.weight * style.distance(nothing).item(), 1.0)


def test_content_is_measured_against_what_a_soft_painting_lets_be_kept(tiny_encoder, pictures):
    _, photo, _ = pictures
    features = tiny_encoder(photo, ["relu4_2"])["relu4_2"].square().mean()
    for factor in (0.1, 10.0):
        painting = 0.5 + (photo - 0.5) * factor
        (content,) = content_of(tiny_encoder, photo, {"relu4_2": 1.0}, 1.0, "relative", painting)
        energy = tiny_encoder(painting, ["relu4_2"])["relu4_2"].square().mean()
        assert_close(content.weight, 1 / (content.target.numel() * min(features, energy).item()))


def test_layers_without_weight_cost_nothing(tiny_encoder, pictures, monkeypatch):
    _, photo, painting = pictures
    options = StylizeOptions(content_weight=0.0, style_layers={"relu1_1": 1.0, "relu5_1": 0.0})
    objective = objective_of(monkeypatch, tiny_encoder, options, photo, painting)
    assert objective.taps == {"relu1_1"}
    assert set(objective.value_and_grad(photo).terms) == {"style relu1_1"}


def test_several_sources_are_one_distribution(tiny_encoder, pictures):
    """The mean of a statistic over two paintings of one size side by side is the mean of theirs."""
    _, one, other = pictures
    layers = {"relu1_1": 1.0, "relu3_1": 1.0}
    encoder = dataclasses.replace(tiny_encoder, padding="replicate")
    for statistic in STATISTICS:
        terms, _ = style_losses(encoder, whole_of(one, other), layers, SIZE, "gatys", statistic)
        for term in terms:
            both = torch.cat([encoder(p, [term.layer])[term.layer][0].flatten(1) for p in (one, other)], 1)
            assert_close(term.distance(term.phi.reduce(both, None).mean).item(), 0.0, rtol=0, atol=1e-9)
            assert term.distance(term.phi.reduce(both[:, : both.shape[1] // 2], None).mean) > 1e-9


def test_a_masked_term_sees_only_its_region(tiny_encoder, pictures):
    """The value is that of the positions within, and what lies far outside has no gradient."""
    image, _, painting = pictures
    mask = torch.zeros(SIZE, dtype=torch.float64)
    mask[:, :16] = 1
    region = dataclasses.replace(whole_of(painting), mask=mask, name="left")
    for statistic in [*STATISTICS, "nearest"]:
        (term,), _ = style_losses(tiny_encoder, region, ["relu2_1"], SIZE, "relative", statistic)
        assert term.name == "style relu2_1 in left"
        alone, _ = style_losses(tiny_encoder, whole_of(painting), ["relu2_1"], (32, 16), "relative", statistic)
        evaluation = Objective(tiny_encoder, (term,)).value_and_grad(image)
        # A third of the picture counts a third.
        features = tiny_encoder(image, ["relu2_1"])["relu2_1"][..., :8]
        if statistic == "nearest":
            expected = alone[0].accumulate_grad(features, None, torch.zeros_like(features))
        else:
            expected, _ = alone[0].finish(alone[0].reduce(features))
        assert_close(evaluation.loss, expected / 3)
        gradient = evaluation.gradient
        assert gradient[..., :16].abs().max() > 0
        assert gradient[..., 24:].abs().max() == 0


def test_a_masked_style_is_read_only_there(tiny_encoder, pictures):
    _, _, painting = pictures
    mask = torch.zeros(SIZE, dtype=torch.float64)
    mask[8:24, 16:] = 1
    source = StyleSource("painting", painting[0], mask)
    for statistic in [*STATISTICS, "nearest"]:
        (term,), _ = style_losses(tiny_encoder, Region(None, (source,)), ["relu2_1"], (16, 32), "gatys", statistic)
        inside = tiny_encoder(painting, ["relu2_1"])["relu2_1"][..., 4:12, 8:]
        if statistic == "nearest":
            value = term.accumulate_grad(inside, None, torch.zeros_like(inside))
        else:
            value, _ = term.finish(term.reduce(inside))
        assert_close(value, 0.0, rtol=0, atol=1e-9)


def test_what_a_painting_weighs_goes_to_the_others_where_its_mask_vanishes(tiny_encoder, pictures):
    image, large, other = pictures
    mask = torch.zeros(SIZE, dtype=torch.float64)
    mask[:6, :6] = 1  # no position of relu5_1
    sources = StyleSource("large", large[0], None, 0.25), StyleSource("small", other[0], mask, 0.75)
    for statistic in [*STATISTICS, "nearest"]:
        shallow_and_deep = ["relu1_1", "relu5_1"]
        mixed, _ = style_losses(tiny_encoder, Region(None, sources), shallow_and_deep, SIZE, "relative", statistic)
        alone, _ = style_losses(tiny_encoder, whole_of(large), shallow_and_deep, SIZE, "relative", statistic)
        found, expected = (Objective(tiny_encoder, losses).value_and_grad(image).terms for losses in (mixed, alone))
        assert_close(found["style relu5_1"], expected["style relu5_1"])
        assert abs(found["style relu1_1"] / expected["style relu1_1"] - 1) > 1e-6


def test_layers_at_which_a_region_vanishes_are_left_out(tiny_encoder, pictures):
    mask = torch.zeros(SIZE, dtype=torch.float64)
    mask[:6, :6] = 1
    region = dataclasses.replace(whole_of(pictures[0]), mask=mask, name="small")
    terms, _ = style_losses(tiny_encoder, region, [f"relu{block}_1" for block in range(1, 6)], SIZE)
    assert [term.layer for term in terms] == ["relu1_1", "relu2_1", "relu3_1"]


def test_a_painting_that_vanishes_does_not_weigh_on_the_content(tiny_encoder, pictures):
    """Its energy is unknown then, not zero: the content is measured against the photo alone."""
    mask = torch.zeros(SIZE, dtype=torch.float64)
    mask[:3, :3] = 1
    part = Region(None, (StyleSource("painting", pictures[0][0], mask),))
    for statistic in ("gram", "nearest"):
        terms, energy = style_losses(
            tiny_encoder, part, ["relu1_1"], SIZE, statistic=statistic, measured=["relu1_1", "relu4_2"]
        )
        assert len(terms) == 1
        assert energy["relu4_2"] == float("inf")
        assert 0 < energy["relu1_1"] < 10
    features = extract_features(tiny_encoder, pictures[1], ["relu4_2"])
    (expected,) = content_losses(features, "relative")
    (content,) = content_losses(features, "relative", energy)
    assert content.weight == expected.weight


@pytest.mark.parametrize("color", ["style", "luminance"])
def test_the_view_is_differentiated_too(tiny_encoder, pictures, color, generator, monkeypatch):
    image, photo, painting = (picture[..., :16, :16] for picture in pictures)
    keep = torch.rand(16, 16, generator=generator, dtype=torch.float64)
    options = StylizeOptions(style_layers="relu1_1,relu2_1", color=color)
    size, luminance = (16, 16), color == "luminance"
    objective = objective_of(monkeypatch, tiny_encoder, options, photo, painting, size, keep, luminance)
    evaluation = objective.value_and_grad(image)
    direction = torch.randn(image.shape, generator=generator, dtype=torch.float64)
    up, down = (objective.value_and_grad(image + s * 1e-6 * direction).loss for s in (1, -1))
    assert_close((evaluation.gradient * direction).sum().item(), (up - down) / 2e-6, rtol=1e-4, atol=1e-8)


def by_autograd(objective, image):
    """The loss as one formula, differentiated by torch: the reference for the backward pass that is written out."""
    image = image.clone().requires_grad_()
    loss = image.new_tensor(0.0)
    for layer, features, _ in objective.network.walk(image, objective.taps):
        for term in [term for term in objective.terms if term.layer == layer]:
            if isinstance(term, ContentLoss):
                loss = loss + term.weight * (features - term.target).square().sum()
            elif isinstance(term, StyleLoss):
                mask = None if term.mask is None else term.mask.flatten()
                loss = loss + term.weight * term.distance(term.phi.reduce(features[0].flatten(1), mask).mean)
            else:
                ((bank, _),) = term.banks
                loss = loss + term.weight * nearest.distances(features[0].flatten(1), bank).mean()
    (gradient,) = torch.autograd.grad(loss, image)
    return loss.item(), gradient


def assert_as_by_autograd(objective, image, rtol):
    loss, gradient = by_autograd(objective, image)
    evaluation = objective.value_and_grad(image)
    assert_close(evaluation.loss, loss, rtol=rtol, atol=0)
    assert (evaluation.gradient - gradient).norm() < rtol * gradient.norm()


@pytest.mark.parametrize("statistic", [*STATISTICS, "nearest"])
@pytest.mark.parametrize("padding", ["zeros", "replicate", "circular"])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_the_backward_pass_is_that_of_autograd(statistic, padding, pooling, tiny_encoder, pictures):
    """To rounding; activations before their ReLU, several terms on a layer, and poolings among them."""
    image, photo, painting = pictures
    encoder = dataclasses.replace(tiny_encoder, padding=padding, pooling=pooling)
    content = dict.fromkeys(["relu2_1", "conv4_2", "pool1"], 1.0)
    style = dict.fromkeys(["relu1_1", "relu2_1", "conv3_1", "pool2", "relu5_1"], 0.3)
    objective = Objective(
        encoder,
        (
            *content_of(encoder, photo, content, 1.0, "relative"),
            *style_of(encoder, painting, style, 2.0, "relative", statistic),
        ),
    )
    assert_as_by_autograd(objective, image, 1e-10)


@pytest.mark.parametrize("size", [(96, 64), (75, 53)])
def test_the_backward_pass_is_that_of_autograd_in_single_precision(photo, size):
    layers, content = [f"relu{block}_1" for block in range(1, 6)], {"relu4_2": 1.0}
    encoder = weights.load("vgg19", padding="replicate").up_to([*layers, *content])
    image = images.read(photo).resized(*size).rgb[None]
    painting = images.read(styles.paint("swirls", 96, 96)).rgb[None]
    objective = Objective(
        encoder,
        (
            *content_of(encoder, image.flip(-1), content, 1.0, "relative", painting),
            *style_of(encoder, painting, dict.fromkeys(layers, 0.2), 20.0, "relative", size=size),
        ),
    )
    assert_as_by_autograd(objective, image, 1e-5)


def test_temporal_loss_by_hand():
    generator = torch.Generator().manual_seed(0)
    canvas, image, trust = (torch.rand(shape, generator=generator) for shape in ((1, 3, 4, 5), (1, 3, 4, 5), (4, 5)))
    wanted = sum(
        trust[y, x].item() * (canvas[0, c, y, x] - image[0, c, y, x]).item() ** 2
        for c in range(3)
        for y in range(4)
        for x in range(5)
    )
    gradient = torch.zeros_like(canvas)
    value = TemporalLoss(image, trust, 7.0, image[0]).accumulate_grad(canvas, gradient)
    assert value == pytest.approx(7 * wanted / 60, rel=1e-5)
    changed = canvas.clone()
    changed[0, 1, 2, 3] += 1e-3
    loss = TemporalLoss(image, trust, 7.0, image[0])
    slope = (loss.accumulate_grad(changed, torch.zeros_like(canvas)) - value) / 1e-3
    assert gradient[0, 1, 2, 3].item() == pytest.approx(slope, rel=2e-2, abs=1e-4)
