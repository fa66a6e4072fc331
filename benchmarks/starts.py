"""How many evaluations `--init fast` needs to reach the loss that `--init content` has after 100.

    python -m benchmarks.starts PAIRS.txt [--size 384] [--evaluations 100]

Each line of PAIRS.txt holds the paths of a photo and a painting. Both runs have one scale, and so the same loss.
"""

import argparse
import shlex
import statistics
from pathlib import Path

import impasto


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--evaluations", type=int, default=100)
    args = parser.parse_args()
    counts = []
    for line in args.pairs.read_text().splitlines():
        photo, painting = shlex.split(line)
        curves = {}
        for init in ("content", "fast"):
            options = impasto.preset("default", size=args.size, scales=1, iterations=args.evaluations, init=init)
            curves[init] = [(step.evaluations, step.loss) for step in impasto.iterate(photo, painting, options)]
        target = curves["content"][-1][1]
        reached = next((evaluations for evaluations, loss in curves["fast"] if loss <= target), float("inf"))
        counts.append(reached)
        first = {init: curve[0][1] for init, curve in curves.items()}
        print(
            f"{Path(photo).stem} × {Path(painting).stem}: init content: {first['content']:.2f} to {target:.4f}; "
            f"init fast: {first['fast']:.2f}, same loss after {reached} evaluations",
            flush=True,
        )
    print(f"median {statistics.median(counts)}, maximum {max(counts)}, of {args.evaluations}")


if __name__ == "__main__":
    main()
