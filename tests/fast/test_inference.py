"""Inference layer by layer against the network as it is trained, and against a literal one with masks."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from making_models import random_vectors

from impasto.fast import inference
from impasto.fast.inference import StyledRegion, by_phases, convolve, layer_count, paint
from impasto.fast.network import EPSILON, MARGIN, Convolution, initialized, noise

CPU = torch.device("cpu")
SIZES = [(64, 96), (37, 51), (8, 9), (1, 40), (3, 2), (1, 1)]


@pytest.fixture(params=[1 << 24, 1 << 11], ids=["whole", "bands"])
def band(request, monkeypatch):
    monkeypatch.setattr(inference, "BAND", request.param)


def smooth(generator, height, width):
    small = torch.rand(1, 3, 5, 7, generator=generator)
    return F.interpolate(small, (height, width), mode="bicubic")[0].clamp(0, 1)


def last(network, photo, parts, running=None):
    *before, painted = paint(network, photo, parts, running)
    assert before == [None] * (layer_count(network) - 1)
    return painted


def framed(x):
    """`(c, h, w)` as `(1, c, …)`, mirrored by `MARGIN` and on until sides are multiples of 8."""
    more = [(0, 0), *((MARGIN, MARGIN + -(side + 2 * MARGIN) % 8) for side in x.shape[-2:])]
    return torch.from_numpy(np.pad(x.numpy(), more, mode="reflect"))[None]


def literal(network, photo, masks, vectors):
    """The painted photo: scales and shifts are blended by the masks, which are averaged to each layer's positions."""
    given, shares = framed(photo), framed(masks)
    total = shares.sum(1, keepdim=True)
    shares = torch.where(total > 1e-4, shares / total, 1 / len(masks))
    affine, layers = network.affine(vectors), network.walk(given + noise(given.shape[-2:], CPU))
    try:
        layer, x = next(layers)
        while True:
            if layer.upsample:
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            y = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), layer.weight, stride=layer.stride)
            if layer.normalize:
                variance, mean = torch.var_mean(y, (2, 3), correction=0, keepdim=True)
                y = (y - mean) / (variance + EPSILON).sqrt()
            share = F.avg_pool2d(shares, shares.shape[-1] // y.shape[-1])
            scale, shift = (torch.einsum("rn,brhw->bnhw", part, share) for part in affine[layer])
            y = y * scale + shift
            layer, x = layers.send(y.relu() if layer.rectify else y)
    except StopIteration as end:
        return end.value[0, :, MARGIN : MARGIN + photo.shape[1], MARGIN : MARGIN + photo.shape[2]]


class TestLayers:
    @pytest.mark.parametrize("kind", [{}, {"stride": 2}, {"upsample": True}], ids=["plain", "stride", "upsample"])
    @pytest.mark.parametrize("size", [(8, 8), (24, 16), (40, 56)], ids=str)
    def test_convolutions_equal_those_of_training(self, band, generator, kind, size):
        layer = Convolution(20, 24, normalize=False, rectify=False, **kind).requires_grad_(False)
        layer.weight.normal_(std=0.1, generator=generator)
        x = torch.randn(1, 20, *size, generator=generator).contiguous(memory_format=torch.channels_last)
        wanted = layer(x, torch.ones(1, 24), torch.zeros(1, 24))
        found = convolve(layer, x)
        assert found.shape == wanted.shape
        assert torch.allclose(found, wanted, atol=1e-4)

    def test_small_bands_divide(self, monkeypatch):
        """The bands above are bands."""
        monkeypatch.setattr(inference, "BAND", 1 << 11)
        rows = []
        one_band = inference._convolve_band
        monkeypatch.setattr(inference, "_convolve_band", lambda layer, x: rows.append(x.shape[2]) or one_band(layer, x))
        convolve(Convolution(20, 24).requires_grad_(False), torch.zeros(1, 20, 40, 56))
        assert len(rows) > 3

    def test_a_kernel_for_each_of_four_pixels(self, generator):
        """At the borders, too: replicated before and after upsampling is the same."""
        weight, x = torch.randn(3, 2, 3, 3, generator=generator), torch.randn(1, 2, 5, 4, generator=generator)
        large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        wanted = F.conv2d(F.pad(large, (1, 1, 1, 1), mode="replicate"), weight)
        phases = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), by_phases(weight)).view(2, 2, 3, 5, 4)
        for down in range(2):
            for across in range(2):
                assert torch.allclose(phases[down, across], wanted[0, :, down::2, across::2], atol=1e-5)

    def test_trained_weights_are_noticed(self, generator):
        network, _ = initialized(4)
        network.requires_grad_(False)
        photo, parts = smooth(generator, 16, 16), [StyledRegion(None, random_vectors(network, 1)[0])]
        before = last(network, photo, parts)
        network.after.first.weight.mul_(-1)
        after = last(network, photo, parts)
        assert (after - before).abs().max() > 1e-3
        assert torch.allclose(after, literal(network, photo, torch.ones(1, 16, 16), parts[0].vector[None]), atol=1e-4)


class TestPainting:
    @pytest.mark.parametrize("size", SIZES, ids=str)
    def test_equals_the_network(self, band, network, generator, size):
        photo, vector = smooth(generator, *size), random_vectors(network, 1)[0]
        given = framed(photo)
        wanted = network(given + noise(given.shape[-2:], CPU), vector[None])
        found = last(network, photo, [StyledRegion(None, vector)])
        assert found.shape == (3, *size)
        assert torch.allclose(found, wanted[0, :, MARGIN : MARGIN + size[0], MARGIN : MARGIN + size[1]], atol=1e-4)

    @pytest.mark.parametrize("size", [(64, 96), (37, 51), (1, 40)], ids=str)
    def test_equals_the_literal_one_with_masks(self, band, network, generator, size):
        """Masks that overlap, and leave pixels to none."""
        photo, vectors = smooth(generator, *size), random_vectors(network, 2)
        masks = torch.zeros(2, *size)
        masks[0, :, : size[1] // 2] = 1
        masks[1, :, size[1] // 3 : size[1] - 4] = 0.5
        parts = [StyledRegion(mask, vector) for mask, vector in zip(masks, vectors, strict=True)]
        assert torch.allclose(last(network, photo, parts), literal(network, photo, masks, vectors), atol=1e-4)

    def test_far_from_the_border_regions_have_their_own_styles(self, network, generator):
        """Not exactly, since the statistics are those of the whole picture."""
        photo, vectors = smooth(generator, 64, 160), random_vectors(network, 2)
        left = torch.zeros(64, 160)
        left[:, :80] = 1
        both = last(network, photo, [StyledRegion(left, vectors[0]), StyledRegion(1 - left, vectors[1])])
        alone = [last(network, photo, [StyledRegion(None, vector)]) for vector in vectors]
        for own, far in ((0, slice(0, 50)), (1, slice(110, 160))):
            distances = [(both - picture)[..., far].abs().mean().item() for picture in alone]
            assert distances[own] < 0.6 * distances[1 - own]

    def test_regions_of_one_style_are_the_whole(self, network, generator):
        photo, vector = smooth(generator, 40, 56), random_vectors(network, 1)[0]
        mask = torch.rand(40, 56, generator=generator)
        parts = [StyledRegion(mask, vector), StyledRegion(1 - mask, vector)]
        assert torch.allclose(
            last(network, photo, parts), last(network, photo, [StyledRegion(None, vector)]), atol=1e-4
        )

    def test_a_photo_of_one_colour_is_painted(self, network):
        """Its strokes begin at the noise."""
        painted = last(network, torch.full((3, 48, 48), 0.4), [StyledRegion(None, random_vectors(network, 1)[0])])
        assert painted.isfinite().all()
        assert painted.std((1, 2)).max() > 0.01


class TestRunningStatistics:
    @pytest.fixture
    def frames(self, generator):
        return [smooth(generator, 32, 40) for _ in range(3)]

    @pytest.fixture
    def parts(self, network):
        return [StyledRegion(None, random_vectors(network, 1)[0])]

    def test_the_first_frame_is_painted_as_a_photo(self, network, frames, parts):
        assert torch.equal(last(network, frames[0], parts, {}), last(network, frames[0], parts))

    def test_are_a_decaying_mean(self, network, frames, parts):
        """At the first layer, whose input knows nothing of earlier frames."""
        alone, together = [], {}
        for frame in frames:
            moments = {}
            last(network, frame, parts, moments)
            alone.append(moments[0].mean)
            last(network, frame, parts, together)
        shares = torch.tensor([inference.DECAY**2, inference.DECAY, 1.0])
        wanted = torch.einsum("t,tkn->kn", shares / shares.sum(), torch.stack(alone))
        assert torch.allclose(together[0].mean, wanted, rtol=1e-4, atol=1e-6)
        assert set(together) == {i for i, layer in enumerate(network.convolutions) if layer.normalize}

    def test_a_frame_after_others_is_normalised_by_all_of_them(self, network, frames, parts):
        running = {}
        for frame in frames:
            painted = last(network, frame, parts, running)
        assert (painted - last(network, frames[-1], parts)).abs().max() > 1e-3

    def test_a_still_clip_stays(self, network, frames, parts):
        running = {}
        painted = [last(network, frames[0], parts, running) for _ in range(4)]
        assert all(torch.allclose(frame, painted[0], atol=1e-4) for frame in painted)
