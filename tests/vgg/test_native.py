"""Convolutions and pooling in C against PyTorch's in double precision, and the program without them."""

import os
import subprocess
import sys
import weakref

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from impasto import images
from impasto.vgg import encoder as vgg
from impasto.vgg import native
from impasto.vgg.encoder import convolve_backward, kernel

pytestmark = pytest.mark.skipif(native.library() is None, reason="the library in C was not built")
MODES = {"zeros": "constant", "replicate": "replicate", "circular": "circular"}


@pytest.fixture(params=range(len(native.LEVELS)), ids=native.LEVELS)
def level(request, monkeypatch):
    """Every instruction set that this processor has."""
    if request.param > native.level():
        pytest.skip("this processor has no " + native.LEVELS[request.param])
    monkeypatch.setattr(native, "level", lambda: request.param)


def channels_last(generator, *shape):
    return torch.randn(*shape, generator=generator).contiguous(memory_format=torch.channels_last)


def relative(found, expected):
    assert found.shape == expected.shape
    return (found - expected).norm() / expected.norm().clamp_min(1e-9)


SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(1, 70), st.integers(1, 70))


@settings(max_examples=60, deadline=None)
@given(
    shape=SHAPES,
    seed=st.integers(0, 999),
    padding=st.sampled_from(list(MODES)),
    rectify=st.booleans(),
    masked=st.booleans(),
)
def check(shape, seed, padding, rectify, masked):
    height, width, inputs, outputs = shape
    generator = torch.Generator().manual_seed(seed)
    x, mask = (channels_last(generator, 1, inputs, height, width) for _ in range(2))
    weight, bias = torch.randn(outputs, inputs, 3, 3, generator=generator), torch.randn(outputs, generator=generator)
    seen = F.pad((x * (mask > 0) if masked else x).double(), (1, 1, 1, 1), mode=MODES[padding])
    expected = F.conv2d(seen, weight.double(), bias.double())
    expected = expected.relu() if rectify else expected
    bits = native.signs(mask) if masked else None
    found = native.convolve(x, kernel(weight, bias).weight, bias, padding, rectify, bits)
    # Rounding is of the size of what is added up, however little of that is left.
    added = F.conv2d(seen.abs(), weight.double().abs(), bias.double().abs())
    assert found.shape == expected.shape
    assert (found - expected).norm() < 5e-7 * added.norm()


@pytest.mark.parametrize("kept", [True, False])
def test_against_the_direct_method(level, kept, monkeypatch):
    if not kept:  # by panels, as large kernels are convolved with small pictures
        monkeypatch.setattr(native, "KEPT", 0)
    check()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (4, 4), (5, 8), (33, 18)])
@pytest.mark.parametrize("padding", list(MODES))
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("channels", [(20, 33), (3, 20)])
@pytest.mark.parametrize("kept", [True, False])
def test_the_way_back(shape, padding, masked, channels, kept, generator, level, monkeypatch):
    """The gradient of the forward pass, by autograd, in double precision."""
    if not kept:
        monkeypatch.setattr(native, "KEPT", 0)
    inputs, outputs = channels
    x = channels_last(generator, 1, inputs, *shape).double().requires_grad_()
    weight, bias = torch.randn(outputs, inputs, 3, 3, generator=generator), torch.randn(outputs, generator=generator)
    y = F.conv2d(F.pad(x, (1, 1, 1, 1), mode=MODES[padding]), weight.double(), bias.double())
    y = y.relu() if masked else y
    back = channels_last(generator, *y.shape)
    (expected,) = torch.autograd.grad(y, x, back.double())
    mask = vgg.signs(y.detach().float()) if masked else None
    assert native.supports(back)
    assert relative(convolve_backward(back.clone(), kernel(weight, bias), padding, mask), expected) < 1e-5


@pytest.mark.parametrize("shape", [(2, 2), (3, 9), (7, 2), (5, 8), (33, 18)])
@pytest.mark.parametrize("pooling", ["max", "average"])
@pytest.mark.parametrize("equal", [False, True], ids=["different", "equal"])
def test_pooling(level, shape, pooling, equal, generator):
    """Of equal numbers too, as ReLUs leave them: the first gets the gradient."""
    x = channels_last(generator, 1, 19, *shape)
    x = x.relu().round() if equal else x
    y, choices = vgg.pool_with_choices(x, pooling)
    back = channels_last(generator, *y.shape)
    assert native.supports(x)
    assert not native.supports(x.double())
    expected, chosen = vgg.pool_with_choices(x.double(), pooling)
    assert relative(y, expected) < 1e-6
    assert (choices is None) == (chosen is None) == (pooling == "average")
    assert choices is None or torch.equal(choices.permute(2, 0, 1)[None], chosen)
    found = vgg.pool_backward(back, choices, shape)
    assert relative(found, vgg.pool_backward(back.double(), chosen, shape)) < 1e-6
    rectified = x.double().requires_grad_()
    (by_autograd,) = torch.autograd.grad(vgg.pool(rectified.relu(), pooling), rectified, back.double())
    if pooling == "average":
        found = found * (x > 0)
    assert relative(found, by_autograd) < 1e-6


@pytest.mark.parametrize("channels", [1, 7, 8, 19, 64])
def test_signs(level, channels, generator):
    x = channels_last(generator, 1, channels, 5, 6).round()
    bits = native.signs(x)
    assert bits.shape == (5, 6, -(-channels // 8))
    assert torch.equal(native.unpacked(bits, channels) > 0, x[0].permute(1, 2, 0) > 0)


@pytest.mark.parametrize("channels", [(64, 96), (3, 64), (64, 3), (1, 1)])
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("backward", [False, True])
def test_threads_change_nothing(generator, kept, channels, backward, monkeypatch):
    if not kept:
        monkeypatch.setattr(native, "KEPT", 0)
    inputs, outputs = channels
    x = channels_last(generator, 1, outputs if backward else inputs, 61, 47)
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator)
    weight, before = kernel(weight, torch.zeros(outputs)).weight, torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            found.append(native.convolve(x, weight, None, "zeros", backward=backward))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_without_a_pool_to_share(generator, monkeypatch):
    x, weight = channels_last(generator, 1, 32, 60, 60), torch.randn(32, 32, 3, 3, generator=generator)
    weight = kernel(weight, torch.zeros(32)).weight
    expected = native.convolve(x, weight, None, "replicate")
    monkeypatch.setattr(native, "_pool", lambda: None)
    assert torch.equal(native.convolve(x, weight, None, "replicate"), expected)


def test_large_kernels_take_turns_in_one_room(generator, monkeypatch):
    """What is not kept is transformed again, and right, whichever was there before."""
    monkeypatch.setattr(native, "KEPT", 0)
    monkeypatch.setattr(native, "FEW", 0)
    x = channels_last(generator, 1, 24, 9, 9)
    kernels = [kernel(torch.randn(n, 24, 3, 3, generator=generator), torch.zeros(n)) for n in (40, 16, 40)]
    for _ in range(2):
        for one in kernels:
            expected = F.conv2d(x.double(), one.weight.double(), padding=1)
            assert relative(native.convolve(x, one.weight, None, "zeros"), expected) < 1e-5


def test_what_is_not_for_us(generator):
    x = channels_last(generator, 1, 64, 8, 8)
    assert native.supports(x)
    assert not native.supports(x.double())
    assert not native.supports(x.repeat(2, 1, 1, 1))
    assert not native.supports(x.requires_grad_())
    with torch.no_grad():
        assert native.supports(x)


def test_the_program_without_it(tmp_path, photo):
    """Pictures are the same but for rounding, and `impasto info` says what convolves."""
    images.write(tmp_path / "photo.png", images.read(photo))
    arguments = [
        "stylize",
        "photo.png",
        "mosaic",
        "-o",
        "out.tif",
        "--bits",
        "16",
        "--size",
        "64",
        "--iterations",
        "1",
        "--style-weight",
        "8",
    ]
    pictures, said = [], []
    for switch in ("1", "0"):
        environment = os.environ | {"IMPASTO_NATIVE": switch}
        for words in (arguments, ["info"]):
            result = subprocess.run(
                [sys.executable, "-m", "impasto", *words],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
        pictures.append(images.read(tmp_path / "out.tif").rgb)
        said.append(result.stdout)
    assert "Winograd" in said[0]
    assert "PyTorch's: ours was not built, or is switched off" in said[1]
    assert (pictures[0] - pictures[1]).abs().max() < 1e-4


def test_a_library_that_was_not_built(monkeypatch):
    monkeypatch.setattr(native.importlib.machinery, "EXTENSION_SUFFIXES", [".none"])
    native.library.cache_clear()
    try:
        assert native.library() is None
        assert vgg.convolve(torch.ones(1, 16, 4, 4), kernel(torch.ones(16, 16, 3, 3), torch.ones(16)), "zeros").shape
    finally:
        monkeypatch.undo()
        native.library.cache_clear()
        assert native.library() is not None


def test_a_kernel_lives_as_long_as_it_is_read(generator, monkeypatch):
    """Though another thread, which transforms it at the same time, keeps its own in this one's place."""
    library, transform, made, alive = native.library(), native.transform, [], []

    def replaced(weight, backward):
        transformed = transform(weight, backward)
        native._KEPT[backward][weight] = transformed.clone()
        made.append(weakref.ref(transformed))
        return transformed

    class Library:
        def __getattr__(self, name):
            return getattr(library, name)

        def impasto_convolve(self, *given):
            alive.append(made[-1]() is not None)
            library.impasto_convolve(*given)

    monkeypatch.setattr(native, "transform", replaced)
    monkeypatch.setattr(native, "library", Library)
    weight = channels_last(generator, 16, 16, 3, 3)
    native.convolve(channels_last(generator, 1, 16, 24, 24), weight, None, "zeros")
    assert alive == [True]
