"""The web app under load: many visitors at the same time, each of whom should get pictures or a clear message.

    python -m benchmarks.visitors [--visitors 20] [--seconds 120]

Starts `impasto web` with a memory limit. Every visitor requests pictures until the time is up, while another thread
polls the health check. Reports the number of pictures and of each error message, the peak memory, how fast the health
check answers, and which temporary files are left after the server has stopped.
"""

import argparse
import collections
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import requests
from gradio_client import Client, handle_file

from impasto import images
from impasto.inputs import photos

OPTIONS = {"size": 256, "iterations": 10, "scales": 1}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--memory", default="1500MB")
    arguments = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"
        images.write(photo, images.read(photos.load("chelsea")))
        temporary = Path(folder) / "tmp"
        temporary.mkdir()
        command = [sys.executable, "-m", "impasto", "web", "--port", port, "--no-browser", "--memory", arguments.memory]
        server = subprocess.Popen(command, env=os.environ | {"TMPDIR": str(temporary)})
        while True:
            try:
                requests.get(f"{address}/health", timeout=5)
                break
            except requests.ConnectionError:
                time.sleep(0.2)
        end = time.monotonic() + arguments.seconds
        outcomes: collections.Counter[str] = collections.Counter()
        latencies: list[float] = []
        peak = [0]

        def watch() -> None:
            process = psutil.Process(server.pid)
            while time.monotonic() < end + 30 and not done.is_set():
                start = time.monotonic()
                requests.get(f"{address}/health", timeout=30).raise_for_status()
                latencies.append(time.monotonic() - start)
                peak[0] = max(peak[0], process.memory_info().rss)
                time.sleep(0.2)

        def visit(number: int) -> None:
            client = Client(address, verbose=False)
            pictures = 0
            while time.monotonic() < end:
                try:
                    picture, _ = client.predict(
                        photo=handle_file(photo), styles=["mosaic"], options=OPTIONS, api_name="/stylize"
                    )
                    pictures += images.read(picture).shape is not None
                except Exception as error:
                    outcomes[str(error).split(" and size is")[0]] += 1
                    time.sleep(5)
            outcomes["pictures"] += pictures
            outcomes["visitors with a picture"] += pictures > 0

        done = threading.Event()
        watcher = threading.Thread(target=watch)
        watcher.start()
        visitors = [threading.Thread(target=visit, args=(number,)) for number in range(arguments.visitors)]
        for visitor in visitors:
            visitor.start()
        for visitor in visitors:
            visitor.join()
        done.set()
        watcher.join()
        print(f"{arguments.visitors} visitors for {arguments.seconds:.0f} s: {dict(outcomes)}")
        print(f"peak memory {peak[0] / 1e6:.0f} MB with --memory {arguments.memory}")
        print(
            f"health check: {len(latencies)} answers, median {statistics.median(latencies):.3f} s, "
            f"slowest {max(latencies):.2f} s"
        )
        server.send_signal(signal.SIGINT)
        print(f"exit code {server.wait(60)}; files left behind: {[path.name for path in temporary.iterdir()]}")


if __name__ == "__main__":
    main()
