"""Pools of workers that call functions outside of this process; here, processes on this machine."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.resource_tracker
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from impasto import allocator

#: Signals that may be sent to all processes of a group, of which the parent handles them.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


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
        # Ctrl-C interrupts the main thread alone, and so no start of a process. Processes inherit the blocked signals.
        self._starter = ThreadPoolExecutor(1, initializer=_block_signals)
        # An executor does not wait for a thread whose start was interrupted, so it starts before there is any call.
        self._starter.submit(int).result()

    @property
    def capacity(self) -> int:
        return len(self._executors)

    def share(self, value: Any) -> Any:
        """The value itself: sending it with each call is cheap."""
        return value

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function on an idle process, which is started if necessary, and replaced if it has died."""
        number = next(index for index, call in enumerate(self._calls) if call is None or call.done())
        try:
            future = self._submit(number, function, *arguments)
        except BrokenProcessPool:
            self._executors[number] = None
            future = self._submit(number, function, *arguments)
        self._calls[number] = future
        return future

    def _submit(self, number: int, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        executor = self._executors[number]
        if executor is None:
            device = number % self._devices if self._devices else None
            executor = self._executors[number] = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), _initialize, (self._threads, device)
            )
        return self._starter.submit(executor.submit, function, *arguments).result()

    def close(self) -> None:
        self._starter.shutdown()
        for executor in self._executors:
            if executor is not None:
                for process in list((executor._processes or {}).values()):
                    process.kill()
                executor.shutdown(wait=True, cancel_futures=True)


def _block_signals() -> None:
    if hasattr(signal, "pthread_sigmask"):
        multiprocessing.resource_tracker.ensure_running()  # which unblocks them when it starts
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _initialize(threads: int, device: int | None) -> None:
    """Set up a new process, before it imports torch."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if device is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[device] if visible else str(device)
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
