"""A small model whose styles differ though nothing was trained, and quick ways to learn."""

import numpy as np
import pytest
import torch
from making_models import learn_quickly, random_vectors, random_vgg

from impasto.fast import models
from impasto.fast.models import Model
from impasto.fast.network import Network, StyleReader, initialized
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder


@pytest.fixture(scope="session")
def network() -> Network:
    return initialized(seed=3)[0].eval().requires_grad_(False)


@pytest.fixture
def model(network) -> Model:
    """With a gallery of three styles, one of them called as a built-in one, and a reader that tells paintings apart."""
    reader = StyleReader(network.length)
    generator = torch.Generator().manual_seed(8)
    for layer in (reader.first, reader.second):
        torch.nn.init.normal_(layer.weight, std=0.02, generator=generator)
        torch.nn.init.zeros_(layer.bias)
    styles = dict(zip(["one", "two", "mosaic"], random_vectors(network, 3), strict=True))
    return Model(network, styles, reader.eval().requires_grad_(False), digest="0123456789abcdef")


@pytest.fixture
def shipped(monkeypatch, model) -> Model:
    """`model` in the place of the bundled one and of all others."""
    monkeypatch.setattr(models, "load", lambda path=None, device=None: model)
    return model


@pytest.fixture(scope="session")
def vgg() -> Encoder:
    return random_vgg()


@pytest.fixture
def small_vgg(monkeypatch, vgg) -> Encoder:
    """A seeded VGG in the place of VGG-19."""
    monkeypatch.setattr(weights, "load", lambda *args, **kwargs: vgg)
    return vgg


@pytest.fixture
def quick_learning(monkeypatch, vgg) -> list[str]:
    """See `learn_quickly`."""
    return learn_quickly(monkeypatch, vgg)


@pytest.fixture(scope="session")
def painting() -> np.ndarray:
    """A picture of colours and strokes, `(70, 90, 3)`, uint8."""
    y, x = np.mgrid[:70, :90]
    bands = [np.sin(x / (5 + c) + y / 9) * 0.4 + np.cos(y / (4 + 2 * c)) * 0.1 + 0.5 for c in range(3)]
    return (np.stack(bands, 2) * 255).astype(np.uint8)
