"""Our own convolution for CPUs: Winograd's F(4×4, 3×3), in C, with a quarter of the multiplications.

The library is built when impasto is installed, if there is a C compiler; without it PyTorch convolves, and pictures
are the same but for rounding. Threads are those of PyTorch's own pool, where it has one that can be shared: two pools
that wait for work by spinning would stand in each other's way.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import os
import threading
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

#: How instruction sets are called, by their level.
LEVELS = ("plain C", "AVX2", "AVX-512")
PADDINGS = ("zeros", "replicate", "circular")
#: Channels below which PyTorch is as fast.
LEAST_CHANNELS = 16
#: Kernels up to this many transformed numbers are kept; larger ones are transformed anew for every use, for pictures
#: of so few tiles within the convolution itself.
KEPT, FEW = 36 * 256 * 256, 200
#: Tiles that are worked on at once, and the bytes of them that a core's cache should hold.
BLOCKS, CACHE = (24, 48, 96), 3 << 20


@cache
def library() -> Any:
    """The library in C; None if it was not built, or if IMPASTO_WINOGRAD=0 forbids it."""
    if os.environ.get("IMPASTO_WINOGRAD") == "0":
        return None
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_winograd{suffix}")
        if path.exists():
            try:
                found = ctypes.CDLL(str(path))
            except OSError:
                continue
            long, pointer = ctypes.c_long, ctypes.c_void_p
            found.impasto_panel.restype = found.impasto_scratch.restype = found.impasto_scratch_panels.restype = long
            found.impasto_scratch.argtypes = found.impasto_scratch_panels.argtypes = [long] * 4
            found.impasto_transform.argtypes = [pointer, pointer, long, long, ctypes.c_int, long, pointer]
            for function, count in ((found.impasto_convolve, 7), (found.impasto_convolve_panels, 6)):
                function.argtypes = [*[pointer] * 5, *[long] * count, ctypes.c_int, pointer, long, pointer]
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


def suits(x: Tensor, inputs: int, outputs: int) -> bool:
    """Whether a convolution of this picture, `(1, inputs, h, w)`, is for us."""
    return (
        min(inputs, outputs) >= LEAST_CHANNELS
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.shape[0] == 1
        and not torch.compiler.is_compiling()
        and library() is not None
    )


#: Transformed kernels by the tensor that they were made of, for as long as that lives.
_KEPT = WeakTensorKeyDictionary()


class _Rooms(threading.local):
    """Memory to work in, of each thread, used again and again: to take it anew costs as much as to fill it."""

    def __init__(self) -> None:
        self._rooms: dict[str, Tensor] = {}

    def take(self, name: str, count: int) -> Tensor:
        """So many numbers, whatever they are."""
        if name not in self._rooms or self._rooms[name].numel() < count:
            self._rooms.pop(name, None)
            self._rooms[name] = torch.empty(count)
        return self._rooms[name]


_ROOMS = _Rooms()


def transform(adjoint: Tensor) -> Tensor:
    """The transformed kernel of a convolution, given the *adjoint* one: `(inputs, outputs, 3, 3)`, channels last.

    Turned around and swapped, that is the kernel with its outputs next to each other, as the transform reads it.
    A large one is good until the next.
    """
    if (kept := _KEPT.get(adjoint)) is not None:
        return kept
    inputs, outputs = adjoint.shape[:2]
    panel = library().impasto_panel(level())
    count = 36 * inputs * -(-outputs // panel) * panel
    kernel = torch.empty(count) if count <= KEPT else _ROOMS.take("kernel", count)
    library().impasto_transform(
        adjoint.data_ptr(), kernel.data_ptr(), inputs, outputs, level(), torch.get_num_threads(), _pool()
    )
    if count <= KEPT:
        _KEPT[adjoint] = kernel
    return kernel


def convolve(
    x: Tensor,
    adjoint: Tensor,
    bias: Tensor | None,
    padding: Literal["zeros", "replicate", "circular"],
    rectify: bool = False,
    mask: Tensor | None = None,
) -> Tensor:
    """A 3x3 convolution that keeps the size of `x`, `(1, inputs, h, w)`.

    Args:
        adjoint: the kernel of its backward pass, see `transform`.
        bias: `(outputs,)` or None.
        rectify: whether a ReLU follows.
        mask: of the shape of `x`, which counts only where this is positive: the backward pass of a ReLU before it.

    Returns:
        `(1, outputs, h, w)`, channels last.
    """
    _, inputs, height, width = x.shape
    outputs, threads = adjoint.shape[1], torch.get_num_threads()
    x = x.contiguous(memory_format=torch.channels_last)
    mask = None if mask is None else mask.contiguous(memory_format=torch.channels_last)
    y = torch.empty((1, outputs, height, width), memory_format=torch.channels_last)
    tiles = -(-height // 4) * -(-width // 4)
    given = [None if tensor is None else tensor.data_ptr() for tensor in (x, mask, adjoint, bias, y)]
    shape = (height, width, inputs, outputs, PADDINGS.index(padding), rectify)
    if 36 * inputs * outputs > KEPT and tiles <= FEW:
        scratch = _ROOMS.take("scratch", library().impasto_scratch_panels(height, width, inputs, threads))
        library().impasto_convolve_panels(*given, *shape, level(), scratch.data_ptr(), threads, _pool())
        return y
    given[2] = transform(adjoint).data_ptr()
    share = -(-tiles // threads)
    block = max([size for size in BLOCKS if 4 * 36 * size * (inputs + outputs) <= CACHE] or [BLOCKS[0]])
    block = min(block, -(-share // 12) * 12)
    scratch = _ROOMS.take("scratch", library().impasto_scratch(block, inputs, outputs, threads))
    library().impasto_convolve(*given, *shape, block, level(), scratch.data_ptr(), threads, _pool())
    return y
