"""The table of layers and the network that runs it."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from impasto.vgg import weights
from impasto.vgg.encoder import ARCHITECTURES, Encoder, layers, random_encoder


def literal_convolution(x, weight, bias):
    """3x3, stride 1, zero padding: five loops."""
    channels, height, width = x.shape
    padded = np.zeros((channels, height + 2, width + 2))
    padded[:, 1:-1, 1:-1] = x
    out = np.zeros((len(weight), height, width))
    for o in range(len(weight)):
        for i in range(height):
            for j in range(width):
                out[o, i, j] = (padded[:, i : i + 3, j : j + 3] * weight[o]).sum() + bias[o]
    return out


def literal_pooling(x, reduce):
    channels, height, width = x.shape
    out = np.zeros((channels, height // 2, width // 2))
    for i in range(height // 2):
        for j in range(width // 2):
            out[:, i, j] = reduce(x[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2], axis=(1, 2))
    return out


@pytest.mark.parametrize(("pooling", "reduce"), [("max", np.max), ("average", np.mean)])
def test_against_a_literal_network(pooling, reduce, generator):
    encoder = random_encoder(((2, 3), (1, 4)), seed=2, pooling=pooling)
    image = torch.rand(1, 3, 7, 10, generator=generator, dtype=torch.float64)
    ours = encoder(image, [layer.name for layer in encoder.layers])
    x = image[0].numpy() - 0.5
    for name in ("1_1", "1_2", "2_1"):
        weight, bias = (tensor.numpy() for tensor in encoder.kernels[f"conv{name}"])
        x = literal_convolution(x, weight, bias)
        np.testing.assert_allclose(ours[f"conv{name}"][0], x, rtol=1e-10, atol=1e-12)
        x = np.maximum(x, 0)
        np.testing.assert_allclose(ours[f"relu{name}"][0], x, rtol=1e-10, atol=1e-12)
        if name == "1_2":
            x = literal_pooling(x, reduce)
            np.testing.assert_allclose(ours["pool1"][0], x, rtol=1e-10, atol=1e-12)
    assert ours["relu2_1"].shape == (1, 4, 3, 5)


def test_real_vgg_sees_caffe_pixels(photo):
    """BGR, 0–255, less the mean, through the first block by hand."""
    encoder = weights.load("vgg19")
    rgb = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float()
    path = weights.locate(weights.CATALOGUE["vgg19"])
    stored = torch.load(path, weights_only=True)
    x = rgb.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    for index in (1, 2):
        name = f"block1_conv{index}_W"
        kernel = stored[f"{name}_table"][stored[f"{name}_q"].long()]
        x = F.relu(F.conv2d(x, kernel, stored[f"block1_conv{index}_b"], padding=1))
    ours = encoder(rgb / 255, ["relu1_2"])["relu1_2"]
    assert_close(ours, x, rtol=1e-3, atol=0.05)
    assert x.max() > 500  # Caffe's scale


def test_table():
    names = [layer.name for layer in layers("vgg19")]
    assert len([name for name in names if name.startswith("conv")]) == 16
    assert len([layer for layer in layers("vgg16") if layer.kind == "conv"]) == 13
    assert names[:5] == ["conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"]
    by_name = {layer.name: layer for layer in layers("vgg19")}
    assert (by_name["relu4_2"].stride, by_name["relu4_2"].channels) == (8, 512)
    assert by_name["relu5_1"].stride == 16
    # The design's halo of 80 px is at least the radius of relu5_1.
    assert by_name["relu5_1"].field // 2 <= 80
    with pytest.raises(ValueError, match="vgg16, vgg19"):
        layers("vgg11")


@pytest.mark.parametrize("tap", ["relu1_1", "relu2_1", "pool2", "relu3_1"])
def test_receptive_field_against_gradients(tap, generator):
    encoder = random_encoder(((2, 3), (2, 3), (1, 3)), pooling="average", seed=4)
    row = encoder.layers[encoder.depth(tap)]
    image = torch.rand(1, 3, 96, 96, generator=generator, dtype=torch.float64).requires_grad_()
    features = encoder(image, [tap])[tap]
    middle = features.shape[-1] // 2
    features[0, :, middle, middle].sum().backward()
    seen = image.grad.abs().sum((0, 1)).nonzero()
    sides = (seen.max(0).values - seen.min(0).values + 1).tolist()
    assert max(sides) <= row.field
    assert max(sides) >= row.field - 2 * row.stride  # dead ReLUs may hide a rim


def test_computes_no_deeper_than_asked(photo):
    encoder = random_encoder(((1, 2), (1, 3)))
    shallow = Encoder(encoder.layers, {"conv1_1": encoder.kernels["conv1_1"]}, encoder.mean)
    assert set(shallow(torch.rand(1, 3, 8, 8, dtype=torch.float64), ["relu1_1"])) == {"relu1_1"}


def test_taps_do_not_disturb_each_other(generator):
    encoder = random_encoder(((2, 3), (1, 4)))
    image = torch.rand(1, 3, 8, 8, generator=generator, dtype=torch.float64)
    together = encoder(image, ["conv1_1", "relu1_1", "conv1_2", "relu2_1"])
    for tap, value in together.items():
        assert_close(encoder(image, [tap])[tap], value)
    assert together["conv1_1"].min() < 0


def test_clear_errors():
    encoder = weights.load("vgg19")
    with pytest.raises(ValueError, match=r"12×9 px; relu4_1 needs at least 8×8|12×9 px; relu5_1 needs at least 16×16"):
        encoder(torch.rand(1, 3, 9, 12), ["relu2_1", "relu5_1"])
    with pytest.raises(ValueError, match="unknown layer 'relu9_9'.*relu1_1"):
        encoder(torch.rand(1, 3, 9, 12), ["relu9_9"])
    with pytest.raises(ValueError, match="max, average"):
        Encoder(encoder.layers, encoder.kernels, encoder.mean, "median")
    assert encoder.least_size(["relu1_1", "relu4_1"]) == 8
    assert set(ARCHITECTURES) == {"vgg16", "vgg19"}
