"""Runs impasto with its iterator: CONTENT STYLE WEIGHTS FOLDER ITERATIONS EVERY.

At one scale: coarse scales serve strokes larger than the receptive fields, and the loss at the last scale, which is
compared, falls sooner without them.
"""

import sys
import time

from impasto import allocator

start = time.monotonic()
allocator.tame()

import impasto  # noqa: E402

content, style, _, folder, iterations, every = sys.argv[1:]
options = impasto.StylizeOptions(
    size=None,
    scales=1,
    iterations=int(iterations),
    padding="zeros",
    # 5 · MSE(F, P): `course` is MSE / 4. 100/N² · MSE(G/M): `gatys` is MSE / 4, and layers are weighted by 1/N².
    content_norm="course",
    content_weight=20.0,
    style_norm="gatys",
    style_weight=400.0,
    style_layers={f"relu{block}_1": 1 / n**2 for block, n in enumerate((64, 128, 256, 512, 512), start=1)},
)
for step in impasto.iterate(content, style, options):
    if step.scale == step.scales and (step.iteration % int(every) == 0 or step.iteration == step.iterations):
        impasto.write(f"{folder}/{step.iteration:05}.png", step.picture)
        print(step.iteration, time.monotonic() - start, flush=True)
