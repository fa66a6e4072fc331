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
from impasto.cluster import group as spread_module
from impasto.cluster import sharded
from impasto.cluster.group import Crew, Spread, _lives
from impasto.errors import ClusterError
from impasto.inputs.prepare import prepare_inputs
from impasto.operations import stylize
from impasto.operations.stylize import aims_of
from impasto.optim.checkpoints import Checkpoints
from impasto.optim.memory import Plan
from impasto.settings.options import StylizeOptions
from impasto.vgg import tiling

pytestmark = pytest.mark.usefixtures("nodes")

TALL = {"size": 400, "scales": 1, "total_variation": 0.5, "style_layers": "relu1_1,relu2_1,relu3_1"}


@pytest.fixture(scope="module")
def photo():
    import skimage.data

    return images.read(skimage.data.astronaut()).resized(400, 96)


@pytest.fixture
def spread(monkeypatch):
    """Small pictures are worth it, and the photo is tall enough for two workers."""
    monkeypatch.setattr(sharded, "LEAST", 1)


@pytest.fixture(scope="module")
def whole(photo):
    """The last step of a run that nothing disturbs, by its optimiser."""

    @cache
    def run(optimizer="lbfgs"):
        *_, last = many.iterate(photo, "swirls", StylizeOptions(**TALL, iterations=5, optimizer=optimizer), threads=1)
        return last

    return run


@pytest.fixture(scope="class")
def hired():
    """Two workers. They take seconds to come, so all tests of a class share them."""
    found = Crew(2, 1)
    yield found
    found.dismiss()


@pytest.fixture
def crew(hired):
    """Two workers, each with half of 64 rows."""
    hired.spans = tiling.bands(64, 2, 16, 16)
    return hired


def kill(crew, index):
    ray.kill(crew.bands[index])
    while _lives(crew.bands[index]):
        time.sleep(0.05)


class TestSpread:
    def test_does_what_a_tensor_does(self, crew, generator):
        """Every operation that the optimisers use, on numbers of both signs."""
        one, two = (torch.randn(1, 3, 64, 20, generator=generator) for _ in range(2))
        a, b = crew.spread(one), crew.spread(two)
        assert a.shape == one.shape
        assert a.numel() == one.numel()
        assert_close(a.cpu(), one, rtol=0, atol=0)
        assert_close(a[0].cpu(), one[0], rtol=0, atol=0)
        assert_close((a - b).cpu(), one - two, rtol=0, atol=0)
        assert_close(a.add(b, alpha=0.3).clamp_(0, 1).cpu(), one.add(two, alpha=0.3).clamp(0, 1), rtol=0, atol=0)
        held = (a > 0).logical_and_(b <= 0)
        held |= (a < 0).logical_and_(b >= 1)
        expected = (one > 0) & (two <= 0) | (one < 0) & (two >= 1)
        assert torch.equal(held.cpu(), expected)
        assert_close(a.masked_fill(held, 0).neg_().cpu(), -one.masked_fill(expected, 0), rtol=0, atol=0)
        assert_close(a.flatten().dot(b.flatten()).item(), (one * two).sum().item(), rtol=1e-5, atol=1e-4)
        assert_close(a.sum().item(), one.sum().item(), rtol=1e-5, atol=1e-4)
        moments = a.clone().zero_().lerp_(b, 0.1).mul_(0.9).addcmul_(b, b, value=0.5)
        assert_close(moments.cpu(), 0.9 * 0.1 * two + 0.5 * two**2, rtol=1e-5, atol=1e-6)

    def test_nothing_else(self, crew):
        with pytest.raises(AttributeError, match="has no 'softmax'"):
            crew.spread(torch.zeros(1, 3, 64, 4)).softmax  # noqa: B018
        with pytest.raises(IndexError):
            crew.spread(torch.zeros(1, 3, 64, 4))[1]

    def test_what_nobody_needs_is_forgotten(self, crew):
        kept = crew.spread(torch.zeros(1, 3, 64, 4))
        number = crew.spread(torch.zeros(1, 3, 64, 4)).number
        with pytest.raises(Exception, match=str(number)):
            crew.gather(number)
        assert kept.cpu().sum() == 0

    def test_a_lost_workers_rows_are_had_from_copies(self, crew, generator):
        one = torch.randn(1, 3, 64, 20, generator=generator)
        canvas = crew.spread(one)
        crew.secure([canvas])
        kill(crew, 1)
        assert_close(canvas.cpu(), one, rtol=0, atol=0)
        crew.recover([canvas])
        assert_close(canvas.add(canvas).cpu(), 2 * one, rtol=0, atol=0)
        kill(crew, 0)  # the new one has the other's copies
        crew.recover([canvas])
        assert_close(canvas.cpu(), one, rtol=0, atol=0)

    @pytest.mark.parametrize(
        "more",
        [
            {},
            {"color": "luminance"},
            {"statistic": "moments", "content_mask": "halves"},
            {"statistic": "gaussian", "content_mask": "keep"},
            {"window": 20_000},
        ],
        ids=lambda more: " ".join(more.values() if "window" not in more else ["tiles"]) or "plain",
    )
    def test_value_and_gradient_are_those_of_one_process(self, photo, crew, more, generator):
        window = more.pop("window", 1 << 30) if "window" in more else 1 << 30
        masks = {
            "halves": {"1": (torch.arange(96) < 48).float().expand(1, 400, 96)},
            "keep": {"keep": torch.rand(1, 400, 96, generator=generator)},
        }
        more = more | ({"content_mask": masks[more["content_mask"]]} if "content_mask" in more else {})
        options = StylizeOptions(**TALL, **more)
        scene = prepare_inputs(photo, "swirls", options, torch.device("cpu"), {})
        aims, (scale,) = aims_of(scene, options, torch.device("cpu"), {}, None, None)
        plan = Plan(window, "lbfgs", 10, True, 0)
        here = aims.objective(scale, plan)
        taps = {*aims.content_layers, *aims.style_layers}
        stride, reach = aims.encoder.least_size(taps), tiling.halo(aims.encoder, taps)
        crew.spans = tiling.bands(scale.height, 2, stride, reach)
        there = sharded.SpreadObjective.of(aims, crew, scale, plan, reach, stride)
        canvas = torch.rand(1, 3, 400, 96, generator=generator)
        one, two = here.value_and_grad(canvas), there.value_and_grad(crew.spread(canvas))
        assert list(one.terms) == list(two.terms)
        assert_close(two.loss, one.loss, rtol=1e-5, atol=0)
        for name, value in one.terms.items():
            assert_close(two.terms[name], value, rtol=1e-5, atol=1e-9)
        error = (two.gradient.cpu() - one.gradient).norm() / one.gradient.norm()
        assert error < 1e-5


def test_more_workers_than_cores(monkeypatch, generator):
    """Who finds no core of its own after a while works beside another."""
    monkeypatch.setattr(spread_module, "PATIENCE", 5)
    crew = Crew(3, 1)
    crew.spans = tiling.bands(96, 3, 16, 16)
    one = torch.randn(1, 3, 96, 4, generator=generator)
    assert_close(crew.spread(one).cpu(), one, rtol=0, atol=0)
    crew.dismiss()


def test_too_many_at_once(crew):
    canvas = crew.spread(torch.zeros(1, 3, 64, 4))
    crew.secure([canvas])
    kill(crew, 0)
    kill(crew, 1)
    with pytest.raises(ClusterError, match="--resume goes on"):
        crew.recover([canvas])


@pytest.mark.usefixtures("spread")
def test_the_picture_is_that_of_one_process_in_the_same_tiles(photo, whole, monkeypatch):
    last = whole()
    assert isinstance(last.image, Spread)
    assert last.iteration == 5

    def tiles_of_two(encoder, taps, height, width, most):
        stride, reach = encoder.least_size(taps), tiling.halo(encoder, taps)
        parts = tiling.bands(height, 2, stride, reach)
        return tuple(
            tile
            for part in parts
            for tile in tiling.grid(height, width, 1 << 30, stride, reach, band=(part.start, part.stop))
        )

    monkeypatch.setattr(stylize, "divide", tiles_of_two)
    alone = stylize.stylize(photo, "swirls", StylizeOptions(**TALL, iterations=5))
    assert (last.picture.rgb - alone.rgb).abs().max() < 1 / 255


@pytest.mark.usefixtures("spread")
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_worker_lost_on_the_way_costs_an_evaluation_and_no_more(photo, whole, optimizer):
    options = StylizeOptions(**TALL, iterations=5, optimizer=optimizer)
    expected = whole(optimizer).picture.rgb
    steps, seen = many.iterate(photo, "swirls", options, threads=1), []
    for step in steps:
        seen.append(step)
        if len(seen) == 3:
            band = step.image._crew.bands[1]
            pid = ray.get(band.__ray_call__.remote(lambda self: os.getpid()))
            os.kill(pid, signal.SIGKILL)
    assert seen[-1].evaluations == 5
    assert (seen[-1].picture.rgb - expected).abs().max() < 1 / 255


@pytest.mark.usefixtures("spread")
def test_interrupted_and_resumed(photo, whole, tmp_path):
    options = StylizeOptions(**TALL, iterations=5)
    kept = Checkpoints(tmp_path / "c", every=1e-9, resume=True)
    steps = many.iterate(photo, "swirls", options, kept, threads=1)
    for _ in range(3):
        next(steps)
    steps.close()
    *_, last = many.iterate(photo, "swirls", options, kept, threads=1)
    assert last.evaluations == 5
    assert (last.picture.rgb - whole().picture.rgb).abs().max() < 1 / 255


def test_small_scales_stay_here(photo):
    *_, last = many.iterate(photo, "swirls", StylizeOptions(size=128, scales=1, iterations=2))
    assert isinstance(last.image, torch.Tensor)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"statistic": "nearest"}, "no sums"), ({"color": "palette"}, "in a moment")],
)
def test_what_no_cluster_can_do(photo, wrong, message):
    with pytest.raises(ValueError, match=message):
        many.iterate(photo, "swirls", StylizeOptions(**wrong))
