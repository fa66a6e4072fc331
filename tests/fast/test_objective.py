"""What networks are trained on: the values against literal ones, the gradients against differences of values."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from making_models import random_vgg

from impasto.fast.network import StyleReader, summarize
from impasto.fast.objective import (
    CROP_MARGIN,
    IDENTITY_WEIGHT,
    PAINTING_AREA,
    CropObjective,
    encoder_for,
    painted_losses,
    summary,
)
from impasto.images.regions import StyleSource
from impasto.settings.options import FeedForwardObjective

CPU = torch.device("cpu")
INNER = (..., slice(CROP_MARGIN, -CROP_MARGIN), slice(CROP_MARGIN, -CROP_MARGIN))


def options(**changes):
    few = {"style_layers": "relu1_1=2,relu2_1=1", "content_layers": "relu2_1=0.5,relu3_1=1", "crop": 32}
    return FeedForwardObjective(**few | changes)


@pytest.fixture
def source(generator):
    return StyleSource("a", torch.rand(3, 40, 48, generator=generator, dtype=torch.float64))


@pytest.fixture
def crops(generator):
    """A photo, and a painted one: `(1, 3, 32, 32)`, float64."""
    return torch.rand(2, 1, 3, 32, 32, generator=generator, dtype=torch.float64)


@pytest.fixture
def objective(tiny_encoder):
    return lambda **changes: CropObjective(tiny_encoder, options(**changes))


def features(encoder, image, layer):
    """`(n, positions)`"""
    ((_, found, _),) = encoder.walk(image, [layer])
    return found[0].flatten(1)


class TestValues:
    def test_are_those_of_the_formulas(self, objective, tiny_encoder, source, crops):
        photo, painted = crops
        content = style = 0.0
        for layer, weight in {"relu1_1": 2, "relu2_1": 1}.items():
            ours, theirs = (features(tiny_encoder, image, layer) for image in (painted, source.image[None]))
            gram, target = ours @ ours.T / ours.shape[1], theirs @ theirs.T / theirs.shape[1]
            style += 5.0 * weight * ((gram - target).square().sum() / target.square().sum()).item()
        for layer, weight in {"relu2_1": 0.5, "relu3_1": 1}.items():
            ours, theirs, its = (features(tiny_encoder, x, layer) for x in (painted, photo, source.image[None]))
            energy = min(theirs.square().mean(), its.square().mean())
            content += 1.5 * weight * ((ours - theirs).square().mean() / energy).item()
        made = objective(content_weight=1.5)
        found, _ = made.value_and_grad(photo, painted, made.targets(source))
        assert found == {"content": pytest.approx(content), "style": pytest.approx(style)}

    def test_the_style_weight_grows_with_the_cube_of_the_strength(self, objective, source, crops):
        made = objective()
        targets = made.targets(source)
        whole, half = (made.value_and_grad(*crops, targets, strength)[0] for strength in (1.0, 0.5))
        assert half["style"] == pytest.approx(whole["style"] / 8)
        assert half["content"] == pytest.approx(whole["content"])

    def test_total_variation_is_a_term_of_its_own(self, objective, source, crops):
        made = objective(total_variation=0.1)
        found, _ = made.value_and_grad(*crops, made.targets(source))
        assert set(found) == {"content", "style", "total variation"}
        assert found["total variation"] > 0

    def test_layers_of_weight_0_are_left_out(self, objective, source):
        made = objective(style_layers="relu1_1=0,relu2_1=3")
        (loss,) = made.targets(source).losses
        assert loss.layer == "relu2_1"

    @pytest.mark.parametrize(
        "changes",
        [{"statistic": "moments"}, {"style_norm": "gatys"}, {"content_norm": "half"}, {"style_scale": 0.5}],
        ids=lambda changes: next(iter(changes)),
    )
    def test_options_change_them(self, objective, source, crops, changes):
        values = []
        for made in (objective(), objective(**changes)):
            values.append(made.value_and_grad(*crops, made.targets(source))[0])
        name = "content" if "content_norm" in changes else "style"
        assert abs(values[1][name] / values[0][name] - 1) > 0.02

    @pytest.mark.parametrize(
        ("size", "scale", "read"),
        [((1024, 1024), 1, (512, 512)), ((1024, 1024), 2, (1024, 1024)), ((256, 256), 1, (256, 256))],
        ids=str,
    )
    def test_paintings_are_read_at_512_pixels(self, size, scale, read):
        assert PAINTING_AREA == 512 * 512
        source = SimpleNamespace(size=size)
        assert StyleSource.size_for(source, PAINTING_AREA, scale) == read


class TestGradients:
    @pytest.mark.parametrize(
        "changes",
        [{}, {"statistic": "moments", "total_variation": 0.3}, {"style_norm": "gatys", "content_norm": "half"}],
        ids=["default", "moments", "norms"],
    )
    def test_of_a_crop(self, objective, source, crops, generator, changes):
        made = objective(**changes)
        targets = made.targets(source)
        photo, painted = crops
        _, grad = made.value_and_grad(photo, painted, targets, 0.7)
        direction = torch.randn(painted.shape, generator=generator, dtype=torch.float64)

        def value(step):
            return sum(made.value_and_grad(photo, painted + step * direction, targets, 0.7)[0].values())

        difference = (value(1e-6) - value(-1e-6)) / 2e-6
        assert (grad * direction).sum().item() == pytest.approx(difference, rel=1e-4)

    def test_of_a_batch(self, objective, source, generator):
        """Of crops at several strengths, of which the margin is not compared, and those at 0 with the photo."""
        made = objective()
        targets, side = [made.targets(source)] * 3, 32 + 2 * CROP_MARGIN
        photos, painted = torch.rand(2, 3, 3, side, side, generator=generator, dtype=torch.float64)
        strengths = [1.0, 0.0, 0.4]
        losses, grad = painted_losses(made, photos, painted, targets, strengths)
        assert set(losses) == {"content", "style", "identity"}
        error = (painted[1] - photos[1])[INNER]
        assert losses["identity"] == pytest.approx(IDENTITY_WEIGHT * error.square().mean().item())
        outside = grad.clone()
        outside[INNER] = 0
        assert outside.abs().max() == 0
        for i, strength in enumerate(strengths):
            direction = torch.zeros_like(painted)
            direction[i] = torch.randn(painted[i].shape, generator=generator, dtype=torch.float64)
            high, low = (
                sum(painted_losses(made, photos, painted + step * direction, targets, strengths)[0].values())
                for step in (1e-6, -1e-6)
            )
            assert (grad * direction).sum().item() == pytest.approx((high - low) / 2e-6, rel=1e-4), strength


class TestEncoder:
    def test_reaches_down_to_what_is_read(self, monkeypatch):
        """And no further: that of a reader is deeper than these losses."""
        monkeypatch.setattr("impasto.vgg.weights.load", lambda name, padding: random_vgg())
        encoder = encoder_for(options(), CPU)
        assert encoder.layers[-1].name == "relu4_1"
        deeper = encoder_for(options(content_layers="relu4_2"), CPU)
        assert deeper.layers[-1].name == "relu4_2"

    def test_refuses_layers_that_it_does_not_have(self):
        with pytest.raises(ValueError, match="relu9_1"):
            encoder_for(options(content_layers="relu9_1"), CPU)

    def test_summary_is_that_of_the_features(self, tiny_encoder, source):
        mask = torch.zeros(40, 48, dtype=torch.float64)
        mask[:, :16] = 1
        for given, columns in ((None, 48), (mask, 16)):
            moments = []
            for layer in StyleReader.LAYERS:
                ((_, found, _),) = tiny_encoder.walk(source.image[None], [layer])
                part = found[0, ..., : columns // tiny_encoder.stride(layer)].flatten(1)
                moments.append(torch.stack([part.mean(1), part.square().mean(1)]))
            found = summary(tiny_encoder, dataclasses.replace(source, mask=given))
            assert torch.allclose(found, summarize(moments).to(found), atol=1e-5)
