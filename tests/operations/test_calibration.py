"""A strength keeps as much of every photo, whatever the painting."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import impasto
from impasto import images
from impasto.cli import run
from impasto.inputs.memo import Memo
from impasto.inputs.prepare import prepare_inputs
from impasto.operations import calibration, stylize
from impasto.operations.calibration import BALANCED, LAYER, LIMIT, MAX_CHANGE, content_distance, target_distance
from impasto.operations.stylize import problem_of
from impasto.optim.checkpoints import Checkpoints
from impasto.presets import preset
from impasto.settings.fields import fields_of
from impasto.settings.options import StylizeOptions
from impasto.vgg import weights

SMALL = {"size": 96, "iterations": 15}


FOUND = {}


@pytest.fixture
def of_woodcut(photo):
    """The style weight that is found for this painting, once for all tests."""
    if not FOUND:
        FOUND.update(next(impasto.iterate(photo, "woodcut", **SMALL)).found)
    return FOUND["style_weight"]


def distance(photo, picture):
    encoder = weights.load("vgg19", padding="zeros")
    pictures = images.read(photo).resized(*picture.shape), picture
    original, painted = (encoder(one.rgb[None], [LAYER])[LAYER] for one in pictures)
    return content_distance(painted, original)


def test_content_distance_is_free_of_contrast_and_colour(generator):
    features = 100 * torch.rand(1, 4, 6, 5, generator=generator)
    gains = torch.tensor([0.5, 1, 2, 3]).view(1, 4, 1, 1)
    assert content_distance(features, features) == 0
    assert content_distance(gains * features + 7, features) == pytest.approx(0, abs=1e-4)
    other = 100 * torch.rand(1, 4, 6, 5, generator=generator)
    assert content_distance(other, features) == pytest.approx(2, rel=0.3)  # independent of it


def test_content_distance_counts_where_the_weight_is(generator):
    features = 100 * torch.rand(1, 4, 8, 8, generator=generator)
    other = features.clone()
    other[..., :4] = other[..., :4].flip(1)
    left = torch.zeros(8, 8)
    left[:, :4] = 1
    assert content_distance(other, features, left) > 3 * content_distance(other, features, 1 - left)


def test_promises_grow_with_the_strength():
    promised = [target_distance(strength) for strength in (0, 0.25, 0.5, 0.75, 1, 1.5, 2, 10)]
    assert promised[0] == 0
    assert promised[4] == pytest.approx(BALANCED)
    assert promised == sorted(promised)
    assert promised[-1] < LIMIT


@pytest.mark.calibrates
def test_unlike_paintings_keep_as_much_of_the_photo(photo, of_woodcut):
    *_, step = impasto.iterate(photo, "facets", **SMALL)
    weights = {"facets": step.found["style_weight"], "woodcut": of_woodcut}
    *_, fixed = impasto.iterate(photo, "woodcut", **SMALL, style_weight=of_woodcut)
    for style, picture in (("facets", step.picture), ("woodcut", fixed.picture)):
        assert distance(photo, picture) == pytest.approx(BALANCED, rel=0.2), style
    assert max(weights.values()) > 1.5 * min(weights.values()), "these styles would not have needed it"


@pytest.mark.calibrates
def test_the_dial_moves_along(photo):
    distances = [distance(photo, impasto.stylize(photo, "swirls", strength=by, **SMALL)) for by in (0.4, 1.6)]
    assert all(stronger > 1.1 * weaker for weaker, stronger in itertools.pairwise(distances)), distances


@pytest.mark.calibrates
def test_the_weight_that_was_found_gives_the_same_picture(photo):
    *_, calibrated = impasto.iterate(photo, "woodcut", strength=0.7, **SMALL)
    *_, fixed = impasto.iterate(photo, "woodcut", strength=0.7, **SMALL, **calibrated.found)
    assert (calibrated.image - fixed.image).abs().max() < 1e-3  # one scale, which has one weight
    assert fixed.found == {}


def test_the_weight_is_corrected_by_a_result(photo, generator):
    options, cpu = StylizeOptions(size=96), torch.device("cpu")
    problem, _ = problem_of(prepare_inputs(photo, ["woodcut"], options, cpu, Memo()), options, cpu)
    scale, usual = problem.scales[0], problem.style_weight
    original = problem.photo_at(scale)
    plan = problem.plan(scale)
    assert problem.after(scale, plan, original).style_weight == pytest.approx(usual * MAX_CHANGE)
    assert problem.after(scale, plan, torch.rand(original.shape, generator=generator)).style_weight < 0.5 * usual
    assert dataclasses.replace(problem, strength=None).after(scale, plan, original).style_weight == usual


def test_each_scale_corrects_the_next_one(photo):
    steps = impasto.iterate(photo, "woodcut", size=140, iterations=3, strength=0.1)
    weights = {step.scale: step.found["style_weight"] for step in steps}
    assert weights[2] != pytest.approx(weights[1], rel=0.1)


def test_a_run_is_resumed_with_its_weight(photo, tmp_path):
    options = {"size": 140, "iterations": 6}
    *_, expected = impasto.iterate(photo, "woodcut", **options)
    path = tmp_path / "checkpoint"
    for step in impasto.iterate(photo, "woodcut", checkpoints=Checkpoints(path, every=0), **options):
        if step.scale == 2 and step.iteration == 3:
            break
    resumed = list(impasto.iterate(photo, "woodcut", checkpoints=Checkpoints(path, resume=True), **options))
    assert resumed[0].scale == 2
    assert torch.equal(resumed[-1].image, expected.image)
    assert resumed[-1].found == expected.found


@pytest.mark.calibrates
def test_a_resumed_run_is_not_calibrated_again(photo, tmp_path, monkeypatch):
    options = StylizeOptions(size=64, iterations=4)
    steps = impasto.iterate(photo, "woodcut", options, checkpoints=Checkpoints(tmp_path / "checkpoint", every=0))
    first, _ = next(steps), next(steps)
    steps.close()
    monkeypatch.setattr(calibration, "calibrated", lambda *given: pytest.fail("calibrated again"))
    resumed = Checkpoints(tmp_path / "checkpoint", resume=True)
    *_, last = impasto.iterate(photo, "woodcut", options, checkpoints=resumed)
    assert last.evaluations == 4
    assert last.found == first.found


def test_runs_that_share_a_memo_share_no_weight_that_is_not_theirs():
    """Every option either distinguishes them, or changes no weight that is found."""
    distinguish = {*stylize._STYLE_OPTIONS, *stylize._CALIBRATION_OPTIONS, "size", "device", "strength", "seed"}
    neutral = {"style_weight", "init", "iterations", "scales", "optimizer", "history", "rate", "memory"}
    assert set(fields_of(StylizeOptions)) == distinguish | neutral
    assert not distinguish & neutral


@pytest.mark.calibrates
def test_tiny_pictures(photo):
    """With one position at the layer that a strength is measured at."""
    picture = impasto.stylize(photo, "mosaic", size=12, iterations=1, style_layers="relu1_1")
    assert picture.rgb.isfinite().all()


@pytest.mark.calibrates
def test_a_time_budget_leaves_time_for_painting(photo, monkeypatch):
    """The clock goes by a second at every look."""
    clock = SimpleNamespace(monotonic=itertools.count().__next__)
    monkeypatch.setattr(calibration, "time", clock)
    notified = []
    memo = Memo().notifying(notified.append)
    next(impasto.iterate(photo, "mosaic", size=64, time_budget=20, memo=memo))
    assert notified.count("calibrated") < 10  # a quarter of it; 20 and more otherwise


@pytest.mark.calibrates
def test_it_can_be_cancelled(photo):
    stages = []

    def cancel(progress):
        stages.append(progress.stage)
        if stages.count("calibrating the strength") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        impasto.stylize(photo, "mosaic", size=64, progress=cancel)


@pytest.mark.calibrates
def test_the_start_does_not_matter(photo, of_woodcut):
    found = next(impasto.iterate(photo, "woodcut", init="noise", **SMALL)).found
    assert found == {"style_weight": of_woodcut}


@pytest.mark.calibrates
def test_what_is_kept_does_not_count(photo, of_woodcut):
    mask = np.zeros(photo.shape[:2], np.uint8)
    mask[:, :70] = 255
    part = next(impasto.iterate(photo, "woodcut", content_mask={"keep": mask}, **SMALL))
    # If the kept part counted, the rest would have to change beyond recognition to make up for it.
    assert part.found["style_weight"] < 4 * of_woodcut


@pytest.mark.calibrates
@pytest.mark.parametrize(
    "options",
    [
        preset("gatys2016", size=64, iterations=1),
        preset("course", size=64, iterations=1),
        StylizeOptions(size=64, iterations=1, style_weight=3),
        StylizeOptions(size=64, iterations=1, strength=0),
        StylizeOptions(size=64, iterations=1, content_weight=0),
        StylizeOptions(size=64, iterations=1, color="palette"),
    ],
)
def test_papers_weights_that_are_given_and_nothing_to_calibrate(photo, options):
    *_, step = impasto.iterate(photo, "swirls", options)
    assert step.found == {}


def test_auto_is_the_default():
    assert StylizeOptions(style_weight="auto") == StylizeOptions()
    assert StylizeOptions(style_weight="3.5").style_weight == 3.5
    with pytest.raises(ValueError, match=r"style_weight is 'much'; expected a number, at least 0, or 'auto'"):
        StylizeOptions(style_weight="much")


@pytest.mark.calibrates
def test_a_picture_tells_the_weight_that_was_found(photo, tmp_path, capsys):
    given, made = tmp_path / "photo.png", tmp_path / "made.png"
    images.write(given, images.read(photo))
    assert run(["stylize", str(given), "swirls", "-o", str(made), "--size", "64", "--iterations", "1", "-q"]) == 0
    stored = images.read_settings(made)
    assert stored["options"]["style_weight"] is None
    assert stored["found"]["style_weight"] > 0
    assert run(["info", str(made)]) == 0
    assert f"style weight {stored['found']['style_weight']:g}" in capsys.readouterr().out
    assert json.loads(json.dumps(stored)) == stored
    assert preset(str(made)).style_weight is None, "another pair is calibrated anew"
