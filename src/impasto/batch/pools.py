"""Workers: where functions are called beside this process. Here, processes of this machine."""

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
    """Workers that call functions, wherever they are."""

    @property
    def lost(self) -> tuple[type[BaseException], ...]:
        """What a future raises whose worker was lost, not through a fault of the function's."""
        ...

    @property
    def near(self) -> bool:
        """Whether workers see this machine's files."""
        ...

    @property
    def room(self) -> int:
        """How many calls may be under way."""
        ...

    def share(self, value: Any, /) -> Any:
        """What to give calls in the place of a value that many of them need."""
        ...

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future[Any]:
        """Call a function on a worker."""
        ...

    def close(self) -> None:
        """End the workers, whatever they are at."""
        ...


class Processes:
    """Processes on this machine, each with its own threads.

    One that dies takes nothing along but the call that it was at.
    """

    lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)
    near = True

    def __init__(self, workers: int, threads: int, devices: int = 0) -> None:
        """Of `devices` GPUs, if there are any, each process sees one."""
        self._threads, self._devices = threads, devices
        self._executors: list[ProcessPoolExecutor | None] = [None] * workers
        self._calls: list[Future[Any] | None] = [None] * workers

    @property
    def room(self) -> int:
        """How many calls may be under way."""
        return len(self._executors)

    def share(self, value: Any) -> Any:
        """Pipes are fast: what is shared goes along with each call."""
        return value

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function on a process that is idle; one is begun where there is none."""
        number = next(index for index, call in enumerate(self._calls) if call is None or call.done())
        call, executor = self._calls[number], self._executors[number]
        if executor is None or (call is not None and isinstance(call.exception(), BrokenProcessPool)):
            device = str(number % self._devices) if self._devices else None
            executor = self._executors[number] = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), _begin, (self._threads, device)
            )
        future = self._calls[number] = executor.submit(function, *arguments)
        return future

    def close(self) -> None:
        """End the processes, whatever they are at."""
        for executor in self._executors:
            if executor is not None:
                for process in list((executor._processes or {}).values()):
                    process.kill()
                executor.shutdown(wait=True, cancel_futures=True)


def _begin(threads: int, device: str | None) -> None:
    """Before anything else in a new process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who began it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    logging.getLogger("pyvips").setLevel(logging.ERROR)  # libvips warns of harmless flaws in files
    allocator.tame()
    use_threads(threads)


def _end_with_parent() -> None:
    """However it died: nobody is left to take what is painted here."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def use_threads(count: int) -> None:
    """Compute with so many threads in this process."""
    import torch

    torch.set_num_threads(count)
