"""Untrained networks, vectors of styles, pictures to train on, and learning that takes no time."""

import dataclasses

import pytest
import torch

from impasto.fast import learning
from impasto.fast.crops import Dataset
from impasto.fast.network import Network
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder, random_encoder


def random_pictures(count: int, seed: int = 0) -> Dataset:
    """Smooth pictures, 80×60 pixels."""
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(count, 3, 6, 8, generator=generator)
    large = torch.nn.functional.interpolate(small, (60, 80), mode="bicubic").clamp(0, 1)
    return Dataset([(picture * 255).to(torch.uint8) for picture in large], [f"{i}.png" for i in range(count)])


def random_vectors(network: Network, count: int, seed: int = 5) -> torch.Tensor:
    """Vectors of styles that differ in all layers, `(count, length)`."""
    return 0.3 * torch.randn(count, network.length, generator=torch.Generator().manual_seed(seed))


def random_vgg() -> Encoder:
    """A VGG with all channels at the layers that a `StyleReader` reads, and few behind."""
    encoder = random_encoder(((1, 64), (1, 128), (1, 256), (2, 512), (1, 8)), seed=2).to("cpu", torch.float32)
    return dataclasses.replace(encoder, padding="replicate")


def learn_quickly(patch: pytest.MonkeyPatch, encoder: Encoder, **changes: float) -> list[str]:
    """Let paintings be learnt on small pictures with this encoder, and changed options.

    Returns:
        The names of those that are, once for each step.
    """
    steps, learnt = learning.Learner.steps, []

    def small_steps(self):
        self.options = dataclasses.replace(self.options, crop=32, batch=1, **changes)
        for progress in steps(self):
            learnt.append(progress.name)
            yield progress

    patch.setattr(weights, "load", lambda *args, **kwargs: encoder)
    patch.setattr(learning.Learner, "steps", small_steps)
    patch.setattr(learning, "bundled_photos", lambda device: random_pictures(3))
    return learnt
