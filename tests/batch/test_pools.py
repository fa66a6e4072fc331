"""Pools of processes: one that is killed loses only its own call, and none outlives its parent."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool, ProcessPoolExecutor

import psutil
import pytest

from impasto.batch.pools import Processes


def test_a_killed_process_loses_only_its_own_call():
    pool = Processes(2, 1)
    try:
        first = pool.submit(os.getpid)
        victim = first.result(60)
        killed = pool.submit(_kill_me)
        with pytest.raises(BrokenProcessPool):
            killed.result(60)
        assert pool.submit(os.getpid).result(60) != victim  # which is the process that was killed
    finally:
        pool.close()


def test_a_process_that_is_killed_while_idle_is_replaced():
    pool = Processes(1, 1)
    try:
        victim = pool.submit(os.getpid).result(60)
        os.kill(victim, signal.SIGKILL)
        end = time.monotonic() + 20
        while not pool._executors[0]._broken:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert pool.submit(os.getpid).result(60) != victim
    finally:
        pool.close()


ORPHAN = """
import os, time
from impasto.batch.pools import Processes
if __name__ == "__main__":
    pool = Processes(1, 1)
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 60)
    time.sleep(1)
    os._exit(1)
"""


def test_processes_do_not_outlive_their_parent(tmp_path):
    path = tmp_path / "orphan.py"
    path.write_text(ORPHAN)
    found = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=60, check=False)
    pid = int(found.stdout)
    end = time.monotonic() + 20
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end
            time.sleep(0.1)


def _kill_me():
    os.kill(os.getpid(), signal.SIGKILL)


def touch_later(path):
    time.sleep(2)
    path.touch()


def test_an_interrupted_start_leaves_no_worker(monkeypatch, tmp_path):
    """Ctrl-C at the moment in which the thread that starts processes has started itself, and starts the first one."""
    start, interrupts = threading.Thread.start, [KeyboardInterrupt()]
    spawn = ProcessPoolExecutor._spawn_process

    def interrupted(thread):
        start(thread)
        if interrupts:
            time.sleep(0.3)
            raise interrupts.pop()

    def slow(executor):
        time.sleep(1)
        spawn(executor)

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    monkeypatch.setattr(ProcessPoolExecutor, "_spawn_process", slow)

    def call():
        nonlocal pool
        pool = Processes(1, 1)
        pool.submit(touch_later, tmp_path / "called")

    pool = None
    with pytest.raises(KeyboardInterrupt):
        call()
    if pool is not None:
        pool.close()
    assert not (tmp_path / "called").exists()
