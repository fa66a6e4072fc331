"""Time of one evaluation, compared with the limit of the direct convolution method, and its shares by operation.

    python -m benchmarks.limits [512x384 1024x768 …] [--device cuda]

The limit is the number of floating-point operations of the direct method, divided by the rate of a large matrix product
measured in the same run (on NVIDIA GPUs in TF32, like the convolutions).
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any

from impasto import allocator

allocator.tame()

import torch  # noqa: E402

from benchmarks.common import default_objective, machine, median_seconds, synchronized_time  # noqa: E402
from impasto.losses.terms import ContentLoss, StyleLoss  # noqa: E402
from impasto.vgg import encoder as vgg  # noqa: E402
from impasto.vgg.encoder import Encoder  # noqa: E402

#: What is timed separately: name -> (module or class, name of the function) pairs.
PARTS: dict[str, list[tuple[Any, str]]] = {
    "convolutions": [(vgg, "convolve"), (vgg, "convolve_backward")],
    "pooling": [(vgg, "pool"), (vgg, "pool_backward")],
    "ReLU, backward": [(vgg, "relu_backward")],
    "style losses": [(StyleLoss, "reduce"), (StyleLoss, "finish"), (StyleLoss, "accumulate_grad")],
    "content losses": [(ContentLoss, "accumulate_grad")],
}


def direct_flops(encoder: Encoder, height: int, width: int) -> float:
    """Floating-point operations of one evaluation's convolutions by the direct method, forward and backward."""
    return sum(
        2 * 2 * 9 * layer.inputs * layer.channels * (height // layer.stride) * (width // layer.stride)
        for layer in encoder.layers
        if layer.kind == "conv"
    )


def matmul_rate(device: str) -> float:
    """Floating-point operations per second of large matrix products: the best of several sizes."""
    rates, precision = [], torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device == "cuda" else precision)
    for side in (1024, 2048, 4096) if device == "cpu" else (4096, 8192):
        a, b = torch.randn(2, side, side, device=device)
        rates.append(2 * side**3 / median_seconds(lambda a=a, b=b: a @ b))
    torch.set_float32_matmul_precision(precision)
    return max(rates)


def seconds_by_part(evaluate: Callable[[], object], rounds: int = 5) -> dict[str, float]:
    """Seconds of one evaluation in each of `PARTS` and in everything else, as means over rounds."""
    spent: dict[str, float] = defaultdict(float)
    originals = [(owner, name, getattr(owner, name)) for parts in PARTS.values() for owner, name in parts]

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            start = synchronized_time()
            result = function(*args, **kwargs)
            spent[part] += synchronized_time() - start
            return result

        return run

    for part, members in PARTS.items():
        for owner, name in members:
            setattr(owner, name, timed(part, getattr(owner, name)))
    try:
        evaluate()
        spent.clear()
        start = synchronized_time()
        for _ in range(rounds):
            evaluate()
        total = synchronized_time() - start
    finally:
        for owner, name, function in originals:
            setattr(owner, name, function)
    means = {part: spent[part] / rounds for part in PARTS}
    return {**means, "everything else": total / rounds - sum(means.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=["256x192", "512x384", "1024x768"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "mps"])
    args = parser.parse_args()
    print(machine(args.device))
    for size in args.sizes:
        width, height = (int(side) for side in size.split("x"))
        objective, photo = default_objective(height, width, args.device)
        evaluate = partial(objective.value_and_grad, photo)
        rate, seconds = matmul_rate(args.device), median_seconds(evaluate)
        flops = direct_flops(objective.network, height, width)
        print(
            f"\n{size}: {flops / 1e9:.0f} GFLOP of convolutions; matrix products run at {rate / 1e9:.0f} GFLOP/s: "
            f"limit of the direct method {flops / rate:.3g} s\n"
            f"one evaluation: {seconds:.3g} s = {flops / seconds / 1e9:.0f} GFLOP/s, "
            f"{seconds * rate / flops:.2f} of the limit"
        )
        for part, share in seconds_by_part(evaluate).items():
            print(f"  {part:22} {share * 1e3:8.1f} ms  {share / seconds:4.0%}")


if __name__ == "__main__":
    main()
