"""Training: data, losses, and resumed runs, which equal those that were never interrupted."""

import json

import numpy as np
import PIL.Image
import pytest
import torch

from impasto import fast
from impasto.errors import CheckpointError, PictureError
from impasto.fast import crops, models, training
from impasto.fast.crops import Dataset
from impasto.fast.perceptual import STYLE_LAYERS, PerceptualLoss, total_variation
from impasto.inputs import read
from impasto.losses import statistics
from impasto.settings.options import FastOptions, TrainOptions
from impasto.vgg.encoder import random_encoder

CPU = torch.device("cpu")


def dataset(count: int, seed: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 6, 8, generator=generator)
    large = torch.nn.functional.interpolate(small, (60, 80), mode="bicubic").clamp(0, 1)
    return Dataset([(picture * 255).to(torch.uint8) for picture in large], [f"{i}.png" for i in range(count)])


def options(**changes) -> TrainOptions:
    given = {"network": "compact", "steps": 4, "batch": 2, "crop": 32, "precision": "float32", "sample_every": 100}
    return TrainOptions(**{**given, **changes})


@pytest.fixture(autouse=True)
def small_vgg(monkeypatch):
    """A seeded VGG with few channels, except where the decoder reads, instead of the real one."""
    encoder = random_encoder(((1, 64), (1, 128), (1, 256), (1, 8)), seed=2).to("cpu", torch.float32)
    monkeypatch.setattr("impasto.vgg.weights.load", lambda *args, **kwargs: encoder)


def parameters(run: training.TrainingRun) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in (*run.network.parameters(), *run.average.parameters())])


class TestCrops:
    def test_squares_within_bounds(self, generator):
        taken = crops.random_crops(dataset(5), 4, 32, generator)
        assert taken.shape == (4, 3, 32, 32)
        assert taken.min() >= 0
        assert taken.max() <= 1

    def test_pictures_smaller_than_the_crop_are_enlarged(self, generator):
        tiny = Dataset([torch.zeros(3, 9, 20, dtype=torch.uint8)], ["a"])
        assert crops.random_crops(tiny, 2, 32, generator).shape == (2, 3, 32, 32)

    def test_held_out_pictures_are_not_trained_on(self):
        train, held_out = dataset(70).split()
        assert (len(train), len(held_out)) == (67, 3)
        assert not set(train.names) & set(held_out.names)

    def test_color_jitter_keeps_grey(self, generator):
        grey = torch.rand(8, 1, 4, 4, generator=generator).expand(-1, 3, -1, -1) * 0.8
        jittered = crops.jitter_colors(grey, generator)
        assert torch.allclose(jittered[:, 0], jittered[:, 1], atol=1e-5)

    def test_color_jitter_changes_hues(self, generator):
        red = torch.zeros(16, 3, 2, 2)
        red[:, 0] = 0.6
        assert crops.jitter_colors(red, generator)[:, 1].max() > 0.1

    def test_a_folder_with_a_bad_file(self, tmp_path, caplog):
        PIL.Image.new("RGB", (50, 30), "red").save(tmp_path / "a.png")
        (tmp_path / "b.jpg").write_bytes(b"no picture")
        (tmp_path / "notes.txt").write_text("not a picture")
        loaded = list(crops.load(read.files_in(tmp_path), 20, CPU))
        assert [None if picture is None else tuple(picture.shape) for _, picture in loaded] == [(3, 20, 33), None]
        assert "left out" in caplog.text

    def test_no_pictures(self, tmp_path):
        with pytest.raises(PictureError, match="no pictures in"):
            read.files_in(tmp_path)
        with pytest.raises(PictureError, match="no such folder"):
            read.files_in(tmp_path / "none")


class TestPerceptualLoss:
    @pytest.fixture
    def loss(self):
        from impasto.vgg import weights

        return PerceptualLoss(weights.load())

    def test_style_is_the_statistic_of_the_optimisation(self, loss, generator):
        features = loss.features(torch.rand(2, 3, 32, 40, generator=generator))
        style = loss.style(features)
        for layer in STYLE_LAYERS:
            for index in range(2):
                wanted = statistics.covariance(features[layer][index].flatten(1)).mean
                assert torch.allclose(style[layer][index], wanted, rtol=1e-4, atol=1e-5)

    def test_losses_vanish_at_their_targets_and_are_1_for_zeros(self, loss, generator):
        features = loss.features(torch.rand(2, 3, 32, 32, generator=generator))
        style = loss.style(features)
        zeros = {layer: torch.zeros_like(value) for layer, value in style.items()}
        assert loss.gram_loss(style, style) == 0
        assert loss.moments_loss(style, style) == 0
        assert loss.content_loss(features, features) == 0
        assert loss.gram_loss(zeros, style).item() == pytest.approx(1)
        assert loss.moments_loss(zeros, style).item() == pytest.approx(1, abs=0.05)

    def test_total_variation_by_hand(self):
        picture = torch.tensor([[0.0, 1.0], [0.5, 0.5]]).expand(1, 3, 2, 2)
        down, across = (0.5**2 + 0.5**2) / 2, (1 + 0) / 2
        assert total_variation(picture).item() == pytest.approx(down + across)


class TestTrainingRun:
    @pytest.mark.parametrize("kind", ["compact", "vgg"])
    def test_resumes_exactly(self, tmp_path, kind):
        made = options(network=kind)
        whole, first, second = (training.TrainingRun(made, dataset(6), dataset(5, 1), CPU) for _ in range(3))
        list(whole.advance())
        steps = first.advance()
        next(steps), next(steps)
        first.save(tmp_path / "c.pt")
        second.load(tmp_path / "c.pt")
        assert second.step == 2
        list(second.advance())
        assert torch.equal(parameters(whole), parameters(second))

    def test_learns(self):
        run = training.TrainingRun(options(steps=40, steady_weight=0.0), dataset(4), dataset(4, 1), CPU)
        losses = [progress.losses["total"] for progress in run.advance()]
        assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:4])

    def test_the_last_part_has_the_steady_loss(self):
        run = training.TrainingRun(options(steps=3), dataset(4), dataset(4, 1), CPU)
        assert ["steady" in progress.losses for progress in run.advance()] == [False, False, False]
        run = training.TrainingRun(options(steps=4), dataset(4), dataset(4, 1), CPU)
        assert ["steady" in progress.losses for progress in run.advance()][-1]

    def test_one_painting(self, tmp_path):
        painting = torch.rand(1, 3, 48, 40)
        run = training.TrainingRun(options(steps=2), dataset(4), painting, CPU)
        list(run.advance())
        models.save(tmp_path / "m.safetensors", run.model({}))
        back = models.load(tmp_path / "m.safetensors")
        assert back.code is not None
        photo = torch.rand(3, 20, 30)
        done = fast.stylize(photo, options=FastOptions(size=None, model=str(tmp_path / "m.safetensors")))
        assert done.size == (20, 30)

    def test_held_out_losses_are_those_of_the_same_pictures(self):
        run = training.TrainingRun(options(), dataset(40), dataset(40, 1), CPU)
        assert run.evaluate(4) == run.evaluate(4)

    def test_the_steady_loss_finds_motion(self):
        """For the identity, only resampling and noise are left."""
        run = training.TrainingRun(options(steps=4), dataset(4), dataset(4, 1), CPU)
        photos = torch.nn.functional.interpolate(torch.rand(2, 3, 4, 4), (32, 32), mode="bicubic").clamp(0.1, 0.9)

        class Identity(torch.nn.Module):
            def painted(self, photo, code):
                return photo

        class Swimming(torch.nn.Module):
            def painted(self, photo, code):
                return photo.roll(6, -1) if self.again else photo

        generator = torch.Generator().manual_seed(0)
        same = run._steady_loss(Identity(), photos, None, photos, generator)
        swimming = Swimming()
        swimming.again = True
        generator = torch.Generator().manual_seed(0)
        assert run._steady_loss(swimming, photos, None, photos, generator) > 3 * same


class TestTrain:
    def test_writes_its_files(self, tmp_path):
        run = training.TrainingRun(
            options(steps=30, sample_every=30, network="compact"), dataset(4), dataset(4, 1), CPU
        )
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

    def test_a_closed_iterator_loses_nothing(self, tmp_path):
        run = training.TrainingRun(options(), dataset(4), dataset(4, 1), CPU)
        steps = training.train(run, tmp_path)
        next(steps), next(steps)
        steps.close()
        again = training.TrainingRun(options(), dataset(4), dataset(4, 1), CPU)
        assert next(training.train(again, tmp_path, resume=True)).step == 3

    def test_a_folder_with_a_run_is_not_overwritten(self, tmp_path):
        list(training.train(training.TrainingRun(options(steps=1), dataset(4), dataset(4, 1), CPU), tmp_path))
        with pytest.raises(CheckpointError, match="continue it with --resume"):
            training.train(training.TrainingRun(options(steps=1), dataset(4), dataset(4, 1), CPU), tmp_path)

    def test_does_not_resume_from_other_settings(self, tmp_path):
        list(training.train(training.TrainingRun(options(steps=1), dataset(4), dataset(4, 1), CPU), tmp_path))
        with pytest.raises(CheckpointError, match="made with another batch"):
            training.train(
                training.TrainingRun(options(steps=1, rate=0.1, batch=3), dataset(4), dataset(4, 1), CPU),
                tmp_path,
                True,
            )

    def test_a_damaged_checkpoint(self, tmp_path):
        (tmp_path / "checkpoint.pt").write_bytes(b"nothing")
        with pytest.raises(CheckpointError, match="damaged"):
            training.train(training.TrainingRun(options(), dataset(4), dataset(4, 1), CPU), tmp_path, True)


def test_crops_must_fit_the_network():
    with pytest.raises(ValueError, match="multiple of 8, such as 96"):
        TrainOptions(crop=100)
