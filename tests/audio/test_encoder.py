"""What hears: bands, fits, sounds that wrap."""

import dataclasses

import pytest
import torch

from impasto.audio.encoder import encoder, mel
from impasto.audio.objective import chunks, listen


class TestEncoder:
    @pytest.mark.parametrize("rate", [8000, 22050, 44100])
    def test_bands_are_means_of_frequencies(self, rate):
        for bands in (16, 64, 128):
            weights = mel(bands, rate)
            assert weights.shape == (bands, 1025)
            assert (weights >= 0).all()
            assert torch.allclose(weights.sum(1), torch.ones(bands), atol=1e-5)
            middles = (weights * torch.arange(1025)).sum(1)
            assert (middles.diff() > -1e-3).all()

    def test_is_fitted_to_what_it_hears(self, rhythm):
        """However loud a sound is, and part by part as all at once."""
        plain = encoder("stacked", rate=8000)
        quiet, loud = plain.fitted(0.01 * rhythm.samples), plain.fitted(rhythm.samples)
        for bank, other in zip(quiet.banks, loud.banks, strict=True):
            assert other.level == pytest.approx(100 * bank.level, rel=1e-2)
            heard = other(loud.magnitudes(loud.pad(rhythm.samples)))
            assert heard.mean((0, 2)).abs().max() < 1e-3
            assert heard.square().mean() == pytest.approx(1, rel=1e-2)

    def test_layers_longer_than_the_sound_are_left_out(self):
        whole = encoder("stacked", rate=8000)
        assert [layer.reach for layer in whole.layers] == [2, 4, 11]
        assert [layer.reach for layer in whole.within(100 * 512).layers] == [2, 4, 11]
        brief = whole.within(12 * 512)
        assert [layer.reach for layer in brief.layers] == [2, 4]
        assert [layer.bank for layer in brief.layers] == [0, 1]
        assert len(brief.banks) == 2
        assert [layer.reach for layer in whole.within(1).layers] == [2]

    def test_a_sound_that_wraps_has_no_beginning(self, rhythm):
        """Moved round by a chunk's stride, it is the same to the statistics."""
        hears = dataclasses.replace(encoder("stacked", rate=8000).fitted(rhythm.samples), wraps=True)
        count = hears.stride * 512
        samples = rhythm.samples[:, : rhythm.samples.shape[1] // count * count]
        for one, two in zip(*(self.sums(hears, moved) for moved in (samples, samples.roll(count, 1))), strict=True):
            assert torch.allclose(one, two, rtol=1e-3, atol=1e-3 * one.abs().max().item())

    def sums(self, hears, samples):
        found = {}
        for _, layer, features in listen(hears, samples, chunks(hears.positions(samples.shape[1]), 8, hears.stride)):
            part = features @ features.T
            found[layer] = found[layer] + part if layer in found else part
        return [found[layer.name] for layer in hears.layers]
