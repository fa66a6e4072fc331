"""Strongest responses compared with brute force, patches, guided gradients and activation maximisation."""

import pytest
import torch

from impasto.explain import units
from impasto.explain.receptive_field import receptive_field
from impasto.vgg import weights


class TestUnits:
    def pictures(self):
        generator = torch.Generator().manual_seed(0)
        return [torch.rand(3, 24 + 4 * n, 30, generator=generator) for n in range(6)]

    @pytest.mark.parametrize("several", [False, True])
    def test_the_strongest_responses_are_those_of_brute_force(self, deep, several):
        pictures = self.pictures()
        best = units.strongest_responses(deep, "relu2_2", iter([*pictures, None]), 4, several)
        for unit, found in enumerate(best):
            every = []
            for number, picture in enumerate(pictures):
                features = deep(picture[None].double(), ["relu2_2"])["relu2_2"][0, unit]
                height, width = features.shape
                values = [(features[r, c].item(), number, r, c) for r in range(height) for c in range(width)]
                every += values if several else [max(values)]
            expected = sorted((value for value, *_ in every), reverse=True)[:4]
            assert [response.value for response in found] == pytest.approx(expected)
            for response in found:
                features = deep(pictures[response.picture][None].double(), ["relu2_2"])["relu2_2"][0, unit]
                assert features[response.row, response.column].item() == pytest.approx(response.value)

    def test_a_patch_has_the_activations_of_the_picture(self, deep):
        picture = torch.rand(3, 64, 64)
        features = deep(picture[None].double(), ["relu2_2"])["relu2_2"][0]
        response = units.UnitResponse(0, 0, 9, 8)
        patch = units.patch(deep, "relu2_2", picture, response)
        field = receptive_field(deep, "relu2_2", 9, 8)
        assert patch.shape == (3, field.side, field.side)
        assert torch.equal(patch, picture[:, field.top : field.top + field.side, field.left : field.left + field.side])
        changed = torch.rand(3, 64, 64)
        changed[:, field.top : field.top + field.side, field.left : field.left + field.side] = patch
        of_changed = deep(changed[None].double(), ["relu2_2"])["relu2_2"][0]
        assert torch.allclose(of_changed[:, 9, 8], features[:, 9, 8])

    def test_the_guided_gradient_vanishes_outside_the_receptive_field(self, deep):
        picture = torch.rand(3, 64, 64)
        gradient = units.guided_gradient(deep, "relu2_1", 0, picture, units.UnitResponse(0, 0, 12, 12))
        field = receptive_field(deep, "relu2_1", 12, 12)
        outside = gradient.abs().sum(0)
        outside[field.top : field.top + field.side, field.left : field.left + field.side] = 0
        assert outside.max() == 0

    def test_the_optimised_input_excites_the_unit_more_than_noise(self):
        encoder = weights.load("vgg19", padding="replicate").up_to(["relu2_1", "conv2_1"])
        made = units.maximize_activation(encoder, "relu2_1", 5, steps=40)
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(made.shape, generator=generator)
        channels = [encoder(image[None], ["conv2_1"])["conv2_1"][0, 5] for image in (made, noise)]
        optimised, random = (channel[channel.shape[0] // 2, channel.shape[1] // 2].item() for channel in channels)
        assert optimised > random
