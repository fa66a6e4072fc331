"""Sounds for tests, made here, and a small encoder in the place of the thousands of filters."""

import math

import torch

from impasto.audio.encoder import LayerSpec
from impasto.audio.sounds import Sound

RATE = 8000
SMALL_ENCODERS = {
    "stacked": ((LayerSpec(0, 24, 3), LayerSpec(16, 24, 5), LayerSpec(8, 24, 3, 4)), True),
    "wide": ((LayerSpec(0, 48, 7),), False),
}


def clicks(seconds: float = 2.0, rate: int = RATE, every: float = 0.25) -> Sound:
    """A rhythm: decaying noise bursts."""
    time = torch.arange(round(seconds * rate)) / rate
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(1))
    return Sound((0.3 * noise * torch.exp(-30 * (time % every)))[None], rate)


def tune(seconds: float = 2.0, rate: int = RATE, channels: int = 1) -> Sound:
    """Tones one after another."""
    time = torch.arange(round(seconds * rate)) / rate
    pitch = 300 * 2 ** ((time * 4).floor() % 5 / 5)
    voices = [0.2 * torch.sin(2 * math.pi * (pitch * (1 + 0.5 * c)).cumsum(0) / rate) for c in range(channels)]
    return Sound(torch.stack(voices), rate)
