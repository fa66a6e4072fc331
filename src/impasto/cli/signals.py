"""The signals that ask the program to end: Ctrl-C, `kill`, `docker stop`, a closed terminal, the end of a time limit.

Each is a `KeyboardInterrupt` in the main thread, once: whatever comes later does not interrupt the writing of results.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: SIGBREAK is Ctrl-Break and a closed console on Windows; SIGXCPU is a limit of processor time.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGBREAK")

_received: list[int] = []
_deferred = [False]


@contextmanager
def handled() -> Iterator[None]:
    """Handle the signals that have their default action; those that the parent process ignores stay ignored."""
    _received.clear()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in NAMES if hasattr(signal, name)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                before[number] = signal.signal(number, _handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    if len(_received) == 1 and not _deferred[0]:
        raise KeyboardInterrupt


def received() -> int | None:
    """The number of the signal that asked the program to end; None if there was none."""
    return _received[0] if _received else None


def check() -> None:
    """Raise a KeyboardInterrupt if a signal was received: one that was raised in a finaliser is lost."""
    if _received:
        raise KeyboardInterrupt


@contextmanager
def deferred() -> Iterator[None]:
    """A block that no signal interrupts."""
    _deferred[0] = True
    try:
        yield
    finally:
        _deferred[0] = False


def exit_code(usual: bool = False) -> int:
    """128 + the number of the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM.

    Args:
        usual: Ctrl-C is the usual way to end the command, and means success.
    """
    number = received() or signal.SIGINT
    return 0 if usual and number == signal.SIGINT else 128 + number
