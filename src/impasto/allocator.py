"""How the process takes memory from the system."""

from __future__ import annotations

import ctypes
import os
import sys


def tame() -> None:
    """On Linux, give large buffers back to the system at once, keep small ones, and take new ones in huge pages.

    Layers come and go by the hundred megabytes: glibc would keep holes between them, a quarter of an
    evaluation's peak. Of those of a few megabytes it keeps too little: to have their pages mapped anew for every
    layer takes a tenth of the time. Must run before torch is imported, which reads the variable once.
    """
    if sys.platform == "linux":
        os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it, musl does not
        if mallopt is not None:
            mallopt(-3, 8 << 20)  # M_MMAP_THRESHOLD
            mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
            mallopt(-2, 64 << 20)  # M_TOP_PAD
            mallopt(-8, 1)  # M_ARENA_MAX
