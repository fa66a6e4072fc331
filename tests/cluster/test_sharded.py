"""One picture over many workers is the picture of one."""

import os
import signal
import time
from functools import cache

import pytest
import ray
import torch
from torch.testing import assert_close

from impasto import cluster as many
from impasto import images
from impasto.cluster import group as groups
from impasto.cluster import sharded
from impasto.cluster.group import ShardedCanvas, WorkerGroup, _is_alive
from impasto.errors import ClusterError
from impasto.inputs.memo import Memo
from impasto.inputs.prepare import prepare_inputs
from impasto.operations import problem, stylize
from impasto.optim.canvas import Canvas, LocalCanvas
from impasto.optim.checkpoints import Checkpoints
from impasto.optim.memory import Plan
from impasto.settings.options import StylizeOptions
from impasto.vgg import tiles, tiling

pytestmark = pytest.mark.usefixtures("nodes")

TALL = {"size": 256, "scales": 1, "style_weight": 20, "total_variation": 0.5, "style_layers": "relu1_1,relu2_1,relu3_1"}


@pytest.fixture(scope="module")
def photo():
    import skimage.data

    return images.read(skimage.data.astronaut()).resized(256, 64)


@pytest.fixture
def small(monkeypatch):
    """Small pictures are sharded, too; the photo is tall enough for two workers."""
    monkeypatch.setattr(sharded, "MIN_PIXELS", 1)


@pytest.fixture(scope="module")
def whole(photo):
    """The last step of a run that nothing disturbs."""

    @cache
    def run():
        *_, last = many.iterate(photo, "swirls", StylizeOptions(**TALL, iterations=5), threads=1)
        return last

    return run


@pytest.fixture(scope="class")
def workers():
    """Two workers. They take seconds to start, so all tests of a class share them."""
    found = WorkerGroup(2, 1)
    yield found
    found.dismiss()


@pytest.fixture
def group(workers):
    """Two workers, each with half of 64 rows."""
    workers.spans = tiles.row_spans(64, 2, 16, 16)
    return workers


def kill(group, index):
    ray.kill(group.workers[index])
    while _is_alive(group.workers[index]):
        time.sleep(0.05)


class TestShardedCanvas:
    def test_does_what_a_local_canvas_does(self, group, generator):
        """Every operation of the protocol, on numbers of both signs and at the bounds."""
        tensors = [torch.randn(1, 3, 64, 20, generator=generator) for _ in range(3)]
        tensors[0].clamp_(0, 1)
        here, there = [LocalCanvas(t) for t in tensors], [group.scatter(t) for t in tensors]
        made = [
            lambda a, b, c: a.clone(),
            lambda a, b, c: a.minus(b),
            lambda a, b, c: a.stepped(b, 0.3),
            lambda a, b, c: a.descent_direction(b),
            lambda a, b, c: a.zeros(),
            lambda a, b, c: a.adam_stepped(b, c.clone(), 0.1, 0.9),
        ]
        changed = [
            lambda a, b, c: c.hold_(a, b),
            lambda a, b, c: c.add_scaled_(b, 0.7),
            lambda a, b, c: c.divide_(3.0),
            lambda a, b, c: c.average_(b, 0.1),
            lambda a, b, c: c.average_square_(b, 0.001),
        ]
        for operation in made:
            found, expected = operation(*there), operation(*here)
            assert found.shape == expected.shape
            assert_close(found.gather(), expected.gather(), rtol=0, atol=0, equal_nan=True)
        for operation in changed:
            operation(*there)
            operation(*here)
            assert_close(there[2].gather(), here[2].gather(), rtol=0, atol=0)
        assert_close(there[0].dot(there[1]), here[0].dot(here[1]), rtol=1e-5, atol=1e-4)
        assert_close(there[1].sum(), here[1].sum(), rtol=1e-5, atol=1e-4)
        assert {name for name in vars(Canvas) if not name.startswith("_")} <= {*dir(there[0]), "shape"}

    def test_canvases_that_are_garbage_are_released(self, group):
        kept = group.scatter(torch.zeros(1, 3, 64, 4))
        number = group.scatter(torch.zeros(1, 3, 64, 4)).id.number
        group.gather(number)  # the workers still have it: a finalizer calls nobody
        assert kept.sum() == 0  # the next call releases it
        with pytest.raises(ClusterError):
            group.gather(number)
        assert kept.gather().sum() == 0

    def test_a_lost_workers_rows_come_from_replicas(self, group, generator):
        one = torch.randn(1, 3, 64, 20, generator=generator)
        canvas = group.scatter(one)
        group.replicate([canvas])
        kill(group, 1)
        assert_close(canvas.gather(), one, rtol=0, atol=0)
        group.recover([canvas])
        assert_close(canvas.minus(canvas.zeros()).gather(), one, rtol=0, atol=0)
        kill(group, 0)  # the new one has the other's replicas
        group.recover([canvas])
        assert_close(canvas.gather(), one, rtol=0, atol=0)

    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"color": "luminance"},
            {"statistic": "moments", "content_mask": "halves"},
            {"statistic": "gaussian", "content_mask": "keep"},
            {"statistic": "nearest", "content_mask": "halves"},
            {"window": 9_000},
        ],
        ids=lambda more: " ".join(more.values() if "window" not in more else ["tiles"]) or "plain",
    )
    def test_value_and_gradient_are_those_of_one_process(self, photo, group, more, generator, monkeypatch):
        window = more.pop("window", 1 << 30) if "window" in more else 1 << 30
        masks = {
            "halves": {"1": (torch.arange(64) < 32).float().expand(1, 256, 64)},
            "keep": {"keep": torch.rand(1, 256, 64, generator=generator)},
        }
        more = more | ({"content_mask": masks[more["content_mask"]]} if "content_mask" in more else {})
        options = StylizeOptions(**TALL, **more)
        inputs = prepare_inputs(photo, "swirls", options, torch.device("cpu"), Memo(0))
        problem, _ = stylize.problem_of(inputs, options, torch.device("cpu"))
        (scale,), plan = problem.scales, Plan(window, "lbfgs", 10, True, 0)
        monkeypatch.setattr(sharded, "MIN_PIXELS", 1)
        execution = sharded.ShardedExecution(problem, 2, 1)
        execution._group = group
        canvas = torch.rand(1, 3, 256, 64, generator=generator)
        one = problem.objective(scale, plan).value_and_grad(canvas)
        sharded_objective = execution.objective(scale, plan)
        two = sharded_objective(group.scatter(canvas))
        assert list(one.terms) == list(two.terms)
        assert_close(two.loss, one.loss, rtol=1e-5, atol=0)
        for name, value in one.terms.items():
            assert_close(two.terms[name], value, rtol=1e-5, atol=1e-9)
        error = (two.gradient.gather() - one.gradient).norm() / one.gradient.norm()
        assert error < 3e-5


def test_more_workers_than_cores(monkeypatch, generator):
    """A worker that finds no free core after a while shares one."""
    monkeypatch.setattr(groups, "PATIENCE", 5)
    group = WorkerGroup(3, 1)
    group.spans = tiles.row_spans(96, 3, 16, 16)
    one = torch.randn(1, 3, 96, 4, generator=generator)
    assert_close(group.scatter(one).gather(), one, rtol=0, atol=0)
    group.dismiss()


def test_too_many_at_once(group):
    canvas = group.scatter(torch.zeros(1, 3, 64, 4))
    group.replicate([canvas])
    kill(group, 0)
    kill(group, 1)
    with pytest.raises(ClusterError, match="--resume resumes"):
        group.recover([canvas])


@pytest.mark.usefixtures("small")
def test_the_picture_is_that_of_one_process_in_the_same_tiles(photo, whole, monkeypatch):
    last = whole()
    assert isinstance(last.canvas, ShardedCanvas)
    assert last.iteration == 5

    def tiles_of_two(encoder, taps, height, width, most):
        stride, reach = encoder.least_size(taps), tiling.halo(encoder, taps)
        parts = tiles.row_spans(height, 2, stride, reach)
        return tuple(
            tile
            for part in parts
            for tile in tiles.grid(height, width, 1 << 30, stride, reach, rows=(part.start, part.stop))
        )

    monkeypatch.setattr(problem, "divide", tiles_of_two)
    alone = stylize.stylize(photo, "swirls", StylizeOptions(**TALL, iterations=5))
    assert (last.picture.rgb - alone.rgb).abs().max() < 1 / 255


@pytest.mark.usefixtures("small")
def test_a_worker_lost_on_the_way_costs_an_evaluation_and_no_more(photo, whole):
    options = StylizeOptions(**TALL, iterations=5)
    expected = whole().picture.rgb
    steps, seen = many.iterate(photo, "swirls", options, threads=1), []
    for step in steps:
        seen.append(step)
        if len(seen) == 3:
            worker = step.canvas._group.workers[1]
            pid = ray.get(worker.__ray_call__.remote(lambda self: os.getpid()))
            os.kill(pid, signal.SIGKILL)
    assert seen[-1].evaluations == 5
    assert (seen[-1].picture.rgb - expected).abs().max() < 1 / 255


@pytest.mark.usefixtures("small")
def test_interrupted_and_resumed(photo, whole, tmp_path):
    options = StylizeOptions(**TALL, iterations=5)
    kept = Checkpoints(tmp_path / "c", every=1e-9, resume=True)
    steps = many.iterate(photo, "swirls", options, checkpoints=kept, threads=1)
    for _ in range(3):
        next(steps)
    steps.close()
    *_, last = many.iterate(photo, "swirls", options, checkpoints=kept, threads=1)
    assert last.evaluations == 5
    assert (last.picture.rgb - whole().picture.rgb).abs().max() < 1 / 255


def test_small_scales_stay_here(photo):
    *_, last = many.iterate(photo, "swirls", StylizeOptions(size=128, scales=1, iterations=2))
    assert isinstance(last.canvas, LocalCanvas)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"device": "cuda"}, "on CPUs"), ({"color": "palette"}, "takes a moment")],
)
def test_what_no_cluster_can_do(photo, wrong, message):
    with pytest.raises(ValueError, match=message):
        many.iterate(photo, "swirls", StylizeOptions(**wrong))
