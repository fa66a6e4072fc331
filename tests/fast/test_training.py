"""Training: data, gradients, and resumed runs, which equal those that were never interrupted."""

import dataclasses
import json

import numpy as np
import PIL.Image
import pytest
import torch
from making_models import random_pictures

from impasto import images
from impasto.errors import CheckpointError, PictureError
from impasto.fast import crops, models, training
from impasto.fast.crops import Dataset
from impasto.images.regions import StyleSource
from impasto.inputs import read
from impasto.settings.options import LearnOptions, TrainOptions

CPU = torch.device("cpu")


def options(**changes) -> TrainOptions:
    few = {"steps": 4, "batch": 2, "crop": 32, "precision": "float32", "sample_every": 100}
    layers = {"style_layers": "relu1_1,relu2_1", "content_layers": "relu2_1"}
    return TrainOptions(**few | layers | changes)


def gallery(count=2):
    pictures = random_pictures(count, seed=7).pictures
    return [StyleSource(f"style {i}", picture / 255) for i, picture in enumerate(pictures)]


@pytest.fixture
def new_run(small_vgg):
    def new_run(photos=6, paintings=3, styles=2, **changes):
        others = random_pictures(paintings, 1) if paintings else None
        return training.TrainingRun(options(**changes), random_pictures(photos), gallery(styles), others, CPU)

    return new_run


def parameters(run: training.TrainingRun) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in (*run.painter.parameters(), *run.average.parameters())])


class TestCrops:
    def test_squares_within_bounds(self, generator):
        taken = crops.random_crops(random_pictures(5), 4, 32, generator)
        assert taken.shape == (4, 3, 32, 32)
        assert taken.min() >= 0
        assert taken.max() <= 1

    def test_pictures_smaller_than_the_crop_are_enlarged(self, generator):
        tiny = Dataset([torch.zeros(3, 9, 20, dtype=torch.uint8)], ["a"])
        assert crops.random_crops(tiny, 2, 32, generator).shape == (2, 3, 32, 32)

    def test_held_out_pictures_are_not_trained_on(self):
        train, held_out = random_pictures(70).split()
        assert (len(train), len(held_out)) == (67, 3)
        assert not set(train.names) & set(held_out.names)

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


class TestGradients:
    @pytest.mark.parametrize("done", [0.0, 1.0], ids=["early", "late, steady"])
    def test_are_those_of_the_losses(self, new_run, done):
        """Along the gradient of all parameters, the losses rise as it says."""
        run = new_run(batch=3, identity_share=0.3, strength_share=0.3)
        for parameter in (run.painter.reader.second.weight, run.painter.corrections):
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(1))
        run._backward(run._generator(2), done)
        grads = [parameter.grad.clone() for parameter in run.painter.parameters()]
        slope = sum(grad.square().sum().item() for grad in grads)

        def total(step):
            with torch.no_grad():
                for parameter, grad in zip(run.painter.parameters(), grads, strict=True):
                    parameter.add_(grad, alpha=step)
            value = sum(run._backward(run._generator(2), done).values())
            with torch.no_grad():
                for parameter, grad in zip(run.painter.parameters(), grads, strict=True):
                    parameter.sub_(grad, alpha=step)
            return value

        step = 0.003 / slope**0.5
        assert (total(step) - total(-step)) / (2 * step) == pytest.approx(slope, rel=0.03)
        assert ("steady" in run._backward(run._generator(2), done)) == (done == 1)

    def test_no_crop_of_the_gallery_changes_what_other_styles_have(self, new_run):
        run = new_run(styles=3, batch=1, any_share=0.0, steady_weight=0.0)
        run._backward(run._generator(0), 0.0)
        changed = run.painter.corrections.grad.abs().amax(1) > 0
        assert changed.sum() == 1


class TestRandomStyles:
    def test_have_the_shares_of_the_options(self, new_run):
        run = new_run(any_share=0.5, strength_share=0.2, identity_share=0.1)
        run.options = dataclasses.replace(run.options, batch=4000)
        styles, strengths, targets = run._random_styles(torch.Generator().manual_seed(0))
        shares = [
            np.mean([style is None for style in styles]),
            np.mean([style == 0 for style in styles]),
            np.mean([0 < strength < 1 for strength in strengths]),
            np.mean([strength == 0 for strength in strengths]),
        ]
        assert shares == pytest.approx([0.5, 0.25, 0.2, 0.1], abs=0.03)
        assert all(t is run._gallery[s] for t, s in zip(targets, styles, strict=True) if s is not None)
        assert all(t in run._targets.values() for t, s in zip(targets, styles, strict=True) if s is None)
        assert len(run._targets) == 3

    def test_are_all_of_the_gallery_without_other_paintings(self, new_run):
        run = new_run(paintings=0, any_share=0.9, strength_share=0.05)
        run.options = dataclasses.replace(run.options, batch=50)
        assert set(run._random_styles(torch.Generator().manual_seed(0))[0]) == {0, 1}

    def test_as_many_targets_are_kept_as_fit(self, new_run, monkeypatch):
        monkeypatch.setattr(training, "KEPT_TARGETS", 1)
        run = new_run()
        found = [run._random_targets(index) for index in (0, 1, 0, 1)]
        assert found[0] is found[2]
        assert found[1] is not found[3]


class TestTrainingRun:
    def test_resumes_exactly(self, tmp_path, new_run):
        whole, first, second = (new_run() for _ in range(3))
        list(whole.advance())
        steps = first.advance()
        next(steps), next(steps)
        first.save(tmp_path / "c.pt")
        second.load(tmp_path / "c.pt")
        assert second.step == 2
        list(second.advance())
        assert torch.equal(parameters(whole), parameters(second))
        assert not torch.equal(parameters(whole), parameters(first))

    def test_the_seed_changes_the_result(self, new_run):
        one, two = new_run(steps=1), new_run(steps=1, seed=1)
        list(one.advance()), list(two.advance())
        assert not torch.equal(parameters(one), parameters(two))

    def test_learns(self, new_run):
        run = new_run(steps=40, steady_weight=0.0, identity_share=0.0, strength_share=0.0)
        progress = list(run.advance())
        losses = [each.losses["total"] for each in progress]
        assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:4])
        assert [each.step for each in progress] == list(range(1, 41))
        assert progress[-1].eta == 0
        assert losses[0] == pytest.approx(sum(v for name, v in progress[0].losses.items() if name != "total"))

    def test_starts_from_a_model(self, tmp_path, new_run):
        """A style that the model knows has its vector; a new one begins with its prediction."""
        first = new_run(styles=1)
        list(first.advance())
        models.save(tmp_path / "model.safetensors", first.model({}))
        model = models.load(tmp_path / "model.safetensors")
        second = new_run(styles=2, model=str(tmp_path / "model.safetensors"))
        for name, tensor in model.network.state_dict().items():
            assert torch.equal(second.painter.network.state_dict()[name], tensor)
        known, new = second.model({}).styles.values()
        torch.testing.assert_close(known, model.styles["style 0"], atol=1e-5, rtol=0)
        assert torch.equal(second.painter.corrections[1], torch.zeros_like(new))
        assert len(list(second.advance())) == 4

    def test_the_last_part_has_the_steady_loss(self, new_run):
        found = ["steady" in progress.losses for progress in new_run(steps=5).advance()]
        assert found == [False, False, False, False, True]
        assert not any("steady" in progress.losses for progress in new_run(steps=2, steady_weight=0).advance())

    def test_the_steady_loss_finds_motion(self, new_run, monkeypatch):
        """Of a painter that changes nothing, only resampling is left."""
        run = new_run()
        photos = torch.nn.functional.interpolate(
            torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0)), (96, 96), mode="bicubic"
        ).clamp(0.1, 0.9)
        losses = []
        for shift in (0, 6):
            monkeypatch.setattr(run, "_paint", lambda pictures, vectors, shift=shift: pictures.roll(shift, -1))
            losses.append(run._steady_loss(photos, None, photos, torch.Generator().manual_seed(0)).item())
        assert losses[0] < 0.1 * losses[1]

    def test_the_average_is_a_plain_mean_at_first(self, new_run):
        run, seen = new_run(steps=3), []
        for _ in run.advance():
            seen.append(torch.cat([p.detach().flatten() for p in run.painter.parameters()]))
        average = torch.cat([p.detach().flatten() for p in run.average.parameters()])
        assert torch.allclose(average, torch.stack(seen).mean(0), atol=1e-6)

    def test_its_model_paints_what_was_trained(self, new_run):
        """A style of the gallery has what the reader predicts of it and its own correction."""
        run = new_run(steps=2)
        list(run.advance())
        model = run.model({"note": "x"})
        assert model.card == {"note": "x", "steps": 2, "samples": 4}
        assert list(model.styles) == ["style 0", "style 1"]
        for k, target in enumerate(run._gallery):
            predicted = model.reader(target.summary[None])[0]
            wanted = predicted + run.average.corrections[k]
            assert torch.allclose(model.styles[f"style {k}"], wanted, atol=1e-6)
            assert run.average.corrections[k].abs().max() > 0

    def test_without_other_paintings_its_model_predicts_none(self, new_run):
        run = new_run(paintings=0, steps=1)
        list(run.advance())
        assert run.model({}).reader is None

    def test_a_sheet_shows_each_held_out_photo_in_each_style(self, new_run):
        sheet = new_run().sample_sheet(side=32)
        height, width = sheet.shape
        assert width > 3 * 32
        assert height > 5 * 32


class TestTrain:
    def test_writes_its_files(self, tmp_path, new_run):
        run = new_run(steps=30, sample_every=20)
        *_, last = training.train(run, tmp_path / "run")
        assert last.step == 30
        assert {path.name for path in (tmp_path / "run").iterdir()} == {
            "model.safetensors",
            "checkpoint.pt",
            "log.jsonl",
            "samples",
        }
        assert sorted(path.name for path in (tmp_path / "run/samples").iterdir()) == ["000020.jpg", "000030.jpg"]
        assert images.read(tmp_path / "run/samples/000030.jpg").rgb.std() > 0.05
        (entry,) = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
        assert entry["step"] == 25
        assert entry["total"] == pytest.approx(
            sum(entry.get(n, 0) for n in ("content", "style", "identity", "steady")), rel=1e-3
        )
        model = models.load(tmp_path / "run/model.safetensors")
        assert model.card["steps"] == 30
        assert model.card["options"]["style_layers"] == {"relu1_1": 1, "relu2_1": 1}

    def test_a_closed_iterator_loses_nothing(self, tmp_path, new_run):
        steps = training.train(new_run(), tmp_path)
        next(steps), next(steps)
        steps.close()
        assert models.load(tmp_path / "model.safetensors").card["steps"] == 2
        assert next(training.train(new_run(), tmp_path, resume=True)).step == 3

    def test_an_interrupt_within_a_step_leaves_the_checkpoint_before(self, tmp_path, new_run, monkeypatch):
        """While the parameters change: the optimiser's, or the average's."""
        whole = new_run()
        list(whole.advance())
        steps = training.train(run := new_run(), tmp_path, checkpoint_every=0)
        next(steps)
        change = run.optimizer.step

        def interrupted():
            change()
            raise KeyboardInterrupt

        monkeypatch.setattr(run.optimizer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            list(steps)
        resumed = new_run()
        assert next(training.train(resumed, tmp_path, resume=True)).step == 2
        list(resumed.advance())
        assert torch.equal(parameters(resumed), parameters(whole))

    def test_the_log_of_a_resumed_run_has_means(self, tmp_path, new_run, monkeypatch):
        monkeypatch.setattr(training, "LOG_EVERY", 3)
        steps = training.train(new_run(steps=3), tmp_path)
        next(steps), next(steps)
        steps.close()
        (progress,) = training.train(new_run(steps=3), tmp_path, resume=True)
        assert json.loads((tmp_path / "log.jsonl").read_text())["total"] == pytest.approx(progress.losses["total"])

    def test_checkpoints_are_written_meanwhile(self, tmp_path, new_run):
        steps = training.train(new_run(), tmp_path, checkpoint_every=0)
        next(steps)
        assert models.load(tmp_path / "model.safetensors").card["steps"] == 1
        next(steps)
        assert models.load(tmp_path / "model.safetensors").card["steps"] == 2
        steps.close()

    def test_nothing_to_resume_from(self, tmp_path, new_run, caplog):
        assert len(list(training.train(new_run(steps=1), tmp_path, resume=True))) == 1
        assert "starting from the beginning" in caplog.text

    def test_a_longer_run_goes_on(self, tmp_path, new_run):
        """The number of steps, and when samples are made, are no part of what must be the same."""
        list(training.train(new_run(steps=1), tmp_path))
        (progress,) = training.train(new_run(steps=2, sample_every=1), tmp_path, resume=True)
        assert progress.step == 2

    def test_a_folder_with_a_run_is_not_overwritten(self, tmp_path, new_run):
        list(training.train(new_run(steps=1), tmp_path))
        with pytest.raises(CheckpointError, match="continue it with --resume"):
            training.train(new_run(steps=1), tmp_path)

    @pytest.mark.parametrize(
        ("changes", "name"),
        [
            ({"batch": 3}, "batch"),
            ({"statistic": "moments"}, "statistic"),
            ({"styles": 3}, "styles"),
            ({"photos": 9}, "photos"),
            ({"paintings": 0}, "paintings"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_does_not_resume_from_other_settings(self, tmp_path, new_run, changes, name):
        list(training.train(new_run(steps=1), tmp_path))
        with pytest.raises(CheckpointError, match=f"made with another {name}; give the same, or another folder"):
            training.train(new_run(**{"steps": 2, **changes}), tmp_path, resume=True)

    @pytest.mark.parametrize("content", [b"nothing", b"", None], ids=["other", "empty", "cut short"])
    def test_a_damaged_checkpoint(self, tmp_path, new_run, content):
        if content is None:
            new_run().save(tmp_path / "checkpoint.pt")
            content = (tmp_path / "checkpoint.pt").read_bytes()[:10000]
        (tmp_path / "checkpoint.pt").write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot read .*checkpoint.pt: damaged"):
            training.train(new_run(), tmp_path, resume=True)

    def test_a_folder_that_cannot_be(self, tmp_path, new_run):
        (tmp_path / "run").write_text("a file")
        with pytest.raises(CheckpointError, match="cannot create the folder"):
            training.train(new_run(), tmp_path / "run")


class TestOptions:
    @pytest.mark.parametrize("kind", [TrainOptions, LearnOptions])
    def test_crops_must_fit_the_layers(self, kind):
        with pytest.raises(ValueError, match="multiple of 16, such as 96"):
            kind(crop=100)

    def test_a_style_must_weigh_something(self):
        with pytest.raises(ValueError, match="there is nothing to learn"):
            TrainOptions(style_weight=0)

    def test_shares_are_of_a_whole(self):
        with pytest.raises(ValueError, match="at most 1 together"):
            TrainOptions(any_share=0.6, strength_share=0.5)

    @pytest.mark.parametrize(
        "changes",
        [{"style_layers": "relu3_1"}, {"statistic": "moments"}, {"style_scale": 0.5}],
        ids=lambda changes: next(iter(changes)),
    )
    def test_change_what_is_learnt(self, new_run, changes):
        losses = [next(run.advance()).losses["style"] for run in (new_run(steps=1), new_run(steps=1, **changes))]
        assert abs(losses[1] / losses[0] - 1) > 1e-3
