"""Processes that tests start: they react to Ctrl-C even where the caller ignores it, and end with the tests."""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def start(command: Sequence[Any], **options: Any) -> subprocess.Popen:
    """A process that the system kills when this one ends, however it does (on Linux)."""
    prepare = _prepare if sys.platform == "linux" else None
    return subprocess.Popen(command, preexec_fn=prepare, **options)  # noqa: PLW1509 (what runs there is safe)


@contextmanager
def running(command: Sequence[Any], **options: Any) -> Iterator[subprocess.Popen]:
    """A process that has ended when the block has."""
    with start(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def _prepare() -> None:
    """Between fork and exec: `nohup` and a shell's `&` have SIGHUP or SIGINT ignored, which new processes inherit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
