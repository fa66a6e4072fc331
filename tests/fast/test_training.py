"""Training: its data, its losses, and that a run that went on is the run that never stopped."""

import json

import numpy as np
import PIL.Image
import pytest
import torch

from impasto import fast
from impasto.errors import CheckpointError, PictureError
from impasto.fast import crops, models, training
from impasto.fast.crops import Folder
from impasto.fast.perceptual import STYLE_LAYERS, Critic, total_variation
from impasto.inputs import read
from impasto.losses import statistics
from impasto.settings.options import FastOptions, TrainOptions
from impasto.vgg.encoder import random_encoder

CPU = torch.device("cpu")


def folder(count: int, seed: int = 0) -> Folder:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 6, 8, generator=generator)
    large = torch.nn.functional.interpolate(small, (60, 80), mode="bicubic").clamp(0, 1)
    return Folder([(picture * 255).to(torch.uint8) for picture in large], [f"{i}.png" for i in range(count)])


def options(**changes) -> TrainOptions:
    given = {"network": "compact", "steps": 4, "batch": 2, "crop": 32, "precision": "float32", "sample_every": 100}
    return TrainOptions(**{**given, **changes})


@pytest.fixture(autouse=True)
def small_vgg(monkeypatch):
    """A seeded VGG with few channels but where the decoder reads, in the place of the real one."""
    encoder = random_encoder(((1, 64), (1, 128), (1, 256), (1, 8)), seed=2).to("cpu", torch.float32)
    monkeypatch.setattr("impasto.vgg.weights.load", lambda *args, **kwargs: encoder)


def parameters(run: training.Run) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in (*run.network.parameters(), *run.average.parameters())])


class TestCrops:
    def test_squares_within_bounds(self, generator):
        taken = crops.batch(folder(5), 4, 32, generator)
        assert taken.shape == (4, 3, 32, 32)
        assert taken.min() >= 0
        assert taken.max() <= 1

    def test_pictures_smaller_than_the_crop_are_enlarged(self, generator):
        tiny = Folder([torch.zeros(3, 9, 20, dtype=torch.uint8)], ["a"])
        assert crops.batch(tiny, 2, 32, generator).shape == (2, 3, 32, 32)

    def test_what_is_held_out_is_not_trained_on(self):
        kept, held = folder(70).split()
        assert (len(kept), len(held)) == (67, 3)
        assert not set(kept.names) & set(held.names)

    def test_turned_colours_keep_their_grey(self, generator):
        grey = torch.rand(8, 1, 4, 4, generator=generator).expand(-1, 3, -1, -1) * 0.8
        turned = crops.recolored(grey, generator)
        assert torch.allclose(turned[:, 0], turned[:, 1], atol=1e-5)

    def test_turned_colours_differ(self, generator):
        red = torch.zeros(16, 3, 2, 2)
        red[:, 0] = 0.6
        assert crops.recolored(red, generator)[:, 1].max() > 0.1

    def test_a_folder_with_a_bad_file(self, tmp_path, caplog):
        PIL.Image.new("RGB", (50, 30), "red").save(tmp_path / "a.png")
        (tmp_path / "b.jpg").write_bytes(b"no picture")
        (tmp_path / "notes.txt").write_text("not looked at")
        loaded = list(crops.load(read.files_in(tmp_path), 20, CPU))
        assert [None if picture is None else tuple(picture.shape) for _, picture in loaded] == [(3, 20, 33), None]
        assert "left out" in caplog.text

    def test_no_pictures(self, tmp_path):
        with pytest.raises(PictureError, match="no pictures in"):
            read.files_in(tmp_path)
        with pytest.raises(PictureError, match="no such folder"):
            read.files_in(tmp_path / "none")


class TestCritic:
    @pytest.fixture
    def critic(self):
        from impasto.vgg import weights

        return Critic(weights.load())

    def test_style_is_the_statistic_of_the_slow_way(self, critic, generator):
        seen = critic.see(torch.rand(2, 3, 32, 40, generator=generator))
        style = critic.style(seen)
        for layer in STYLE_LAYERS:
            for index in range(2):
                wanted = statistics.covariance(seen[layer][index].flatten(1)).mean
                assert torch.allclose(style[layer][index], wanted, rtol=1e-4, atol=1e-5)

    def test_losses_vanish_at_their_targets_and_are_1_for_nothing(self, critic, generator):
        seen = critic.see(torch.rand(2, 3, 32, 32, generator=generator))
        style = critic.style(seen)
        nothing = {layer: torch.zeros_like(value) for layer, value in style.items()}
        assert critic.gram_loss(style, style) == 0
        assert critic.moments_loss(style, style) == 0
        assert critic.content_loss(seen, seen) == 0
        assert critic.gram_loss(nothing, style).item() == pytest.approx(1)
        assert critic.moments_loss(nothing, style).item() == pytest.approx(1, abs=0.05)

    def test_total_variation_by_hand(self):
        picture = torch.tensor([[0.0, 1.0], [0.5, 0.5]]).expand(1, 3, 2, 2)
        down, across = (0.5**2 + 0.5**2) / 2, (1 + 0) / 2
        assert total_variation(picture).item() == pytest.approx(down + across)


class TestRun:
    @pytest.mark.parametrize("kind", ["compact", "vgg"])
    def test_goes_on_exactly(self, tmp_path, kind):
        made = options(network=kind)
        whole, first, second = (training.Run(made, folder(6), folder(5, 1), CPU) for _ in range(3))
        list(whole.advance())
        steps = first.advance()
        next(steps), next(steps)
        first.save(tmp_path / "c.pt")
        second.load(tmp_path / "c.pt")
        assert second.step == 2
        list(second.advance())
        assert torch.equal(parameters(whole), parameters(second))

    def test_learns(self):
        run = training.Run(options(steps=40, steady_weight=0.0), folder(4), folder(4, 1), CPU)
        losses = [progress.losses["total"] for progress in run.advance()]
        assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:4])

    def test_the_last_part_is_steady(self):
        run = training.Run(options(steps=3), folder(4), folder(4, 1), CPU)
        assert ["steady" in progress.losses for progress in run.advance()] == [False, False, False]
        run = training.Run(options(steps=4), folder(4), folder(4, 1), CPU)
        assert ["steady" in progress.losses for progress in run.advance()][-1]

    def test_one_painting(self, tmp_path):
        painting = torch.rand(1, 3, 48, 40)
        run = training.Run(options(steps=2), folder(4), painting, CPU)
        list(run.advance())
        models.save(tmp_path / "m.safetensors", run.model({}))
        back = models.load(tmp_path / "m.safetensors")
        assert back.code is not None
        photo = torch.rand(3, 20, 30)
        done = fast.stylize(photo, options=FastOptions(size=None, model=str(tmp_path / "m.safetensors")))
        assert done.size == (20, 30)

    def test_held_out_losses_are_those_of_the_same_pictures(self):
        run = training.Run(options(), folder(40), folder(40, 1), CPU)
        assert run.evaluate(4) == run.evaluate(4)

    def test_a_steady_network_is_told_so(self):
        """Of a network that gives back what it is given, only resampling and noise are left."""
        run = training.Run(options(steps=4), folder(4), folder(4, 1), CPU)
        photos = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), (32, 32), mode="bicubic").clamp(0.1, 0.9)

        class Same(torch.nn.Module):
            def painted(self, photo, code):
                return photo

        class Swimming(torch.nn.Module):
            def painted(self, photo, code):
                return photo.roll(6, -1) if self.again else photo

        generator = torch.Generator().manual_seed(0)
        same = run._unsteadiness(Same(), photos, None, photos, generator)
        swimming = Swimming()
        swimming.again = True
        generator = torch.Generator().manual_seed(0)
        assert run._unsteadiness(swimming, photos, None, photos, generator) > 3 * same


class TestTrain:
    def test_fills_the_folder(self, tmp_path):
        run = training.Run(options(steps=30, sample_every=30, network="compact"), folder(4), folder(4, 1), CPU)
        *_, last = training.train(run, tmp_path / "run")
        assert last.held_out
        assert {p.name for p in (tmp_path / "run").iterdir()} == {
            "model.safetensors",
            "checkpoint.pt",
            "log.jsonl",
            "samples",
        }
        assert [p.name for p in (tmp_path / "run" / "samples").iterdir()] == ["000030.jpg"]
        entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
        assert entries[0]["step"] == 25
        assert "held_out" in entries[1]
        assert models.load(tmp_path / "run" / "model.safetensors").card["steps"] == 30

    def test_who_stops_asking_loses_nothing(self, tmp_path):
        run = training.Run(options(), folder(4), folder(4, 1), CPU)
        steps = training.train(run, tmp_path)
        next(steps), next(steps)
        steps.close()
        again = training.Run(options(), folder(4), folder(4, 1), CPU)
        assert next(training.train(again, tmp_path, resume=True)).step == 3

    def test_a_folder_with_a_run_is_not_overwritten(self, tmp_path):
        list(training.train(training.Run(options(steps=1), folder(4), folder(4, 1), CPU), tmp_path))
        with pytest.raises(CheckpointError, match="go on with --resume"):
            training.train(training.Run(options(steps=1), folder(4), folder(4, 1), CPU), tmp_path)

    def test_another_run_is_not_gone_on_from(self, tmp_path):
        list(training.train(training.Run(options(steps=1), folder(4), folder(4, 1), CPU), tmp_path))
        with pytest.raises(CheckpointError, match="other settings \\(batch, rate\\)"):
            training.train(
                training.Run(options(steps=1, rate=0.1, batch=3), folder(4), folder(4, 1), CPU), tmp_path, True
            )

    def test_a_damaged_checkpoint(self, tmp_path):
        (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
        with pytest.raises(CheckpointError, match="damaged"):
            training.train(training.Run(options(), folder(4), folder(4, 1), CPU), tmp_path, True)


def test_crops_must_fit_the_network():
    with pytest.raises(ValueError, match="multiple of 8, such as 96"):
        TrainOptions(crop=100)
