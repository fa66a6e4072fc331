"""Pools of workers that call functions outside of this process; here, processes on this machine."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from impasto import allocator


class Pool(Protocol):
    """Workers that call functions, on this machine or on others.

    Attributes:
        lost: the exceptions of a future whose worker was lost through no fault of the function.
        shares_files: whether workers can read this machine's files.
        capacity: how many calls may run at a time.
    """

    @property
    def lost(self) -> tuple[type[BaseException], ...]: ...

    @property
    def shares_files(self) -> bool: ...

    @property
    def capacity(self) -> int: ...

    def share(self, value: Any, /) -> Any:
        """A handle of a value that many calls need, to be passed to them in its place."""
        ...

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Call a function on a worker."""
        ...

    def close(self) -> None:
        """End the workers at once."""
        ...


class Processes:
    """A `Pool` of processes on this machine. A process that dies loses only its own call, and is replaced.

    Args:
        workers: how many.
        threads: of each.
        devices: number of GPUs, each process uses one of them; 0 for none.
    """

    lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)
    shares_files = True

    def __init__(self, workers: int, threads: int, devices: int = 0) -> None:
        self._threads, self._devices = threads, devices
        self._executors: list[ProcessPoolExecutor | None] = [None] * workers
        self._calls: list[Future[Any] | None] = [None] * workers

    @property
    def capacity(self) -> int:
        return len(self._executors)

    def share(self, value: Any) -> Any:
        """The value itself: sending it with each call is cheap."""
        return value

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function on an idle process, which is started if necessary."""
        number = next(index for index, call in enumerate(self._calls) if call is None or call.done())
        call, executor = self._calls[number], self._executors[number]
        if executor is None or (call is not None and isinstance(call.exception(), BrokenProcessPool)):
            device = str(number % self._devices) if self._devices else None
            executor = self._executors[number] = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), _initialize, (self._threads, device)
            )
        future = self._calls[number] = executor.submit(function, *arguments)
        return future

    def close(self) -> None:
        for executor in self._executors:
            if executor is not None:
                for process in list((executor._processes or {}).values()):
                    process.kill()
                executor.shutdown(wait=True, cancel_futures=True)


def _initialize(threads: int, device: str | None) -> None:
    """Set up a new process, before it imports torch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    logging.getLogger("pyvips").setLevel(logging.ERROR)  # libvips warns of harmless flaws in files
    allocator.tame()
    use_threads(threads)


def _end_with_parent() -> None:
    """End this process when its parent ends, even if that was killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def use_threads(count: int) -> None:
    """Let PyTorch compute with this many threads in this process."""
    import torch

    torch.set_num_threads(count)
