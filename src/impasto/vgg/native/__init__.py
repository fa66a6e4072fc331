"""A VGG's layers in C for CPUs: convolutions by Winograd's F(4×4, 3×3), with a quarter of the multiplications; pooling.

The library is built when impasto is installed, if there is a C compiler; without it PyTorch convolves, and pictures
are the same but for rounding. Threads are those of PyTorch's own pool, where it has one that can be shared: two pools
that wait for work by spinning would stand in each other's way.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from impasto.devices import CPU_BYTE, CPU_FLOAT
from impasto.settings.choices import Padding

#: Instruction sets, by their level in the C code.
LEVELS = ("plain C", "AVX2", "AVX-512")
#: In the order of the C code's enumeration.
PADDINGS: tuple[Padding, ...] = ("zeros", "replicate", "circular")
#: Channels below which, on either side, a convolution is one product with a small matrix.
THIN = 16
#: Kernels up to this many transformed numbers are kept; larger ones are transformed anew for every use, for pictures
#: of so few tiles within the convolution itself.
KEPT, FEW = 36 * 256 * 256, 200
#: Tiles that are worked on at once, and the bytes of them that a core's cache should hold.
BLOCKS, CACHE = (24, 48, 96), 3 << 20
#: Allocates a result of these channels, height and width: `(1, channels, height, width)`, channels last.
Allocate = Callable[[int, int, int], Tensor]


def empty_nhwc(channels: int, height: int, width: int) -> Tensor:
    """A new tensor, `(1, channels, height, width)`, channels last, its values undefined."""
    shape = (1, channels, height, width)
    return torch.empty(shape, **CPU_FLOAT, memory_format=torch.channels_last)


@cache
def library() -> Any:
    """The library in C; None if it was not built, or if IMPASTO_NATIVE=0 forbids it."""
    if os.environ.get("IMPASTO_NATIVE") == "0":
        return None
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_native{suffix}")
        if path.exists():
            try:
                found = ctypes.CDLL(str(path))
            except OSError:
                continue
            long, pointer = ctypes.c_long, ctypes.c_void_p
            found.impasto_panel.restype = long
            for scratch in (found.impasto_scratch, found.impasto_scratch_panels, found.impasto_scratch_thin):
                scratch.restype, scratch.argtypes = long, [long] * 4
            found.impasto_transform.argtypes = [pointer, pointer, long, long, long, ctypes.c_int, long, pointer]
            convolutions = (found.impasto_convolve, found.impasto_convolve_panels, found.impasto_convolve_thin)
            for function, count in zip(convolutions, (7, 7, 7), strict=True):
                function.argtypes = [*[pointer] * 5, *[long] * count, ctypes.c_int, pointer, long, pointer]
            found.impasto_signs.argtypes = [pointer, pointer, long, long, ctypes.c_int, long, pointer]
            for function in (found.impasto_pool, found.impasto_pool_back):
                function.argtypes = [*[pointer] * 3, *[long] * 4, ctypes.c_int, long, pointer]
            return found
    return None


@cache
def level() -> int:
    """The best instruction set of this processor, as an index of `LEVELS`."""
    return int(library().impasto_level())


@cache
def _pool() -> ctypes.c_void_p | None:
    """What runs a function on PyTorch's threads: GNU OpenMP's entry, where PyTorch brings that along."""
    for path in (Path(torch.__file__).parent / "lib").glob("libgomp*.so*"):
        return ctypes.cast(ctypes.CDLL(str(path)).GOMP_parallel, ctypes.c_void_p)
    return None


def supports(x: Tensor, *weights: Tensor) -> bool:
    """Whether the C kernels apply: one picture `(1, n, h, w)` in float32 on the CPU, without autograd."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.shape[0] == 1
        and not (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (x, *weights)))
        and not torch.compiler.is_compiling()
        and library() is not None
    )


#: Transformed kernels of forward and backward passes by the tensor that they were made of, for as long as that lives.
_KEPT = (WeakTensorKeyDictionary(), WeakTensorKeyDictionary())


def _address(tensor: Tensor | None, *shape: int, dtype: torch.dtype = torch.float32) -> int | None:
    """Where the C code finds the numbers of a tensor of this shape; None stays None.

    Raises:
        TypeError: the tensor is not what the C code reads: of this type, on the CPU, dense, pictures channels last.
    """
    if tensor is None:
        return None
    layout = torch.channels_last if tensor.ndim == 4 else torch.contiguous_format
    kind = (tensor.dtype, tensor.device.type, tuple(tensor.shape))
    if kind != (dtype, "cpu", shape) or not tensor.is_contiguous(memory_format=layout):
        raise TypeError(
            f"the C kernels need a dense {dtype} tensor of shape {shape} on the CPU; "
            f"given is {tensor.dtype} of shape {kind[2]} on {tensor.device}"
        )
    return tensor.data_ptr()


class _Scratch(threading.local):
    """Scratch memory of each thread, reused: allocating it anew costs as much as filling it."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, name: str, count: int) -> Tensor:
        """So many numbers, whatever they are."""
        if name not in self._held or self._held[name].numel() < count:
            self._held.pop(name, None)
            self._held[name] = torch.empty(count, **CPU_FLOAT)
        return self._held[name]


_SCRATCH = _Scratch()


def transform(weight: Tensor, backward: bool = False) -> Tensor:
    """The transformed kernel of a convolution, or of its backward pass, given `(out, in, 3, 3)`, channels last.

    A large one is good until the next.
    """
    if (kept := _KEPT[backward].get(weight)) is not None:
        return kept
    inputs, outputs = weight.shape[:2] if backward else weight.shape[1::-1]
    panel = library().impasto_panel(level())
    count = 36 * inputs * -(-outputs // panel) * panel
    kernel = torch.empty(count, **CPU_FLOAT) if count <= KEPT else _SCRATCH.take("kernel", count)
    given = (_address(weight, *weight.shape[:2], 3, 3), kernel.data_ptr(), inputs, outputs, backward)
    library().impasto_transform(*given, level(), torch.get_num_threads(), _pool())
    if count <= KEPT:
        _KEPT[backward][weight] = kernel
    return kernel


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    padding: Padding,
    rectify: bool = False,
    mask: Tensor | None = None,
    backward: bool = False,
    allocate: Allocate = empty_nhwc,
) -> Tensor:
    """A 3x3 convolution that keeps the size of `x`, `(1, inputs, h, w)`.

    Args:
        weight: `(outputs, inputs, 3, 3)`, channels last.
        bias: `(outputs,)` or None.
        rectify: whether a ReLU follows.
        mask: the `signs` of a tensor of the shape of `x`, which counts only where they are set: the backward pass of a
            ReLU before it.
        backward: whether to convolve with the adjoint kernel instead: `(inputs, outputs, 3, 3)` is given, and read
            turned around, with its channels swapped.
        allocate: gives the memory of the result.

    Returns:
        `(1, outputs, h, w)`, channels last.
    """
    _, inputs, height, width = x.shape
    outputs, threads = weight.shape[1 if backward else 0], torch.get_num_threads()
    x = x.contiguous(memory_format=torch.channels_last)
    y = allocate(outputs, height, width)
    tiles = -(-height // 4) * -(-width // 4)
    given = [
        _address(x, 1, inputs, height, width),
        _address(mask, height, width, -(-inputs // 8), dtype=torch.uint8),
        _address(weight, *((inputs, outputs) if backward else (outputs, inputs)), 3, 3),
        _address(bias, outputs),
        _address(y, 1, outputs, height, width),
    ]
    shape = (height, width, inputs, outputs, PADDINGS.index(padding), rectify)
    if min(inputs, outputs) < THIN:
        scratch = _SCRATCH.take("scratch", library().impasto_scratch_thin(width, inputs, outputs, threads))
        library().impasto_convolve_thin(*given, *shape, backward, level(), scratch.data_ptr(), threads, _pool())
        return y
    if 36 * inputs * outputs > KEPT and tiles <= FEW:
        scratch = _SCRATCH.take("scratch", library().impasto_scratch_panels(height, width, inputs, threads))
        library().impasto_convolve_panels(*given, *shape, backward, level(), scratch.data_ptr(), threads, _pool())
        return y
    transformed = transform(weight, backward)  # which another thread may transform, and keep in this one's place
    given[2] = transformed.data_ptr()
    share = -(-tiles // threads)
    block = max([size for size in BLOCKS if 4 * 36 * size * (inputs + outputs) <= CACHE] or [BLOCKS[0]])
    block = min(block, -(-share // 12) * 12)
    scratch = _SCRATCH.take("scratch", library().impasto_scratch(block, inputs, outputs, threads))
    library().impasto_convolve(*given, *shape, block, level(), scratch.data_ptr(), threads, _pool())
    return y


def signs(x: Tensor) -> Tensor:
    """Which numbers of `x`, `(1, n, h, w)`, are positive: one bit each, `(h, w, ⌈n / 8⌉)`, from the lowest on."""
    _, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    bits = torch.empty((height, width, -(-channels // 8)), **CPU_BYTE)
    given = (_address(x, 1, channels, height, width), bits.data_ptr(), height * width, channels)
    library().impasto_signs(*given, level(), torch.get_num_threads(), _pool())
    return bits


def unpacked(bits: Tensor, channels: int) -> Tensor:
    """`(..., ⌈channels / 8⌉)` as `signs` gives it: `(..., channels)` of 0 and 1."""
    return (bits[..., None] >> torch.arange(8, **CPU_BYTE) & 1).flatten(-2)[..., :channels]


def pool(
    x: Tensor, average: bool, allocate: Allocate = empty_nhwc, with_choices: bool = False
) -> tuple[Tensor, Tensor | None]:
    """The maximum or mean of every 2x2 square of `x`, `(1, n, h, w)`: `(1, n, h // 2, w // 2)`, channels last.

    Also, if asked for, which of four each maximum is, `(h // 2, w // 2, n)`: 0 to 3, or 4 where none is positive.
    """
    _, channels, height, width = x.shape
    x = x.contiguous(memory_format=torch.channels_last)
    y = allocate(channels, height // 2, width // 2)
    choices = torch.empty((height // 2, width // 2, channels), **CPU_BYTE) if with_choices and not average else None
    given = (_address(x, 1, channels, height, width), _address(y, 1, channels, height // 2, width // 2))
    shape = (height, width, channels, average)
    chosen = None if choices is None else choices.data_ptr()
    library().impasto_pool(*given, chosen, *shape, level(), torch.get_num_threads(), _pool())
    return y, choices


def pool_backward(
    gradient: Tensor, choices: Tensor | None, size: tuple[int, int], allocate: Allocate = empty_nhwc
) -> Tensor:
    """The gradient of what was pooled, of this height and width, given that of what `pool` gave.

    With the choices of maxima: the gradient of what a ReLU made it of; the first of equal maxima gets all. Without: the
    gradient of what a mean is of.
    """
    channels, (height, width) = gradient.shape[1], size
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    y = allocate(channels, height, width)
    given = (
        _address(gradient, 1, channels, height // 2, width // 2),
        _address(choices, height // 2, width // 2, channels, dtype=torch.uint8),
        _address(y, 1, channels, height, width),
    )
    shape = (height, width, channels, choices is None)
    library().impasto_pool_back(*given, *shape, level(), torch.get_num_threads(), _pool())
    return y
