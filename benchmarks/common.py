"""What the speed benchmarks share: the default objective on a bundled photo, timing, a description of the machine."""

import statistics
import time
from collections.abc import Callable

import torch

from impasto import images
from impasto.inputs import photos, styles
from impasto.inputs.memo import Memo
from impasto.inputs.prepare import prepare_inputs
from impasto.losses.objective import Objective
from impasto.operations.stylize import problem_of
from impasto.optim.memory import Plan
from impasto.settings.options import StylizeOptions


def default_objective(height: int, width: int, device: str = "cpu") -> tuple[Objective, torch.Tensor]:
    """The default objective at this size, evaluated without tiles, and the photo `(1, 3, h, w)`."""
    options = StylizeOptions(size=None, style_weight=8)
    photo = images.read(photos.load("chelsea")).resized(height, width)
    painting = styles.paint("swirls", min(height, 1024), min(width, 1024))
    inputs = prepare_inputs(photo, painting, options, torch.device(device), Memo(0))
    problem, _ = problem_of(inputs, options, torch.device(device))
    plan = Plan(height * width, options.optimizer, options.history, caches_content_features=True, bytes=0)
    return problem.objective(problem.scales[-1], plan), photo.rgb[None].to(device)


def median_seconds(function: Callable[[], object], rounds: int = 5) -> float:
    """The median time of a call, after one warm-up call."""
    function()
    seconds = []
    for _ in range(rounds):
        start = synchronized_time()
        function()
        seconds.append(synchronized_time() - start)
    return statistics.median(seconds)


def synchronized_time() -> float:
    """A clock in seconds, read after all work queued on the GPU is done."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


def machine(device: str = "cpu") -> str:
    """Processor, threads, version of torch, and date."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    name = next((line.split(":")[1].strip() for line in _cpu_info() if line.startswith("model name")), "unknown CPU")
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {time.strftime('%Y-%m-%d')}"


def _cpu_info() -> list[str]:
    try:
        with open("/proc/cpuinfo") as file:
            return file.read().splitlines()
    except OSError:
        return []
