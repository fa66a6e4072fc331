"""Model files, and the bundled model."""

import pytest
import torch

from impasto import fast, images
from impasto.errors import WeightsError
from impasto.fast import models
from impasto.fast.models import Model
from impasto.settings.options import FastOptions


class TestModels:
    def test_are_the_same_after_saving(self, tmp_path, monkeypatch):
        torch.manual_seed(0)
        network = models.untrained("compact", torch.device("cpu"))
        network.half().float()
        code = network.code(torch.rand(1, 3, 32, 32))
        models.save(tmp_path / "m.safetensors", Model(network, code, {"steps": 3}))
        back = models.load(tmp_path / "m.safetensors")
        assert back.card == {"steps": 3}
        assert torch.allclose(back.code.vector, code.vector)
        for name, tensor in network.state_dict().items():
            assert torch.allclose(back.network.state_dict()[name], tensor, atol=1e-3)
        assert not any(p.requires_grad for p in back.network.parameters())

    @pytest.mark.parametrize("content", [b"", b"nothing of the kind" * 40, None])
    def test_a_damaged_file(self, tmp_path, content):
        path = tmp_path / "m.safetensors"
        if content is None:  # cut short
            models.save(path, Model(models.untrained("compact", torch.device("cpu"))))
            content = path.read_bytes()[:5000]
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="cannot read the model"):
            models.load(path)

    def test_a_safetensors_file_of_something_else(self, tmp_path):
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(2)}, tmp_path / "m.safetensors")
        with pytest.raises(WeightsError, match="not a model of 'impasto train'"):
            models.load(tmp_path / "m.safetensors")


class TestBundled:
    @pytest.fixture
    def model(self):
        return models.load()

    def test_is_small(self):
        assert models.BUNDLED.stat().st_size <= 5e6

    def test_has_a_card(self, model):
        assert model.card["steps"] >= 1000
        assert model.card["options"]["network"] == model.network.kind

    def painted(self, photo, style="swirls"):
        return fast.stylize(photo, style, FastOptions(size=None)).rgb

    def test_leaves_no_grid(self, model):
        """The spectrum of a smooth photo, stylised, has no peaks at periods of 2 and 4 pixels."""
        y, x = torch.meshgrid(torch.linspace(0, 1, 256), torch.linspace(0, 1, 256), indexing="ij")
        done = self.painted(torch.stack([x, y, (x + y) / 2]), "watercolour").mean(0)
        spectrum = torch.fft.fft2(done - done.mean()).abs().square()
        for axis in (0, 1):
            power = spectrum.sum(1 - axis)
            for period in (2, 4):
                at = 256 // period
                around = torch.cat([power[at - 6 : at - 1], power[at + 2 : at + 7]]).mean()
                assert power[at] < 8 * around

    def test_paints_no_border(self, model, photo):
        """The border is as light as the pixels beside it."""
        done = self.painted(images.read(photo).resized(128, 192)).mean(0)
        rim = torch.cat([done[0], done[-1], done[:, 0], done[:, -1]]).mean()
        beside = torch.cat([done[6], done[-7], done[:, 6], done[:, -7]]).mean()
        assert (rim - beside).abs() < 0.04

    def test_lowers_the_style_loss(self, model, photo):
        from impasto.fast.perceptual import LAYERS, PerceptualLoss
        from impasto.inputs.styles import paint as paint_style
        from impasto.vgg import weights

        loss = PerceptualLoss(weights.load("vgg19", padding="replicate").up_to(LAYERS))
        given = images.read(photo).resized(128, 192)
        style = images.read(paint_style("facets", 160, 160))
        done = fast.stylize(given, style, FastOptions(size=None))
        target = loss.style(loss.features(style.rgb[None]))
        before, after = (loss.gram_loss(loss.style(loss.features(p.rgb[None])), target) for p in (given, done))
        assert after < 0.5 * before
