"""How batches and one sharded picture scale from one worker to two, each with one thread.

    python -m benchmarks.spreading PHOTO PAINTING -o FOLDER [--pictures 40] [--side 4096] [--evaluations 3]

local:      a batch of small pictures in processes of this machine: 1 process × 1 thread, 1 × 2 and 2 × 1.
batch:      the same batch on a Ray cluster of one and of two nodes on the loopback address, then with one of two nodes
            killed halfway through.
sharded:    one large picture on one worker and on two.
reference:  the same picture in this process, to compare with.

Runs that are compared are interleaved.
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

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # the cluster is local and temporary
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
    parser.add_argument("--pictures", type=int, default=40, help="in the batch")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each batch")
    parser.add_argument("--side", type=int, default=4096, help="of the sharded picture, in pixels")
    parser.add_argument("--evaluations", type=int, default=3, help="of the sharded picture")
    parser.add_argument("--memory", default="6GB", help="of the sharded picture, per worker")
    parser.add_argument("--skip", nargs="*", default=[], choices=["local", "batch", "sharded", "reference"])
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    if "local" not in args.skip:
        time_processes(args)
    with LocalCluster(args.output) as nodes:
        if "batch" not in args.skip:
            time_ray_batches(args, nodes)
        if "sharded" not in args.skip:
            time_sharded_picture(args, nodes)


def time_processes(args) -> None:
    """Batches in processes of this machine, by number of processes and threads."""
    seconds = {(1, 1): [], (1, 2): [], (2, 1): []}
    for turn in range(args.rounds):
        for (workers, threads), values in seconds.items():
            pool = Processes(workers, threads)
            values.append(seconds_per_picture(args, f"{turn}-{workers}x{threads}", pool, threads, 2 * workers))
    for (workers, threads), values in seconds.items():
        print(f"{workers} processes × {threads} threads: {statistics.median(values):.3f} s per picture", flush=True)


def time_ray_batches(args, nodes) -> None:
    """Batches on one and on two nodes; then on two nodes, one of which is killed."""
    seconds = {1: [], 2: []}
    for turn in range(args.rounds):
        for count, values in seconds.items():
            nodes.scale_to(count)
            values.append(seconds_per_picture(args, f"{turn}-nodes{count}", cluster.Workers(1), 1, 2 * count))
    one, two = (statistics.median(values) for values in seconds.values())
    print(
        f"Ray, batch: {one:.3f} s per picture on one node, {two:.3f} on two; efficiency {one / (2 * two):.2f}",
        flush=True,
    )
    nodes.scale_to(2)
    folder, outcomes = args.output / "killed", []
    for outcome in run(batch_items(args), folder, batch_options(1), pool=cluster.Workers(1)):
        outcomes.append(outcome)
        if len(outcomes) == args.pictures // 2:
            nodes.kill_last()
    equal = all(
        path.read_bytes() == (args.output / "0-nodes1" / path.name).read_bytes() for path in folder.glob("*.png")
    )
    done = sum(outcome.status == "done" for outcome in outcomes)
    print(
        f"a node killed after {args.pictures // 2}: {done} of {args.pictures} done, files equal: {equal}",
        flush=True,
    )


def seconds_per_picture(args, name: str, pool, threads: int, warmup: int) -> float:
    """Of a batch, without the first `warmup` pictures, during which the workers start."""
    outcomes = run(batch_items(args), args.output / name, batch_options(threads), pool=pool)
    times = [outcome.seconds for outcome in outcomes]
    pool.close()
    return (times[-1] - times[warmup - 1]) / (len(times) - warmup)


def batch_items(args):
    """Small variants of the photo, in the style of the painting."""
    folder = args.output / "photos"
    if not folder.exists():
        folder.mkdir()
        photo = images.read(args.photo)
        for number in range(args.pictures):
            small = photo.resized(*images.fit(photo.shape, 200))
            images.write(folder / f"{number:03}.png", images.Picture((small.rgb + number / 400).clamp(0, 1)))
    return items([str(folder)], [args.painting])


def batch_options(threads: int) -> BatchOptions:
    return BatchOptions(size=200, iterations=4, scales=1, threads=threads, workers=1)


def time_sharded_picture(args, nodes) -> None:
    """One picture on one worker and on two, their evaluations interleaved; then in this process."""
    options = StylizeOptions(size=args.side, iterations=args.evaluations, scales=1, memory=args.memory)
    photo = images.read(args.photo).resized(args.side, args.side)
    torch.set_num_threads(1)
    nodes.scale_to(3)
    runs = {
        name: cluster.iterate(photo, args.painting, options, address=nodes.address, threads=1, workers=count)
        for name, count in (("one worker", 1), ("two workers", 2))
    }
    results = interleaved(runs)
    if "reference" not in args.skip:
        results |= interleaved({"reference": iterate(photo, args.painting, options)})
    seconds = {name: value for name, (_, value) in results.items()}
    pictures = {name: picture for name, (picture, _) in results.items()}
    images.write(args.output / "sharded.png", pictures["two workers"])
    efficiency = seconds["one worker"] / (2 * seconds["two workers"])
    print(f"sharded picture, {args.side}×{args.side}: efficiency {efficiency:.2f}")
    print_model(seconds["one worker"] / args.side**2)
    for name in ("one worker", "two workers") if "reference" in pictures else ():
        difference = 255 * (pictures[name].rgb - pictures["reference"].rgb).abs()
        print(
            f"{name}: differs from the reference by at most {difference.max():.3f} grey levels, on average by "
            f"{difference.mean():.6f}; a share of {(difference > 1).float().mean():.2e} differs by more than one"
        )


def interleaved(runs) -> dict:
    """Name -> the last picture, and the median seconds per evaluation without the first step."""
    seconds, last, running = {name: [] for name in runs}, {}, dict(runs)
    while running:
        for name, steps in list(running.items()):
            begin = time.monotonic()
            step = next(steps, None)
            if step is None:
                del running[name]
                continue
            # A line search may take several evaluations.
            before = last[name].evaluations if name in last else 0
            seconds[name].append((time.monotonic() - begin) / (step.evaluations - before))
            last[name] = step
            print(f"  {name}: {step.evaluations}, {seconds[name][-1]:.1f} s, loss {step.loss:.6f}", flush=True)
    results = {name: (last[name].picture, statistics.median(seconds[name][1:])) for name in runs}
    for name, (_, median) in results.items():
        print(f"{name}: first step {seconds[name][0]:.1f} s, then {median:.2f} s per evaluation", flush=True)
    return results


#: Values of the Gram matrices of the five default layers.
GRAM_VALUES = 64**2 + 128**2 + 256**2 + 512**2 + 512**2
#: The receptive-field radius of relu5_1, in pixels; dot products per L-BFGS step with a history of 10.
RADIUS, DOT_PRODUCTS = 80, 45
#: The assumed network: bytes per second, and seconds of a round trip.
BANDWIDTH, LATENCY = 1.25e9, 1e-3


def print_model(seconds_per_pixel: float) -> None:
    """Predict the time of an evaluation on many workers from that of one: the table of docs/scaling.md."""
    print("| picture | workers | computing | borders | replicas | sums | messages | one evaluation | efficiency |")
    print("|---|---|---|---|---|---|---|---|---|")
    for side in (4096, 32_000, 100_000):
        for count in (2, 8, 64):
            rows = side / count
            if rows < 2 * RADIUS:
                continue
            computing = seconds_per_pixel * side * (rows + 2 * RADIUS * (count > 1))
            borders = 2 * 4 * RADIUS * side * 12 / BANDWIDTH  # two neighbours; pixels and gradients, both ways
            replicas = 4 * 12 * side * rows / BANDWIDTH
            sums = count * 2 * 4 * GRAM_VALUES / BANDWIDTH  # all of them through the driver
            messages = DOT_PRODUCTS * LATENCY * (1 + count / 16)
            total = computing + borders + replicas + sums + messages
            print(
                f"| {side}² | {count} | {computing:.1f} s | {borders:.2f} s | {replicas:.2f} s | {sums:.2f} s | "
                f"{messages:.2f} s | {total:.1f} s | {seconds_per_pixel * side * side / count / total:.2f} |"
            )


class LocalCluster:
    """A Ray cluster on the loopback address, of nodes with one core, which this process joins.

    Attributes:
        address: host and port of the head node.
    """

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind((LOOPBACK, 0))
            port = free.getsockname()[1]
        self.address, self._log, self._others = f"{LOOPBACK}:{port}", open(folder / "ray.log", "w"), []  # noqa: SIM115
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

    def scale_to(self, count: int) -> None:
        """Start or kill nodes until there are `count`, the head included."""
        while len(self._others) > count - 1:
            self.kill_last()
        while True:
            alive = len(self._others) + 1  # nodes that start at the same time may choose the same ports
            while sum(node["Alive"] for node in ray.nodes()) != alive:
                time.sleep(0.2)
            if alive == count:
                return
            self._others.append(self._start(f"--address={self.address}"))

    def kill_last(self) -> None:
        """Kill the last node with SIGKILL."""
        process = self._others.pop()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def __exit__(self, *exception: object) -> None:
        cluster.disconnect()
        for process in (*self._others, self._head):
            os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
