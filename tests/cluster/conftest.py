"""A real Ray cluster on the loopback address: nodes of one core each, processes of their own."""

import logging
import os
import secrets
import signal
import socket
import sys
import time
from pathlib import Path

import processes
import pytest

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # before Ray is imported
ray = pytest.importorskip("ray")

from impasto import cluster as many  # noqa: E402

#: Not 127.0.0.1, which Ray replaces by an address that others reach.
LOOPBACK = "127.0.0.2"
#: A node that was killed is known to be dead after a second or two, not fifteen.
ENVIRONMENT = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "300"}


class Nodes:
    """The nodes of a cluster."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind((LOOPBACK, 0))
            port = free.getsockname()[1]
        self.address, self._log, self._all = f"{LOOPBACK}:{port}", folder / "log", []
        self.start("--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}")

    def start(self, *arguments):
        """One more, by default one that joins; its process."""
        command = [Path(sys.executable).with_name("ray"), "start", *(arguments or [f"--address={self.address}"])]
        command += [f"--node-ip-address={LOOPBACK}", "--num-cpus=1", "--object-store-memory=200000000", "--block"]
        with open(self._log, "a") as log:
            process = processes.start(command, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True)
        self._all.append(process)
        return process

    def wait(self, count, seconds=60):
        """Until so many are alive."""
        end = time.monotonic() + seconds
        while sum(node["Alive"] for node in ray.nodes()) != count:
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.2)

    def stop(self):
        for process in self._all:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture(scope="session")
def nodes(tmp_path_factory):
    """Two nodes, which this process has joined."""
    found = Nodes(tmp_path_factory.mktemp("r", numbered=False))
    logging.getLogger("ray").setLevel(logging.ERROR)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                many.connect(found.address)
                break
            except many.ClusterError:
                assert time.monotonic() < end, found._log.read_text()
                time.sleep(0.5)
        found.start()
        found.wait(2)
        yield found
    finally:
        many.disconnect()
        found.stop()


@pytest.fixture
def make_scene():
    return pytest.importorskip("making_clips").scene


@pytest.fixture
def write_clip():
    return pytest.importorskip("making_clips").write
