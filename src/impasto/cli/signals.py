"""The signals that ask the program to end: Ctrl-C, `kill`, `docker stop`, a closed terminal, the end of a time limit.

Each is a `KeyboardInterrupt` in the main thread, once: whatever comes later does not interrupt the writing of results.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: SIGBREAK is Ctrl-Break and a closed console on Windows; SIGXCPU is a limit of processor time.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGBREAK")

_received: list[int] = []
_deferred = [False]
_postponed = [False]  # until an exception can be raised


@contextmanager
def handled() -> Iterator[None]:
    """Handle the signals that have their default action; those that the parent process ignores stay ignored."""
    _received.clear()
    before = _install(_handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is _handle:  # and not that of `exit_at_once`
                signal.signal(number, handler)


def exit_at_once(code: int) -> None:
    """From now on, while the interpreter waits for threads, a signal ends the process with this code.

    Called while signals are `handled`, it leaves no moment at which one has its default action.
    """
    numbers = _install(lambda number, frame: os._exit(code))
    atexit.register(lambda: [signal.signal(number, signal.SIG_IGN) for number in numbers])  # it ends on its own now


def _install(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Install a handler in the main thread, and return the ones before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    defaults = (signal.SIG_DFL, signal.default_int_handler, _handle)
    return {number: signal.signal(number, handler) for number in numbers if signal.getsignal(number) in defaults}


def _handle(number: int, frame: FrameType | None) -> None:
    if not _received:
        _received.append(number)
    elif not _postponed[0]:
        return
    _postponed[0] = not (_deferred[0] or _can_raise(frame))
    if _postponed[0]:
        _thread.start_new_thread(_repeat, (number,))
    elif not _deferred[0]:
        raise KeyboardInterrupt


def _can_raise(frame: FrameType | None) -> bool:
    """Not where an exception is lost, in a finaliser or a callback of libvips; nor while a module is imported."""
    while frame is not None:
        code = frame.f_code
        if code.co_filename.startswith("<frozen importlib") or code.co_filename == weakref.__file__:
            return False
        if code.co_name.startswith(("__del__", "_marshal_", "_log_handler_callback")):
            return False
        frame = frame.f_back
    return True


def _repeat(number: int) -> None:
    time.sleep(0.05)
    main = threading.main_thread().ident
    if not hasattr(signal, "pthread_kill") or main is None:
        _thread.interrupt_main(signal.Signals(number))
    elif signal.getsignal(number) is _handle:
        signal.pthread_kill(main, number)  # which also interrupts what the main thread waits for


def received() -> int | None:
    """The number of the signal that asked the program to end; None if there was none."""
    return _received[0] if _received else None


def check() -> None:
    """Raise a KeyboardInterrupt if a signal was received: the first one may have been lost."""
    if _received:
        _postponed[0] = False
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
