"""What the tests share: small pictures, a small seeded encoder, weights read once, a cache folder of their own."""

import dataclasses
import hashlib
from functools import wraps

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import settings

from impasto import images
from impasto.operations import calibration, stylize
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder, random_encoder

settings.register_profile("long", max_examples=20_000)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True, scope="session")
def weights_once():
    """VGG-19 is read once in a session: that takes longer than to repaint a picture as small as those of tests."""
    known, load = {}, weights.load

    @wraps(load)
    def remembered(name, pooling="max", padding="zeros", preprocessing=None):
        if name != "vgg19" or preprocessing is not None:
            return load(name, pooling, padding, preprocessing)
        if name not in known:
            known[name] = load(name)
        return dataclasses.replace(known[name], pooling=pooling, padding=padding)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "load", remembered)
        yield


@pytest.fixture(autouse=True, scope="session")
def saliency_once():
    """That of each photo, which is made 320 pixels large for it: several times those of the pictures of tests."""
    known, compute = {}, stylize.saliency

    @wraps(compute)
    def remembered(encoder, photo):
        if photo.device.type != "cpu":
            return compute(encoder, photo)
        first = encoder.kernels["conv1_1"].weight
        key = (encoder.pooling, encoder.padding, photo.dtype, photo.shape)
        key += tuple(hashlib.sha256(tensor.contiguous().numpy()).digest() for tensor in (photo, first))
        if key not in known:
            known[key] = compute(encoder, photo)
        return known[key].clone()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stylize, "saliency", remembered)
        yield


@pytest.fixture(autouse=True)
def usual_style_weight(request, monkeypatch):
    """No calibration but in tests marked `calibrates`: it takes longer than to repaint a picture as small as theirs."""
    if "calibrates" not in request.keywords:
        monkeypatch.setattr(calibration, "calibrated", lambda problem, start: problem)


@pytest.fixture(scope="session")
def tiny_encoder() -> Encoder:
    """A VGG of five blocks with the names that the presets read, and 2 to 4 channels; float64."""
    return random_encoder(((1, 2), (1, 3), (1, 3), (2, 4), (1, 4)), seed=1)


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A real photo, small: `(64, 96, 3)`, uint8."""
    rgb = images.read(skimage.data.chelsea()).resized(64, 96)
    return np.asarray(rgb.to_pil())
