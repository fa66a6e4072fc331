"""Plans of memory: what is predicted, what is chosen, and what happens when it was not enough."""

import dataclasses
import logging
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import impasto
from impasto.errors import BudgetError
from impasto.inputs.memo import Memo
from impasto.losses import nearest, terms
from impasto.losses.objective import Objective
from impasto.operations import stylize
from impasto.optim import memory
from impasto.optim import problem as problems
from impasto.presets import preset
from impasto.settings.fields import format_bytes, parse_bytes
from impasto.settings.options import StylizeOptions
from impasto.vgg import tiling, weights
from impasto.vgg.encoder import random_encoder
from impasto.vgg.workspace import Workspace

HALF = np.zeros((64, 96), np.uint8)
HALF[:, :48] = 255
STYLE = [f"relu{block}_1" for block in range(1, 6)]


@pytest.fixture(scope="module")
def encoder():
    return weights.load("vgg19", padding="replicate").up_to([*STYLE, "relu4_2"])


def plan(encoder, size, budget, method="lbfgs", history=10):
    return memory.plan(encoder, size, (["relu4_2"], STYLE), method, history, budget)


def test_what_fits_is_computed_whole(encoder):
    chosen = plan(encoder, (384, 512), 2 * 10**9)
    assert (chosen.window, chosen.method, chosen.history) == (384 * 512, "lbfgs", 10)
    pictures = 24 * 12  # bytes per pixel of what L-BFGS holds
    assert 500 < (chosen.bytes - memory.FIXED_COST) / (384 * 512) - pictures < 750


class Living(TorchDispatchMode):
    """Counts the bytes of all tensors that are there at once, of those made since."""

    def __init__(self):
        super().__init__()
        self.now = self.peak = 0
        self._known = {}

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if torch.is_tensor(leaf)}
        found = function(*args, **kwargs)
        for leaf in tree_leaves(found):
            storage = leaf.untyped_storage() if torch.is_tensor(leaf) else None
            if storage is not None and storage._cdata not in {*given, *self._known}:
                self._note(storage._cdata, storage)
        return found

    def _note(self, key, storage):
        size = storage.nbytes()

        def gone(_):
            del self._known[key]
            self.now -= size

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


@pytest.mark.parametrize("window", [10**9, 40_000], ids=["whole", "tiles"])
@pytest.mark.parametrize(
    ("changes", "split"),
    [
        *(({"statistic": name}, "") for name in ("gram", "moments", "wasserstein", "nearest")),
        ({"content_mask": {"1": HALF}}, ""),
        ({"style_layers": "conv1_1,conv2_1"}, ""),
        ({"content_layers": "relu1_2"}, ""),
        ({"padding": "zeros", "pooling": "average"}, ""),
        ({"statistic": "gram"}, "pool2"),
        ({"content_layers": "relu1_2", "content_mask": {"1": HALF}}, "pool2"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values()))[:20],
)
def test_evaluations_take_what_was_planned(monkeypatch, photo, changes, split, window):
    """What they take per pixel of a window, counted; what they take whatever its size is made small."""
    seen = random_encoder(((2, 64), (2, 64), *([(1, 256), (1, 64)] if split else [(1, 64)])), seed=1).to("cpu")
    monkeypatch.setattr(
        weights, "load", lambda name, pooling, padding, _: replace(seen, pooling=pooling, padding=padding)
    )
    monkeypatch.setattr(terms, "CHUNK", 1 << 16)
    monkeypatch.setattr(nearest, "ROWS", 64)
    layers = {
        "content_layers": "relu2_2",
        "style_layers": "relu1_1,relu2_1,relu3_1" + ",relu4_1" * bool(split),
    } | changes
    size = 384
    if "nearest" in changes.values():  # whose time grows with the square of the number of pixels
        size, window = 192, window // 4
    options, device = StylizeOptions(size=size, scales=1, **layers), torch.device("cpu")
    inputs = stylize.prepare_inputs(photo, ["mosaic"], options, device, Memo(0))
    problem, _ = stylize.problem_of(inputs, options, device)
    (scale,) = problem.scales
    rate, share = memory.per_pixel(problem.encoder, problem.taps), 1.0
    if split:
        rate, share = memory._split(problem.encoder, problem.taps, (scale.height, scale.width))
    plan = memory.Plan(min(window, scale.pixels), "lbfgs", 10, True, 0, split, share)
    objective = problem.objective(scale, plan)
    largest = max(tile.pixels for tile in objective.tiles)
    canvas = inputs.content[None].clone()
    dataclasses.replace(objective, workspace=Workspace()).value_and_grad(canvas)  # transforms kernels
    for _ in range(2):  # the first measures how large the workspace must be
        objective.workspace.free()
        with Living() as living:
            objective.value_and_grad(canvas)
        beside = living.peak - memory.IMAGE * scale.pixels  # the gradient of the whole picture
        assert beside < rate * largest + (6 << 20)
        assert beside > 0.6 * rate * largest


def test_what_is_kept_beside_is_planned(photo):
    """Masks at every layer, and for the nearest neighbours features of the paintings."""
    device = torch.device("cpu")

    def beside(count=1, size=96, painting=photo, **changes):
        options = StylizeOptions(size=size, **changes)
        inputs = stylize.prepare_inputs(photo, [painting] * count, options, device, Memo(0))
        problem, _ = stylize.problem_of(inputs, options, device)
        return problem.auxiliary_bytes_per_pixel

    assert beside() == 0
    assert beside(content_mask={"1": HALF}) == 2 * 10 + 2 * 12  # the rest of the photo is kept
    one = beside(statistic="nearest")
    features, anchors = 4 * (128 / 4 + 256 / 16 + 512 / 64 + 512 / 256), 8 * (1 / 4 + 1 / 16 + 1 / 64 + 1 / 256)
    assert one == pytest.approx(features + anchors, rel=0.02)
    assert beside(2, statistic="nearest") == pytest.approx(2 * one, rel=0.02)
    assert beside(statistic="nearest", style_scale=(0.5,)) == pytest.approx(features / 4 + anchors, rel=0.02)
    # Of a large painting, a sample, but at relu5_1 all.
    large = beside(size=1536, painting=np.zeros((1024, 1536, 3), np.uint8), statistic="nearest") - anchors
    expected = 4 * (nearest.LARGEST_BANK * (128 + 256 + 512) + 1536 * 1024 / 256 * 512)
    assert large * 1536 * 1024 == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("changes", [{}, {"match_colors": False}, {"init": "style"}], ids=str)
def test_the_start_is_released_with_the_first_canvas(photo, changes):
    """It is no view of the photo, which stays: plans count neither again."""
    options, device = StylizeOptions(size=96, **changes), torch.device("cpu")
    inputs = stylize.prepare_inputs(photo, ["mosaic"], options, device, Memo(0))
    problem, start = stylize.problem_of(inputs, options, device)
    assert start.untyped_storage().data_ptr() != problem.content.photo.untyped_storage().data_ptr()


def test_layers_without_weight_are_not_planned(photo):
    """They are not computed, by no operation."""
    device, plans = torch.device("cpu"), []
    for changes in ({"relu3_1": 0.0}, {}):
        layers = {"content_layers": {"relu2_2": 1.0} | changes, "style_layers": {"relu1_1": 1.0} | changes}
        options = StylizeOptions(size=384, scales=1, **layers)
        inputs = stylize.prepare_inputs(photo, ["mosaic"], options, device, Memo(0))
        problem, _ = stylize.problem_of(inputs, options, device)
        plans.append(problem.plan(problem.scales[0]))
    assert plans[0] == plans[1]


@pytest.mark.parametrize("megapixels", [4, 36])
@pytest.mark.parametrize("budget", [10**9, 4 * 10**9, 16 * 10**9])
def test_plans_stay_within_the_budget(encoder, megapixels, budget):
    size = (1000 * megapixels // 2, 2000)
    if budget < 80 * megapixels * 10**6:
        with pytest.raises(BudgetError, match=rf"{size[1]}×{size[0]} px need .* --memory"):
            plan(encoder, size, budget)
        return
    chosen = plan(encoder, size, budget)
    assert chosen.bytes <= budget
    tiles = tiling.divide(encoder, [*STYLE, "relu4_2"], *size, chosen.window)
    assert max(tile.pixels for tile in tiles) <= chosen.window
    assert sum(tile.pixels for tile in tiles) <= 3 * size[0] * size[1]


def test_less_is_remembered_before_windows_become_tiny(encoder):
    size = (5000, 7200)
    histories = [plan(encoder, size, budget * 10**9).history for budget in (20, 12, 8, 6)]
    assert histories[0] == 10
    assert histories == sorted(histories, reverse=True)
    assert plan(encoder, size, 3 * 10**9).method == "adam"


def test_more_memory_never_means_more_time(encoder):
    size, times, splits = (2000, 3000), [], set()
    for budget in range(9, 60, 3):
        chosen = plan(encoder, size, budget * 10**8, "adam")
        tiles = tiling.divide(encoder, [*STYLE, "relu4_2"], *size, chosen.window)
        passes = memory.GRADIENT + memory.SUMS * (len(tiles) > 1) + memory.SPLIT_COST * bool(chosen.split)
        passes += memory.UNCACHED * (not chosen.caches_content_features)
        times.append(passes * sum(tile.pixels for tile in tiles))
        splits.add((chosen.split, len(tiles) > 1))
    assert times == sorted(times, reverse=True)
    assert splits == {("", False), ("pool2", False), ("pool2", True), ("", True)}


def test_the_first_blocks_are_split_off_before_there_are_windows(encoder):
    """A picture that does not fit whole is computed whole but for them, in little more than half of the memory."""
    pixels = 1000 * 1500
    state = 24 * memory.IMAGE * pixels + memory.FIXED_COST
    chosen = plan(encoder, (1000, 1500), state + 300 * pixels)
    assert (chosen.window, chosen.split, chosen.history) == (pixels, "pool2", 10)
    assert chosen.tile < pixels / 5
    assert plan(encoder, (1000, 1500), state + 700 * pixels).split == ""
    seamless = dataclasses.replace(encoder, padding="circular")  # tiles of 4 pixels cannot be laid around it
    with pytest.raises(ValueError, match="seamless"):
        plan(seamless, (1000, 1502), state + 300 * pixels)
    assert plan(seamless, (1000, 1504), state + 300 * pixels).split == "pool2"


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2GB", 2 * 10**9), ("500 MB", 5 * 10**8), ("1.5GiB", 3 * 2**29), ("4g", 4 * 10**9), (7, 7), (None, None)],
)
def test_amounts(text, amount):
    assert parse_bytes(text) == amount
    assert amount is None or parse_bytes(format_bytes(amount)) == amount


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "lots", "infGB", "nanMB", True, 0, -5, 1.5])
def test_what_is_no_amount(text):
    with pytest.raises(ValueError, match="memory"):
        StylizeOptions(memory=text)


def test_a_picture_in_parts_is_the_picture(photo, monkeypatch):
    """The same steps, but for rounding, with windows a tenth of the picture."""
    pictures, seen = [], []
    real = memory.plan
    for part in (1, 10):

        def planned(*arguments, part=part):
            chosen = real(*arguments)
            seen.append(chosen)
            return dataclasses.replace(chosen, window=chosen.window // part)

        monkeypatch.setattr(memory, "plan", planned)
        options = preset(size=160, iterations=3, scales=1)
        pictures.append([step.image for step in impasto.iterate(photo, "swirls", options)])
    for whole, parts in zip(*pictures, strict=True):
        assert (whole - parts).abs().max() < 2e-3


def test_too_little_is_said_before_the_first_step(photo):
    with pytest.raises(BudgetError, match=r"96×64 px, which need .* give more \(memory=, or --memory"):
        impasto.iterate(photo, "swirls", preset(size=96, memory="1MB"))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried …"),
    ],
)
def test_out_of_memory_in_spite_of_the_plan(photo, monkeypatch, caplog, error):
    """From the third evaluation on, whatever sees more than a third of the picture fails."""
    real, calls = Objective.value_and_grad, []

    def short(self, canvas):
        calls.append(len(self.tiles))
        largest = max(tile.pixels for tile in self.tiles)
        if len(calls) > 2 and largest > 12_000:
            raise error
        return real(self, canvas)

    monkeypatch.setattr(Objective, "value_and_grad", short)
    monkeypatch.setattr(problems, "MIN_WINDOW", 1000)
    options = preset(size=150, iterations=4, scales=1, style_layers="relu1_1,relu2_1", content_layers="relu2_2")
    with caplog.at_level(logging.WARNING):
        found = list(impasto.iterate(photo, "swirls", options))
    assert found[-1].loss < found[0].loss
    assert "out of memory at 150×100 px: continuing in tiles" in caplog.text
    assert calls[-1] > 1


def test_out_of_memory_for_good(photo, monkeypatch):
    def never(self, canvas):
        raise MemoryError

    monkeypatch.setattr(Objective, "value_and_grad", never)
    monkeypatch.setattr(problems, "MIN_WINDOW", 1000)
    with pytest.raises(BudgetError, match="out of memory at 150×100 px, even in tiles"):
        list(impasto.iterate(photo, "swirls", preset(size=150, scales=1)))


def test_other_errors_are_not_taken_for_it(photo, monkeypatch):
    def wrong(self, canvas):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(Objective, "value_and_grad", wrong)
    with pytest.raises(RuntimeError, match="shapes"):
        list(impasto.iterate(photo, "swirls", preset(size=64)))


def test_large_paintings_are_read_in_parts(photo, monkeypatch):
    """A painting four times as large as the picture never is a window of its own."""
    from impasto.vgg.encoder import Encoder

    largest = [0]
    real = Encoder.walk

    def measured(self, image, taps, *workspace):
        largest[0] = max(largest[0], image.shape[-1] * image.shape[-2])
        return real(self, image, taps, *workspace)

    monkeypatch.setattr(Encoder, "walk", measured)
    painting = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    options = preset(size=300, scales=1, iterations=1, style_scale=2, style_layers="relu1_1", content_layers="relu1_2")
    list(impasto.iterate(photo, painting, options))
    assert largest[0] <= 2 * 300 * 200
