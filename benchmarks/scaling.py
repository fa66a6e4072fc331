"""Time and memory of one evaluation without tiles, from 128 to 2048 px: the cost per pixel must not grow.

    python -m benchmarks.scaling [-o docs/images/scaling.png]

Each size is measured in a separate process.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.common import machine

SIDES = (128, 181, 256, 362, 512, 724, 1024, 1448, 2048)
CHILD = """
from impasto import allocator
allocator.tame()
import json, resource, sys
from benchmarks.common import default_objective, median_seconds
side = int(sys.argv[1])
objective, photo = default_objective(side, side)
seconds = median_seconds(lambda: objective.value_and_grad(photo), 9 if side < 600 else 3)
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, help="draw a plot")
    parser.add_argument("--sides", nargs="*", type=int, default=SIDES)
    args = parser.parse_args()
    print(f"{machine()}\n\n| pixels | s / evaluation | s / megapixel | peak of the process |\n|---|---|---|---|")
    rows = []
    for side in args.sides:
        child = subprocess.run([sys.executable, "-c", CHILD, str(side)], capture_output=True, text=True, check=True)
        seconds, peak = json.loads(child.stdout)
        rows.append((side, seconds / side**2 * 1e6, peak))
        print(f"| {side}×{side} | {seconds:.2f} | {rows[-1][1]:.2f} | {peak / 1e6:.0f} MB |", flush=True)
    if args.output:
        figure = Figure(figsize=(8, 3.2), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, index, label in zip(
            figure.subplots(1, 2), (1, 2), ("seconds per megapixel", "peak, GB"), strict=True
        ):
            values = [row[index] / (1e9 if index == 2 else 1) for row in rows]
            axes.plot([row[0] for row in rows], values, "o-", color="#b3452c")
            axes.set(xscale="log", xlabel="side in pixels", ylabel=label, ylim=(0, None))
            axes.set_xticks(args.sides[::2], [str(side) for side in args.sides[::2]], minor=False)
            axes.minorticks_off()
            axes.grid(alpha=0.3)
        figure.savefig(args.output, dpi=130)


if __name__ == "__main__":
    main()
