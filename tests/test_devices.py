"""What the machine offers: the memory that is free, limits of containers included; and that all computing is done
where it was asked for."""

import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import impasto
from impasto import devices, fast
from impasto.fast import training
from impasto.fast.crops import Dataset
from impasto.images.regions import StyleSource
from impasto.inputs.memo import Memo
from impasto.operations import problem, stylize
from impasto.optim import memory
from impasto.optim.checkpoints import Checkpoints
from impasto.settings.options import (
    AudioOptions,
    FastOptions,
    ReconstructOptions,
    SoundTextureOptions,
    StylizeOptions,
    TextureOptions,
    TrainOptions,
    VideoOptions,
)

aten = torch.ops.aten
META = torch.device("meta")


def limited(folder, limit, taken, cached=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{taken}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_containers_are_respected(tmp_path, monkeypatch):
    own = tmp_path / "own"
    limited(tmp_path, 3_000_000_000, 1_000_000_000, 200_000_000)
    assert devices._container_limits(tmp_path, own) == [2_200_000_000]
    limited(tmp_path, "max", 0)
    assert devices._container_limits(tmp_path, own) == []
    assert devices._container_limits(tmp_path / "none", own) == []
    monkeypatch.setattr(devices, "_container_limits", lambda: [12345])
    assert devices.available() == 12345
    assert memory.budget(None, torch.device("cpu")) == round(12345 * memory.SHARE)
    assert memory.budget(10**12, torch.device("cpu")) == pytest.approx(10**12 - devices.used(), rel=1e-3)


def test_what_pytorch_holds_for_later_is_free(monkeypatch):
    """Its cache on a GPU, from an earlier run in this process."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5_000, 24_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 18_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1_000)
    assert devices.available(torch.device("cuda")) == 22_000


def test_the_limits_of_every_group_above_count(tmp_path):
    """As under systemd: a service's own limit, and that of the slice it is in."""
    own = tmp_path / "own"
    own.write_text("12:cpu:/elsewhere\n0::/user.slice/job\n")
    limited(tmp_path / "user.slice" / "job", "max", 0)
    limited(tmp_path / "user.slice", 2_000_000_000, 500_000_000)
    assert devices._container_limits(tmp_path, own) == [1_500_000_000]


def test_old_control_groups(tmp_path):
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("4000000000")
    (folder / "memory.usage_in_bytes").write_text("1000000000")
    (folder / "memory.stat").write_text("total_inactive_file 7\n")
    assert devices._container_limits(tmp_path, tmp_path / "own") == [3_000_000_007]


def test_limits_that_slow_down_count(tmp_path):
    """Beyond `memory.high` a process is throttled and its memory reclaimed, long before `memory.max`."""
    limited(tmp_path, 3_000_000_000, 1_000_000_000)
    for high, left in (("2500000000", 1_500_000_000), ("4000000000", 2_000_000_000), ("max", 2_000_000_000)):
        (tmp_path / "memory.high").write_text(high + "\n")
        assert devices._container_limits(tmp_path, tmp_path / "own") == [left]
    limited(tmp_path, "max", 1_000_000_000)
    assert devices._container_limits(tmp_path, tmp_path / "own") == []


def limited_by_version_1(folder, limit, taken):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (folder / "memory.usage_in_bytes").write_text(f"{taken}\n")
    (folder / "memory.stat").write_text("inactive_file 9\ntotal_inactive_file 0\n")


def test_old_control_groups_are_nested_too(tmp_path):
    """As under SLURM: the job has the limit, and this process is in a step of it. A container's root is its own."""
    own, job = tmp_path / "own", tmp_path / "memory" / "slurm" / "job_7"
    limited_by_version_1(tmp_path / "memory", 9223372036854771712, 0)
    limited_by_version_1(job, 2_000_000_000, 500_000_000)
    for path in ("/slurm/job_7/step_0", "/slurm/job_7"):
        own.write_text(f"8:cpu,memory:{path}\n1:name=systemd:/\n0::/\n")
        assert devices._container_limits(tmp_path, own) == [1_500_000_000]
    own.write_text("8:memory:/elsewhere\n0::/\n")
    assert devices._container_limits(tmp_path, own) == []
    limited_by_version_1(tmp_path / "memory", 4_000_000_000, 0)
    for text in ("8:memory:/docker/not/to/be/seen\n", "", "damaged\n"):
        own.write_text(text)
        assert devices._container_limits(tmp_path, own) == [4_000_000_000]


def test_control_groups_of_both_versions(tmp_path):
    own = tmp_path / "own"
    own.write_text("4:memory:/job\n0::/user.slice\n")
    limited_by_version_1(tmp_path / "memory" / "job", 4_000_000_000, 0)
    limited(tmp_path / "unified" / "user.slice", 3_000_000_000, 0)
    assert sorted(devices._container_limits(tmp_path, own)) == [3_000_000_000, 4_000_000_000]


# -- which device --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gpus", "said"),
    [
        ("cuda:1", 2, None),
        ("cuda", 1, None),
        ("cuda:2", 2, "choose from auto, cuda:0 to cuda:1, cpu"),
        ("cuda:1", 1, "choose from auto, cuda, cpu"),
        ("cuda:0", 0, "choose from auto, cpu"),
    ],
)
def test_one_gpu_of_several(monkeypatch, name, gpus, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    chosen = StylizeOptions(device=name).device
    if said is None:
        assert devices.choose_device(chosen) == torch.device(name)
    else:
        with pytest.raises(ValueError, match=f"device {name} is not available here.*{said}"):
            devices.choose_device(chosen)


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "cuda:-1", "cpu:1", "auto:0", "CUDA", "", "cuda:1 "])
def test_names_that_no_device_has(name):
    with pytest.raises(ValueError, match="unknown device"):
        StylizeOptions(device=name)


def test_a_pytorch_without_cuda_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    with pytest.raises(ValueError, match="this PyTorch was built without CUDA"):
        devices.choose_device("cuda:1")


# -- a device that is not the processor ----------------------------------------------------------------------------


class Elsewhere(TorchDispatchMode):
    """PyTorch's `meta` device stands for a GPU: tensors there have shapes and no numbers. What is fetched from it is
    a half, and no operation may take tensors of here and of there."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        places = {tensor.device.type for tensor in tensors if tensor.dim()}  # single numbers of here go with any
        if function is aten._local_scalar_dense.default and args[0].is_meta:
            return 0.5 if args[0].is_floating_point() else 1
        if function is aten._to_copy.default and args[0].is_meta and kwargs.get("device") == torch.device("cpu"):
            return torch.full(args[0].shape, 0.5).to(kwargs.get("dtype") or args[0].dtype)
        assert len(places) < 2 or function is aten.copy_.default, f"{function} of tensors on {places}"
        return function(*args, **kwargs)


@pytest.fixture
def elsewhere(monkeypatch):
    """Whatever device is chosen, it is `meta`."""
    monkeypatch.setattr(devices, "torch", SimpleNamespace(**{**vars(torch), "device": lambda name: META}))
    with Elsewhere(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")
        yield


def test_what_is_found_out_by_it(elsewhere):
    there, here = torch.ones(3, device=META), torch.ones(3)
    assert (there + 1).sum().item() == 0.5
    assert (there.cpu() + here).tolist() == [1.5] * 3
    for mixed in (lambda: there + here, lambda: torch.stack([there, here]), lambda: here.add_(there)):
        with pytest.raises(AssertionError, match="of tensors on"):
            mixed()


HALF = np.zeros((64, 96), np.uint8)
HALF[:, :48] = 255
TWO = {"content_mask": {"1": HALF, "2": 255 - HALF}, "style_mask": {"1": HALF}}


def stylized(styles=("mosaic",), **changes):
    options = StylizeOptions(**{"size": 72, "iterations": 2, "scales": 1} | changes)
    return lambda photo: impasto.stylize(photo, list(styles), options)


def textured(**changes):
    options = TextureOptions(size=(64, 64), iterations=2, **changes)
    return lambda photo: impasto.texture(photo, options)


def reconstructed(**changes):
    options = ReconstructOptions(size=64, iterations=2, **changes)
    return lambda photo: impasto.reconstruct(photo, options)


def at_once(styles=("mosaic",), **changes):
    options = FastOptions(size=72, **changes)
    return lambda photo: fast.stylize(photo, list(styles), options)


def filmed(**changes):
    def run(photo):
        video = pytest.importorskip("impasto.video")
        clips = pytest.importorskip("making_clips")
        clip = clips.write("in.mp4", clips.scene(3))
        return list(video.iterate(clip, ["mosaic"], "out.mp4", VideoOptions(size=64, iterations=2, later=1, **changes)))

    return run


def heard(photo):
    audio = pytest.importorskip("impasto.audio")
    sound = pytest.importorskip("impasto.audio.sounds").Sound(torch.rand(1, 24000) - 0.5, 8000)
    audio.stylize(sound, sound, AudioOptions(iterations=2, sample_rate=8000))
    audio.texture(sound, SoundTextureOptions(iterations=2, sample_rate=8000))


def trained(photo):
    picture = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    folder = Dataset([picture.to(META)] * 3, ["a", "b", "c"])
    style = StyleSource("style", picture / 255)
    options = TrainOptions(steps=1, batch=4, crop=32, any_share=0.5)
    run = training.TrainingRun(options, folder, [style], folder, META)
    assert len(list(run.advance())) == 1
    run.sample_sheet()
    run.save(Path("checkpoint.pt"))
    run.load(Path("checkpoint.pt"))


def learnt(photo):
    """A painting, with a mask, and as it is used then."""
    options = FastOptions(size=72, learn_seconds=1e-9, style_mask={"1": HALF})
    fast.stylize(photo, photo, options)
    fast.stylize(photo, photo, options)


def explained(photo):
    explain = pytest.importorskip("impasto.explain")
    explain.statistics_report(photo, "mosaic", size=64, iterations=1)
    explain.run_report(impasto.iterate(photo, "mosaic", StylizeOptions(size=72, iterations=2, scales=1)))


def resumed(photo):
    """A run that was interrupted elsewhere is resumed there."""
    kept = Checkpoints(Path("run.checkpoint"), every=1e-9, resume=True)
    options = StylizeOptions(size=72, iterations=3, scales=1)
    first = impasto.iterate(photo, "mosaic", options, checkpoints=kept)
    next(first)
    first.close()
    step = next(impasto.iterate(photo, "mosaic", options, checkpoints=kept))
    assert step.image.device == META


@pytest.mark.parametrize(
    "run",
    [
        *(
            pytest.param(stylized(statistic=name), id=name)
            for name in ("gram", "mean", "moments", "gaussian", "covariance", "wasserstein", "nearest")
        ),
        pytest.param(stylized(optimizer="adam", init="noise", pooling="average", padding="zeros"), id="noise, Adam"),
        pytest.param(stylized(init="fast", content_norm="course", style_norm="gatys"), id="fast start"),
        pytest.param(stylized(("mosaic", "swirls"), **TWO, total_variation=1.0), id="masks, total variation"),
        pytest.param(stylized(("mosaic", "swirls"), **TWO, statistic="nearest"), id="masks, nearest"),
        pytest.param(stylized(content_mask={"keep": HALF}, color="luminance"), id="keep, luminance"),
        pytest.param(stylized(color="palette", style_scale=(0.7, 1)), id="palette, two scales of strokes"),
        pytest.param(stylized(size=200, scales=2, init="mixed", color="match"), id="two scales"),
        pytest.param(stylized(), marks=pytest.mark.calibrates, id="calibrated"),
        pytest.param(textured(seamless=True), id="texture"),
        pytest.param(reconstructed(style_layers="relu1_1,relu2_1"), id="reconstruction"),
        pytest.param(at_once(strength=0.5, color="luminance"), id="at once"),
        pytest.param(at_once(("mosaic", "swirls"), content_mask=TWO["content_mask"]), id="at once, masks"),
        pytest.param(at_once((HALF,), model="any"), id="at once, predicted"),
        pytest.param(filmed(), id="clip"),
        pytest.param(filmed(passes=2), id="clip, passes"),
        pytest.param(filmed(fast=True), id="clip, fast"),
        pytest.param(heard, id="sound"),
        pytest.param(trained, id="training"),
        pytest.param(learnt, id="learning"),
        pytest.param(explained, id="explained"),
        pytest.param(resumed, id="resumed"),
    ],
)
def test_nothing_strays_from_the_device_that_was_chosen(elsewhere, photo, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(photo)


@pytest.mark.parametrize("statistic", ["gram", "gaussian", "wasserstein", "nearest"])
def test_nothing_strays_in_tiles(elsewhere, photo, statistic, monkeypatch):
    divide = problem.divide
    monkeypatch.setattr(problem, "divide", lambda *given: divide(*given[:-1], 2000))
    stylized(statistic=statistic)(photo)


# -- a GPU, where there is one --------------------------------------------------------------------------------------

#: Its name; `IMPASTO_TEST_GPU=cpu` tries the tests themselves.
GPU = os.environ.get("IMPASTO_TEST_GPU") or getattr(torch.accelerator.current_accelerator(), "type", "")
on_gpu = pytest.mark.skipif(not GPU, reason="there is no GPU")


@pytest.fixture
def in_full_precision(monkeypatch):
    """Convolutions in float32: by default they are in TF32, with three digits, on NVIDIA's GPUs."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def judged(photo, where, window, **changes):
    """What an objective says of the photo: the losses by term, and the gradient, on the processor."""
    options, device = StylizeOptions(size=96, scales=1, **changes), torch.device(where)
    inputs = stylize.prepare_inputs(photo, ["mosaic"], options, device, Memo(0))
    made, _ = stylize.problem_of(inputs, options, device)
    objective = made.objective(made.scales[0], memory.Plan(window, "lbfgs", 10, True, 0))
    found = objective.value_and_grad(inputs.content.to(device)[None])
    assert found.gradient.device.type == where
    return found.terms, found.gradient.cpu()


@on_gpu
@pytest.mark.parametrize("window", [96 * 64, 2000], ids=["whole", "tiles"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"padding": "zeros", "pooling": "average", "style_norm": "gatys"},
        {"statistic": "gaussian"},
        {"statistic": "wasserstein"},
        {"content_mask": {"1": HALF, "keep": 255 - HALF}, "total_variation": 1.0},
    ],
    ids=["default", "gatys", "gaussian", "wasserstein", "masks"],
)
def test_a_gpu_computes_what_the_processor_does(in_full_precision, photo, changes, window):
    here, there = (judged(photo, where, window, **changes) for where in ("cpu", GPU))
    assert there[0] == pytest.approx(here[0], rel=1e-3)
    assert (there[1] - here[1]).norm() < 2e-3 * here[1].norm()


@on_gpu
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_gpu_paints_what_the_processor_does(photo, optimizer):
    """As it is by default, in TF32: not the same pixels after many steps, but a picture as good."""
    last = {}
    for where in ("cpu", GPU):
        options = StylizeOptions(size=96, iterations=30, device=where, optimizer=optimizer)
        last[where] = list(impasto.iterate(photo, "mosaic", options))[-1]
    assert last[GPU].image.device.type == GPU
    assert last[GPU].loss == pytest.approx(last["cpu"].loss, rel=0.05)


@on_gpu
@pytest.mark.calibrates
def test_a_gpu_finds_the_style_weight_that_the_processor_does(photo):
    steps = (next(impasto.iterate(photo, "mosaic", size=96, iterations=1, device=where)) for where in ("cpu", GPU))
    here, there = (step.found["style_weight"] for step in steps)
    assert there == pytest.approx(here, rel=0.2)


@on_gpu
def test_a_gpu_paints_at_once_what_the_processor_does(photo):
    here, there = (fast.stylize(photo, "mosaic", FastOptions(size=96, device=where)).rgb for where in ("cpu", GPU))
    assert (here - there).abs().mean() < 0.01


@on_gpu
def test_a_run_on_a_gpu_is_planned_in_its_memory(photo):
    assert 0 < devices.available(torch.device(GPU)) < 1 << 50
    step = next(impasto.iterate(photo, "mosaic", StylizeOptions(size=96, scales=1, memory=2_000_000_000)))
    assert np.isfinite(step.loss)
