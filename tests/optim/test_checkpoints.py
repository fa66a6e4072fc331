"""Checkpoints: a resumed run is the run, whatever interrupted it; and what does not fit is refused."""

import copy
import dataclasses
import itertools
import json
import logging
import multiprocessing
import os
import random
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import impasto
from impasto import cli
from impasto.errors import CheckpointError
from impasto.losses.objective import Objective
from impasto.optim import checkpoints, memory, multiscale
from impasto.optim.canvas import LocalCanvas
from impasto.optim.checkpoints import Checkpoints
from impasto.optim.problem import LocalExecution
from impasto.optim.solvers import SOLVERS, Evaluation, State
from impasto.settings.options import ReconstructOptions, StylizeOptions, TextureOptions

CPU = torch.device("cpu")


def valley(canvas):
    """Rosenbrock's, which makes searches fail now and then, over neighbouring pixels."""
    image = canvas.tensor
    x, y = image[..., ::2], image[..., 1::2]
    gradient = torch.empty_like(image)
    gradient[..., ::2] = -400 * x * (y - x * x) - 2 * (1 - x)
    gradient[..., 1::2] = 200 * (y - x * x)
    loss = (100 * (y - x * x).square() + (1 - x).square()).sum().item()
    return Evaluation(loss, {}, LocalCanvas(gradient))


START = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("method", list(SOLVERS))
@pytest.mark.parametrize("stop", [1, 2, 7, 30])
def test_an_optimiser_resumes_from_its_state(method, stop):
    whole = list(itertools.islice(SOLVERS[method](valley, State(LocalCanvas(START)), 3, 0.02), 60))
    state = State(LocalCanvas(START))
    points = SOLVERS[method](valley, state, 3, 0.02)
    first = list(itertools.islice(points, stop))
    rest = list(itertools.islice(SOLVERS[method](valley, copy.deepcopy(state), 3, 0.02), 61 - stop))
    for found, expected in zip([*first, *rest[1:]], whole, strict=True):
        assert torch.equal(found.canvas.tensor, expected.canvas.tensor)
        assert (found.evaluations, found.loss) == (expected.evaluations, expected.loss)


@pytest.mark.parametrize("method", list(SOLVERS))
@pytest.mark.parametrize("poisoned", [(), (9,), (9, 12)])
def test_an_optimiser_that_an_exception_ends_can_resume(method, poisoned):
    """In the middle of any evaluation, a failed step's included: the state is whole, or says that it is not."""

    def objective(fails_at, done=0):
        calls = itertools.count(done)

        def value_and_grad(image):
            call = next(calls)
            if call == fails_at:
                raise KeyboardInterrupt
            evaluation = valley(image)
            bad = Evaluation(float("nan"), {}, evaluation.gradient)
            return bad if call in poisoned else evaluation

        return value_and_grad

    expected = next(
        p for p in SOLVERS[method](objective(None), State(LocalCanvas(START)), 3, 0.02) if p.evaluations >= 30
    )
    whole = 0
    for fails_at in range(1, 25):
        state = State(LocalCanvas(START))
        with pytest.raises(KeyboardInterrupt):
            for _ in SOLVERS[method](objective(fails_at), state, 3, 0.02):
                pass
        if not state.consistent:
            continue
        whole += 1
        resumed = SOLVERS[method](objective(None, state.evaluations), state, 3, 0.02)
        found = next(point for point in resumed if point.evaluations >= 30)
        assert torch.equal(found.canvas.tensor, expected.canvas.tensor)
    assert whole >= 20


SMALL = {"size": 72, "iterations": 6, "scales": 2, "style_layers": "relu1_1,relu2_1", "content_layers": "relu2_2"}
MASK = np.zeros((64, 96), np.uint8)
MASK[:, :60] = 255


def stylizing(photo, **options):
    return lambda kept: impasto.iterate(
        photo, ["mosaic", "swirls"], StylizeOptions(**SMALL | options), checkpoints=kept
    )


RUNS = {
    "stylize": stylizing,
    "sizes": lambda photo: stylizing(photo, size=160),
    "adam": lambda photo: stylizing(photo, optimizer="adam"),
    "noise": lambda photo: stylizing(photo, init="noise", statistic="gaussian", seed=3, history=2),
    "masks": lambda photo: stylizing(photo, content_mask={"1": MASK}, color="luminance", statistic="nearest"),
    "texture": lambda photo: (
        lambda kept: impasto.iterate_texture(
            photo,
            TextureOptions(size=(80, 64), iterations=6, scales=2, seamless=True, style_layers="relu1_1,relu2_1"),
            checkpoints=kept,
        )
    ),
    "reconstruct": lambda photo: (
        lambda kept: impasto.iterate_reconstruction(
            photo, ReconstructOptions(size=64, iterations=12, content_layer="relu2_1"), checkpoints=kept
        )
    ),
}


@pytest.mark.parametrize("kind", list(RUNS))
def test_a_resumed_run_ends_in_the_same_picture(kind, photo, tmp_path):
    """Interrupted again and again, after every third step, at a step that no interval had kept."""
    run = RUNS[kind](photo)
    *_, expected = run(None)
    kept = Checkpoints(tmp_path / "run.checkpoint", every=1e9, resume=True)
    going = run(dataclasses.replace(kept, resume=False))
    for _ in range(20):
        found = list(itertools.islice(going, 4))
        going.close()
        if len(found) < 4:
            break
        assert kept.path.exists()
        going = run(kept)
    assert torch.equal(found[-1].image, expected.image)
    assert torch.equal(found[-1].picture.rgb, expected.picture.rgb)
    assert found[-1].losses == expected.losses
    assert (found[-1].evaluations, found[-1].scale) == (expected.evaluations, expected.scale)
    kept.discard()
    assert os.listdir(tmp_path) == []


@pytest.fixture
def interrupted(photo, tmp_path):
    """What makes a run, where its checkpoint is, and options that it was made with."""
    kept = Checkpoints(tmp_path / "run.checkpoint", resume=True)

    def run(pictures=(photo, "mosaic"), **options):
        return impasto.iterate(*pictures, StylizeOptions(**SMALL | options), checkpoints=kept)

    started = run()
    list(itertools.islice(started, 3))
    started.close()
    return run, kept.path


def test_settings_that_differ_are_refused(interrupted, photo):
    run, path = interrupted
    for name, value in {"strength": 2, "seed": 1, "size": 71, "statistic": "mean", "init": "noise"}.items():
        with pytest.raises(CheckpointError, match=rf"run.checkpoint was made with {name} .*, and now it is {value!r}"):
            run(**{name: value})
    with pytest.raises(CheckpointError, match="was made with style_layers"):
        run(style_layers="relu1_1=0.5,relu2_1")
    with pytest.raises(CheckpointError, match="was made with another content;"):
        run((255 - photo, "mosaic"))
    with pytest.raises(CheckpointError, match="was made with another style 1;"):
        run((photo, "swirls"))
    with pytest.raises(CheckpointError, match="was made with content_mask"):
        run(content_mask={"1": MASK})
    with pytest.raises(CheckpointError, match=r"is from 'impasto stylize', not from reconstruct"):
        impasto.iterate_reconstruction(photo, checkpoints=Checkpoints(path, resume=True))


def test_another_mask_is_refused(photo, tmp_path):
    kept = Checkpoints(tmp_path / "c", resume=True)
    started = stylizing(photo, content_mask={"1": MASK})(kept)
    list(itertools.islice(started, 2))
    started.close()
    with pytest.raises(CheckpointError, match="was made with another mask of 1 mosaic"):
        stylizing(photo, content_mask={"1": 255 - MASK})(kept)


def test_where_and_how_long_may_differ(interrupted, monkeypatch, caplog):
    """And where there is less memory than before, parts are planned anew."""
    run, _ = interrupted
    assert next(run(memory="3GB", device="cpu", time_budget=1000)).evaluations == 3
    assert "less memory" not in caplog.text
    monkeypatch.setattr(multiscale, "MEMORY_SLACK", 1e-9)
    assert next(run(memory="3GB")).evaluations == 3
    assert "less memory than when the run began" in caplog.text


def test_a_checkpoint_without_resume_is_announced(interrupted, photo, caplog):
    _, path = interrupted
    impasto.iterate(photo, "mosaic", StylizeOptions(**SMALL), checkpoints=Checkpoints(path))
    assert "is from an interrupted run; it will be replaced, unless you --resume" in caplog.text


def test_nothing_to_resume_is_said(photo, tmp_path, caplog):
    run = impasto.iterate(
        photo, "mosaic", StylizeOptions(**SMALL), checkpoints=Checkpoints(tmp_path / "c", resume=True)
    )
    assert next(run).evaluations == 1
    assert "there is no" in caplog.text


def test_where_none_can_be_written_is_said_before_the_start(photo, tmp_path):
    with pytest.raises(CheckpointError, match="there is no folder"):
        impasto.iterate(photo, "mosaic", StylizeOptions(**SMALL), checkpoints=Checkpoints(tmp_path / "none" / "c"))


def test_a_checkpoint_that_cannot_be_written_does_not_end_the_run(photo, tmp_path, monkeypatch, caplog):
    def full(path, checkpoint, settings):
        raise CheckpointError(f"cannot write {path}: No space left on device")

    monkeypatch.setattr(checkpoints, "save", full)
    kept = Checkpoints(tmp_path / "c", every=1e-9)
    with caplog.at_level(logging.WARNING):
        *_, last = impasto.iterate(photo, "mosaic", StylizeOptions(**SMALL), checkpoints=kept)
    assert last.iteration == 6
    assert "no checkpoint was written: cannot write" in caplog.text


def test_checkpoints_come_at_intervals_of_the_runs_time(photo, tmp_path, monkeypatch):
    """Of steps whose times are known, those are kept that are an interval after the one kept before."""
    saved = []
    monkeypatch.setattr(checkpoints, "save", lambda path, checkpoint, settings: saved.append(checkpoint.seconds))
    kept = Checkpoints(tmp_path / "c", every=0.05)
    seconds = [s.seconds for s in impasto.iterate(photo, "mosaic", StylizeOptions(**SMALL), checkpoints=kept)]
    expected, last = [], 0.0
    for second in seconds:
        if second - last >= 0.05:
            expected.append(second)
            last = second
    assert saved == expected


def test_a_finished_run_that_was_not_written_gives_its_last_step_again(photo, tmp_path):
    kept = Checkpoints(tmp_path / "c", every=1e-9, resume=True)
    options = StylizeOptions(**SMALL)
    *_, expected = impasto.iterate(photo, "mosaic", options, checkpoints=kept)
    (again,) = impasto.iterate(photo, "mosaic", options, checkpoints=kept)
    assert torch.equal(again.image, expected.image)


# -- damage ------------------------------------------------------------------------------------------------


def test_damage_is_recognised(interrupted):
    run, path = interrupted
    good = path.read_bytes()
    for bad in (b"", b"\0", b"text", good[:-1], good[: len(good) // 2], good[1:], good[:5000] + b"x" + good[5001:]):
        path.write_bytes(bad)
        with pytest.raises(CheckpointError, match=r"run.checkpoint is damaged \(.*leave --resume away"):
            run()
    path.write_bytes(good)
    assert next(run()).evaluations == 3


def test_checkpoints_of_other_versions_are_refused(interrupted, monkeypatch):
    run, _ = interrupted
    monkeypatch.setattr(checkpoints, "LAYOUT", checkpoints.LAYOUT + 1)
    with pytest.raises(CheckpointError, match=f"is from impasto {impasto.__version__}, whose checkpoints this version"):
        run()


def test_pictures_of_the_wrong_shape_are_damage(interrupted, tmp_path):
    run, path = interrupted
    with np.load(path) as file:
        arrays = dict(file)
    arrays["image"] = arrays["image"][..., :5]
    np.savez(tmp_path / "other.npz", **arrays)
    os.replace(tmp_path / "other.npz", path)
    with pytest.raises(CheckpointError, match="damaged"):
        run()


def test_nothing_in_a_checkpoint_is_executed(interrupted):
    run, path = interrupted
    with zipfile.ZipFile(path, "a") as file, file.open("trap.npy", "w") as trap:
        np.lib.format.write_array(trap, np.array([print], object), allow_pickle=True)
    with pytest.raises(CheckpointError, match="damaged"):
        run()


def state_of(size=(4, 6)):
    generator = torch.Generator().manual_seed(1)
    canvas, gradient, s, y, first, second = (
        LocalCanvas(torch.rand(1, 3, *size, generator=generator)) for _ in range(6)
    )
    terms = {"content relu4_2": 0.1 + 1e-17}
    return State(canvas, 0.1, terms, gradient, True, 5, [(s, y, 0.3)], (first, second), 4, 1)


PLAN = memory.Plan(24, "lbfgs", 10, True, 1000)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_flipped_byte_goes_unnoticed(tmp_path, data):
    path = tmp_path / "c"
    checkpoint = checkpoints.Checkpoint([PLAN], 0, 0, 1.5, 0.5, state_of())
    plain = checkpoints.settings_of(StylizeOptions(), {})
    checkpoints.save(path, checkpoint, plain)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        found = checkpoints.load(path, plain, CPU)
    except CheckpointError:
        return
    assert (found.scale, found.before, found.seconds, found.entered) == (0, 0, 1.5, 0.5)
    assert list(found.plans) == [PLAN]
    assert_close(dataclasses.asdict(found.state), dataclasses.asdict(checkpoint.state), rtol=0, atol=0)


# -- killed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("moment", ["after", "place", "objective", "evaluation"])
def test_interrupted_between_two_scales(photo, tmp_path, monkeypatch, moment, optimizer):
    """While a result is looked at, the next scale is prepared, or evaluated for the first time: nothing is lost."""
    options = StylizeOptions(
        size=140, iterations=4, style_layers="relu1_1", content_layers="relu2_2", optimizer=optimizer
    )
    *_, expected = impasto.iterate(photo, "mosaic", options)
    path, done = tmp_path / "checkpoint", []
    owner = Objective if moment == "evaluation" else LocalExecution
    name = "value_and_grad" if moment == "evaluation" else moment
    real = getattr(owner, name)

    def interrupted(*given):
        if done and done[-1].iteration == done[-1].iterations:
            raise KeyboardInterrupt
        return real(*given)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        steps = impasto.iterate(photo, "mosaic", options, checkpoints=Checkpoints(path, every=1e9))
        with pytest.raises(KeyboardInterrupt):
            done.extend(steps)
    assert done[-1].scale == 1
    *_, resumed = impasto.iterate(photo, "mosaic", options, checkpoints=Checkpoints(path, resume=True))
    assert torch.equal(resumed.image, expected.image)
    assert resumed.evaluations == expected.evaluations


def _run_in_child(folder, arguments, log):
    """A run of the command line in a process of its own, which says what it does in a file."""
    os.chdir(folder)
    with open(log, "a", buffering=1) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        sys.exit(cli.run(arguments))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_again_and_again(tmp_path, photo):
    """`kill -9` at random moments: never more than an interval and a step is lost, no file is half-written, and
    the last run ends in the file of one that was never interrupted."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["impasto.cli", "impasto.operations.stylize", "impasto.plots", "impasto.record"])
    PIL.Image.fromarray(photo).save(tmp_path / "photo.png")
    arguments = [
        "stylize",
        "photo.png",
        "mosaic",
        "--size",
        "64",
        "--scales",
        "1",
        "--iterations",
        "200",
        "--style-weight",
        "8",
        "--json",
    ]
    arguments += ["--style-layers", "relu1_1,relu2_1", "--content-layers", "relu2_2", "--optimizer", "adam"]
    every = 0.1

    def start(*more):
        log = tmp_path / f"{more[1]}.log"
        process = context.Process(target=_run_in_child, args=(tmp_path, [*arguments, *more], log))
        process.start()
        return process, log

    def evaluations(path):
        with np.load(path) as file:
            about = json.loads(file["about"].tobytes())
        return about["evaluations"], about["seconds"]

    process, _ = start("-o", "expected.png")
    process.join()
    assert process.exitcode == 0

    chance = random.Random(0)
    (tmp_path / "out.png").write_text("mine")
    checkpoint = tmp_path / "out.png.checkpoint"
    killed = reached = 0
    while killed < 4:
        process, log = start("-o", "out.png", "--checkpoint-every", str(every), "--resume")
        before = log.stat().st_size if log.exists() else 0
        while process.is_alive() and (not log.exists() or log.stat().st_size == before):
            time.sleep(0.002)  # until the first step
        process.join(chance.uniform(0, 0.3))
        if not process.is_alive():
            break
        process.kill()
        process.join()
        killed += 1
        *lines, _ = log.read_bytes()[before:].split(b"\n")  # the last may be half
        if checkpoint.exists():
            saved, seconds = evaluations(checkpoint)
            assert saved >= reached
            reached = saved
        else:
            seconds = 0
        # Of the steps after the interval, the first writes the next checkpoint (and may be killed over it).
        assert sum(json.loads(line)["seconds"] > seconds + every + 0.001 for line in lines) <= 1
        assert (tmp_path / "out.png").read_text() == "mine"
    assert killed == 4
    assert reached > 8
    process, _ = start("-o", "out.png", "--resume")
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "expected.png").read_bytes()
    assert {name.name for name in tmp_path.iterdir() if not name.name.endswith(".log")} >= {"out.png", "photo.png"}
    assert not checkpoint.exists()
    assert not list(Path(tmp_path).glob(".impasto*"))
