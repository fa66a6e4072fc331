"""The main job, end to end, small, on the real network."""

import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import skimage.data
import torch

import impasto
from impasto import images
from impasto.inputs.memo import Memo
from impasto.losses.objective import Evaluation, Objective
from impasto.losses.statistics import gram
from impasto.operations import stylize
from impasto.optim import multiscale
from impasto.optim.problem import upsampled
from impasto.optim.schedule import Scale
from impasto.presets import preset
from impasto.settings.options import StylizeOptions
from impasto.vgg import weights

FAST = {"size": 96, "iterations": 6}


def style_distance(encoder, picture, painting, layer="relu3_1"):
    def statistic(rgb):
        return gram(encoder(rgb[None], [layer])[layer][0].flatten(1)).mean

    return (statistic(picture) - statistic(painting)).norm().item()


def test_result_is_nearer_to_the_style_and_still_the_photo(photo):
    painting = images.read(impasto_style(96))
    steps = list(impasto.iterate(photo, "swirls", preset("default", size=96, iterations=25, match_colors=False)))
    encoder = weights.load("vgg19")
    start = images.read(photo).resized(*steps[-1].shape).rgb
    result = steps[-1].picture.rgb
    assert style_distance(encoder, result, painting.rgb) < 0.5 * style_distance(encoder, start, painting.rgb)
    # Still this photo: its content is nearer than another photo's.
    other = images.read(np.ascontiguousarray(photo[::-1])).resized(*steps[-1].shape).rgb
    features = [encoder(rgb[None], ["relu4_2"])["relu4_2"] for rgb in (result, start, other)]
    assert (features[0] - features[1]).norm() < 0.9 * (features[0] - features[2]).norm()
    assert steps[-1].loss < 0.7 * steps[0].loss
    assert result.min() >= 0
    assert result.max() <= 1


def impasto_style(side):
    from impasto.inputs.styles import paint

    return paint("swirls", side, side)


def test_steps_tell_where_they_are(photo):
    options = preset("default", size=200, iterations=3)
    steps = list(impasto.iterate(photo, "mosaic", options))
    assert {step.scale for step in steps} == {1, 2}
    assert steps[0].image.shape[-1] < 200 == steps[-1].image.shape[-1]
    assert steps[-1].image.shape == (3, 133, 200)
    assert all(step.picture.shape == step.shape == (133, 200) for step in steps)
    assert all(step.iteration <= step.iterations for step in steps)
    assert steps[-1].eta == pytest.approx(0, abs=1e-6)
    evaluations = [step.evaluations for step in steps]
    assert evaluations == sorted(evaluations)
    assert all(after.seconds >= before.seconds for before, after in itertools.pairwise(steps))
    assert abs(sum(steps[-1].losses.values()) - steps[-1].loss) < 1e-9
    assert len(steps[-1].losses) == 6


@pytest.mark.parametrize(("size", "expected"), [(100, (67, 100)), (None, (64, 96)), (33, (22, 33))])
def test_exact_size(photo, size, expected):
    picture = impasto.stylize(photo, "woodcut", preset("default", size=size, iterations=1))
    assert picture.shape == expected


def test_every_kind_of_picture_gives_the_same(photo, tmp_path):
    path = tmp_path / "photo.png"
    PIL.Image.fromarray(photo).save(path)
    style = impasto_style(96)
    options = preset("default", size=64, iterations=2)
    tensor = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    results = [
        impasto.stylize(content, style, options).rgb
        for content in (
            path,
            str(path),
            PIL.Image.open(path),
            photo,
            photo / 255.0,
            tensor,
            tensor[None] / 255,
        )
    ]
    for other in results[1:]:
        assert (other - results[0]).abs().max() < 1e-3


@pytest.mark.parametrize("init", ["content", "noise", "mixed", "style"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_every_start(photo, init, optimizer):
    options = preset("default", size=64, iterations=5, init=init, optimizer=optimizer)
    steps = list(impasto.iterate(photo, "mosaic", options))
    assert steps[-1].loss < steps[0].loss


def test_start_from_a_file(photo, tmp_path):
    draft = tmp_path / "draft.png"
    images.write(draft, images.read(photo[::-1].copy()))
    steps = list(impasto.iterate(photo, "mosaic", preset("default", size=200, iterations=1, init=str(draft))))
    assert len(steps) == 1
    assert steps[0].image.shape == (3, 133, 200)
    assert (steps[0].image - images.read(draft).resized(133, 200).rgb).abs().max() < 1e-6


def test_scales_pass_on_the_residual(monkeypatch):
    """Where no scale changes anything, the photo comes out as it went in, though the first one was smaller."""
    monkeypatch.setattr(Objective, "value_and_grad", lambda self, image: Evaluation(1.0, {}, torch.zeros_like(image)))
    photo = images.read(skimage.data.chelsea()).resized(160, 256)
    layers = {"relu1_1": 1.0}
    options = preset("default", size=None, scales=3, iterations=2, optimizer="adam", match_colors=False)
    options = dataclasses.replace(options, content_layers=layers, style_layers=layers)
    scales = {step.scale: step for step in impasto.iterate(photo, "mosaic", options)}
    assert [step.image.shape[-1] for step in scales.values()] == [128, 181, 256]
    for step in scales.values():
        assert (step.image - photo.resized(*step.image.shape[-2:]).rgb).abs().max() < 1e-5
    # The details of noise are not added back.
    noisy = list(impasto.iterate(photo, "mosaic", dataclasses.replace(options, init="noise")))[-1]
    assert noisy.image.std() < 0.5 * multiscale.noise(160, 256, options.seed).std()


@pytest.mark.parametrize("scale", [Scale(40, 61, 1), Scale(80, 122, 1)])
def test_a_change_is_kept_from_scale_to_scale(photo, scale):
    """What was made of the start stays; what is added is only what could not be seen of it."""
    start = images.read(photo).resized(80, 122).rgb
    changed = images.resize(start, 20, 31).flip(-1)
    canvas = upsampled(changed, (scale.height, scale.width), start, False)
    assert canvas.shape[-2:] == (scale.height, scale.width)
    assert (images.resize(canvas, 20, 31) - changed).abs().mean() < 0.02
    assert canvas.min() >= 0
    assert canvas.max() <= 1
    plain = upsampled(changed, (scale.height, scale.width), None, False)
    assert torch.equal(plain, images.resize(changed, scale.height, scale.width))
    assert canvas.diff().square().mean() > 1.5 * plain.diff().square().mean()


@pytest.mark.parametrize("statistic", ["gram", "mean", "moments", "gaussian", "covariance", "wasserstein", "nearest"])
def test_every_statistic(photo, statistic):
    options = preset("default", size=64, iterations=4, statistic=statistic)
    steps = list(impasto.iterate(photo, "pointillism", options))
    assert steps[-1].loss < steps[0].loss


@pytest.mark.parametrize("name", ["gatys2016", "course"])
def test_presets_run(photo, name):
    steps = list(impasto.iterate(photo, "facets", preset(name, size=64, iterations=8)))
    assert steps[-1].loss < 0.5 * steps[0].loss
    assert steps[-1].scales == 1


def test_strength_is_a_dial(photo):
    style = impasto_style(96)
    painting = images.read(style).rgb
    encoder = weights.load("vgg19")
    distances = [
        style_distance(
            encoder,
            impasto.stylize(photo, style, preset("default", size=96, iterations=15, strength=strength)).rgb,
            painting,
        )
        for strength in (0.2, 0.6, 1.5)
    ]
    assert distances == sorted(distances, reverse=True)
    untouched = impasto.stylize(photo, style, preset("default", size=None, strength=0.0, iterations=20))
    start = impasto.stylize(photo, style, preset("default", size=None, strength=0.0, iterations=1))
    target = images.read(photo).rgb
    assert (untouched.rgb - target).abs().mean() < (start.rgb - target).abs().mean()


def test_alpha_is_carried(photo):
    alpha = np.zeros(photo.shape[:2], np.uint8)
    alpha[:, 48:] = 255
    picture = impasto.stylize(np.dstack([photo, alpha]), "mosaic", preset("default", size=48, iterations=1))
    assert picture.alpha.shape == (32, 48)
    assert picture.alpha[:, :20].max() < 0.01
    assert picture.alpha[:, 28:].min() > 0.99


def test_the_same_seed_gives_the_same_picture(photo):
    for init in ("content", "noise"):
        runs = [
            impasto.stylize(photo, "swirls", preset("default", init=init, seed=seed, **FAST | {"iterations": 3})).rgb
            for seed in (5, 5, 6)
        ]
        assert torch.equal(runs[0], runs[1])
        assert init == "content" or not torch.equal(runs[0], runs[2])


def test_time_budget(photo, monkeypatch):
    """On a clock that advances a second with every evaluation per 64² px, whatever the machine does."""
    now = [0.0]
    real = Objective.value_and_grad

    def timed(self, image):
        now[0] += image.shape[-1] * image.shape[-2] / 64**2
        return real(self, image)

    monkeypatch.setattr("impasto.optim.clock.time.monotonic", lambda: now[0])
    monkeypatch.setattr(Objective, "value_and_grad", timed)
    layers = {"style_layers": {"relu1_1": 1.0}, "content_layers": {"relu2_2": 1.0}}
    options = {"size": 160, "iterations": 8, **layers}
    everything = list(impasto.iterate(photo, "mosaic", preset("default", **options)))[-1].seconds
    for budget in (0.9, 0.25):
        steps = list(impasto.iterate(photo, "mosaic", preset("default", time_budget=budget * everything, **options)))
        assert steps[-1].seconds <= budget * everything * 1.05
        assert steps[-1].picture.shape == (107, 160)
        assert all(step.eta <= budget * everything for step in steps)
    steps = list(impasto.iterate(photo, "mosaic", preset("default", time_budget=2 * everything, **options)))
    assert steps[-1].seconds == everything


def test_stopping_cancels(photo):
    for step in impasto.iterate(photo, "mosaic", preset("default", size=96, iterations=1000)):
        if step.iteration >= 3:
            break
    assert step.iteration < 10


def test_numbers_that_go_wrong_keep_the_best(photo, monkeypatch, caplog):
    real, calls = Objective.value_and_grad, itertools.count()

    def failing(self, image):
        evaluation = real(self, image)
        bad = next(calls) >= 4
        return Evaluation(float("nan"), evaluation.terms, evaluation.gradient) if bad else evaluation

    monkeypatch.setattr(Objective, "value_and_grad", failing)
    steps = list(impasto.iterate(photo, "mosaic", preset("default", size=48, iterations=50)))
    assert steps[-1].note
    assert steps[-1].picture.rgb.isfinite().all()
    assert steps[-1].loss == min(step.loss for step in steps)
    assert "no step gives a finite loss" in caplog.text


def test_a_start_that_is_not_finite_is_an_error(photo):
    with pytest.raises(ValueError, match="smaller weights"):
        impasto.stylize(photo, "mosaic", preset("default", size=64, style_weight=1e300))


@pytest.mark.parametrize("colour", [0, 255, 128])
def test_one_colour(photo, colour):
    flat = np.full((64, 64, 3), colour, np.uint8)
    for content, style in ((flat, "mosaic"), (photo, flat), (flat, flat)):
        picture = impasto.stylize(content, style, preset("default", size=64, iterations=3))
        assert picture.rgb.isfinite().all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 9}, r"9×6 px; relu5_1 needs at least 16×16"),
        ({"style_layers": {"relu7_1": 1.0}}, "unknown layer 'relu7_1'"),
        ({"init": "nothing"}, "content, noise, mixed, style"),
        ({"weights": "vgg11"}, "unknown weights 'vgg11': give a file, or one of vgg19"),
        ({"device": "mps"}, "not available"),
    ],
)
def test_mistakes(photo, changes, message):
    with pytest.raises(ValueError, match=message):
        impasto.stylize(photo, "mosaic", preset("default", **{"size": 64} | changes))


@pytest.mark.parametrize(("content_weight", "count"), [(1.0, 2), (0.0, 0)])
def test_the_photo_chooses_anchors_among_nearest_neighbours(photo, content_weight, count):
    """One for each painting and position; none where the photo is not to be seen."""
    options, cpu = StylizeOptions(size=96, statistic="nearest", content_weight=content_weight), torch.device("cpu")
    inputs = stylize.prepare_inputs(photo, ["mosaic", "swirls"], options, cpu, Memo(0))
    problem, _ = stylize.problem_of(inputs, options, cpu)
    scale = problem.scales[-1]
    found = {term.layer: term for term in problem.objective(scale, problem.plan(scale)).terms if "style" in term.name}
    assert [*found] == ["relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    for number, term in enumerate(found.values(), start=1):
        assert [tuple(each.shape) for each in term.anchors] == [(64 >> number, 96 >> number)] * count
        assert all(len(each.unique()) > 1 for each in term.anchors)


def test_wrong_styles(photo, tmp_path):
    with pytest.raises(ValueError, match="did you mean .swirls"):
        impasto.stylize(photo, "swirl")
    with pytest.raises(impasto.PictureError, match="no such file"):
        impasto.stylize(photo, tmp_path / "none.jpg")
    with pytest.raises(ValueError, match="no style"):
        impasto.stylize(photo, [])
    with pytest.raises(ValueError, match=r"the style number 1 is 8×8 px"):
        impasto.stylize(photo, np.zeros((8, 8, 3)), preset("default", size=64))


def test_importing_is_light():
    code = "import impasto, sys; print('torch' in sys.modules, 'pyvips' in sys.modules, impasto.preset.__name__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False", "preset"]
    for name in impasto.__all__:
        assert getattr(impasto, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = impasto.nonsense
