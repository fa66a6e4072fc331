"""Runs in an environment of its own: draws a picture with another program at its own defaults, on the CPU.

    draw.py PROGRAM SOURCE VGG PHOTO PAINTING OUTPUT SIZE

SOURCE is the folder of its source code (of neural-style: none, it is installed), VGG a file of weights.
"""

import os
import runpy
import sys

import torch

program, source, vgg, photo, painting, output, size = sys.argv[1:]
sys.path.insert(0, source)
os.environ["VGG"] = vgg
if program == "style-transfer-pytorch":
    from style_transfer.cli import main

    sys.argv[1:] = [photo, painting, "-o", output, "-s", size, "--devices", "cpu"]
    main()
elif program == "NNST":
    torch.cuda.synchronize = lambda *_: None  # it is called without a GPU too
    torch.Tensor.cuda = lambda tensor, *_: tensor
    sys.argv[1:] = ["--content_path", photo, "--style_path", painting, "--output_path", output, "--cpu"]
    runpy.run_path(os.path.join(source, "styleTransfer.py"), run_name="__main__")
elif program == "neural-style":
    sys.argv[1:] = ["-content_image", photo, "-style_image", painting, "-output_image", output, "-image_size", size]
    sys.argv += ["-model_file", vgg, "-disable_check", "-gpu", "c", "-backend", "mkl", "-save_iter", "0", "-seed", "0"]
    from neural_style.neural_style import main  # it reads the arguments when it is imported

    main()
