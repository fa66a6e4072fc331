"""Model files, and the bundled model."""

import dataclasses
import hashlib
import json

import pytest
import safetensors.torch
import torch

from impasto import fast, images
from impasto.errors import WeightsError
from impasto.fast import models
from impasto.fast.learning import source_of
from impasto.fast.objective import CropObjective
from impasto.inputs.gallery import PAINTINGS
from impasto.inputs.read import read_styles
from impasto.inputs.styles import STYLES
from impasto.settings.options import FastOptions, TrainOptions
from impasto.vgg import weights


def stored(path):
    """The tensors and the header of a safetensors file."""
    content = path.read_bytes()
    return safetensors.torch.load(content), json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])[
        "__metadata__"
    ]


class TestFiles:
    @pytest.fixture
    def path(self, model, tmp_path):
        path = tmp_path / "m.safetensors"
        models.save(path, dataclasses.replace(model, card={"steps": 3}))
        return path

    def test_hold_all_in_half_precision(self, path, model):
        tensors, _ = stored(path)
        assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
        back = models.load(path)
        assert back.card == {"steps": 3}
        assert list(back.styles) == list(model.styles)
        for name, vector in model.styles.items():
            assert torch.equal(back.styles[name], vector.half().float())
        for one, two in ((back.network, model.network), (back.reader, model.reader)):
            wanted = two.state_dict()
            assert one.state_dict().keys() == wanted.keys()
            assert all(torch.equal(tensor, wanted[name].half().float()) for name, tensor in one.state_dict().items())
            assert not one.training
            assert not any(parameter.requires_grad for parameter in one.parameters())

    def test_are_known_by_their_digest(self, path):
        assert models.load(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_without_a_reader_or_styles(self, model, tmp_path):
        models.save(tmp_path / "m.safetensors", dataclasses.replace(model, reader=None, styles={}))
        back = models.load(tmp_path / "m.safetensors")
        assert back.reader is None
        assert back.styles == {}

    def test_reading_leaves_the_hosts_random_numbers(self, path):
        state = torch.get_rng_state()
        models.load(path)
        assert torch.equal(torch.get_rng_state(), state)

    @pytest.mark.parametrize("content", [b"", b"nothing of the kind" * 40, None], ids=["empty", "other", "cut short"])
    def test_damaged(self, path, content):
        path.write_bytes(path.read_bytes()[:5000] if content is None else content)
        with pytest.raises(WeightsError, match="cannot read the model .*m.safetensors: damaged"):
            models.load(path)

    @pytest.mark.parametrize("header", [None, {"impasto": "1"}], ids=["none", "of another version"])
    def test_of_something_else(self, tmp_path, header):
        safetensors.torch.save_file({"x": torch.zeros(2)}, tmp_path / "m.safetensors", header)
        with pytest.raises(WeightsError, match="not a model of 'impasto train', or it is one of another version"):
            models.load(tmp_path / "m.safetensors")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"styles": '["one", "two"]'}, "3 vectors for 2 styles"),
            ({"styles": "one, two"}, "damaged"),
            ({"card": None}, "damaged"),
            ({"network.to_rgb.weight": None}, "damaged.*Network"),
            ({"reader.first.bias": None}, "damaged.*StyleReader"),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_whose_parts_do_not_fit(self, path, changes, message):
        tensors, header = stored(path)
        for name, value in changes.items():
            part = header if name in header else tensors
            if value is None:
                del part[name]
            else:
                part[name] = value
        safetensors.torch.save_file(tensors, path, header)
        with pytest.raises(WeightsError, match=message):
            models.load(path)

    def test_that_are_missing(self, tmp_path):
        for path in (tmp_path / "none.safetensors", tmp_path):
            with pytest.raises(WeightsError, match="no such model"):
                models.load(path)

    def test_that_cannot_be_written(self, model, tmp_path):
        with pytest.raises(WeightsError, match="cannot write .*No such file"):
            models.save(tmp_path / "none" / "m.safetensors", model)


class TestPrecision:
    def test_is_the_one_asked_for(self):
        assert models.compute_dtype("float32", torch.device("cuda")) == torch.float32
        assert models.compute_dtype("bfloat16", torch.device("cpu")) == torch.bfloat16

    @pytest.mark.parametrize(("capable", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
    def test_depends_on_the_processor(self, monkeypatch, capable, dtype):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": capable}, raising=False)
        assert models.compute_dtype("auto", torch.device("cpu")) == dtype


class TestBundled:
    @pytest.fixture
    def bundled(self):
        return models.load()

    def painted(self, photo, style, **changes):
        return fast.stylize(photo, style, FastOptions(size=None, **changes)).rgb

    def test_is_small(self):
        assert models.BUNDLED.stat().st_size <= 3e6

    def test_is_trained_on_the_gallery(self, bundled):
        assert set(bundled.styles) == {*PAINTINGS, *STYLES}
        assert bundled.card["steps"] >= 1000
        assert bundled.reader is not None

    def test_its_styles_differ(self, bundled):
        vectors = torch.stack(list(bundled.styles.values()))
        assert vectors.isfinite().all()
        distances = torch.cdist(vectors, vectors) + 100 * torch.eye(len(vectors))
        assert distances.min() > 1

    def test_leaves_no_grid(self):
        """The spectrum of a smooth photo, stylised, has no peaks at periods of 2, 4 and 8 pixels."""
        y, x = torch.meshgrid(torch.linspace(0, 1, 256), torch.linspace(0, 1, 256), indexing="ij")
        done = self.painted(torch.stack([x, y, (x + y) / 2]), "watercolour").mean(0)
        spectrum = torch.fft.fft2(done - done.mean()).abs().square()
        for axis in (0, 1):
            power = spectrum.sum(1 - axis)
            for period in (2, 4, 8):
                at = 256 // period
                around = torch.cat([power[at - 6 : at - 1], power[at + 2 : at + 7]]).mean()
                assert power[at] < 8 * around

    def test_paints_no_border(self, photo):
        """The border is as light as the pixels beside it."""
        done = self.painted(images.read(photo).resized(128, 192), "swirls").mean(0)
        rim = torch.cat([done[0], done[-1], done[:, 0], done[:, -1]]).mean()
        beside = torch.cat([done[6], done[-7], done[:, 6], done[:, -7]]).mean()
        assert (rim - beside).abs() < 0.04

    @pytest.mark.parametrize("style", ["great-wave", "mosaic"])
    def test_lowers_the_style_loss(self, photo, style):
        """And a third of the strength lowers it less."""
        given = images.read(photo).resized(128, 192)
        objective = CropObjective(weights.load("vgg19", padding="replicate"), TrainOptions())
        ((name, picture),) = read_styles(style, 256 * 256)
        targets = objective.targets(source_of(name, picture))

        def style_loss(picture):
            terms, _ = objective.value_and_grad(given.rgb[None], picture.contiguous()[None], targets)
            return terms["style"]

        before, weak, strong = (
            style_loss(picture)
            for picture in (given.rgb, self.painted(given, style, strength=0.3), self.painted(given, style))
        )
        assert strong < 0.8 * before
        assert strong < weak < before
