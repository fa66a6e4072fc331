"""What the benchmarks of speed measure: one evaluation of the default objective, on a photo that comes along."""

import statistics
import time
from collections.abc import Callable

import torch

from impasto import images
from impasto.images.regions import Region, Source
from impasto.inputs import photos, styles
from impasto.losses.objective import Objective
from impasto.losses.targets import content_losses, extract_features, style_losses, weighted
from impasto.settings.options import CONTENT_LAYERS, STYLE_LAYERS, StylizeOptions
from impasto.vgg import weights

DEFAULTS = StylizeOptions()


def subject(height: int, width: int, device: str = "cpu") -> tuple[Objective, torch.Tensor]:
    """The objective of the defaults at this size, and the picture `(1, 3, h, w)` that it starts from."""
    photo = images.read(photos.load("chelsea")).resized(height, width).rgb[None].to(device)
    painting = images.read(styles.paint("swirls", min(height, 1024), min(width, 1024))).rgb.to(device)
    encoder = weights.load("vgg19", padding=DEFAULTS.padding).up_to({**CONTENT_LAYERS, **STYLE_LAYERS}).to(device)
    region = Region(None, (Source("swirls", painting),))
    style, energy = style_losses(encoder, region, STYLE_LAYERS, measured=CONTENT_LAYERS)
    content = content_losses(extract_features(encoder, photo, CONTENT_LAYERS), "relative", energy)
    terms = (*weighted(content, CONTENT_LAYERS, 1.0), *weighted(style, STYLE_LAYERS, DEFAULTS.effective_style_weight))
    return Objective(encoder, terms), photo


def median_seconds(work: Callable[[], object], rounds: int = 5) -> float:
    """The median time that something takes, after once for warming up."""
    work()
    seconds = []
    for _ in range(rounds):
        start = now()
        work()
        seconds.append(now() - start)
    return statistics.median(seconds)


def now() -> float:
    """The clock, in seconds, once a GPU has done what it was told to."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return time.perf_counter()


def machine(device: str = "cpu") -> str:
    """Where and with what this was measured."""
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
