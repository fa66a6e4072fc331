"""Tasks that outlive the connections that begin them: they run in threads, a few at a time, and any number may follow.

A task is a visitor's job: a picture to be optimised, a painting to be learnt, a report.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Condition, Event
from typing import Any, Literal

from impasto.errors import ImpastoError
from impasto.web.visitors import Visitor

log = logging.getLogger(__name__)

Status = Literal["queued", "running", "done", "failed"]

#: Tasks of one visitor that may wait or run.
PER_VISITOR = 4
#: Seconds between two reports to a follower when nothing happens, at which it notices that its client has left.
HEARTBEAT = 5.0
#: What visitors are told about an error that nobody foresaw.
UNEXPECTED = "something went wrong; the server's log says what"


def _is_over(status: Status) -> bool:
    return status in ("done", "failed")


class QueueFullError(ImpastoError):
    """No further task is accepted for now."""


@dataclass(frozen=True)
class Snapshot:
    """The state of a task.

    Attributes:
        status: `done` also after it was stopped.
        position: in the queue, from 1; 0 if it does not wait.
        reports: what it has reported since the follower's last snapshot.
        error: why it failed; None if it did not.
    """

    status: Status
    position: int = 0
    reports: tuple[Any, ...] = ()
    error: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return _is_over(self.status)


@dataclass(eq=False)
class Task:
    """A job of a visitor, see `Tasks`.

    Attributes:
        kind: `fine`, `learn`, `explain` (of the page), `api`, `http` (of programs).
        run: does it, given what stops it; yields reports. None once it is over, since it may hold large arrays.
        reports: the last one of each kind of report, with its number.
        version: rises whenever the state changes.
    """

    visitor: Visitor
    kind: str
    run: Callable[[Event], Iterator[Any]] | None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    created: float = field(default_factory=time.time)
    status: Status = "queued"
    stop: Event = field(default_factory=Event)
    error: str | None = None
    reports: dict[Any, tuple[int, Any]] = field(default_factory=dict)
    version: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it neither waits nor runs."""
        return _is_over(self.status)


class Tasks:
    """The tasks of a server.

    Args:
        running: how many run at the same time.
        waiting: how many may wait.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._running, self._waiting = running, waiting
        self._queue: list[Task] = []
        self._active: list[Task] = []
        self._changed = Condition()

    def submit(self, visitor: Visitor, kind: str, run: Callable[[Event], Iterator[Any]]) -> Task:
        """Run a task as soon as its turn comes.

        Raises:
            QueueFullError: too many tasks wait, or too many of this visitor.
        """
        task = Task(visitor, kind, run)
        with self._changed:
            own = sum(other.visitor is visitor for other in (*self._queue, *self._active))
            if own >= PER_VISITOR:
                raise QueueFullError(f"you have {own} jobs here already; wait until one is done, or stop one")
            if len(self._active) >= self._running and len(self._queue) >= self._waiting:
                raise QueueFullError(f"the queue is full: {len(self._queue)} jobs wait; try again in a few minutes")
            self._forget_old(visitor)
            visitor.tasks.append(task)
            self._queue.append(task)
            self._start_next()
        return task

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return len(self._queue)

    def stop(self, task: Task) -> None:
        """End a task: what it has made so far is kept. One that waits does not begin."""
        task.stop.set()
        with self._changed:
            if task in self._queue:
                self._queue.remove(task)
                task.status, task.run = "done", None
                self._notify(task, *self._queue)

    def snapshot(self, task: Task) -> Snapshot:
        """The state of a task, with the last report of each kind."""
        with self._changed:
            return self._snapshot(task, 0)

    def follow(self, task: Task) -> Iterator[Snapshot]:
        """The state of a task: now, whenever it changes, and every `HEARTBEAT` seconds, until it is over."""
        seen, version = 0, -1

        def has_changed() -> bool:
            return task.version != version

        while True:
            with self._changed:
                self._changed.wait_for(has_changed, HEARTBEAT)
                now, version = self._snapshot(task, seen), task.version
                seen = max((number for number, _ in task.reports.values()), default=0)
            yield now
            if now.is_over:
                return

    def _snapshot(self, task: Task, seen: int) -> Snapshot:
        position = self._queue.index(task) + 1 if task in self._queue else 0
        new = sorted((number, report) for number, report in task.reports.values() if number > seen)
        return Snapshot(task.status, position, tuple(report for _, report in new), task.error)

    def _notify(self, *tasks: Task) -> None:
        """Wake the followers of tasks whose state has changed."""
        for task in tasks:
            task.version += 1
        self._changed.notify_all()

    def _start_next(self) -> None:
        while self._queue and len(self._active) < self._running:
            task = self._queue.pop(0)
            self._active.append(task)
            task.status = "running"
            threading.Thread(target=self._work, args=(task,), daemon=True).start()
        self._notify(*self._queue, *self._active)

    def _work(self, task: Task) -> None:
        assert task.run is not None
        try:
            for number, report in enumerate(task.run(task.stop), start=1):
                with self._changed:
                    task.reports[_kind(report)] = number, report
                    self._notify(task)
        except (ValueError, ImpastoError) as error:
            task.error = str(error)
        except BaseException:
            log.exception("a job of the kind %s failed", task.kind)
            task.error = UNEXPECTED
        with self._changed:
            task.run = None
            task.status = "done" if task.error is None else "failed"
            task.visitor.last_request = time.monotonic()  # the result is kept as long as after a visit
            self._active.remove(task)
            self._notify(task)
            self._start_next()

    def _forget_old(self, visitor: Visitor) -> None:
        over = [task for task in visitor.tasks if task.is_over]
        for task in over[:-8]:
            visitor.tasks.remove(task)


def _kind(report: Any) -> Any:
    """Of updates of the page: the components that they update; of others, their type."""
    return frozenset(map(id, report)) if isinstance(report, dict) else type(report)
