"""What libvips shares within a process: threads that do not survive a fork, and a cache of operations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

import pyvips

from impasto.errors import PictureError

#: The process in which libvips first computed, if it did.
_computed_in: list[int] = []
_lock = Lock()


@contextmanager
def computing() -> Iterator[None]:
    """Let libvips compute within this context, or within the function that this decorates.

    It keeps its last hundred operations, each with the pixels that it read and made: hundreds of megabytes after a few
    pictures. Whether anyone has use for them it cannot know, we have none: they are released at the end.

    Raises:
        PictureError: this process was forked from one in which libvips had computed. The child has none of its threads
            and would wait for them for ever.
    """
    _check_process()
    try:
        yield
    finally:
        with _lock:  # or another thread would take the 0 for the limit to go back to
            limit = pyvips.cache_get_max()
            pyvips.cache_set_max(0)
            pyvips.cache_set_max(limit)


def _check_process() -> None:
    if not _computed_in:
        _computed_in.append(os.getpid())
    elif _computed_in[0] != os.getpid():
        raise PictureError(
            "this process cannot read or write pictures: it was forked from one that had done so before. Start worker "
            "processes by 'spawn' or 'forkserver', as in DataLoader(…, multiprocessing_context='forkserver'), or read "
            "no picture before they are started"
        )
