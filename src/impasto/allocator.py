"""Settings of the memory allocator."""

from __future__ import annotations

import ctypes
import os
import sys


def release() -> None:
    """On Linux with glibc, return what the allocator holds free to the system, so that it does not count as taken."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def tame() -> None:
    """On Linux with glibc, return large buffers to the system at once, reuse small ones, and use huge pages.

    Activations of hundreds of megabytes are allocated and freed all the time. By default glibc keeps holes between
    them, a quarter of an evaluation's peak, but returns buffers of a few megabytes, and mapping their pages again for
    every layer takes a tenth of the time. Call it before torch is imported, which reads the variable once.
    """
    if sys.platform == "linux":
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, musl does not
        if mallopt is not None:
            mallopt(-3, 8 << 20)  # M_MMAP_THRESHOLD
            mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
            mallopt(-2, 64 << 20)  # M_TOP_PAD
            mallopt(-8, 1)  # M_ARENA_MAX
