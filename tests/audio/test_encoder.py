"""The encoder of sounds: bands, fits, chunks, periodic sounds."""

import dataclasses

import pytest
import torch

from impasto.audio.encoder import mel, sound_encoder


class TestSoundEncoder:
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
        plain = sound_encoder("stacked", rate=8000)
        quiet, loud = plain.fitted(0.01 * rhythm.samples), plain.fitted(rhythm.samples)
        for bank, other in zip(quiet.banks, loud.banks, strict=True):
            assert other.level == pytest.approx(100 * bank.level, rel=1e-2)
            heard = other(loud.magnitudes(loud.pad(rhythm.samples)))
            assert heard.mean((0, 2)).abs().max() < 1e-3
            assert heard.square().mean() == pytest.approx(1, rel=1e-2)

    def test_layers_longer_than_the_sound_are_left_out(self):
        whole = sound_encoder("stacked", rate=8000)
        assert [layer.reach for layer in whole.layers] == [2, 4, 11]
        assert [layer.reach for layer in whole.within(100 * 512).layers] == [2, 4, 11]
        brief = whole.within(12 * 512)
        assert [layer.reach for layer in brief.layers] == [2, 4]
        assert [layer.bank for layer in brief.layers] == [0, 1]
        assert len(brief.banks) == 2
        assert [layer.reach for layer in whole.within(1).layers] == [2]

    def test_a_sound_that_wraps_has_no_beginning(self, rhythm):
        """Moved round by a chunk's stride, it is the same to the statistics."""
        encoder = dataclasses.replace(sound_encoder("stacked", rate=8000).fitted(rhythm.samples), wraps=True)
        count = encoder.least_stride * 512
        samples = rhythm.samples[:, : rhythm.samples.shape[1] // count * count]
        for one, two in zip(*(self.sums(encoder, moved) for moved in (samples, samples.roll(count, 1))), strict=True):
            assert torch.allclose(one, two, rtol=1e-3, atol=1e-3 * one.abs().max().item())

    def sums(self, encoder, samples):
        found, padded = {}, encoder.pad(samples)[None, :, None]
        names = [layer.name for layer in encoder.layers]
        for chunk in encoder.chunks(samples.shape[1], 8):
            for layer, features, _ in encoder.walk(chunk.window(padded), names):
                own = chunk.inside(features, encoder.stride(layer)).flatten(2)[0]
                found[layer] = found.get(layer, 0) + own @ own.T
        return [found[name] for name in names]

    @pytest.mark.parametrize("wraps", [False, True])
    @pytest.mark.parametrize("most", [1, 9, 1000])
    def test_chunks_own_every_position_once(self, rhythm, wraps, most):
        """And their features are those of the whole sound."""
        encoder = dataclasses.replace(sound_encoder("stacked", rate=8000), wraps=wraps)
        samples = rhythm.samples[:, : 28 * 512]
        padded, names = encoder.pad(samples)[None, :, None], [layer.name for layer in encoder.layers]
        whole = encoder.features(padded, names)
        parts = {name: [] for name in names}
        for chunk in encoder.chunks(samples.shape[1], most):
            assert chunk.stop - chunk.start <= max(most, encoder.least_stride)
            for name, features, _ in encoder.walk(chunk.window(padded), names):
                own = chunk.inside(features, encoder.stride(name))
                assert torch.allclose(own, whole[name][(..., *chunk.owned_slices(encoder.stride(name)))], atol=1e-4)
                parts[name].append(own)
        for name in names:
            count = 28 // encoder.stride(name) if wraps else whole[name].shape[-1]
            assert torch.allclose(torch.cat(parts[name], -1), whole[name][..., :count], atol=1e-4)
