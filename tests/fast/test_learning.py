"""Learning a painting, and keeping it: interrupted, repeated, for other models, and where nothing can be kept."""

import dataclasses
import itertools
import logging
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.torch
import torch
from making_models import random_pictures, random_vectors

from impasto import fast, images
from impasto.errors import WeightsError
from impasto.fast import learning, models, stylizer
from impasto.fast.learning import Learner, Vectors, learnt_styles, load_style, save_style, source_of
from impasto.images import Picture
from impasto.images.regions import Region
from impasto.inputs.memo import Memo
from impasto.settings.options import FastOptions, LearnOptions

CPU = torch.device("cpu")
SHORT = {"learn_seconds": 0.01}


@pytest.fixture
def source(painting):
    return source_of("painting.png", images.read(painting))


@pytest.fixture
def learner(model, source, small_vgg):
    """Of a painting, for as many steps as are asked for."""

    def learner(seconds=1e6, given=model, painting=source, **changes):
        few = {"crop": 32, "batch": 1, "style_layers": "relu1_1,relu3_1", "content_layers": "relu2_1"}
        options = LearnOptions(seconds=seconds, precision="float32", **few | changes)
        return Learner(given, painting, options, CPU, random_pictures(3))

    return learner


def after(steps, count):
    """The state after so many steps; the iterator is closed."""
    *_, last = itertools.islice(steps, count)
    steps.close()
    return last


class TestLearner:
    def test_does_one_step_at_least(self, learner):
        made = learner(1e-9)
        (progress,) = made.steps()
        assert progress.step == made.step == 1
        assert progress.fraction == 1
        assert progress.eta == 0
        assert set(progress.losses) == {"content", "style"}
        assert torch.equal(progress.vector, made.vector)
        assert progress.vector.isfinite().all()

    def test_lowers_the_loss_of_the_network_as_it_is(self, learner, model):
        """The network, its gallery and the painting stay as they are."""
        before = [tensor.clone() for tensor in (*model.network.parameters(), *model.styles.values())]
        losses = [sum(p.losses.values()) for p in itertools.islice(learner(batch=2).steps(), 40)]
        assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:4])
        after = [*model.network.parameters(), *model.styles.values()]
        assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))

    def test_the_learning_rate_decays_over_the_time(self, learner, monkeypatch):
        """To a fiftieth of what it was, by a clock that is ten times as fast as ours."""
        rates, clock = [], itertools.count(step=10)
        decay = learning.decay

        def recorded(step, done):
            rates.append(0.01 * decay(step, done))
            return decay(step, done)

        monkeypatch.setattr(learning, "decay", recorded)
        monkeypatch.setattr(learning.time, "monotonic", lambda: next(clock))
        progress = list(learner(seconds=300, rate=0.01).steps())
        assert len(rates) == len(progress) == 30
        assert rates[0] == pytest.approx(0.001)  # warming up
        assert max(rates) == pytest.approx(0.008, rel=0.1)
        assert 0.0002 <= rates[-1] < 0.0004
        assert rates[12:] == sorted(rates[12:], reverse=True)
        assert [p.fraction for p in progress] == pytest.approx([(i + 1) / 30 for i in range(30)])

    def test_starts_where_the_loss_is_lowest(self, learner, model, monkeypatch):
        """Among the prediction and the nearest styles of the gallery."""
        tried = []

        def loss(vector):
            tried.append(vector)
            return {"style": (vector - vectors[2]).abs().sum().item()}

        vectors = random_vectors(model.network, 6, seed=9)
        predicted = vectors[3]
        gallery = {str(i): predicted + (i + 1) * (vectors[2] - predicted) / 3 for i in (4, 2, 0, 1, 3)}
        reader = torch.nn.Module()
        reader.forward = lambda summary: predicted[None]
        given = dataclasses.replace(model, styles=gallery, reader=reader)
        targets = learning.StyleTargets((), {}, torch.zeros(1))
        assert torch.allclose(learning._best_start(given, targets, loss), vectors[2])  # the third of the nearest
        assert len(tried) == 1 + learning.CANDIDATES
        assert torch.equal(tried[0], predicted)
        alone = dataclasses.replace(given, reader=None)
        assert torch.allclose(learning._best_start(alone, targets, loss), vectors[2])

    def test_all_starts_are_tried_on_the_same_crops(self, learner, monkeypatch):
        drawn, tried = [], []
        random_crops, painted = learning.random_crops, learning.paint_crops
        monkeypatch.setattr(learning, "random_crops", lambda *given: drawn.append(1) or random_crops(*given))
        monkeypatch.setattr(learning, "paint_crops", lambda *given: tried.append(given[1]) or painted(*given))
        after(learner().steps(), 1)
        assert len(tried) > 3
        assert len(drawn) == 2  # one for the starts, one for the first step
        assert all(torch.equal(crops, tried[0]) for crops in tried[:-1])

    def test_the_result_is_that_of_the_seed(self, learner):
        vectors = [after(learner(seed=seed).steps(), 3).vector for seed in (1, 1, 2)]
        assert torch.equal(vectors[0], vectors[1])
        assert not torch.equal(vectors[0], vectors[2])

    def test_goes_on_from_what_is_kept(self, learner):
        first = learner()
        after(first.steps(), 3)
        first.save()
        again = learner(rate=1e-9)
        assert torch.allclose(after(again.steps(), 1).vector, first.vector, atol=1e-6)

    def test_seconds_add_up(self, learner):
        for expected in (100, 200):
            made = learner()
            after(made.steps(), 1)
            made.seconds = 100.0
            made.save()
            (style,) = learnt_styles()
            assert (style.seconds, style.left) == (expected, 0)

    def test_what_is_kept_is_known_by_model_painting_and_scale(self, learner, model, source, painting):
        key = learner().key
        assert learner(seed=3, rate=0.5, crop=64).key == key
        assert learner(style_scale=2).key != key
        assert learner(given=dataclasses.replace(model, digest="other")).key != key
        other = painting.copy()
        other[0, 0] ^= 255
        assert learner(painting=source_of("painting.png", images.read(other))).key != key
        mask = torch.ones(source.size)
        mask[:5] = 0
        assert learner(painting=dataclasses.replace(source, mask=mask)).key != key
        assert learner(painting=dataclasses.replace(source, name="elsewhere/painting.jpg")).key == key

    def test_transparent_parts_do_not_count(self, painting):
        alpha = torch.ones(painting.shape[:2])
        alpha[:30] = 0
        source = source_of("a", Picture(images.read(painting).rgb, alpha))
        assert torch.equal(source.mask, alpha)
        assert source.name == "a"


class TestFiles:
    def test_hold_a_vector_and_a_small_copy(self, model, source, tmp_path):
        vector = random_vectors(model.network, 1)[0]
        large = dataclasses.replace(source, image=images.resize(source.image, 140, 180))
        save_style(tmp_path / "a.safetensors", vector, large, model, 12.3)
        assert torch.equal(load_style(tmp_path / "a.safetensors", model), vector)
        thumbnail = safetensors.torch.load_file(tmp_path / "a.safetensors")["thumbnail"]
        assert thumbnail.dtype == torch.uint8
        assert thumbnail.shape == (3, 100, 128)
        assert (thumbnail / 255 - images.resize(large.image, 100, 128)).abs().max() < 1 / 255

    def test_for_another_model(self, model, source, tmp_path):
        save_style(tmp_path / "a.safetensors", random_vectors(model.network, 1)[0], source, model, 1)
        with pytest.raises(WeightsError, match="was learnt for another model; learn the painting again"):
            load_style(tmp_path / "a.safetensors", dataclasses.replace(model, digest="other"))

    @pytest.mark.parametrize("content", [b"", b"nothing of the kind", None], ids=["empty", "other", "no vector"])
    def test_damaged(self, model, tmp_path, content):
        path = tmp_path / "a.safetensors"
        path.write_bytes(safetensors.torch.save({"x": torch.zeros(1)}) if content is None else content)
        with pytest.raises(WeightsError, match="cannot read the style .*: damaged, or not a style of 'impasto learn'"):
            load_style(path, model)

    def test_that_cannot_be_written(self, model, source, tmp_path):
        with pytest.raises(WeightsError, match="cannot write"):
            save_style(tmp_path / "none" / "a.safetensors", random_vectors(model.network, 1)[0], source, model, 1)

    def test_are_listed_by_name(self, model, source, caplog):
        folder = learning.cache_folder()
        folder.mkdir(parents=True)
        for key, name in (("1", "b.png"), ("2", "a.png")):
            named = dataclasses.replace(source, name=name)
            save_style(folder / f"{key}.safetensors", random_vectors(model.network, 1)[0], named, model, 61)
        (folder / "3.safetensors").write_bytes(b"damaged")
        found = learnt_styles()
        assert [(style.key, style.name, style.seconds) for style in found] == [("2", "a.png", 61), ("1", "b.png", 61)]
        assert all(style.path.is_file() for style in found)
        assert "3.safetensors is damaged" in caplog.text

    def test_there_are_none(self):
        assert learnt_styles() == []


@pytest.mark.usefixtures("shipped")
class TestPainting:
    """What `impasto.fast.iterate` learns."""

    def steps(self, photo, painting, memo=None, **options):
        return fast.iterate(photo, painting, FastOptions(size=32, **{**SHORT, **options}), memo=memo)

    def test_a_painting_is_learnt_and_then_known(self, photo, painting, quick_learning):
        first = list(self.steps(photo, painting))
        assert quick_learning == ["number 1"]
        assert first[0].note == "learning number 1"
        assert first[0].losses["style"] > 0
        assert (first[0].iteration, first[0].iterations) == (100, 100)
        assert not first[-1].note
        again = list(self.steps(photo, painting))
        assert quick_learning == ["number 1"]
        assert torch.equal(again[-1].picture.rgb, first[-1].picture.rgb)
        assert not any(step.note for step in again)

    def test_it_is_painted_in_the_vector_that_was_learnt(self, shipped, photo, painting, quick_learning):
        *_, last = self.steps(photo, painting)
        (style,) = learnt_styles()
        shipped.styles["learnt"] = load_style(style.path, shipped)
        assert torch.equal(fast.stylize(photo, "learnt", FastOptions(size=32)).rgb, last.picture.rgb)

    @pytest.mark.parametrize("shared", [False, True], ids=["other memo", "same memo"])
    def test_interrupted_learning_is_continued(self, shipped, photo, painting, quick_learning, monkeypatch, shared):
        """From what was learnt, for the seconds that were left."""
        memo = Memo() if shared else None
        clock = SimpleNamespace(monotonic=itertools.count().__next__)
        monkeypatch.setattr(learning, "time", clock)
        steps = self.steps(photo, painting, memo, learn_seconds=5)
        for _ in range(3):
            next(steps)
        steps.close()
        (style,) = learnt_styles()
        assert (style.seconds, style.left) == (3, 2)
        list(self.steps(photo, painting, memo, learn_seconds=5))
        (style,) = learnt_styles()
        assert (style.seconds, style.left) == (5, 0)
        list(self.steps(photo, painting, memo, learn_seconds=5))
        assert len(quick_learning) == 5

    def test_what_is_left_is_learnt_within_the_time_given_now(self, shipped, photo, painting, quick_learning):
        steps = self.steps(photo, painting, learn_seconds=1e6)
        next(steps)
        steps.close()
        list(self.steps(photo, painting))
        assert len(quick_learning) == 2

    def test_each_scale_of_each_painting_is_learnt(self, photo, painting, quick_learning):
        other = np.ascontiguousarray(painting[::-1] // 2)
        list(self.steps(photo, [painting, "one", other], style_weights=(1, 0, 1), style_scale=(0.5, 1)))
        assert quick_learning == ["number 1", "number 1", "number 3", "number 3"]
        assert len(learnt_styles()) == 4
        list(self.steps(photo, [other, painting], style_scale=(0.5, 1)))
        assert len(quick_learning) == 4

    def test_scales_are_blended(self, shipped, photo, painting, quick_learning):
        vectors, inputs = {}, {}
        for scales in ((0.5,), (1.0,), (0.5, 1.0)):
            options = FastOptions(style_scale=scales, **SHORT)
            inputs = stylizer.read_inputs(shipped, photo, painting, options, CPU, Memo(0))
            known = Vectors(shipped, options, CPU, Memo(0))
            list(known.learn(inputs.regions))
            vectors[scales] = known.of(inputs.regions[0])
        assert not torch.allclose(vectors[0.5,], vectors[1.0,])
        assert torch.allclose(vectors[0.5, 1.0], (vectors[0.5,] + vectors[1.0,]) / 2, atol=1e-6)

    def test_another_model_learns_anew(self, shipped, monkeypatch, photo, painting, quick_learning):
        list(self.steps(photo, painting))
        monkeypatch.setattr(models, "load", lambda *given: dataclasses.replace(shipped, digest="retrained"))
        list(self.steps(photo, painting))
        assert len(quick_learning) == 2
        assert len(learnt_styles()) == 2

    def test_models_that_share_a_memo_have_their_own_vectors(self, shipped, painting):
        """As in a `Painter`."""
        region, memo = Region(None, (source_of("a", images.read(painting)),)), Memo()
        for digest in ("first", "retrained"):
            vectors = Vectors(dataclasses.replace(shipped, digest=digest), FastOptions(), CPU, memo)
            (learner,) = vectors.learners([region])
            memo.put(("learnt", learner.key), torch.full((shipped.network.length,), float(len(digest))))
            assert vectors.of(region)[0] == len(digest)

    def test_a_damaged_file_is_learnt_again(self, shipped, photo, painting, quick_learning, caplog):
        list(self.steps(photo, painting))
        (style,) = learnt_styles()
        style.path.write_bytes(style.path.read_bytes()[:100])
        list(self.steps(photo, painting))
        assert len(quick_learning) == 2
        assert "it is learnt again" in caplog.text
        assert load_style(style.path, shipped).isfinite().all()

    def test_a_memo_is_enough(self, photo, painting, quick_learning):
        """For those who share one, if the cache is emptied meanwhile."""
        memo = Memo()
        list(self.steps(photo, painting, memo))
        shutil.rmtree(learning.cache_folder())
        list(self.steps(photo, painting, memo))
        assert len(quick_learning) == 1

    @pytest.mark.parametrize("reason", ["there is no home folder", "cannot be written"])
    def test_what_cannot_be_kept_is_painted_with_a_warning(
        self, photo, painting, quick_learning, monkeypatch, caplog, tmp_path, reason
    ):
        if reason == "there is no home folder":
            monkeypatch.setattr(learning, "weights_folder", lambda: None)
        else:
            (tmp_path / "cache").write_text("a file where the folder should be")
            reason = "number 1 is not kept: "
        with caplog.at_level(logging.WARNING):
            *_, last = self.steps(photo, painting)
        assert last.picture.shape == (21, 32)
        assert reason in caplog.text
        assert "number 1 is not kept" in caplog.text

    def test_previews_show_the_style_so_far(self, photo, painting, quick_learning, monkeypatch):
        monkeypatch.setattr(stylizer, "PREVIEW_INTERVAL", -1)
        steps = self.steps(photo, painting, learn_seconds=1e6)
        pictures = [next(steps).picture.rgb for _ in range(2)]
        steps.close()
        assert pictures[0].shape[1:] == (21, 32)
        assert (pictures[0] - images.read(photo).resized(21, 32).rgb).abs().mean() > 0.02
        assert not torch.equal(*pictures)

    def test_ahead(self, photo, painting, quick_learning):
        """Of photos with masks, too: masks belong to the photos."""
        mask = np.zeros((64, 96), np.uint8)
        mask[:30] = 255
        options = FastOptions(size=32, content_mask={"1": mask}, **SHORT)
        (progress,) = stylizer.learn_ahead([painting, "one"], options)
        assert progress.name == "number 1"
        assert list(stylizer.learn_ahead([painting, "one"], options)) == []
        list(fast.iterate(photo, [painting, "one"], options))
        assert len(quick_learning) == 1

    def test_with_a_mask_over_the_painting(self, photo, painting, quick_learning):
        mask = np.zeros(painting.shape[:2], np.uint8)
        mask[:, :45] = 255
        list(self.steps(photo, painting, style_mask={"1": mask}))
        list(self.steps(photo, painting))
        assert len(quick_learning) == 2

    def test_vectors_that_were_not_learnt(self, shipped, photo, painting, quick_learning):
        inputs = stylizer.read_inputs(shipped, photo, painting, FastOptions(), CPU, Memo(0))
        with pytest.raises(LookupError, match="number 1 was not learnt"):
            Vectors(shipped, FastOptions(), CPU, Memo(0)).of(inputs.regions[0])
