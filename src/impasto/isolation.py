"""Isolation from the settings of Python, PyTorch and NumPy that a host program has made in its thread.

Inference mode, autocast, a default device or NumPy's error state would change results, or make operations fail. None of
these is relied on, and all are as they were when a call returns and between the steps of an iterator.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar, cast

import numpy as np
import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Item = TypeVar("Item")

#: Device types that autocast may be enabled for.
_AUTOCAST = ("cpu", "cuda", "mps")


#: The filters of warnings belong to the process: blocks that overlap would restore them in the wrong order.
_filters = threading.RLock()


@contextmanager
def no_warnings() -> Iterator[None]:
    """A block in which libraries warn of nothing; one thread at a time."""
    with _filters, warnings.catch_warnings(action="ignore"):
        yield


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Environment variables for what is imported or started in the block; variables that are set already win."""
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextmanager
def neutral_state() -> Iterator[None]:
    """The state of a new thread: gradients on, no inference mode, no autocast, no default device."""
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in _AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        yield


def isolated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """The function in a neutral state; if it returns an iterator, every step of that, too."""

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with neutral_state():
            result = function(*args, **kwargs)
        return cast(Result, _isolated_steps(result)) if isinstance(result, Iterator) else result

    return run


def _isolated_steps(steps: Iterator[Item]) -> Iterator[Item]:
    """The same items; the caller's state is restored before each is yielded."""
    try:
        while True:
            with neutral_state():
                try:
                    item = next(steps)
                except StopIteration:
                    return
            yield item
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            with neutral_state():
                close()
