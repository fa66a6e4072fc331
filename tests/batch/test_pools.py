"""Pools of processes: one that is killed loses only its own call, and none outlives its parent."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

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
