"""How much memory an evaluation takes, and a plan that fits it into what there is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch

from impasto.devices import available, used
from impasto.errors import BudgetError
from impasto.optim.solvers import HELD, Method
from impasto.vgg import tiling
from impasto.vgg.encoder import Encoder

#: Bytes of one number, and of one picture per pixel.
FLOAT = 4
PICTURE = 3 * FLOAT
#: What an evaluation takes whatever its size, in bytes: convolutions' workspaces and transformed kernels, Gram
#: matrices and their gradients, strips of features, and up to 200 MB of small blocks that the allocator keeps.
WORKSPACE = 384 << 20
#: Of the memory that is free, how much is used if nobody says.
SHARE = 0.8
#: How many times the picture's pixels windows may see in all, before rather less is remembered of earlier steps.
WASTE = 2.5
#: What an evaluation in tiles costs, in forward passes: one for the sums, two for the gradient, and most of one more
#: where the photo's features are not kept.
PASSES = {True: 3.0, False: 3.8}
#: The histories of L-BFGS that are tried, where the one asked for does not fit.
HISTORIES = (5, 3, 2)


@dataclass(frozen=True, order=True)
class Plan:
    """How one scale is computed.

    Attributes:
        window: pixels of the largest window; all of the picture's if it is computed as a whole.
        method, history: of the optimiser.
        keeps: whether the photo's features, which content terms aim at, are kept, or computed anew every time.
        bytes: the peak that is expected, beyond what the process takes already.
    """

    window: int
    method: Method
    history: int
    keeps: bool
    bytes: int


def budget(asked: int | None, device: torch.device) -> int:
    """The bytes that may be taken beyond those that are: up to what was asked for in all, or most of what is free."""
    if asked is None:
        return round(SHARE * available(device))
    return asked - (torch.cuda.memory_allocated(device) if device.type == "cuda" else used())


def per_pixel(encoder: Encoder, taps: Collection[str]) -> float:
    """Bytes per pixel of a window that evaluating an objective of these layers, and its gradient, takes at its peak.

    Found by going through the table as `Encoder.gradient` does. Forward, a convolution has its input, padded too, and
    its output; a layer keeps its rectified output, but for the first, which is computed again. Backward, a layer
    needs its gradient twice and once more padded. What terms compute of the features is small (`objective.strips`).
    """
    kept, peak = 0.0, 0.0
    for row, layer in enumerate(encoder.layers):
        size = FLOAT * layer.channels / layer.stride**2
        again = row == 1 and encoder.layers[0].name not in taps
        if (layer.kind == "relu" and not again) or (layer.kind != "relu" and layer.name in taps):
            kept += size
        peak = max(peak, kept + size * (2 if layer.kind == "relu" else 3))
    return 1.1 * peak + 2 * PICTURE


def features(encoder: Encoder, taps: Collection[str]) -> float:
    """Bytes per pixel of a picture that its activations at `taps` take."""
    return sum(FLOAT * layer.channels / layer.stride**2 for layer in encoder.layers if layer.name in taps)


def check_possible(size: tuple[int, int], device: torch.device, asked: int | None, what: str = "the result") -> None:
    """Raise a BudgetError if a picture of this size could not even be held while it is optimised.

    To be asked before anything of its size is made.
    """
    height, width = size
    # The picture itself, what it is made of, and the gradient.
    needed, there = 3 * PICTURE * height * width, budget(asked, device)
    if needed > there:
        raise BudgetError(
            f"{what} would have {width}×{height} px, which need {_amount(needed)} at least, "
            f"and {_amount(there)} is what there is; give more with --memory, or make it smaller"
        )


def plan(
    encoder: Encoder,
    size: tuple[int, int],
    taps: tuple[Collection[str], Collection[str]],
    method: Method,
    history: int,
    budget: int,
    extra: float = 0.0,
    evaluations: int = 1 << 30,
) -> Plan:
    """The plan for one scale: as a whole where that fits, else in the largest tiles that do.

    Where not even small ones do, L-BFGS is given a shorter history, and at last replaced by Adam.

    Args:
        size: of the picture, height and width in pixels.
        taps: content and style layers.
        method, history: as asked for.
        budget: bytes that may be taken beyond what the process takes already.
        extra: bytes per pixel of the whole picture that are taken beside, by masks say.
        evaluations: how many there will be: of the first few, no more can be remembered.

    Raises:
        BudgetError: nothing fits; says what would.
    """
    content, style = taps
    height, width = size
    pixels = height * width
    rate = per_pixel(encoder, {*content, *style})
    targets = features(encoder, content)

    def state(method: Method, history: int, keeps: bool) -> float:
        held, each = HELD[method]
        pictures = held + each * min(history, evaluations - 1) if evaluations > 1 else 1
        return (pictures * PICTURE + extra + keeps * targets) * pixels + WORKSPACE

    whole = state(method, history, True) + rate * pixels
    if whole <= budget:
        return Plan(pixels, method, history, True, round(whole))
    tries: list[tuple[Method, int]] = [(method, history)]
    if method == "lbfgs":
        tries += [("lbfgs", shorter) for shorter in HISTORIES if shorter < history] + [("adam", history)]
    least, fallback = float("inf"), []
    for tried in tries:
        found = []
        for keeps in (True, False) if content else (True,):
            taken = state(*tried, keeps)
            tiles = tiling.divide(
                encoder, {*content, *style}, height, width, min(round(max(0, budget - taken) / rate), pixels - 1)
            )
            largest = max(tile.pixels for tile in tiles)
            plan = Plan(largest, *tried, keeps, round(taken + rate * largest))
            least = min(least, plan.bytes)
            if plan.bytes <= budget:
                waste = sum(tile.pixels for tile in tiles) / pixels
                found.append((waste * PASSES[keeps], waste, plan))
        fallback += found
        if found and min(found)[1] <= WASTE:
            return min(found)[2]
    if not fallback:
        raise BudgetError(
            f"{width}×{height} px need {_amount(least)} beside what is taken already, and {_amount(budget)} is what "
            f"there is; give {_amount(least - budget)} more with --memory, or make a smaller picture"
        )
    return min(fallback)[2]


def _amount(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{max(count, 0) / 1e6:.0f} MB"
