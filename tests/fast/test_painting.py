"""Painting with a network: in tiles as in the whole, in regions, at any strength and size."""

import dataclasses

import numpy as np
import pytest
import torch

from impasto import fast, images
from impasto.errors import BudgetError, WeightsError
from impasto.fast import models, painting
from impasto.fast.models import Model
from impasto.fast.networks import CODE, Code
from impasto.fast.painting import Part, code_of, paint
from impasto.options import FastOptions
from impasto.regions import Source


@pytest.fixture
def shipped(monkeypatch, model):
    """`model` in the place of the one that comes along."""
    monkeypatch.setattr(models, "load", lambda path=None, device=None: model)
    return model


def last(*arguments, **options):
    *_, step = fast.iterate(*arguments, FastOptions(**options))
    return step


class TestTiles:
    def sources(self, generator, height=112, width=176):
        photo = torch.rand(3, height // 8, width // 8, generator=generator)
        return images.resize(photo, height, width), images.resize(torch.rand(3, 8, 8, generator=generator), 64, 80)

    def test_equal_the_whole(self, net, generator):
        photo, style = self.sources(generator)
        code = code_of(net, Source("style", style))
        parts = [Part(None, code.vector, [(code, 1.0)])]
        *_, whole = paint(net, photo, parts, window=1 << 30)
        *_, tiled = paint(net, photo, parts, window=3000)
        assert (whole - tiled).abs().max() < 2e-4

    def test_the_whole_is_the_network(self, net, generator):
        photo, style = self.sources(generator)
        code = net.code(style[None])
        (*_, whole) = paint(net, photo, [Part(None, code.vector, [(code, 1.0)])])
        assert torch.allclose(whole, net.painted(photo[None], code)[0], atol=1e-5)

    def test_equal_the_whole_with_regions(self, net, generator):
        photo, style = self.sources(generator)
        codes = [code_of(net, Source("style", picture)) for picture in (style, 1 - style)]
        left = torch.zeros(photo.shape[1:])
        left[:, :90] = 1
        parts = [Part(w, c.vector, [(c, 1.0)]) for w, c in zip((left, 1 - left), codes, strict=True)]
        *_, whole = paint(net, photo, parts, window=1 << 30)
        *_, tiled = paint(net, photo, parts, window=6000)
        assert (whole - tiled).abs().max() < 2e-4

    def test_a_code_is_the_same(self, net, generator):
        _, style = self.sources(generator)
        whole, tiled = (code_of(net, Source("style", style), window) for window in (1 << 30, 1))
        assert torch.allclose(whole.vector, tiled.vector, atol=1e-3)
        for one, two in zip(whole.fits, tiled.fits, strict=True):
            assert torch.allclose(one.spread, two.spread, rtol=1e-3, atol=1e-3)

    def test_a_mask_over_a_painting_chooses_what_is_read(self, net, generator):
        _, style = self.sources(generator)
        style[..., 40:] *= 0.2
        where = torch.zeros(style.shape[1:])
        where[:, :40] = 1
        masked = code_of(net, Source("style", style, where))
        alone = code_of(net, Source("style", style[..., :40].contiguous()))
        other = code_of(net, Source("style", style))

        def apart(one, two):
            return (one.fits[0].mean - two.fits[0].mean).norm().item()

        assert apart(masked, alone) < 0.5 * apart(other, alone)  # equal but for what is seen across the border


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
        monkeypatch.setattr(fast.painting, "WINDOW", 1 << 11)
        monkeypatch.setattr(fast.painting, "LEAST", 1 << 10)
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
        with pytest.raises(ValueError, match="knows one painting, its own; give no style"):
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
        look = type(shipped.network).look
        monkeypatch.setattr(type(shipped.network), "look", lambda self, x: seen.append(1) or look(self, x))
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


class TestModels:
    def test_are_the_same_after_saving(self, tmp_path, monkeypatch):
        torch.manual_seed(0)
        made = painting.models.empty("compact", torch.device("cpu"))
        made.half().float()
        code = made.code(torch.rand(1, 3, 32, 32))
        models.save(tmp_path / "m.safetensors", Model(made, code, {"steps": 3}))
        back = models.load(tmp_path / "m.safetensors")
        assert back.card == {"steps": 3}
        assert torch.allclose(back.code.vector, code.vector)
        for name, tensor in made.state_dict().items():
            assert torch.allclose(back.network.state_dict()[name], tensor, atol=1e-3)
        assert not any(p.requires_grad for p in back.network.parameters())

    @pytest.mark.parametrize("content", [b"", b"nothing of the kind" * 40, None])
    def test_a_damaged_file(self, tmp_path, content):
        path = tmp_path / "m.safetensors"
        if content is None:  # cut short
            models.save(path, Model(models.empty("compact", torch.device("cpu"))))
            content = path.read_bytes()[:5000]
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="cannot read the model"):
            models.load(path)

    def test_a_safetensors_file_of_something_else(self, tmp_path):
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(2)}, tmp_path / "m.safetensors")
        with pytest.raises(WeightsError, match="not a network of 'impasto train'"):
            models.load(tmp_path / "m.safetensors")


class TestShipped:
    """The model that comes along."""

    @pytest.fixture
    def model(self):
        return models.load()

    def test_is_small(self):
        assert models.BUILT_IN.stat().st_size <= 5e6

    def test_says_how_it_was_made(self, model):
        assert model.card["steps"] >= 1000
        assert model.card["options"]["network"] == model.network.kind

    def painted(self, photo, style="swirls"):
        return fast.stylize(photo, style, FastOptions(size=None)).rgb

    def test_leaves_no_grid(self, model):
        """A smooth photo: what it is painted with has no more at periods of 2 and 4 pixels than next to them."""
        y, x = torch.meshgrid(torch.linspace(0, 1, 256), torch.linspace(0, 1, 256), indexing="ij")
        done = self.painted(torch.stack([x, y, (x + y) / 2]), "watercolour").mean(0)
        spectrum = torch.fft.fft2(done - done.mean()).abs().square()
        for axis in (0, 1):
            power = spectrum.sum(1 - axis)
            for period in (2, 4):
                at = 256 // period
                around = torch.cat([power[at - 6 : at - 1], power[at + 2 : at + 7]]).mean()
                assert power[at] < 8 * around

    def test_paints_no_frame(self, model, photo):
        """The border is no lighter or darker than what lies beside it, over many photos' sides."""
        done = self.painted(images.read(photo).resized(128, 192)).mean(0)
        rim = torch.cat([done[0], done[-1], done[:, 0], done[:, -1]]).mean()
        beside = torch.cat([done[6], done[-7], done[:, 6], done[:, -7]]).mean()
        assert (rim - beside).abs() < 0.04

    def test_comes_nearer_to_the_painting(self, model, photo):
        from impasto import weights
        from impasto.fast.critic import LAYERS, Critic
        from impasto.styles import paint as paint_style

        critic = Critic(weights.load("vgg19", padding="replicate").up_to(LAYERS))
        given = images.read(photo).resized(128, 192)
        style = images.read(paint_style("facets", 160, 160))
        done = fast.stylize(given, style, FastOptions(size=None))
        target = critic.style(critic.see(style.rgb[None]))
        before, after = (critic.gram_loss(critic.style(critic.see(p.rgb[None])), target) for p in (given, done))
        assert after < 0.5 * before


def test_code_of_a_batch_rolls():
    code = Code((), torch.arange(2.0)[:, None].expand(2, CODE))
    assert code.rolled().vector[0, 0] == 1
