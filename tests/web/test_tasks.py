"""Tasks: their queue, how they end, and who follows them."""

import gc
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serving import WARNINGS

pytest.importorskip("gradio")
from impasto.web import tasks as module
from impasto.web.tasks import QueueFullError, Tasks
from impasto.web.visitors import Visitor

pytestmark = WARNINGS


@pytest.fixture
def visitor(tmp_path):
    return Visitor(tmp_path)


def until_stopped(started=None):
    """A job that reports once, and ends when it is stopped."""

    def run(stop):
        yield "begun"
        if started is not None:
            started.set()
        assert stop.wait(30)
        yield "result"

    return run


def last(tasks, task):
    """The state in which a task ended, with all its reports: a follower gets each only once."""
    *_, end = tasks.follow(task)
    assert end.is_over
    return tasks.snapshot(task)


def test_a_job_from_beginning_to_end(visitor):
    tasks, go = Tasks(1, 1), threading.Event()

    def run(stop):
        yield {"status": 1}
        assert go.wait(30)
        yield {"status": 2}
        yield 3

    task = tasks.submit(visitor, "fine", run)
    following = tasks.follow(task)
    while not (snapshot := next(following)).reports:
        assert snapshot.status == "running"
    assert snapshot.reports == ({"status": 1},)
    assert visitor.is_busy
    go.set()
    assert tasks.snapshot(task).status in ("running", "done")
    *_, end = following
    assert end.status == "done"
    assert not visitor.is_busy
    # Whoever follows later gets the last report of each kind.
    (snapshot,) = tasks.follow(task)
    assert {"status": 2} in snapshot.reports
    assert 3 in snapshot.reports


def test_a_follower_that_leaves_does_not_end_the_job(visitor):
    tasks, started = Tasks(1, 1), threading.Event()
    task = tasks.submit(visitor, "fine", until_stopped(started))
    following = tasks.follow(task)
    next(following)
    following.close()
    assert started.wait(30)
    assert tasks.snapshot(task).status == "running"
    tasks.stop(task)
    assert last(tasks, task).reports == ("result",)


def test_failures_are_kept(visitor):
    tasks = Tasks(1, 1)

    def run(stop):
        yield 1
        raise ValueError("no such painting")

    task = tasks.submit(visitor, "fine", run)
    snapshot = last(tasks, task)
    assert (snapshot.status, snapshot.error) == ("failed", "no such painting")
    assert last(tasks, tasks.submit(visitor, "fine", lambda stop: iter([2]))).reports == (2,)  # the next one runs


def test_unexpected_failures_are_logged_and_keep_nothing_alive(visitor, monkeypatch):
    tasks, logged = Tasks(1, 1), []
    monkeypatch.setattr(module.log, "exception", lambda *arguments: logged.append(str(sys.exc_info()[1])))
    layer = np.zeros((4, 4))
    kept = weakref.ref(layer)

    def run(stop, layer=layer):
        yield 1
        raise RuntimeError("no memory")

    task = tasks.submit(visitor, "fine", run)
    assert last(tasks, task).error == module.UNEXPECTED
    assert logged == ["no memory"]
    del layer, run
    gc.collect()
    assert kept() is None


def test_jobs_that_are_over_keep_nothing_of_their_requests(visitor):
    tasks, started = Tasks(1, 1), threading.Event()
    first, second = (
        tasks.submit(visitor, "fine", until_stopped(started)),
        tasks.submit(visitor, "fine", until_stopped()),
    )
    assert started.wait(30)
    tasks.stop(second)  # which never begins
    tasks.stop(first)
    assert [last(tasks, task).is_over for task in (first, second)] == [True, True]
    assert first.run is second.run is None


def test_the_line(tmp_path):
    tasks, visitors = Tasks(1, 2), [Visitor(tmp_path) for _ in range(4)]
    started = threading.Event()
    first = tasks.submit(visitors[0], "fine", until_stopped(started))
    second, third = (tasks.submit(visitor, "fine", until_stopped()) for visitor in visitors[1:3])
    assert started.wait(30)
    assert [tasks.snapshot(task).position for task in (first, second, third)] == [0, 1, 2]
    with pytest.raises(QueueFullError, match="2 jobs wait"):
        tasks.submit(visitors[3], "fine", until_stopped())
    tasks.stop(second)  # which never begins
    assert (last(tasks, second).status, second.reports) == ("done", {})
    assert tasks.snapshot(third).position == 1
    tasks.stop(first)
    assert last(tasks, first).reports == ("result",)
    tasks.stop(third)
    assert last(tasks, third).status == "done"


def test_one_visitor_does_not_fill_the_line(visitor):
    tasks = Tasks(1, 100)
    own = [tasks.submit(visitor, "fine", until_stopped()) for _ in range(module.PER_VISITOR)]
    with pytest.raises(QueueFullError, match="you have 4 jobs"):
        tasks.submit(visitor, "fine", until_stopped())
    for task in own[::-1]:
        tasks.stop(task)
    for task in own:
        assert last(tasks, task).is_over
    assert last(tasks, tasks.submit(visitor, "fine", lambda stop: iter([1]))).reports == (1,)


def test_as_many_run_at_once_as_may(tmp_path):
    tasks, barrier = Tasks(2, 2), threading.Barrier(2)

    def run(stop):
        barrier.wait(30)  # neither continues without the other
        yield 1

    both = [tasks.submit(Visitor(tmp_path), "fine", run) for _ in range(2)]
    assert [last(tasks, task).reports for task in both] == [(1,), (1,)]


def test_many_followers(visitor):
    tasks = Tasks(1, 1)
    task = tasks.submit(visitor, "fine", until_stopped())
    with ThreadPoolExecutor(4) as executor:
        ends = [executor.submit(last, tasks, task) for _ in range(4)]
        tasks.stop(task)
        assert [end.result().status for end in ends] == ["done"] * 4


def test_a_follower_hears_of_a_job_in_which_nothing_happens(visitor, monkeypatch):
    monkeypatch.setattr(module, "HEARTBEAT", 0.01)
    tasks = Tasks(1, 1)
    task = tasks.submit(visitor, "fine", until_stopped())
    following = tasks.follow(task)
    for _ in range(5):
        assert not next(following).is_over
    tasks.stop(task)
    assert last(tasks, task).is_over
