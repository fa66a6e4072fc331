"""Painting with a network: sizes, strengths, regions, colours, and what is wrong with them."""

import dataclasses

import numpy as np
import pytest
import torch

from impasto import fast, images
from impasto.errors import BudgetError, WeightsError
from impasto.fast import models, stylizer
from impasto.settings.options import FastOptions


@pytest.fixture
def shipped(monkeypatch, model):
    """`model` in the place of the one that comes along."""
    monkeypatch.setattr(models, "load", lambda path=None, device=None: model)
    return model


def last(*arguments, **options):
    *_, step = fast.iterate(*arguments, FastOptions(**options))
    return step


class TestStylize:
    @pytest.mark.parametrize("size", [(64, 96), (37, 51), (8, 9), (1, 40)])
    def test_any_size_comes_out_exactly(self, shipped, painting, size):
        photo = torch.rand(3, *size)
        assert fast.stylize(photo, painting, FastOptions(size=None)).size == size

    def test_a_style_of_a_few_pixels(self, shipped, photo):
        assert fast.stylize(photo, np.full((3, 2, 3), 99, np.uint8), FastOptions(size=64)).size == (43, 64)

    def test_size_is_the_long_side(self, shipped, photo, painting):
        assert fast.stylize(photo, painting, FastOptions(size=50)).size == (33, 50)

    def test_strength_0_is_the_photo(self, shipped, photo, painting):
        given = images.read(photo)
        assert (
            fast.stylize(given, painting, FastOptions(strength=0)).rgb - given.resized(341, 512).rgb
        ).abs().max() < 1e-5

    def test_strength_goes_there_steadily(self, shipped, photo, painting):
        given = images.read(photo).resized(32, 48)
        steps = [
            (fast.stylize(given, painting, FastOptions(size=48, strength=s)).rgb - given.rgb).abs().mean().item()
            for s in (0, 0.02, 0.3, 0.98, 1)
        ]
        assert steps[0] < 1e-5
        assert steps[1] < 0.1 * steps[4]  # nothing leaps at 0
        assert steps[1] < steps[2] < steps[4] * 1.05
        assert abs(steps[3] - steps[4]) < 0.1 * steps[4]  # nor at 1

    def test_one_style_of_two_by_weight(self, shipped, photo, painting):
        other = np.ascontiguousarray(255 - painting[::-1])
        alone = fast.stylize(photo, painting, FastOptions(size=48)).rgb
        both = fast.stylize(photo, [painting, other], FastOptions(size=48, style_weights="1,0")).rgb
        mixed = fast.stylize(photo, [painting, other], FastOptions(size=48)).rgb
        assert torch.allclose(alone, both, atol=1e-5)
        assert (alone - mixed).abs().max() > 1e-3

    def test_what_is_kept_stays(self, shipped, photo, painting):
        keep = np.zeros((64, 96), np.uint8)
        keep[:, :48] = 255
        done = fast.stylize(photo, painting, FastOptions(size=96, content_mask={"keep": keep})).rgb
        given = images.read(photo).rgb
        assert torch.allclose(done[..., :40], given[..., :40], atol=1e-5)
        assert (done[..., 56:] - given[..., 56:]).abs().max() > 0.02

    def test_regions_have_their_own_styles(self, shipped, photo, painting):
        other, mask = np.ascontiguousarray(255 - painting), np.zeros((64, 96), np.uint8)
        mask[:, :48] = 255
        options = {"size": 96, "content_mask": {"1": mask}}
        done = fast.stylize(photo, [painting, other], FastOptions(**options)).rgb
        same = fast.stylize(photo, [painting, painting], FastOptions(**options)).rgb
        change = (done - same).abs().mean((0, 1))
        assert change[:24].mean() < 0.1 * change[72:].mean()

    def test_transparency_stays(self, shipped, photo, painting):
        alpha = np.full((64, 96, 1), 255, np.uint8)
        alpha[:20] = 0
        done = fast.stylize(np.concatenate([photo, alpha], 2), painting, FastOptions(size=96))
        assert done.alpha is not None
        assert done.alpha[:18].max() == 0

    @pytest.mark.parametrize("color", ["luminance", "match", "both", "palette"])
    def test_colour_modes(self, shipped, photo, painting, color):
        done = fast.stylize(photo, painting, FastOptions(size=64, color=color))
        assert done.rgb.isfinite().all()
        assert not torch.equal(done.rgb, images.read(photo).resized(*done.size).rgb)

    def test_the_same_twice(self, shipped, photo, painting):
        one, two = (fast.stylize(photo, painting, FastOptions(size=64)).rgb for _ in range(2))
        assert torch.equal(one, two)

    def test_steps_count_tiles(self, shipped, photo, painting, monkeypatch):
        monkeypatch.setattr(stylizer, "MAX_WINDOW", 1 << 11)
        monkeypatch.setattr(stylizer, "MIN_WINDOW", 1 << 10)
        steps = list(fast.iterate(photo, painting, FastOptions(size=96)))
        assert len(steps) > 4
        assert [step.iteration for step in steps] == list(range(1, len(steps) + 1))
        assert {step.iterations for step in steps} == {len(steps)}
        assert steps[-1].eta == 0
        assert all(step.picture.size == (64, 96) for step in steps)

    def test_a_model_of_one_painting(self, model, monkeypatch, photo, painting):
        code = model.network.code(images.read(painting).resized(64, 88).rgb[None])
        one = dataclasses.replace(model, code=code)
        monkeypatch.setattr(models, "load", lambda path=None, device=None: one)
        done = fast.stylize(photo, options=FastOptions(size=64, model="one.safetensors"))
        assert done.size == (43, 64)
        with pytest.raises(ValueError, match="was trained on one painting; give no style"):
            fast.stylize(photo, painting, FastOptions(model="one.safetensors"))
        with pytest.raises(ValueError, match="color match asks for the painting"):
            fast.stylize(photo, options=FastOptions(model="one.safetensors", color="match"))

    @pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
    def test_the_last_step_lies_between_black_and_white(self, shipped, photo, painting, strength):
        image = last(photo, painting, size=64, strength=strength).image
        assert image.min() >= 0
        assert image.max() <= 1

    def test_memo_reads_a_painting_once(self, shipped, photo, painting, monkeypatch):
        seen = []
        levels_of = type(shipped.network).levels_of
        monkeypatch.setattr(type(shipped.network), "levels_of", lambda self, x: seen.append(1) or levels_of(self, x))
        memo = {}
        for _ in range(3):
            list(fast.iterate(photo, painting, FastOptions(size=64), memo))
        assert len(seen) == 1


class TestErrors:
    def test_no_style(self, shipped, photo):
        with pytest.raises(ValueError, match="no style was given"):
            fast.stylize(photo)

    def test_too_little_memory(self, shipped, photo, painting):
        with pytest.raises(BudgetError, match="--memory"):
            fast.stylize(photo, painting, FastOptions(memory="1MB"))

    def test_no_such_model(self, photo, painting):
        with pytest.raises(WeightsError, match="no such model: none.safetensors"):
            fast.stylize(photo, painting, FastOptions(model="none.safetensors"))
