"""Peak memory and time per evaluation for pictures of 1 to 100 megapixels, each within a memory budget.

    python -m benchmarks.sizes                      # 1, 4, 16 and 36 MP within 4 GB, 100 MP within 8 GB: an hour
    python -m benchmarks.sizes 4=2GB 16=2GB         # other sizes and budgets

Each run is the whole program in a separate process, with few evaluations: it reads a photo of that size, stylises it at
full size and writes the result.
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
#: The child process: runs the command line, timing each evaluation.
CHILD = """
import json, resource, sys, time
from impasto import allocator, cli
allocator.tame()
from impasto.optim import memory
from impasto.losses.objective import Objective
seconds, plans = [], []
evaluate, plan = Objective.value_and_grad, memory.plan
def timed(self, canvas):
    start = time.perf_counter()
    result = evaluate(self, canvas)
    seconds.append(time.perf_counter() - start)
    return result
def recorded(*args):
    plans.append(plan(*args))
    return plans[-1]
Objective.value_and_grad, memory.plan = timed, recorded
start = time.perf_counter()
if code := cli.run(sys.argv[1:]):
    sys.exit(code)
print(json.dumps({
    "seconds": seconds, "total": time.perf_counter() - start,
    "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "window": plans[-1].window, "method": plans[-1].method, "history": plans[-1].history,
    "cached": plans[-1].caches_content_features, "split": plans[-1].split,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=CASES, metavar="MP=BUDGET")
    parser.add_argument("--iterations", type=int, default=2, help="evaluations")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("| picture | budget | peak | windows | optimiser | s / evaluation | s / evaluation / MP | total s |")
    print("|---|---|---|---|---|---|---|---|")
    for case in args.cases:
        megapixels, budget = case.split("=")
        with tempfile.TemporaryDirectory() as folder:
            print(measure(float(megapixels), budget, args.iterations, Path(folder)), flush=True)


def measure(megapixels: float, budget: str, iterations: int, folder: Path) -> str:
    """One row of the table."""
    photo = images.read(photos.load("chelsea"))
    height, width = images.fit_area(photo.shape, megapixels * 1e6)
    # Upsampled, with noise, so that no part of it is flat.
    large = images.resize(photo.rgb, height, width)
    large += 0.05 * torch.randn(height, width, generator=torch.Generator().manual_seed(0))
    images.write(folder / "photo.jpg", Picture(large))
    del large
    command = ["stylize", str(folder / "photo.jpg"), "swirls", "-o", str(folder / "out.png"), "--size", "original"]
    command += ["--memory", budget, "--scales", "1", "--iterations", str(iterations)]
    command += ["--style-weight", "8", "--quiet"]  # not calibrated
    child = subprocess.run([sys.executable, "-c", CHILD, *command], capture_output=True, text=True, check=False)
    if child.returncode or not child.stdout:
        return f"| {width}×{height} | {budget} | {child.stderr.strip().splitlines()[-1]} |"
    result = json.loads(child.stdout.splitlines()[-1])
    seconds = sorted(result["seconds"])[len(result["seconds"]) // 2]
    pixels = width * height
    windows = "whole" if result["window"] >= pixels else f"{result['window'] / 1e6:.2f} MP"
    windows += ", split" if result["split"] else ""
    optimiser = f"L-BFGS, {result['history']}" if result["method"] == "lbfgs" else "Adam"
    if not result["cached"]:
        windows += ", photo recomputed"
    return (
        f"| {width}×{height} ({pixels / 1e6:.0f} MP) | {budget} | {result['peak'] / 1e9:.2f} GB | {windows} | "
        f"{optimiser} | {seconds:.1f} | {seconds / pixels * 1e6:.2f} | "
        f"{result['total']:.0f} |"
    )


if __name__ == "__main__":
    main()
