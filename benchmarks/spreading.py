"""Many workers: what two of one thread each are worth beside one, for batches and for one giant picture.

    python -m benchmarks.spreading PHOTO PAINTING -o FOLDER [--pictures 40] [--side 4096] [--evaluations 3]

A batch of small pictures by one process of one thread, by one of two, and by two of one, in turns; the same by a Ray
cluster of one and of two nodes on the loopback address, one of which is killed in the middle of a last run. Then one
giant picture here, by one worker and by two: seconds per evaluation, the bytes that travel, and whether the pictures
are the same.
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from impasto import allocator

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # of nodes that are begun, used and ended here
allocator.tame()

import ray  # noqa: E402
import torch  # noqa: E402

from impasto import cluster, images, iterate  # noqa: E402
from impasto.batch import items, run  # noqa: E402
from impasto.batch.pools import Processes  # noqa: E402
from impasto.settings.options import BatchOptions, StylizeOptions  # noqa: E402

LOOPBACK = "127.0.0.2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("painting")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--evaluations", type=int, default=3)
    parser.add_argument("--memory", default="6GB")
    parser.add_argument("--skip", nargs="*", default=[], choices=["local", "batch", "giant", "here"])
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    if "local" not in given.skip:
        local(given)
    with Nodes(given.output) as nodes:
        if "batch" not in given.skip:
            batches(given, nodes)
        if "giant" not in given.skip:
            giant(given, nodes)


def local(given) -> None:
    """Processes times threads on this machine."""
    paces = {(1, 1): [], (1, 2): [], (2, 1): []}
    for turn in range(given.rounds):
        for (workers, threads), found in paces.items():
            found.append(pace(given, f"{turn}-{workers}x{threads}", Processes(workers, threads), threads, 2 * workers))
    for (workers, threads), found in paces.items():
        print(f"{workers} processes of {threads} threads: {statistics.median(found):.3f} s a picture", flush=True)


def batches(given, nodes) -> None:
    """One and two nodes, in turns; then one that dies."""
    paces = {1: [], 2: []}
    for turn in range(given.rounds):
        for count, found in paces.items():
            nodes.have(count)
            found.append(pace(given, f"{turn}-nodes{count}", cluster.Workers(1), 1, 2 * count))
    one, two = (statistics.median(found) for found in paces.values())
    print(
        f"Ray, batch: {one:.3f} s a picture on one node, {two:.3f} on two; efficiency {one / (2 * two):.2f}",
        flush=True,
    )
    nodes.have(2)
    folder, seen = given.output / "killed", []
    for outcome in run(todo(given), folder, options(1), pool=cluster.Workers(1)):
        seen.append(outcome)
        if len(seen) == given.pictures // 2:
            nodes.kill()
    same = all(
        path.read_bytes() == (given.output / "0-nodes1" / path.name).read_bytes() for path in folder.glob("*.png")
    )
    done = sum(outcome.status == "done" for outcome in seen)
    print(
        f"a node killed after {given.pictures // 2}: {done} of {given.pictures} done, the same files: {same}",
        flush=True,
    )


def pace(given, name: str, pool, threads: int, warm: int) -> float:
    """Seconds a picture, after as many as it takes to have all workers begun."""
    marks = [outcome.seconds for outcome in run(todo(given), given.output / name, options(threads), pool=pool)]
    pool.close()
    return (marks[-1] - marks[warm - 1]) / (len(marks) - warm)


def todo(given):
    folder = given.output / "photos"
    if not folder.exists():
        folder.mkdir()
        photo = images.read(given.photo)
        for number in range(given.pictures):
            small = photo.resized(*images.fit(photo.size, 200))
            images.write(folder / f"{number:03}.png", images.Picture((small.rgb + number / 400).clamp(0, 1)))
    return items([str(folder)], [given.painting])


def options(threads: int) -> BatchOptions:
    return BatchOptions(size=200, iterations=4, scales=1, threads=threads, workers=1)


def giant(given, nodes) -> None:
    """One picture by one worker and by two, an evaluation each in turns; and here."""
    chosen = StylizeOptions(size=given.side, iterations=given.evaluations, scales=1, memory=given.memory)
    photo = images.read(given.photo).resized(given.side, given.side)
    torch.set_num_threads(1)
    nodes.have(3)
    crews = {
        name: cluster.iterate(photo, given.painting, chosen, address=nodes.address, threads=1, workers=count)
        for name, count in (("one worker", 1), ("two workers", 2))
    }
    made = in_turns(crews)
    if "here" not in given.skip:
        made |= in_turns({"here": iterate(photo, given.painting, chosen)})
    paces = {name: pace for name, (_, pace) in made.items()}
    made = {name: picture for name, (picture, _) in made.items()}
    images.write(given.output / "giant.png", made["two workers"])
    efficiency = paces["one worker"] / (2 * paces["two workers"])
    print(f"giant, {given.side}×{given.side}: efficiency {efficiency:.2f}")
    model(paces["one worker"] / given.side**2)
    for name in ("one worker", "two workers") if "here" in made else ():
        off = 255 * (made[name].rgb - made["here"].rgb).abs()
        print(
            f"{name} and here: {off.max():.3f} grey levels apart at most, {off.mean():.6f} in the mean, "
            f"{(off > 1).float().mean():.2e} of them more than one"
        )


def in_turns(runs) -> dict:
    """Name -> the last picture, and seconds an evaluation: the median after the first."""
    marks, last, left = {name: [] for name in runs}, {}, dict(runs)
    while left:
        for name, steps in list(left.items()):
            begun = time.monotonic()
            step = next(steps, None)
            if step is None:
                del left[name]
                continue
            # A line search may have looked at more than one canvas.
            before = last[name].evaluations if name in last else 0
            marks[name].append((time.monotonic() - begun) / (step.evaluations - before))
            last[name] = step
            print(f"  {name}: {step.evaluations}, {marks[name][-1]:.1f} s, loss {step.loss:.6f}", flush=True)
    found = {name: (last[name].picture, statistics.median(marks[name][1:])) for name in runs}
    for name, (_, pace) in found.items():
        print(f"{name}: first after {marks[name][0]:.1f} s, then {pace:.2f} s an evaluation", flush=True)
    return found


#: Numbers of the Gram matrices of the default's five layers, which each worker sends and is sent.
SUMS = 64**2 + 128**2 + 256**2 + 512**2 + 512**2
#: How far a position of relu5_1 sees, in pixels; products of two canvases in a step of L-BFGS with a history of 10.
REACH, PRODUCTS = 80, 45
#: What is taken of the network: bytes a second, and seconds of a message there and back.
BANDWIDTH, LATENCY = 1.25e9, 1e-3


def model(pace: float) -> None:
    """What an evaluation takes over many workers, given seconds per pixel of one: the table of docs/scaling.md."""
    print("| picture | workers | computing | borders | copies | sums | messages | an evaluation | efficiency |")
    print("|---|---|---|---|---|---|---|---|---|")
    for side in (4096, 32_000, 100_000):
        for count in (2, 8, 64):
            rows = side / count
            if rows < 2 * REACH:
                continue
            computing = pace * side * (rows + 2 * REACH * (count > 1))
            borders = 2 * 4 * REACH * side * 12 / BANDWIDTH  # two neighbours; pixels and gradients, there and back
            copies = 4 * 12 * side * rows / BANDWIDTH
            sums = count * 2 * 4 * SUMS / BANDWIDTH  # all of them through the one who adds
            messages = PRODUCTS * LATENCY * (1 + count / 16)
            whole = computing + borders + copies + sums + messages
            print(
                f"| {side}² | {count} | {computing:.1f} s | {borders:.2f} s | {copies:.2f} s | {sums:.2f} s | "
                f"{messages:.2f} s | {whole:.1f} s | {pace * side * side / count / whole:.2f} |"
            )


class Nodes:
    """A cluster that this process has joined, of nodes with one core."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind((LOOPBACK, 0))
            port = free.getsockname()[1]
        self.address, self._log, self._more = f"{LOOPBACK}:{port}", open(folder / "ray.log", "w"), []  # noqa: SIM115
        self._head = self._start("--head", f"--port={port}", "--include-dashboard=false")

    def _start(self, *arguments: str) -> subprocess.Popen:
        command = [Path(sys.executable).with_name("ray"), "start", *arguments, f"--node-ip-address={LOOPBACK}"]
        command += ["--num-cpus=1", "--object-store-memory=2000000000", "--block"]
        return subprocess.Popen(command, stdout=self._log, stderr=self._log, start_new_session=True)

    def __enter__(self):
        while True:
            try:
                cluster.connect(self.address)
                return self
            except cluster.ClusterError:
                time.sleep(0.5)

    def have(self, count: int) -> None:
        """So many nodes."""
        while len(self._more) > count - 1:
            self.kill()
        while True:
            alive = len(self._more) + 1  # one after another: two that begin at once may want the same ports
            while sum(node["Alive"] for node in ray.nodes()) != alive:
                time.sleep(0.2)
            if alive == count:
                return
            self._more.append(self._start(f"--address={self.address}"))

    def kill(self) -> None:
        """The last node, without warning."""
        process = self._more.pop()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def __exit__(self, *failure: object) -> None:
        cluster.disconnect()
        for process in (*self._more, self._head):
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
