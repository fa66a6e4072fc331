"""The network: its layers against literal transcriptions, vectors of styles, noise, and the reader of paintings."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from making_models import random_vectors

from impasto.fast import network as networks
from impasto.fast.network import Convolution, StyleReader, initialized, noise, noise_tile, summarize


def by_loops(layer, x, scale, shift):
    """A layer's output for `(inputs, h, w)`, pixel by pixel in float64."""
    weight = layer.weight.detach().double().numpy()
    x = x.double().numpy()
    if layer.upsample:
        x = x.repeat(2, 1).repeat(2, 2)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = x.shape[1] // layer.stride, x.shape[2] // layer.stride
    y = np.empty((layer.outputs, height, width))
    for row in range(height):
        for column in range(width):
            top, left = row * layer.stride, column * layer.stride
            window = padded[:, top : top + 3, left : left + 3]
            y[:, row, column] = (weight * window).sum((1, 2, 3))
    for channel in range(layer.outputs):
        if layer.normalize:
            y[channel] = (y[channel] - y[channel].mean()) / np.sqrt(y[channel].var() + 1e-5)
        y[channel] = y[channel] * scale[channel].item() + shift[channel].item()
    return np.maximum(y, 0) if layer.rectify else y


class TestConvolution:
    @pytest.mark.parametrize(
        "kind",
        [{}, {"stride": 2}, {"upsample": True}, {"rectify": False}, {"normalize": False, "rectify": False}],
        ids=lambda kind: ", ".join(kind) or "plain",
    )
    def test_equals_the_formula(self, generator, kind):
        layer = Convolution(5, 4, **kind)
        torch.nn.init.normal_(layer.weight, generator=generator)
        x = torch.randn(2, 5, 8, 6, generator=generator)
        scale, shift = torch.randn(2, 2, 4, generator=generator)
        found = layer(x, scale, shift).detach()
        for i in range(2):
            assert np.abs(found[i].numpy() - by_loops(layer, x[i], scale[i], shift[i])).max() < 1e-4


class TestNetwork:
    def test_gives_pictures_of_the_photos_size(self, network, generator):
        photos = torch.rand(2, 3, 48, 64, generator=generator)
        painted = network(photos, random_vectors(network, 2))
        assert painted.shape == photos.shape
        assert painted.min() >= 0
        assert painted.max() <= 1
        assert painted.std() > 0.01

    def test_paints_each_of_a_batch_as_alone(self, network, generator):
        photos, vectors = torch.rand(2, 3, 48, 64, generator=generator), random_vectors(network, 2)
        together = network(photos, vectors)
        alone = [network(photos[i : i + 1], vectors[i : i + 1]) for i in range(2)]
        assert torch.allclose(together, torch.cat(alone), atol=1e-5)
        assert (network(photos[:1], vectors[1:]) - together[:1]).abs().max() > 0.05

    def test_a_vector_holds_scales_and_shifts_of_all_layers_in_turn(self, network):
        layers = network.convolutions
        vector = torch.arange(network.length, dtype=torch.float32)
        affine, first = network.affine(vector), 0
        assert list(affine) == layers
        for layer in layers:
            scale, shift = affine[layer]
            assert (scale - 1).tolist() == list(range(first, first + layer.outputs))
            assert shift.tolist() == list(range(first + layer.outputs, first + 2 * layer.outputs))
            first += 2 * layer.outputs
        assert first == network.length

    def test_layers_come_in_the_order_in_which_they_are_computed(self, network, generator):
        """The order of a vector is that of inference, which counts layers."""
        walk = network.walk(torch.rand(1, 3, 16, 16, generator=generator))
        layer, x = next(walk)
        for wanted in network.convolutions:
            assert layer is wanted
            assert x.shape[1] == layer.inputs
            ones = torch.ones(1, layer.outputs)
            layer, x = walk.send(layer(x, ones, 0 * ones)) if layer is not network.to_rgb else (None, None)
        assert layer is None

    def test_every_layer_has_a_say_in_the_style(self, network, generator):
        """But for shifts that no ReLU follows: the next normalisation takes them away."""
        photo, vector = torch.rand(1, 3, 32, 32, generator=generator), random_vectors(network, 1)
        before, first = network(photo, vector), 0
        for layer in network.convolutions:
            for part, is_shift in enumerate((False, True)):
                start = first + part * layer.outputs
                changed = vector.clone()
                changed[:, start : start + layer.outputs] += 0.5
                speaks = not is_shift or layer.rectify or layer is network.to_rgb
                assert ((network(photo, changed) - before).abs().max() > 1e-4) == speaks
            first += 2 * layer.outputs

    def test_a_seed_gives_one_network_and_leaves_the_hosts_random_numbers(self):
        state = torch.get_rng_state()
        one, again, other = (initialized(seed) for seed in (1, 1, 2))
        assert torch.equal(torch.get_rng_state(), state)
        for first, second, third in zip(one[0].parameters(), again[0].parameters(), other[0].parameters(), strict=True):
            assert torch.equal(first, second)
            assert not torch.equal(first, third)


class TestNoise:
    def test_is_one_tile_repeated(self):
        side = networks.NOISE_SIDE
        found = noise((side + 20, 2 * side), torch.device("cpu"))
        assert found.shape == (1, 1, side + 20, 2 * side)
        tile = noise_tile()
        assert torch.equal(found[0, 0, :side, :side], tile)
        assert torch.equal(found[0, 0, :side, side:], tile)
        assert torch.equal(found[0, 0, side:, :side], tile[:20])
        assert tile.mean().abs() < 0.001
        assert tile.std().item() == pytest.approx(networks.NOISE, rel=0.02)

    def test_is_the_same_whatever_the_hosts_random_numbers_are(self):
        torch.manual_seed(1)
        one = noise((8, 8), torch.device("cpu"))
        torch.manual_seed(2)
        assert torch.equal(noise((8, 8), torch.device("cpu")), one)


class TestStyleReader:
    def test_predicts_the_photo_as_it_is_before_it_is_trained(self, network, generator):
        _, reader = initialized(seed=3)
        found = reader(torch.randn(3, 2 * StyleReader.CHANNELS, generator=generator))
        assert torch.equal(found, torch.zeros(3, network.length))

    def test_reads_means_and_deviations(self, generator):
        features = [torch.rand(n, 50, generator=generator, dtype=torch.float64) * 10**n for n in (2, 3)]
        given = [torch.stack([x.mean(1), x.square().mean(1)]) for x in features]
        wanted = [x.mean(1) for x in features] + [x.std(1, correction=0) for x in features]
        assert torch.allclose(summarize(given), F.softplus(torch.cat(wanted).log()) / 2 - 1)  # log(1 + x)

    def test_rounding_does_not_make_deviations_imaginary(self):
        flat = torch.tensor([[3.0], [9.0 - 1e-6]])
        assert summarize([flat]).tolist() == pytest.approx([np.log(4) / 2 - 1, -1])
