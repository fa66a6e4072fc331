"""Strongest places against brute force, patches, and pictures made for units."""

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
    def test_the_strongest_places_are_those_of_brute_force(self, deep, several):
        pictures = self.pictures()
        best = units.strongest(deep, "relu2_2", iter([*pictures, None]), 4, several)
        for unit, found in enumerate(best):
            every = []
            for number, picture in enumerate(pictures):
                seen = deep(picture[None].double(), ["relu2_2"])["relu2_2"][0, unit]
                values = [(seen[r, c].item(), number, r, c) for r in range(seen.shape[0]) for c in range(seen.shape[1])]
                every += values if several else [max(values)]
            wanted = sorted((value for value, *_ in every), reverse=True)[:4]
            assert [place.value for place in found] == pytest.approx(wanted)
            for place in found:
                seen = deep(pictures[place.picture][None].double(), ["relu2_2"])["relu2_2"][0, unit]
                assert seen[place.row, place.column].item() == pytest.approx(place.value)

    def test_a_patch_excites_as_the_picture_does(self, deep):
        picture = torch.rand(3, 64, 64)
        seen = deep(picture[None].double(), ["relu2_2"])["relu2_2"][0]
        place = units.Place(0, 0, 9, 8)
        patch = units.patch(deep, "relu2_2", picture, place)
        field = receptive_field(deep, "relu2_2", 9, 8)
        assert patch.shape == (3, field.side, field.side)
        assert torch.equal(patch, picture[:, field.top : field.top + field.side, field.left : field.left + field.side])
        changed = torch.rand(3, 64, 64)
        changed[:, field.top : field.top + field.side, field.left : field.left + field.side] = patch
        again = deep(changed[None].double(), ["relu2_2"])["relu2_2"][0]
        assert torch.allclose(again[:, 9, 8], seen[:, 9, 8])

    def test_what_matters_lies_in_the_receptive_field(self, deep):
        picture = torch.rand(3, 64, 64)
        gradient = units.guided(deep, "relu2_1", 0, picture, units.Place(0, 0, 12, 12))
        field = receptive_field(deep, "relu2_1", 12, 12)
        outside = gradient.abs().sum(0)
        outside[field.top : field.top + field.side, field.left : field.left + field.side] = 0
        assert outside.max() == 0

    def test_a_picture_made_for_a_unit_excites_it_more_than_photos(self):
        encoder = weights.load("vgg19", padding="replicate").up_to(["relu2_1", "conv2_1"])
        made = units.excite(encoder, "relu2_1", 5, steps=40)
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(made.shape, generator=generator)
        seen = [encoder(image[None], ["conv2_1"])["conv2_1"][0, 5] for image in (made, noise)]
        response = [found[found.shape[0] // 2, found.shape[1] // 2].item() for found in seen]
        assert response[0] > response[1]
