"""Peak memory and time per evaluation of pictures from 1 to 100 megapixels, each under a budget.

    python -m benchmarks.sizes                      # 1, 4, 16 and 36 MP under 4 GB, 100 MP under 8 GB: half an hour
    python -m benchmarks.sizes 4=2GB 16=2GB         # others

Each run is the whole program in a process of its own: it reads a photo of that size, repaints it at full size, and
writes the result. Only evaluations are few.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from impasto import images
from impasto.images import Picture
from impasto.inputs import photos

CASES = ["1=4GB", "4=4GB", "16=4GB", "36=4GB", "100=8GB"]
#: Run in the child: the command line, with a stopwatch around each evaluation.
CHILD = """
import json, resource, sys, time
from impasto import allocator, cli
allocator.tame()
from impasto.optim import memory, steps
from impasto.losses.objective import Objective
seconds, plans = [], []
evaluate, plan = Objective.value_and_grad, memory.plan
def timed(self, canvas):
    start = time.perf_counter()
    found = evaluate(self, canvas)
    seconds.append(time.perf_counter() - start)
    return found
def noted(*arguments):
    plans.append(plan(*arguments))
    return plans[-1]
Objective.value_and_grad, memory.plan = timed, noted
start = time.perf_counter()
code = cli.run(sys.argv[1:])
print(json.dumps({
    "code": code, "seconds": seconds, "all": time.perf_counter() - start,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "window": plans[-1].window, "method": plans[-1].method, "history": plans[-1].history, "keeps": plans[-1].keeps,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="MP=BUDGET")
    parser.add_argument("--iterations", type=int, default=2, help="evaluations; of more than 36 MP always one")
    given = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| picture | budget | peak | windows | optimiser | s / evaluation | s / evaluation / MP | s in all |")
    print("|---|---|---|---|---|---|---|---|")
    for case in given.cases:
        megapixels, budget = case.split("=")
        with tempfile.TemporaryDirectory() as folder:
            print(measure(float(megapixels), budget, given.iterations, Path(folder)), flush=True)


def measure(megapixels: float, budget: str, iterations: int, folder: Path) -> str:
    """One row of the table."""
    photo = images.read(photos.load("chelsea"))
    height, width = images.fit_area(photo.size, megapixels * 1e6)
    # Enlarged, with grain, so that the network has something to see everywhere.
    large = images.resize(photo.rgb, height, width)
    large += 0.05 * torch.randn(height, width, generator=torch.Generator().manual_seed(0))
    images.write(folder / "photo.jpg", Picture(large))
    del large
    count = iterations if megapixels <= 36 else 1
    arguments = ["stylize", str(folder / "photo.jpg"), "swirls", "-o", str(folder / "out.png"), "--size", "original"]
    arguments += ["--memory", budget, "--scales", "1", "--iterations", str(count), "--quiet"]
    child = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, text=True, check=False)
    if child.returncode or not child.stdout:
        return f"| {width}×{height} | {budget} | {child.stderr.strip().splitlines()[-1]} |"
    found = json.loads(child.stdout.splitlines()[-1])
    seconds = sorted(found["seconds"])[len(found["seconds"]) // 2]
    pixels = width * height
    windows = "whole" if found["window"] >= pixels else f"{found['window'] / 1e6:.2f} MP"
    optimiser = f"L-BFGS, {found['history']}" if found["method"] == "lbfgs" else "Adam"
    return (
        f"| {width}×{height} ({pixels / 1e6:.0f} MP) | {budget} | {found['peak'] / 1e9:.2f} GB | {windows}"
        f"{'' if found['keeps'] else ', photo anew'} | {optimiser} | {seconds:.1f} | {seconds / pixels * 1e6:.2f} | "
        f"{found['all']:.0f} |"
    )


if __name__ == "__main__":
    main()
