"""Networks with random weights that say something: untrained ones ignore the painting."""

import numpy as np
import pytest
import torch
from torch import nn

from impasto.fast.models import Model
from impasto.fast.networks import Network, network
from impasto.vgg.encoder import random_encoder


def spoken_to(made: Network, seed: int = 3) -> Network:
    """The network with a say for the painting in every layer, and all it gives within bounds."""
    generator = torch.Generator().manual_seed(seed)
    for module in made.modules():
        if hasattr(module, "film"):
            nn.init.normal_(module.film.weight, std=0.02, generator=generator)
            nn.init.normal_(module.bias, std=0.05, generator=generator)
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="session", params=["vgg", "compact"])
def net(request) -> Network:
    torch.manual_seed(0)
    if request.param == "compact":
        return spoken_to(network("compact"))
    encoder = random_encoder(((1, 64), (1, 128), (1, 256)), seed=2).to("cpu", torch.float32)
    return spoken_to(network("vgg", encoder))


@pytest.fixture
def model(net) -> Model:
    return Model(net)


@pytest.fixture(scope="session")
def painting() -> np.ndarray:
    """A picture of colours and strokes, `(70, 90, 3)`, uint8."""
    y, x = np.mgrid[:70, :90]
    bands = [np.sin(x / (5 + c) + y / 9) * 0.4 + np.cos(y / (4 + 2 * c)) * 0.1 + 0.5 for c in range(3)]
    return (np.stack(bands, 2) * 255).astype(np.uint8)
