"""How much memory an evaluation takes, how much there is, and a plan that fits the one into the other."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from impasto import tiling
from impasto.encoders import Encoder
from impasto.errors import BudgetError
from impasto.optimize import HELD, Method

#: Bytes of one number, and of one picture per pixel.
FLOAT = 4
PICTURE = 3 * FLOAT
#: What an evaluation takes whatever its size, in bytes: convolutions' workspaces, Gram matrices, their gradients.
WORKSPACE = 64 << 20
#: Of the memory that is free, how much is used if nobody says.
SHARE = 0.8
#: How many times the picture's pixels windows may see in all, before rather less is remembered of earlier steps.
WASTE = 2.5
#: The histories of L-BFGS that are tried, where the one asked for does not fit.
HISTORIES = (5, 3, 2)


@dataclass(frozen=True)
class Plan:
    """How one scale is computed.

    Attributes:
        window: pixels of the largest window; all of the picture's if it is computed as a whole.
        method, history: of the optimiser.
        bytes: the peak that is expected, beyond what the process takes already.
    """

    window: int
    method: Method
    history: int
    bytes: int


def budget(asked: int | None, device: torch.device) -> int:
    """The bytes that may be taken beyond those that are: up to what was asked for in all, or most of what is free."""
    if asked is None:
        return round(SHARE * available(device))
    return asked - (torch.cuda.memory_allocated(device) if device.type == "cuda" else used())


def used() -> int:
    """The bytes of memory that this process takes."""
    rss: int = psutil.Process().memory_info().rss
    return rss


def available(device: torch.device | None = None) -> int:
    """The bytes of memory that this process could still take: of the machine, or of its container if that is less."""
    if device is not None and device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return max(0, min([psutil.virtual_memory().available, *_container_limits()]))


def ran_out(error: BaseException) -> bool:
    """Whether an error says that there was no memory left, on whichever device."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _container_limits(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """What the control groups that this process is in leave it, in bytes (Linux, versions 1 and 2)."""
    free = []
    for limit, usage, cached in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            text = (root / limit).read_text().strip()
            if text == "max" or int(text) >= 1 << 60:
                continue
            taken = int((root / usage).read_text())
            # Pages of files that nobody reads any more count as usage, but are given back when asked for.
            stat = dict(line.split() for line in (root / limit).with_name("memory.stat").read_text().splitlines())
            free.append(int(text) - taken + int(stat.get(cached, 0)))
        except (OSError, ValueError):
            continue
    return free


def per_pixel(encoder: Encoder, content: Collection[str], style: Collection[str], nearest: bool = False) -> float:
    """Bytes per pixel of a window that evaluating the objective and its gradient takes at its peak.

    Found by going through the table: forward, each layer keeps its rectified output (and max pooling the places
    of its maxima); backward, a layer needs its gradient twice and once more padded, and each term on it some copies
    of the features. What lies deeper was given back by then.
    """
    kept, peak = 0.0, 0.0
    for layer in encoder.layers:
        size = FLOAT * layer.channels / layer.stride**2
        if layer.kind == "relu":
            kept += size
            copies = 2 * (layer.name in content) + 2 * (layer.name in style) + 3 * nearest * (layer.name in style)
            peak = max(peak, kept + size * max(3, 1 + copies))
        elif layer.kind == "conv" and layer.name in (*content, *style):
            kept += size
        elif layer.kind == "pool" and encoder.pooling == "max":
            kept += 2 * size  # an index is as long as two numbers
    return 1.1 * peak + 2 * PICTURE


def plan(
    encoder: Encoder,
    size: tuple[int, int],
    taps: tuple[Collection[str], Collection[str]],
    method: Method,
    history: int,
    budget: int,
    nearest: bool = False,
) -> Plan:
    """The plan for one scale: as a whole where that fits, else in the largest tiles that do.

    Where not even small ones do, L-BFGS is given a shorter history, and at last replaced by Adam.

    Args:
        size: of the picture, height and width in pixels.
        taps: content and style layers.
        method, history: as asked for.
        budget: bytes that may be taken beyond what the process takes already.

    Raises:
        BudgetError: nothing fits; says what would.
    """
    content, style = taps
    height, width = size
    pixels = height * width
    rate = per_pixel(encoder, content, style, nearest)
    targets = sum(FLOAT * layer.channels / layer.stride**2 for layer in encoder.layers if layer.name in content)

    def state(method: Method, history: int) -> float:
        held, each = HELD[method]
        return (held + each * history) * PICTURE * pixels + WORKSPACE

    whole = state(method, history) + (rate + targets) * pixels
    if whole <= budget:
        return Plan(pixels, method, history, round(whole))
    tries: list[tuple[Method, int]] = [(method, history)]
    if method == "lbfgs":
        tries += [("lbfgs", shorter) for shorter in HISTORIES if shorter < history] + [("adam", history)]
    plans = []
    for tried in tries:
        most = round(max(0, budget - state(*tried)) / rate)
        tiles = tiling.divide(encoder, {*content, *style}, height, width, min(most, pixels - 1))
        largest = max(tile.pixels for tile in tiles)
        waste = sum(tile.pixels for tile in tiles) / pixels
        plans.append((Plan(largest, *tried, round(state(*tried) + rate * largest)), waste))
    fitting = [(plan, waste) for plan, waste in plans if plan.bytes <= budget]
    if not fitting:
        raise BudgetError(
            f"{width}×{height} px need {_amount(min(plan.bytes for plan, _ in plans))} beside what is taken already, "
            f"and {_amount(budget)} is what there is; give more with --memory, or make a smaller picture"
        )
    return next((plan for plan, waste in fitting if waste <= WASTE), min(fitting, key=lambda fit: fit[1])[0])


def _amount(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{max(count, 0) / 1e6:.0f} MB"
