"""Painting with a model: sizes, strengths, regions, colours, names of styles, and what is wrong with them."""

import dataclasses

import numpy as np
import pytest
import torch

from impasto import fast, images
from impasto.errors import BudgetError, PictureError, WeightsError
from impasto.fast import stylizer
from impasto.fast.inference import layer_count
from impasto.inputs.memo import Memo
from impasto.inputs.prepare import prepare_inputs
from impasto.inputs.read import read_styles
from impasto.settings.options import FastOptions

CPU = torch.device("cpu")


def painted(photo, styles, **options):
    return fast.stylize(photo, styles, FastOptions(**options))


@pytest.mark.usefixtures("shipped")
class TestStylize:
    @pytest.mark.parametrize("size", [(64, 96), (37, 51), (8, 9), (1, 40), (1, 1)], ids=str)
    def test_any_size_comes_out_exactly(self, size):
        done = painted(torch.rand(3, *size), "one", size=None)
        assert done.shape == size
        assert done.rgb.isfinite().all()

    def test_size_is_the_long_side(self, photo):
        assert painted(photo, "one", size=50).shape == (33, 50)

    def test_styles_of_the_gallery_are_painted_in_their_vectors(self, photo):
        one, two = (painted(photo, name, size=64).rgb for name in ("one", "two"))
        assert (one - two).abs().mean() > 0.02

    def test_the_same_twice(self, photo):
        assert torch.equal(painted(photo, "one", size=64).rgb, painted(photo, "one", size=64).rgb)

    def test_strength_0_is_the_photo(self, photo):
        given = images.read(photo)
        done = painted(given, "one", strength=0).rgb
        assert (done - given.resized(341, 512).rgb).abs().max() < 1e-5

    def test_strength_grows_steadily(self, photo):
        given = images.read(photo).resized(32, 48)
        changes = [
            (painted(given, "one", size=48, strength=strength).rgb - given.rgb).abs().mean().item()
            for strength in (0, 0.02, 0.4, 0.99, 1, 1.5)
        ]
        assert changes[0] < 1e-5
        assert changes[1] < 0.1 * changes[4]  # nothing leaps at 0
        assert changes[1] < changes[2] < changes[4] < changes[5]
        assert abs(changes[3] - changes[4]) < 0.05 * changes[4]  # nor at 1

    @pytest.mark.parametrize("strength", [0.5, 1.0, 4.0])
    def test_values_lie_between_black_and_white(self, photo, strength):
        *_, step = fast.iterate(photo, "one", FastOptions(size=64, strength=strength))
        assert step.image.min() >= 0
        assert step.image.max() <= 1

    def test_styles_blend_by_their_weights(self, shipped, photo):
        """A blend is the style whose vector is the weighted mean."""
        mean = 0.25 * shipped.styles["one"] + 0.75 * shipped.styles["two"]
        shipped.styles["mean"] = mean
        blend = painted(photo, ["one", "two"], size=48, style_weights=(1, 3)).rgb
        assert torch.allclose(blend, painted(photo, "mean", size=48).rgb, atol=1e-5)
        assert torch.equal(
            painted(photo, ["one", "two"], size=48, style_weights=(1, 0)).rgb, painted(photo, "one", size=48).rgb
        )

    def test_what_is_kept_stays(self, photo):
        keep = np.zeros((64, 96), np.uint8)
        keep[:, :48] = 255
        done, given = painted(photo, "one", size=96, content_mask={"keep": keep}).rgb, images.read(photo).rgb
        assert torch.allclose(done[..., :40], given[..., :40], atol=1e-5)
        assert (done[..., 56:] - given[..., 56:]).abs().max() > 0.02

    def test_regions_have_their_own_styles(self, photo):
        mask = np.zeros((64, 96), np.uint8)
        mask[:, :48] = 255
        done = painted(photo, ["one", "two"], size=96, content_mask={"one": mask}).rgb
        for style, there, elsewhere in (
            ("one", np.s_[..., :24], np.s_[..., 72:]),
            ("two", np.s_[..., 72:], np.s_[..., :24]),
        ):
            alone = painted(photo, style, size=96).rgb
            assert (done - alone)[there].abs().mean() < 0.7 * (done - alone)[elsewhere].abs().mean()

    def test_transparency_stays_and_hidden_colours_do_not_count(self, photo):
        alpha = np.full((64, 96, 1), 255, np.uint8)
        alpha[:20] = 0
        done = []
        for hidden in (0, 255):
            given = photo.copy()
            given[:20] = hidden
            done.append(painted(np.concatenate([given, alpha], 2), "one", size=96))
            assert done[-1].alpha[:18].max() == 0
            assert done[-1].alpha[22:].min() > 0.99
        assert torch.allclose(done[0].rgb[:, 24:], done[1].rgb[:, 24:], atol=1e-4)

    def test_steps_count_layers(self, shipped, photo):
        layers = layer_count(shipped.network)
        for strength, total in ((1.0, layers), (0.5, 2 * layers)):
            steps = list(fast.iterate(photo, "one", FastOptions(size=48, strength=strength)))
            assert [step.iteration for step in steps] == list(range(1, total + 1))
            assert {step.iterations for step in steps} == {total}
            assert steps[-1].eta == 0
            assert torch.equal(steps[0].picture.rgb, images.read(photo).resized(32, 48).rgb)  # the photo until the last
            assert not torch.equal(steps[-1].picture.rgb, steps[0].picture.rgb)

    def test_names_of_styles_may_contain_a_dot(self, shipped, photo, monkeypatch, tmp_path, painting, quick_learning):
        """As when they were trained from van.gogh.jpg; a file of that name is meant where there is one."""
        shipped.styles["van.gogh"] = shipped.styles["one"]
        done = painted(photo, "van.gogh", size=48)
        assert torch.equal(done.rgb, painted(photo, "one", size=48).rgb)
        monkeypatch.chdir(tmp_path)
        images.write("van.png", images.read(painting))
        (tmp_path / "van.png").rename("van.gogh")
        painted(photo, "van.gogh", size=48, learn_seconds=0.01)
        assert quick_learning == ["van.gogh"]

    def test_a_shared_memo_has_no_stand_ins_for_others(self, shipped, photo):
        """Of styles of the gallery no picture is read here; other operations at the same size need theirs."""
        memo, area = Memo(), 512 * 512
        inputs = stylizer.read_inputs(shipped, photo, "mosaic", FastOptions(), CPU, memo)
        assert max(inputs.regions[0].sources[0].size) < 64
        ((_, picture),) = read_styles("mosaic", area, memo)
        assert picture.shape == (512, 512)


@pytest.mark.usefixtures("shipped")
class TestColors:
    def test_luminance_keeps_the_photos_hues(self, photo):
        given = images.read(photo).resized(43, 64).rgb
        done = painted(photo, "one", size=64, color="luminance").rgb
        red, grey = np.full((64, 96, 3), (150, 90, 90), np.uint8), np.full((64, 96, 3), 120, np.uint8)
        assert (painted(red, "one", size=64, color="luminance").rgb.mean((1, 2)).diff()[0]) < -0.05
        assert painted(grey, "one", size=64, color="luminance").rgb.std(0).max() < 0.01
        assert (done - given).abs().mean() > 0.01

    @pytest.mark.parametrize("mode", ["match", "both"])
    def test_match_gives_the_photos_colours(self, photo, mode):
        given = images.read(photo).resized(43, 64).rgb
        done, free = (painted(photo, "one", size=64, color=kind).rgb for kind in (mode, "style"))
        assert (done.mean((1, 2)) - given.mean((1, 2))).abs().max() < 0.03
        assert (free.mean((1, 2)) - given.mean((1, 2))).abs().max() > 0.05

    @pytest.mark.parametrize("mode", ["match", "both"])
    @pytest.mark.parametrize("method", ["covariance", "histogram"])
    def test_hidden_colours_do_not_count(self, photo, mode, method):
        given, alpha = images.read(photo).resized(43, 64).rgb, torch.zeros(43, 64)
        alpha[:, :20] = 1
        rgb = torch.where(alpha > 0, given, torch.tensor([1.0, 0.0, 0.0])[:, None, None])
        done = painted(images.Picture(rgb, alpha), "one", size=64, color=mode, color_match=method).rgb
        assert (done - given)[..., :20].mean((1, 2)).abs().max() < 0.03

    def test_previews_of_cut_outs_have_the_photos_colours(self, shipped, photo):
        """They are smaller than the photo and its alpha."""
        alpha = torch.zeros(43, 64)
        alpha[20:] = 1
        options = FastOptions(size=64, color="match")
        inputs = stylizer.read_inputs(
            shipped, images.Picture(images.read(photo).resized(43, 64).rgb, alpha), "one", options, CPU, Memo()
        )
        painter = stylizer.FramePainter(shipped, inputs, options, CPU)
        for method in ("covariance", "histogram"):
            painter._options = dataclasses.replace(options, color_match=method)
            assert painter.finish(torch.rand(3, 21, 32)).rgb.isfinite().all()

    def test_palette_recolours_without_the_network(self, shipped, photo, painting):
        """In the painting's colours at once: nothing is learnt, and a strength goes half of the way."""
        (step,) = fast.iterate(photo, painting, FastOptions(size=64, color="palette"))
        given, target = images.read(photo).resized(43, 64).rgb, images.read(painting).rgb
        assert (step.picture.rgb.mean((1, 2)) - target.mean((1, 2))).abs().max() < 0.05
        half = painted(photo, painting, size=64, color="palette", strength=0.5).rgb
        assert torch.allclose(half, (given + step.picture.rgb) / 2, atol=1e-5)
        assert list(stylizer.learn_ahead([painting], FastOptions(color="palette"))) == []


class TestNames:
    def test_a_style_of_ones_own_model_needs_no_picture(self, shipped, photo, monkeypatch):
        """As `impasto train` names it, after its file, which may be gone."""
        monkeypatch.setattr("impasto.inputs.read._read_style", lambda style, pixels: pytest.fail(f"{style} was read"))
        for names in ("one", ["two", "mosaic"]):
            assert painted(photo, names, size=48).shape == (32, 48)

    def test_a_file_comes_before_a_style_of_its_name(
        self, shipped, photo, painting, tmp_path, monkeypatch, quick_learning
    ):
        monkeypatch.chdir(tmp_path)
        images.write("one.png", images.read(painting))
        (tmp_path / "one.png").rename("one")
        painted(photo, "one", size=32, learn_seconds=0.01)
        assert set(quick_learning) == {"one"}

    def test_paintings_are_read_as_large_as_they_are_learnt(self, shipped, tmp_path):
        """Vector graphics have no pixels of their own."""
        path = tmp_path / "drawn.svg"
        path.write_text(
            '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="10"><rect width="9" height="9"/></svg>'
        )
        blank = torch.zeros(3, 32, 32)
        inputs = stylizer.read_inputs(shipped, blank, ["mosaic", str(path)], FastOptions(style_scale=2), CPU, Memo(0))
        assert inputs.regions[0].sources[1].size == (724, 1448)

    def test_an_unknown_name(self, shipped, photo):
        with pytest.raises(ValueError, match="unknown style 'three'"):
            painted(photo, "three")


class TestPrediction:
    """--model any."""

    def test_paints_any_painting_without_learning(self, shipped, small_vgg, photo, painting, quick_learning):
        other = np.ascontiguousarray(255 - painting[::-1] // 2)
        one, two = (painted(photo, given, size=48, model="any").rgb for given in (painting, other))
        assert (one - two).abs().max() > 1e-4
        assert quick_learning == []

    def test_the_gallery_stays_as_it_is(self, shipped, photo):
        assert torch.equal(painted(photo, "one", size=48, model="any").rgb, painted(photo, "one", size=48).rgb)

    def test_a_memo_reads_a_painting_once(self, shipped, small_vgg, photo, painting, monkeypatch):
        seen = []
        forward = type(shipped.reader).forward
        monkeypatch.setattr(type(shipped.reader), "forward", lambda self, x: seen.append(1) or forward(self, x))
        memo = Memo()
        for _ in range(3):
            list(fast.iterate(photo, painting, FastOptions(size=48, model="any"), memo=memo))
        assert len(seen) == 1

    def test_a_mask_chooses_what_is_read(self, shipped, small_vgg, photo, painting):
        """The part that a mask leaves out has no say."""
        mask = np.zeros(painting.shape[:2], np.uint8)
        mask[:, :40] = 255
        changed = painting.copy()
        changed[:, 64:] = 255 - changed[:, 64:]
        vectors = []
        for given, masks in ((painting, {"1": mask}), (changed, {"1": mask}), (changed, {})):
            options = FastOptions(model="any", style_mask=masks)
            inputs = stylizer.read_inputs(shipped, photo, given, options, CPU, Memo(0))
            vectors.append(stylizer.learning.Vectors(shipped, options, CPU, Memo(0)).of(inputs.regions[0]))
        assert torch.allclose(vectors[0], vectors[1], atol=1e-5)
        assert (vectors[1] - vectors[2]).abs().max() > 1e-3

    def test_needs_a_reader(self, monkeypatch, shipped, photo, painting):
        monkeypatch.setattr(stylizer.models, "load", lambda *given: dataclasses.replace(shipped, reader=None))
        with pytest.raises(ValueError, match="number 1 is not in the gallery of the model, which predicts no other"):
            painted(photo, painting, model="any")

    def test_is_the_start_of_an_optimisation(self, shipped, small_vgg, photo, painting, quick_learning):
        """`init=fast` learns nothing, and has the photo's colours where they are asked for."""
        drafts = {}
        for mode in ("style", "match"):
            options = FastOptions(size=48, color=mode)
            inputs = prepare_inputs(photo, painting, options, CPU, Memo(0))
            drafts[mode] = stylizer.draft(inputs, options, CPU)
        assert quick_learning == []
        assert torch.allclose(drafts["style"], painted(photo, painting, size=48, model="any").rgb, atol=1e-5)
        means = images.read(photo).resized(32, 48).rgb.mean((1, 2))
        assert (drafts["match"].mean((1, 2)) - means).abs().max() < 0.03
        assert (drafts["style"].mean((1, 2)) - means).abs().max() > 0.05


class TestFramePainter:
    def test_averages_statistics_over_the_frames(self, shipped, photo):
        first, second = images.read(photo).resized(32, 48), images.Picture(images.read(photo).resized(32, 48).rgb ** 2)
        for strength in (1.0, 0.5):
            options = FastOptions(strength=strength)
            painter = stylizer.frame_painter(first, "one", options, CPU, Memo())
            alone = [
                fast.stylize(frame, "one", FastOptions(size=48, strength=strength)).rgb for frame in (first, second)
            ]
            frames = [painter.paint(frame.rgb) for frame in (first, second)]
            assert torch.allclose(frames[0], alone[0], atol=1e-5)
            assert (frames[1] - alone[1]).abs().max() > 1e-3

    def test_finishes_frames_in_their_own_colours(self, shipped, photo):
        first = images.read(photo).resized(32, 48)
        painter = stylizer.frame_painter(first, "one", FastOptions(color="match"), CPU, Memo())
        frame = first.rgb * torch.tensor([0.2, 0.5, 1.0])[:, None, None]
        done = painter.finish(painter.paint(frame), frame).rgb
        assert (done.mean((1, 2)) - frame.mean((1, 2))).abs().max() < 0.03


class TestErrors:
    def test_no_style(self, shipped, photo):
        with pytest.raises(ValueError, match="no style was given"):
            painted(photo, [])

    def test_too_little_memory(self, shipped, photo, monkeypatch):
        """190 bytes for each pixel."""
        monkeypatch.setattr(stylizer.memory, "budget", lambda *given: 512 * 341 * 190)
        assert painted(photo, "one").shape == (341, 512)
        monkeypatch.setattr(stylizer.memory, "budget", lambda *given: 512 * 341 * 190 - 1)
        with pytest.raises(BudgetError, match="512×341 px take about 0.03 GB.*--memory"):
            painted(photo, "one")

    def test_no_such_model(self, photo):
        with pytest.raises(WeightsError, match="no such model: none.safetensors"):
            painted(photo, "mosaic", model="none.safetensors")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"style_scale": 2}, "one is a style of the gallery, whose strokes have one size; style_scale needs"),
            ({"style_mask": {"1": np.full((8, 8), 255, np.uint8)}}, "one is a style of the gallery; style_mask needs"),
        ],
        ids=["scale", "mask"],
    )
    def test_what_a_style_of_the_gallery_does_not_have(self, shipped, photo, options, message):
        with pytest.raises(ValueError, match=message):
            painted(photo, "one", **options)

    def test_come_before_the_first_step(self, shipped, painting):
        with pytest.raises(PictureError, match="no such file"):
            fast.iterate("none.png", painting)
