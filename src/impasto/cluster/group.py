"""A group of workers, and canvases whose rows they own.

A `ShardedCanvas` has the vector operations of `optim.canvas.Canvas`: each is sent to all workers, and each worker
applies it to its own rows. Only numbers come back, and what is gathered on purpose.
"""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import ray
import torch
from torch import Tensor

from impasto.cluster.connection import LOST, ROWS_LOST, reporting_errors
from impasto.cluster.worker import CanvasId, Rows, ShardWorker
from impasto.errors import ClusterError
from impasto.vgg.tiles import Span

#: Seconds to wait for free cores before a worker is started beside others.
PATIENCE = 30.0


class WorkerGroup:
    """Workers, each with the rows of one part of a picture.

    Attributes:
        spans: the rows of each: those it owns, and those of its window.
    """

    def __init__(self, count: int, threads: int) -> None:
        self._threads = threads
        self._actor: Any = ray.remote(ShardWorker)
        self._numbers = itertools.count()
        self._released: deque[int] = deque()  # canvases that were garbage collected, but not yet by the workers
        self._set_up: list[dict[str, tuple[Any, ...]]] = [{} for _ in range(count)]
        self._replicated: set[int] = set()
        self.spans: Sequence[Span] = ()
        self.workers = self._start(count)
        self.call("place")

    def _start(self, count: int) -> list[Any]:
        """New workers, all started at once: on free cores if there are any, else beside others."""
        apart = self._actor.options(num_cpus=self._threads, scheduling_strategy="SPREAD")
        workers = [apart.remote(self._threads) for _ in range(count)]
        calls = [worker.place.remote() for worker in workers]
        there, missing = ray.wait(calls, num_returns=count, timeout=PATIENCE)
        ray.get(there)
        for call in missing:
            index = calls.index(call)
            ray.kill(workers[index])
            workers[index] = self._actor.options(num_cpus=0).remote(self._threads)
        return workers

    def dismiss(self) -> None:
        """End the workers."""
        for worker in self.workers:
            with contextlib.suppress(Exception):
                ray.kill(worker)

    # -- calls ----------------------------------------------------------------------------------------------------

    def send(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of all workers; references to the results."""
        if self._released:
            numbers = [self._released.popleft() for _ in range(len(self._released))]
            self._replicated -= set(numbers)
            for worker in self.workers:
                worker.release.remote(numbers)
        return [getattr(worker, method).remote(*arguments) for worker in self.workers]

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of all workers, and wait for the results."""
        results: list[Any] = ray.get(self.send(method, *arguments))
        return results

    def set_up(self, method: str, arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Call a method of each worker that a worker in its place would have to run as well."""
        calls = []
        for worker, known, given in zip(self.workers, self._set_up, arguments, strict=True):
            known[method] = tuple(ray.put(argument) for argument in given)
            calls.append(getattr(worker, method).remote(*known[method]))
        results: list[Any] = ray.get(calls)
        return results

    # -- canvases -------------------------------------------------------------------------------------------------

    def new_canvas(self, shape: torch.Size) -> ShardedCanvas:
        """A canvas that workers are about to make; they drop it when it is garbage collected here."""
        canvas = ShardedCanvas(self, shape, next(self._numbers))
        # No remote call: a finalizer may run at any time, and the next call sends the numbers.
        weakref.finalize(canvas, self._released.append, canvas.id.number)
        return canvas

    def scatter(self, tensor: Tensor) -> ShardedCanvas:
        """A canvas from a tensor `(1, c, h, w)`, its rows on the workers that own them."""
        canvas = self.new_canvas(tensor.shape)
        calls = [
            worker.put.remote(canvas.id.number, tensor[..., span.start : span.stop, :].numpy())
            for worker, span in zip(self.workers, self.spans, strict=True)
        ]
        ray.get(calls)
        return canvas

    @reporting_errors(ROWS_LOST)
    def gather(self, number: int) -> Tensor:
        """A canvas as one tensor; the rows of a lost worker come from its replica.

        Raises:
            ClusterError: there is no replica either.
        """
        try:
            rows = [self._rows(index, number) for index in range(len(self.workers))]
        except KeyError as error:
            raise ClusterError(ROWS_LOST) from error
        return torch.from_numpy(np.concatenate(rows, axis=-2))

    def _rows(self, index: int, number: int) -> Rows:
        """A worker's rows of a canvas, or their replica."""
        try:
            rows: Rows = ray.get(self.workers[index].get.remote(number))
        except (*LOST, KeyError):  # the worker in place of a lost one has the latest canvases only
            rows = ray.get(self._holder(index).replica.remote(index, number))
        return rows

    # -- losses ---------------------------------------------------------------------------------------------------

    def _holder(self, index: int) -> Any:
        """The worker that stores replicas of another's rows: the next one."""
        return self.workers[(index + 1) % len(self.workers)]

    def replicate(self, canvases: Iterable[ShardedCanvas]) -> None:
        """Have every worker's rows of these canvases stored by another one, too."""
        if len(self.workers) == 1:
            return
        needed = {canvas.id.number for canvas in canvases}
        calls = [
            self._holder(index).store_replica.remote(index, number, worker.get.remote(number))
            for number in needed - self._replicated
            for index, worker in enumerate(self.workers)
        ]
        ray.get(calls)
        self._replicated |= needed

    def recover(self, canvases: Iterable[ShardedCanvas]) -> None:
        """Replace lost workers, and restore what they had of these canvases.

        Raises:
            ClusterError: a worker and the one with its replicas were lost at once, or there was only one, or no
                replica yet.
        """
        needed, lost = [canvas.id.number for canvas in canvases], set[int]()
        while True:
            lost |= {index for index, worker in enumerate(self.workers) if not _is_alive(worker)}
            if len(self.workers) == 1 or any((index + 1) % len(self.workers) in lost for index in lost):
                raise ClusterError(ROWS_LOST)
            try:
                self._replace(lost, needed)
                return
            except LOST:  # another one meanwhile
                continue
            except KeyError as error:
                raise ClusterError(ROWS_LOST) from error

    def _replace(self, lost: Collection[int], needed: Sequence[int]) -> None:
        count, calls = len(self.workers), []
        for index, worker in zip(lost, self._start(len(lost)), strict=True):
            self.workers[index] = worker
            for method, arguments in self._set_up[index].items():
                calls.append(getattr(worker, method).remote(*arguments))
            for number in needed:
                calls.append(worker.put.remote(number, self._holder(index).replica.remote(index, number)))
        for index in lost:  # whose replicas the lost ones had
            before = (index - 1) % count
            for number in needed:
                rows = self.workers[before].get.remote(number)
                calls.append(self.workers[index].store_replica.remote(before, number, rows))
        ray.get(calls)


def _is_alive(worker: Any) -> bool:
    try:
        ray.get(worker.place.remote())
    except LOST:
        return False
    return True


class ShardedCanvas:
    """A canvas on the workers of a group; see `optim.canvas.Canvas`.

    Attributes:
        shape: of the whole.
        id: its number on the workers.
    """

    def __init__(self, group: WorkerGroup, shape: torch.Size, number: int) -> None:
        self._group, self.shape, self.id = group, shape, CanvasId(number)
        self._gathered: Tensor | None = None

    def gather(self) -> Tensor:
        return self._group.gather(self.id.number) if self._gathered is None else self._gathered

    def fetch(self) -> None:
        """Gather it, and keep it here: the workers may end."""
        self._gathered = self.gather()

    def _made(self, operation: str, *arguments: Any) -> ShardedCanvas:
        """The canvas that an operation makes."""
        made = self._group.new_canvas(self.shape)
        self._group.send("apply", made.id.number, operation, [self.id, *map(_remote, arguments)])
        return made

    def _changed(self, operation: str, *arguments: Any) -> None:
        """Have an operation change the canvas."""
        self._group.send("apply", None, operation, [self.id, *map(_remote, arguments)])

    def _added(self, operation: str, *arguments: Any) -> float:
        """The sum of the numbers that an operation gives on each worker."""
        return sum(self._group.call("apply", None, operation, [self.id, *map(_remote, arguments)]))

    def clone(self) -> ShardedCanvas:
        return self._made("clone")

    def dot(self, other: ShardedCanvas) -> float:
        return self._added("dot", other)

    def sum(self) -> float:
        return self._added("sum")

    def minus(self, other: ShardedCanvas) -> ShardedCanvas:
        return self._made("minus", other)

    def stepped(self, direction: ShardedCanvas, length: float) -> ShardedCanvas:
        return self._made("stepped", direction, length)

    def descent_direction(self, gradient: ShardedCanvas) -> ShardedCanvas:
        return self._made("descent_direction", gradient)

    def hold_(self, canvas: ShardedCanvas, gradient: ShardedCanvas) -> None:
        self._changed("hold_", canvas, gradient)

    def add_scaled_(self, other: ShardedCanvas, factor: float) -> None:
        self._changed("add_scaled_", other, factor)

    def divide_(self, divisor: float) -> None:
        self._changed("divide_", divisor)

    def zeros(self) -> ShardedCanvas:
        return self._made("zeros")

    def average_(self, other: ShardedCanvas, share: float) -> None:
        self._changed("average_", other, share)

    def average_square_(self, other: ShardedCanvas, share: float) -> None:
        self._changed("average_square_", other, share)

    def adam_stepped(
        self, first: ShardedCanvas, second: ShardedCanvas, length: float, correction: float
    ) -> ShardedCanvas:
        return self._made("adam_stepped", first, second, length, correction)


def _remote(argument: Any) -> Any:
    return argument.id if isinstance(argument, ShardedCanvas) else argument
