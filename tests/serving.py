"""The web app in a process of its own, for tests."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

import processes
import pytest
import requests

#: Options with which a picture takes a second or two.
QUICK = {"size": 128, "iterations": 12, "scales": 1, "style_layers": "relu1_1,relu2_1", "content_layers": "relu2_2"}
QUICK |= {"style_weight": 20}  # not calibrated: that takes longer

#: Gradio and its client leave event loops and sockets to the garbage collector.
WARNINGS = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Server:
    """`impasto web` in a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.log = folder / "log.txt"
        code = "import sys; from impasto import cli; sys.exit(cli.run())"
        command = [sys.executable, "-c", code, "web", "--port", str(port), "--no-browser", *arguments]
        environment = os.environ | {"TMPDIR": str(self.temporary)}
        with open(self.log, "w") as log:
            self.process = processes.start(command, stdout=log, stderr=log, env=environment)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text())
            try:
                requests.get(f"{self.address}/health", timeout=5).raise_for_status()
                return
            except (requests.ConnectionError, requests.Timeout):  # it accepts connections before it answers
                time.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def health(self):
        return requests.get(f"{self.address}/health", timeout=20).json()

    def wait_until(self, condition, seconds=60):
        end = time.monotonic() + seconds
        while not condition(self.health()):
            assert time.monotonic() < end, self.health()
            time.sleep(0.1)

    def close(self, number=signal.SIGINT):
        """End it by a signal: with the code that is due, without an error, and with its files deleted."""
        self.process.send_signal(number)
        try:
            code = self.process.wait(60)
        finally:
            self.process.kill()
        log = self.log.read_text()
        assert code == (0 if number == signal.SIGINT else 128 + number), log
        assert "Traceback" not in log
        assert not list(self.temporary.glob("impasto-web-*"))
