"""Gatys's loss, implemented literally and independently of impasto.

In the units of neural-style: pixels 0–255, 5 · MSE(F, P) at relu4_2, and 100 · MSE(G/(NM), A/(NM)) summed over
relu1_1 … relu5_1, with zero padding. Other programs' weights are converted to these units exactly.
"""

from pathlib import Path

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F

CONTENT_WEIGHT, STYLE_WEIGHT = 5.0, 100.0
#: The convolutions up to relu5_1, by their index in torchvision's `features`.
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
POOLED_AFTER = (2, 7, 16, 25)
CONTENT, STYLE = 21, (0, 5, 10, 19, 28)


def read(path: Path) -> torch.Tensor:
    """BGR in 0–255, mean subtracted, `(1, 3, h, w)`."""
    rgb = torch.from_numpy(np.array(PIL.Image.open(path).convert("RGB"))).permute(2, 0, 1).float()
    return (rgb.flip(0) - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1))[None]


def features(weights: dict[str, torch.Tensor], x: torch.Tensor) -> dict[int, torch.Tensor]:
    """ReLU outputs by the index of their convolution."""
    outputs = {}
    for index in CONVOLUTIONS:
        x = F.relu(F.conv2d(x, weights[f"features.{index}.weight"], weights[f"features.{index}.bias"], padding=1))
        outputs[index] = x
        if index in POOLED_AFTER:
            x = F.max_pool2d(x, 2)
    return outputs


def gram(x: torch.Tensor) -> torch.Tensor:
    flat = x[0].flatten(1)
    return flat @ flat.T / flat.numel()


class ReferenceLoss:
    """The loss of picture files, for one photo and one painting."""

    def __init__(self, weights: Path, photo: Path, painting: Path) -> None:
        self.weights = torch.load(weights, weights_only=True)
        with torch.no_grad():
            self.content = features(self.weights, read(photo))[CONTENT]
            outputs = features(self.weights, read(painting))
            self.style = {index: gram(outputs[index]) for index in STYLE}

    def __call__(self, picture: Path) -> float:
        with torch.no_grad():
            outputs = features(self.weights, read(picture))
            style = sum(F.mse_loss(gram(outputs[index]), self.style[index]).item() for index in STYLE)
            return CONTENT_WEIGHT * F.mse_loss(outputs[CONTENT], self.content).item() + STYLE_WEIGHT * style
