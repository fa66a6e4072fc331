"""What a start from the fast picture is worth: evaluations until the loss that the photo as a start has after 100.

    python -m benchmarks.starts PAIRS.txt [--size 384] [--evaluations 100]

PAIRS.txt holds the paths of a photo and a painting on each line. One scale, so that both starts see the same loss.
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
    given = parser.parse_args()
    found = []
    for line in given.pairs.read_text().splitlines():
        photo, painting = shlex.split(line)
        curves = {}
        for init in ("content", "fast"):
            options = impasto.preset("default", size=given.size, scales=1, iterations=given.evaluations, init=init)
            curves[init] = [(step.evaluations, step.loss) for step in impasto.iterate(photo, painting, options)]
        goal = curves["content"][-1][1]
        reached = next((evaluations for evaluations, loss in curves["fast"] if loss <= goal), float("inf"))
        found.append(reached)
        begin = {init: curve[0][1] for init, curve in curves.items()}
        print(
            f"{Path(photo).stem} × {Path(painting).stem}: from the photo {begin['content']:.2f} to {goal:.4f}; "
            f"from the fast picture {begin['fast']:.2f}, there after {reached} evaluations",
            flush=True,
        )
    print(f"median {statistics.median(found)}, at most {max(found)}, of {given.evaluations}")


if __name__ == "__main__":
    main()
