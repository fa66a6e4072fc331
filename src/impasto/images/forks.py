"""libvips does not survive a fork: the child has none of its threads, and would wait for them for ever."""

from __future__ import annotations

import os

from impasto.errors import PictureError

#: The process in which libvips first computed, if it did.
_computed_in: list[int] = []


def check_process() -> None:
    """Call this before libvips computes.

    Raises:
        PictureError: this process was forked from one in which libvips had computed.
    """
    if not _computed_in:
        _computed_in.append(os.getpid())
    elif _computed_in[0] != os.getpid():
        raise PictureError(
            "this process cannot read or write pictures: it was forked from one that had done so before. Start worker "
            "processes by 'spawn' or 'forkserver', as in DataLoader(…, multiprocessing_context='forkserver'), or read "
            "no picture before they are started"
        )
