"""Where a photo has what people look for: faces, animals, small things, by the deep activations of VGG itself.

A network that was trained to name things is more active where it sees some. So the squared distance of a position's
features from the photo's mean feature is large at eyes, faces, a person on a pier or a church tower, and small in
skies, lawns and walls, however strong their contrasts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.vgg.encoder import Encoder

#: The layer that is looked at, and the long side in pixels at which: near the size of the pictures VGG was trained on.
LAYER, SIDE = "relu5_1", 320
#: The most that a position counts, relative to the mean.
CEILING = 4.0


@torch.no_grad()
def saliency(encoder: Encoder, photo: Tensor) -> Tensor:
    """How salient each position of a photo `(3, h, w)` is, relative to the mean: `(h', w')`, from 0 to `CEILING`."""
    height, width = images.fit((photo.shape[-2], photo.shape[-1]), SIDE)
    least = encoder.stride(LAYER)
    seen = images.resize(photo, max(height, least), max(width, least))
    features = encoder(seen[None], [LAYER])[LAYER][0]
    found = (features - features.mean((1, 2), keepdim=True)).square_().sum(0)
    return (found / found.mean().clamp_min(1e-12)).clamp_(max=CEILING)


def content_weight(saliency: Tensor, share: float, height: int, width: int) -> Tensor:
    """What each position of a layer counts in a content loss, `(height, width)`, 1 on average.

    Args:
        saliency: `(h', w')`.
        share: the part of the weight that goes by saliency; the rest is spread evenly.
    """
    found = F.interpolate(saliency[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]
    found = 1 - share + share * found
    return found / found.mean()
