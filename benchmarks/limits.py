"""How near one evaluation comes to what the machine can do, and where the rest goes.

    python -m benchmarks.limits [512x384 1024x768 …] [--device cuda]

The limit is that of the direct method: the convolutions' floating-point operations at the rate of a large matrix
product, measured in the same run; on NVIDIA's GPUs in TF32, as convolutions are.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from impasto import allocator

allocator.tame()

import torch  # noqa: E402

from benchmarks.subject import machine, median_seconds, now, subject  # noqa: E402
from impasto.losses.objective import Content, Style  # noqa: E402
from impasto.vgg import encoder as vgg  # noqa: E402
from impasto.vgg.encoder import Encoder  # noqa: E402

#: What is timed apart: name -> (where it is, its name there).
PARTS: dict[str, list[tuple[Any, str]]] = {
    "convolutions": [(vgg, "convolve"), (vgg, "convolve_back")],
    "pooling": [(vgg, "pool"), (vgg, "pool_back")],
    "rectifying, backward": [(vgg, "rectify_back")],
    "statistics": [(Style, "sums"), (Style, "slope"), (Style, "pull")],
    "content": [(Content, "pull")],
}


def operations(encoder: Encoder, height: int, width: int) -> float:
    """Floating-point operations of the convolutions of one evaluation, forward and backward."""
    return sum(
        2 * 2 * 9 * layer.inputs * layer.channels * (height // layer.stride) * (width // layer.stride)
        for layer in encoder.layers
        if layer.kind == "conv"
    )


def peak(device: str) -> float:
    """Floating-point operations per second of large matrix products: the best of several sizes."""
    rates, precision = [], torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device == "cuda" else precision)
    for side in (1024, 2048, 4096) if device == "cpu" else (4096, 8192):
        a, b = torch.randn(2, side, side, device=device)
        rates.append(2 * side**3 / median_seconds(lambda a=a, b=b: a @ b))
    torch.set_float32_matmul_precision(precision)
    return max(rates)


def shares(work: Callable[[], object], rounds: int = 5) -> dict[str, float]:
    """Seconds of one evaluation by what they are spent on: means over rounds, with a stopwatch around each part."""
    spent: dict[str, float] = defaultdict(float)
    originals = [(place, name, getattr(place, name)) for parts in PARTS.values() for place, name in parts]

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **named: Any) -> Any:
            start = now()
            found = function(*arguments, **named)
            spent[part] += now() - start
            return found

        return run

    for part, members in PARTS.items():
        for place, name in members:
            setattr(place, name, timed(part, getattr(place, name)))
    try:
        work()
        spent.clear()
        start = now()
        for _ in range(rounds):
            work()
        total = now() - start
    finally:
        for place, name, function in originals:
            setattr(place, name, function)
    found = {part: spent[part] / rounds for part in PARTS}
    return {**found, "everything else": total / rounds - sum(found.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=["256x192", "512x384", "1024x768"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
    given = parser.parse_args()
    print(machine(given.device))
    for size in given.sizes:
        width, height = (int(side) for side in size.split("x"))
        objective, photo = subject(height, width, given.device)
        evaluate = partial(objective.value_and_grad, photo)
        rate, seconds = peak(given.device), median_seconds(evaluate)
        count = operations(objective.encoder, height, width)
        print(
            f"\n{size}: {count / 1e9:.0f} GFLOP of convolutions; a matrix product runs at {rate / 1e9:.0f} GFLOP/s: "
            f"limit of the direct method {count / rate:.3g} s\n"
            f"one evaluation: {seconds:.3g} s = {count / seconds / 1e9:.0f} GFLOP/s, "
            f"{seconds * rate / count:.2f} of the limit"
        )
        for part, share in shares(evaluate).items():
            print(f"  {part:22} {share * 1e3:8.1f} ms  {share / seconds:4.0%}")


if __name__ == "__main__":
    main()
