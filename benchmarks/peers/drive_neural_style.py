"""Runs the command of neural-style: CONTENT STYLE WEIGHTS FOLDER ITERATIONS EVERY.

Its default weights of content and style are those of the reference loss.
"""

import sys
import time

import PIL.Image

content, style, weights, folder, iterations, every = sys.argv[1:]
size = str(max(PIL.Image.open(content).size))
sys.argv[1:] = ["-content_image", content, "-style_image", style, "-model_file", weights, "-disable_check"]
sys.argv += ["-image_size", size, "-init", "image", "-tv_weight", "0", "-gpu", "c", "-backend", "mkl"]
sys.argv += ["-num_iterations", iterations, "-save_iter", every, "-print_iter", "0"]
sys.argv += ["-output_image", f"{folder}/out.png"]
start, write = time.monotonic(), PIL.Image.Image.save


def save(image, path):
    """Save an intermediate picture under the file name that all drivers use."""
    number = path.rpartition("_")[2].removesuffix(".png")
    number = int(number) if number.isdecimal() else int(iterations)
    write(image, f"{folder}/{number:05}.png")
    print(number, time.monotonic() - start, flush=True)


PIL.Image.Image.save = save

from neural_style.neural_style import main  # noqa: E402  (it reads the arguments when it is imported)

main()
