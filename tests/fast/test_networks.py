"""The networks: sizes, what a painting's vector does, and one way of computing against the other."""

import pytest
import torch

from impasto.fast import networks
from impasto.fast.networks import CODE, Code, Convolution


@pytest.fixture
def pictures(generator):
    return torch.rand(2, 3, 48, 64, generator=generator)


class TestNetworks:
    def test_gives_a_picture_of_the_photos_size(self, net, pictures):
        painted = net.painted(pictures, net.code(pictures.flip(0)))
        assert painted.shape == pictures.shape
        assert painted.dtype == torch.float32

    def test_paints_each_of_a_batch_as_alone(self, net, pictures):
        styles = pictures.flip(0)
        together = net.painted(pictures, net.code(styles))
        alone = [net.painted(pictures[i : i + 1], net.code(styles[i : i + 1])) for i in range(2)]
        assert torch.allclose(together, torch.cat(alone), atol=2e-4)

    def test_listens_to_the_painting(self, net, pictures):
        one, two = (net.code(pictures[i : i + 1]) for i in range(2))
        assert (net.painted(pictures[:1], one) - net.painted(pictures[:1], two)).abs().max() > 1e-3

    def test_receptive_fields_are_no_larger_than_stated(self, net, generator):
        """A change at one pixel changes nothing beyond the radius."""
        for stage in net.chain:
            sides = 2 * stage.radius // stage.before + 16 // stage.before
            channels = {1: 3}.get(stage.before, 256 if net.kind == "vgg" else 96)
            x = torch.rand(1, channels, sides, sides, generator=generator)
            y = x.clone()
            middle = sides // 2
            y[..., middle, middle] += 1
            vector = torch.zeros(1, networks.CODE)
            with torch.no_grad():
                change = (stage(x, vector) - stage(y, vector)).abs().amax((0, 1))
            changed = change > 1e-4 * change.max()  # Winograd's tiles share their rounding
            for axis in (0, 1):
                hit = changed.any(axis).nonzero()[:, 0] * stage.after
                pixel = middle * stage.before
                assert hit.min() + stage.after - 1 >= pixel - stage.radius
                assert hit.max() <= pixel + stage.before - 1 + stage.radius

    def test_fits_as_many_as_transforms(self, net, pictures):
        assert len(net.code(pictures).fits) == len(net.stages) - 1

    def test_bfloat16_is_close(self, pictures):
        torch.manual_seed(1)
        made = networks.network("compact").eval().requires_grad_(False)
        full = made.painted(pictures, made.code(pictures))
        made.dtype = torch.bfloat16
        assert (made.painted(pictures, made.code(pictures)) - full).abs().mean() < 0.02


class TestConvolution:
    @pytest.mark.parametrize("rectify", [True, False])
    def test_fused_is_the_plain_one(self, generator, rectify):
        torch.manual_seed(0)
        layer = Convolution(20, 24, rectify=rectify)
        torch.nn.init.normal_(layer.film.weight, std=0.1)
        torch.nn.init.normal_(layer.bias)
        x, vector = torch.randn(1, 20, 13, 9, generator=generator), torch.randn(1, networks.CODE, generator=generator)
        plain = layer(x, vector)
        with torch.no_grad():
            fused = layer(x, vector)
        assert torch.allclose(plain, fused, atol=1e-4)

    def test_begins_without_a_say_for_the_painting(self, generator):
        layer = Convolution(3, 4)
        x = torch.randn(2, 3, 8, 8, generator=generator)
        vectors = torch.randn(2, 2, networks.CODE, generator=generator)
        assert torch.equal(layer(x, vectors[0]), layer(x, vectors[1]))

    def test_stride_halves(self):
        assert Convolution(3, 4, stride=2)(torch.rand(1, 3, 8, 12), torch.zeros(1, networks.CODE)).shape == (
            1,
            4,
            4,
            6,
        )


def test_what_vgg_sees_is_not_trained():
    from impasto.vgg.encoder import random_encoder

    made = networks.network("vgg", random_encoder(((1, 64), (1, 128), (1, 256))).to("cpu", torch.float32))
    assert not any("encoder" in name for name in made.state_dict())
    pictures = torch.rand(2, 3, 32, 32)
    made.vgg_stage.calibrate(pictures)
    seen = made.vgg_stage(pictures, torch.zeros(1, networks.CODE))
    assert 0.9 < seen.square().mean((0, 2, 3)).max().sqrt() < 1.1


def test_an_unknown_kind():
    with pytest.raises(ValueError, match="unknown network 'big'; choose from compact, vgg"):
        networks.network("big")


def test_codes_of_a_batch_are_mixed():
    code = Code((), torch.arange(2.0)[:, None].expand(2, CODE))
    assert code.mixed(torch.tensor([1.0, 0.25])).vector[:, 0].tolist() == [1, 0.75]
