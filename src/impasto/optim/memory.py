"""How much memory an evaluation takes, and a plan that fits it into the memory there is."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch

from impasto import allocator
from impasto.devices import available, used
from impasto.errors import BudgetError
from impasto.optim.solvers import IMAGES_HELD
from impasto.settings.choices import Optimizer
from impasto.vgg import native, tiling
from impasto.vgg.encoder import Encoder
from impasto.vgg.split import TILE, SplitEncoder

#: Bytes of one number, and of one image per pixel.
FLOAT = 4
IMAGE = 3 * FLOAT
#: Bytes that an evaluation takes whatever its size: convolutions' scratch memory and transformed kernels, Gram
#: matrices and their gradients, chunks of features, and up to 200 MB of small blocks that the allocator caches.
FIXED_COST = 300 << 20
#: The share of the free memory that is used by default.
SHARE = 0.8
#: Where windows hold more than this many times the picture's pixels in all, a shorter history is preferred.
MAX_OVERLAP = 2.5
#: The cost of an evaluation in forward passes: two for the gradient, most of one more where the photo's features are
#: not cached, and in several tiles another one for the sums.
GRADIENT, UNCACHED, SUMS = 2.0, 0.8, 1.0
#: The pooling at which a network may be split (`vgg.split`), and what that costs, in the same unit: most is one more
#: forward pass of the first blocks, the rest the overlap of their bands. (Measured: 1.21 to 1.25 times the time.)
SPLIT, SPLIT_COST = "pool2", 0.5
#: Shorter histories of L-BFGS, tried where the requested one does not fit.
HISTORIES = (5, 3, 2)


@dataclass(frozen=True, order=True)
class Plan:
    """How one scale is computed.

    Attributes:
        window: pixels of the largest window; all of the picture's if it is computed whole.
        method, history: of the optimiser.
        caches_content_features: whether the photo's features, the targets of content losses, are kept or computed
            again by every evaluation.
        bytes: the peak that is expected, beyond what the process holds already.
        split: the pooling up to which the network computes each window in bands, see `vgg.split`; "" for none.
        share: the pixels of a band, as a share of the window's.
    """

    window: int
    method: Optimizer
    history: int
    caches_content_features: bool
    bytes: int
    split: str = ""
    share: float = 1.0

    def network(self, encoder: Encoder) -> Encoder | SplitEncoder:
        """The encoder as it is computed."""
        return SplitEncoder(encoder, self.split, self.tile) if self.split else encoder

    @property
    def tile(self) -> int:
        """Pixels that the whole network may read at once: of the window, or of a band where the network is split."""
        return round(self.window * self.share)


def budget(asked: int | None, device: torch.device) -> int:
    """Bytes that may be allocated beyond those the process holds: up to `asked` in all, or most of what is free."""
    allocator.release()
    if asked is None:
        return round(SHARE * available(device))
    return asked - (torch.cuda.memory_allocated(device) if device.type == "cuda" else used())


def per_pixel(encoder: Encoder, taps: Collection[str]) -> float:
    """Bytes per pixel of a window that an objective of these layers and its gradient take at their peak.

    Found by going through the table as `Encoder.backward` does. Forward and backward, a layer has its input or gradient
    and its output, and in PyTorch's convolutions a padded copy. Retained are activations that are read, but for the
    first, which are computed again; of other ReLUs a bit each, or a byte in PyTorch, and of pooling a byte. The
    temporaries of loss terms are small (`losses.terms.row_chunks`).
    """
    in_c = native.supports(encoder.mean[None])
    kept, peak, beside, before = 0.0, 0.0, 0.0, float(IMAGE)
    for row, (layer, after) in enumerate(zip(encoder.layers, (*encoder.layers[1:], None), strict=True)):
        size = FLOAT * layer.channels / layer.stride**2
        if layer.kind == "relu":  # its output is that of its convolution, unless both are read
            kept += 0 if layer.name in taps else size / (32 if in_c else 4)
            beside = max(beside, size if encoder.layers[row - 1].name in taps else 0)
        else:
            recomputed = row == 0 and layer.name not in taps
            read_as_relu = after is not None and after.kind == "relu" and after.name in taps
            kept += size * (layer.name in taps)
            kept += size * (read_as_relu and not recomputed)
            kept += size / 4 * (layer.kind == "pool")
            peak = max(peak, kept + before + size + (size if recomputed and read_as_relu else 0 if in_c else before))
        before = size
    peak += beside
    return 1.1 * peak + 2 * IMAGE


def _split(encoder: Encoder, taps: Collection[str], size: tuple[int, int]) -> tuple[float, float] | None:
    """What is taken where the network is split, for a picture of this size; None if it cannot be.

    Returns:
        Bytes per pixel: of the gradient, the output of the pooling, its gradient, and what the layers after it take;
        and the pixels of the first layers' bands, as a share of the window's: so few that they take no more than those
        layers.
    """
    if SPLIT not in {layer.name for layer in encoder.layers}:
        return None
    depth, stride = encoder.depth(SPLIT), encoder.stride(SPLIT)
    others = {tap for tap in taps if encoder.depth(tap) > depth}
    if not others or (encoder.padding == "circular" and any(side % stride for side in size)):
        return None
    pooled = 2 * FLOAT * encoder.layers[depth].channels / stride**2
    deep = per_pixel(encoder.after(SPLIT), others) / stride**2
    shallow = per_pixel(encoder.up_to([SPLIT]), {SPLIT, *taps} - others)
    return IMAGE + pooled + deep, min(1.0, deep / shallow)


def features_per_pixel(encoder: Encoder, taps: Collection[str]) -> float:
    """Bytes per pixel of a picture that its activations at `taps` take."""
    return sum(FLOAT * layer.channels / layer.stride**2 for layer in encoder.layers if layer.name in taps)


def check_possible(size: tuple[int, int], device: torch.device, asked: int | None, what: str = "the result") -> None:
    """Raise a BudgetError if a picture of this size could not even be stored while it is optimised.

    Call it before anything of that size is allocated.
    """
    height, width = size
    # The picture, the photo and the gradient.
    needed, there = 3 * IMAGE * height * width, budget(asked, device)
    if needed > there:
        raise BudgetError(
            f"{what} would have {width}×{height} px, which need {_amount(needed)} at least, "
            f"and {_amount(there)} is available; give more (memory=, or --memory), or make it smaller"
        )


def plan(
    encoder: Encoder,
    size: tuple[int, int],
    taps: tuple[Collection[str], Collection[str]],
    method: Optimizer,
    history: int,
    budget: int,
    auxiliary_bytes_per_pixel: float = 0.0,
    evaluations: int = 1 << 30,
) -> Plan:
    """The plan for one scale: whole where that fits, else in the largest tiles that do.

    Where not even small tiles fit, L-BFGS is given a shorter history, and at last replaced by Adam.

    Args:
        size: of the picture, height and width in pixels.
        taps: content and style layers.
        method, history: as requested.
        budget: bytes that may be allocated beyond those the process holds.
        auxiliary_bytes_per_pixel: of the whole picture, for masks and the like.
        evaluations: how many there will be; the history cannot be longer.

    Raises:
        BudgetError: nothing fits; says how much memory would do.
    """
    content, style = taps
    height, width = size
    pixels, read = height * width, {*content, *style}
    targets = features_per_pixel(encoder, content)
    rates = {"": (per_pixel(encoder, read), 1.0)}
    if (found_split := _split(encoder, read, size)) is not None:
        rates[SPLIT] = found_split

    def state(method: Optimizer, history: int, cached: bool) -> float:
        held, each = IMAGES_HELD[method]
        pictures = held + each * min(history, evaluations - 1) if evaluations > 1 else 1
        return (pictures * IMAGE + auxiliary_bytes_per_pixel + cached * targets) * pixels + FIXED_COST

    tries: list[tuple[Optimizer, int]] = [(method, history)]
    if method == "lbfgs":
        tries += [("lbfgs", shorter) for shorter in HISTORIES if shorter < history] + [("adam", history)]
    least, fallback, undivided = float("inf"), [], None
    for tried in tries:
        found = []
        for cached in (True, False) if content else (True,):
            taken = state(*tried, cached)
            for split, (rate, share) in rates.items():
                most = min(round(max(0, budget - taken) / rate), pixels)
                try:
                    largest, total = tiling.measure(encoder, read, height, width, most)
                except ValueError as error:  # seamless, and of no size that can be divided
                    undivided = error
                    continue
                used = min(share, TILE / largest) if split else 1.0
                plan = Plan(largest, *tried, cached, round(taken + rate * largest), split, used)
                least = min(least, plan.bytes)
                passes = GRADIENT + SUMS * (largest < pixels) + UNCACHED * (not cached) + SPLIT_COST * bool(split)
                if plan.bytes <= budget:
                    found.append((passes * total / pixels, total / pixels, plan))
        fallback += found
        if found and min(found)[1] <= MAX_OVERLAP:
            return min(found)[2]
    if not fallback and undivided is not None:
        raise undivided
    if not fallback:
        raise BudgetError(
            f"{width}×{height} px need {_amount(least)} beyond what the process holds, and {_amount(budget)} is "
            f"available; give {_amount(least - budget)} more (memory=, or --memory), or make a smaller picture"
        )
    return min(fallback)[2]


def _amount(count: float) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{max(count, 0) / 1e6:.0f} MB"
