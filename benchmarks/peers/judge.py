"""The judge: Gatys's loss, written down once more, literally and apart from impasto.

In the units that neural-style made common: pixels 0–255, 5 · MSE(F, P) at relu4_2, and 100 · MSE(G/(NM), A/(NM))
summed over relu1_1 … relu5_1, zeros beyond the border. Other programs' weights are converted to these, exactly.
"""

from pathlib import Path

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F

CONTENT_WEIGHT, STYLE_WEIGHT = 5.0, 100.0
#: Convolutions of VGG-19's features that are needed, by their number in the list of modules.
CONVOLUTIONS = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28)
POOLED_AFTER = (2, 7, 16, 25)
CONTENT, STYLE = 21, (0, 5, 10, 19, 28)


def read(path: Path) -> torch.Tensor:
    """BGR, 0–255, less the mean: `(1, 3, h, w)`."""
    rgb = torch.from_numpy(np.array(PIL.Image.open(path).convert("RGB"))).permute(2, 0, 1).float()
    return (rgb.flip(0) - torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1))[None]


def features(weights: dict[str, torch.Tensor], x: torch.Tensor) -> dict[int, torch.Tensor]:
    """Rectified convolutions by their number."""
    found = {}
    for number in CONVOLUTIONS:
        x = F.relu(F.conv2d(x, weights[f"features.{number}.weight"], weights[f"features.{number}.bias"], padding=1))
        found[number] = x
        if number in POOLED_AFTER:
            x = F.max_pool2d(x, 2)
    return found


def gram(x: torch.Tensor) -> torch.Tensor:
    flat = x[0].flatten(1)
    return flat @ flat.T / flat.numel()


class Judge:
    """The loss of pictures for one photo and one painting."""

    def __init__(self, weights: Path, photo: Path, painting: Path) -> None:
        self.weights = torch.load(weights, weights_only=True)
        with torch.no_grad():
            self.content = features(self.weights, read(photo))[CONTENT]
            seen = features(self.weights, read(painting))
            self.style = {number: gram(seen[number]) for number in STYLE}

    def loss(self, picture: Path) -> float:
        """Of a picture in a file."""
        with torch.no_grad():
            seen = features(self.weights, read(picture))
            style = sum(F.mse_loss(gram(seen[number]), self.style[number]).item() for number in STYLE)
            return CONTENT_WEIGHT * F.mse_loss(seen[CONTENT], self.content).item() + STYLE_WEIGHT * style
