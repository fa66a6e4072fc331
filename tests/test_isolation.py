"""A host program's state: no result depends on it, and none is changed by a call, an iterator or an exception."""

import ast
import contextlib
import decimal
import locale
import logging
import os
import re
import shutil
import signal
import threading
import warnings
from pathlib import Path

import making_clips
import numpy as np
import pytest
import torch
from making_sounds import SMALL_ENCODERS, clicks, tune

import impasto
from impasto import fast, images, isolation
from impasto.fast import models, training
from impasto.fast.crops import Dataset
from impasto.fast.learning import Learner, source_of
from impasto.images.regions import StyleSource
from impasto.settings.options import (
    AudioOptions,
    BatchOptions,
    FastOptions,
    LearnOptions,
    ReconstructOptions,
    StylizeOptions,
    TextureOptions,
    TrainOptions,
    VideoOptions,
)

LAYERS = {"style_layers": "relu1_1,relu2_1", "content_layers": "relu2_2"}
SMALL = {"size": 48, "iterations": 2, "scales": 1} | LAYERS
MASK = np.zeros((64, 96), np.uint8)
MASK[:, :48] = 255


def stylized(**changes):
    return lambda photo: impasto.stylize(photo, "mosaic", StylizeOptions(**SMALL | changes)).rgb


def textured(photo):
    options = TextureOptions(size=(32, 32), iterations=2, seamless=True, style_layers="relu1_1,relu2_1")
    return impasto.texture(photo, options).rgb


def reconstructed(photo):
    return impasto.reconstruct(photo, ReconstructOptions(size=32, iterations=2, content_layer="relu2_1")).rgb


def in_one_pass(photo):
    return fast.stylize(photo, "mosaic", FastOptions(size=64, color="match", strength=0.7)).rgb


def sheet(photo):
    return impasto.sheet(photo, "mosaic", {"strength": ["0.5", "1"]}, StylizeOptions(**SMALL)).rgb


def sounded(photo):
    from impasto import audio

    return audio.stylize("tune.wav", "clicks.wav", AudioOptions(iterations=2, sample_rate=8000)).samples


def filmed(**changes):
    def run(photo):
        from impasto import video

        options = VideoOptions(**{"size": 48, "iterations": 1, "later": 1} | LAYERS | changes)
        return torch.stack([frame.picture.rgb for frame in video.iterate("in.mp4", ["mosaic"], "out.mp4", options)])

    return run


def trained(photo):
    Path("run").exists() and shutil.rmtree("run")
    picture = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    data = Dataset([picture] * 3, ["a", "b", "c"])
    options = TrainOptions(steps=1, batch=2, crop=32, any_share=0.5, precision="float32")
    run = training.TrainingRun(options, data, [StyleSource("style", images.read(photo).rgb)], data, torch.device("cpu"))
    (step,) = training.train(run, Path("run"))
    return torch.tensor(list(step.losses.values()), dtype=torch.float64, device="cpu")


def learnt(photo):
    """The vector after one step."""
    picture = torch.from_numpy(photo.copy()).permute(2, 0, 1)
    options = LearnOptions(seconds=1e-9, batch=1, crop=32, precision="float32")
    source = source_of("painting", images.read(photo))
    (step,) = Learner(models.load(), source, options, torch.device("cpu"), Dataset([picture], ["a"])).steps()
    return step.vector


def live(photo):
    from impasto.video import live as live_video

    frames = iter([torch.from_numpy(photo.copy()).permute(2, 0, 1).float() / 255])
    (frame,) = live_video.live(frames, "mosaic", FastOptions(size=48))
    return frame.picture.rgb


def written(report):
    """The bytes of a report's page, which holds its figures."""
    return torch.tensor(list(report.write("report").read_bytes()), dtype=torch.uint8, device="cpu")


def gram_matrices(photo):
    from impasto.explain import grams

    return written(grams.gram_report(photo, "mosaic", "relu1_1"))


def excited_units(photo):
    from impasto.explain import patches

    Path("pictures").mkdir(exist_ok=True)
    images.write("pictures/photo.png", images.read(photo))
    return written(patches.unit_report("pictures", "relu1_1", 3))


def batched(photo):
    from impasto.batch import items, run

    images.write("photo.png", images.read(photo))
    shutil.rmtree("batch", ignore_errors=True)
    options = BatchOptions(**SMALL, workers=1, threads=torch.get_num_threads())
    (outcome,) = run(items(["photo.png"], ["mosaic"]), "batch", options)
    assert outcome.status == "done", outcome.error
    return images.read(f"batch/{outcome.item.name}").rgb


OPERATIONS = {
    "stylize": stylized(),
    "gaussian": stylized(statistic="gaussian", init="mixed"),
    "wasserstein": stylized(statistic="wasserstein", color="luminance", total_variation=0.1),
    "nearest": stylized(statistic="nearest", content_mask={"1": MASK}),
    "moments, Adam": stylized(statistic="moments", optimizer="adam", color="match"),
    "palette": stylized(color="palette", color_match="histogram"),
    "draft": stylized(init="fast"),
    "texture": textured,
    "reconstruct": reconstructed,
    "fast": in_one_pass,
    "sheet": sheet,
    "audio": sounded,
    "video": filmed(),
    "video, fast": filmed(fast=True),
    "train": trained,
    "learn": learnt,
    "live": live,
    "Gram matrices": gram_matrices,
    "units": excited_units,
    "batch": batched,
}


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def strict_numbers():
    """Another decimal context, and NumPy raising at every flaw."""
    with decimal.localcontext(decimal.Context(prec=2)), np.errstate(all="raise"):
        yield


@contextlib.contextmanager
def another_locale():
    before = locale.setlocale(locale.LC_ALL)
    locale.setlocale(locale.LC_ALL, "C")
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


STATES = {
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta": lambda: default_device("meta"),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "deterministic": deterministic,
    "strict numbers": strict_numbers,
    "locale": another_locale,
}


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    from impasto.audio import encoder, sounds

    for name, specs in SMALL_ENCODERS.items():
        monkeypatch.setitem(encoder.ENCODERS, name, specs)
    sounds.write("tune.wav", tune(0.7))
    sounds.write("clicks.wav", clicks(0.7))
    making_clips.write("in.mp4", making_clips.scene(2))


@pytest.fixture(scope="module")
def expected():
    return {}


def snapshot():
    """What a call must leave as it was."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "random": torch.default_generator.get_state().tolist()[:16],
        "NumPy random": np.random.get_state()[1][:8].tolist(),
        "NumPy errors": np.geterr(),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "logging": (logging.root.level, list(logging.root.handlers), logging.raiseExceptions),
        "warnings": list(warnings.filters),
        "decimal": repr(decimal.getcontext()),
    }


#: Each state once; several together, since every run takes time.
TOGETHER = [
    ("bfloat16", "meta", "inference mode", "deterministic"),
    ("float64", "no grad", "autocast", "strict numbers"),
    ("float16", "locale"),
]


def test_every_state_is_tried():
    assert sorted(sum(TOGETHER, ())) == sorted(STATES)


@pytest.mark.parametrize("operation", list(OPERATIONS))
@pytest.mark.parametrize("states", TOGETHER, ids=", ".join)
def test_results_do_not_depend_on_the_hosts_state(operation, states, photo, expected):
    """Bit for bit; and the state is as it was."""
    run = OPERATIONS[operation]
    if operation not in expected:
        expected[operation] = run(photo)
    with contextlib.ExitStack() as stack:
        for name in states:
            stack.enter_context(STATES[name]())
        before = snapshot()
        found = run(photo)
        after = snapshot()
    for name in before:
        assert after[name] == before[name], name
    assert found.dtype == expected[operation].dtype
    assert torch.equal(found, expected[operation])


@pytest.mark.parametrize("state", list(STATES))
def test_the_state_is_the_hosts_between_two_steps(state, photo):
    with STATES[state]():
        before = snapshot()
        steps = impasto.iterate(photo, "mosaic", StylizeOptions(**SMALL))
        for _ in range(2):
            next(steps)
            assert snapshot() == before
        steps.close()
        assert snapshot() == before


def test_the_state_is_the_hosts_after_an_error(photo):
    with torch.inference_mode(), default_dtype(torch.float64):
        before = snapshot()
        with pytest.raises(ValueError, match="unknown layer"):
            impasto.stylize(photo, "mosaic", StylizeOptions(**SMALL | {"style_layers": "relu9_1"}))
        assert snapshot() == before


def test_threads_at_once(photo, expected):
    """Each has the picture that it would have alone."""
    run = OPERATIONS["stylize"]
    alone, found = run(photo), [None] * 4

    def work(index):
        found[index] = run(photo)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(found))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for picture in found:
        assert torch.equal(picture, alone)


def test_threads_restore_the_filters_of_warnings():
    """Which belong to the process: two blocks that overlap would end with the filters of one of them."""
    before, inside, ended = list(warnings.filters), threading.Event(), threading.Event()

    def first():
        with isolation.no_warnings():
            inside.set()
            ended.wait(0.1)
        ended.set()

    def second():
        inside.wait()
        with isolation.no_warnings():
            ended.wait(5)

    threads = [threading.Thread(target=work) for work in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_only_isolation_changes_what_belongs_to_the_process():
    """Filters of warnings, and PyTorch's generator; `fork_rng` in one thread would restore what another has set."""
    forbidden = re.compile(r"catch_warnings|simplefilter|filterwarnings|fork_rng|default_generator|torch\.manual_seed")
    folder = Path(impasto.__file__).parent
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.py") if forbidden.search(path.read_text())}
    assert found == {"isolation.py"}


def test_another_picture_from_between_two_steps(photo):
    """Re-entrance: a run that is waiting is not disturbed by another."""
    options = StylizeOptions(**SMALL | {"iterations": 4})
    alone = [step.image.clone() for step in impasto.iterate(photo, "mosaic", options)]
    found = []
    for step in impasto.iterate(photo, "mosaic", options):
        found.append(step.image.clone())
        stylized(size=32)(photo)
    assert all(torch.equal(one, two) for one, two in zip(found, alone, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork")
def test_forked_workers(photo):
    """As those of a `DataLoader`: after torch's threads were used here, in a process that lacks them."""
    context = torch.multiprocessing.get_context("fork")
    expected, queue = OPERATIONS["stylize"](photo), context.Queue()
    threads = torch.get_num_threads()
    process = context.Process(target=_single_threaded_child, args=(photo, queue))
    process.start()
    found = queue.get(timeout=120)
    process.join(30)
    assert torch.get_num_threads() == threads
    ours = torch.frombuffer(bytearray(found), dtype=torch.float32).view(expected.shape)
    assert (ours - expected).abs().max() < 1e-3


def _single_threaded_child(photo, queue):
    torch.set_num_threads(1)  # as a DataLoader does: OpenMP's threads are not forked
    queue.put(OPERATIONS["stylize"](photo).numpy().tobytes())


# -- the source ------------------------------------------------------------------------------------------------------

#: What makes tensors of the default dtype, on the default device.
FACTORIES = {
    *("empty", "zeros", "ones", "full", "rand", "randn", "randint", "randperm", "arange", "linspace", "logspace"),
    *("eye", "tensor", "as_tensor", "hann_window", "scalar_tensor", "tril_indices", "normal"),
}


def factories(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            function = node.func
            if isinstance(function.value, ast.Name) and function.value.id == "torch" and function.attr in FACTORIES:
                yield node


def test_no_allocation_takes_its_dtype_or_device_from_defaults():
    missing = []
    for path in Path(impasto.__file__).parent.rglob("*.py"):
        for node in factories(ast.parse(path.read_text())):
            given = {keyword.arg for keyword in node.keywords}
            spread = {keyword.value.id for keyword in node.keywords if keyword.arg is None}
            if not ({"dtype", "device"} <= given or spread & {"CPU_FLOAT", "CPU_DOUBLE", "CPU_INDEX", "CPU_BYTE"}):
                missing.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
    assert missing == []
