"""Sounds made: statistics that come near, content that stays, errors."""

import dataclasses
import math

import pytest
import torch

from impasto import audio
from impasto.audio.objective import samples_of
from impasto.audio.sounds import Sound
from impasto.audio.transfer import _common_level, _prepared, iterate, iterate_texture, result_of
from impasto.errors import BudgetError, SoundError
from impasto.optim.checkpoints import Checkpoints
from impasto.settings.options import AudioOptions, SoundTextureOptions

SMALL = {"sample_rate": 8000, "iterations": 40}


class TestTexture:
    def test_comes_near(self, rhythm):
        """Its statistics end within a twentieth of the distance at which noise began."""
        steps = list(iterate_texture(rhythm, SoundTextureOptions(**SMALL | {"iterations": 150})))
        assert steps[-1].loss < 0.05 * steps[0].loss

    def test_any_length(self, rhythm):
        made = audio.texture(rhythm, SoundTextureOptions(**SMALL | {"iterations": 3, "seconds": 3.5}))
        assert made.samples.shape == (1, 28000)

    def test_as_loud_as_what_it_is_made_of_and_never_clipped(self, rhythm):
        made = audio.texture(rhythm, SoundTextureOptions(**SMALL))
        assert made.level == pytest.approx(rhythm.level, rel=0.05)
        assert made.samples.abs().max() < 1

    def test_loops_without_a_seam_unless_its_length_is_given(self, rhythm):
        """It is periodic as a whole; what is cut off is faded instead."""
        options = SoundTextureOptions(**SMALL | {"iterations": 1})
        *_, last = iterate_texture(rhythm, options)
        whole, made = samples_of(last.image), result_of(last).samples
        assert made.shape[1] == 16384
        assert torch.allclose(made / made.abs().max(), whole / whole.abs().max(), atol=1e-5)
        cut = audio.texture(rhythm, dataclasses.replace(options, seconds=2.0)).samples
        assert cut.shape[1] == 16000
        assert cut[0, [0, -1]].abs().max() == 0
        same = audio.texture(rhythm, dataclasses.replace(options, seconds=2.048)).samples
        assert torch.equal(same, made)

    def test_the_same_seed_the_same_sound(self, rhythm):
        one, two, other = (
            audio.texture(rhythm, SoundTextureOptions(**SMALL | {"iterations": 4, "seed": seed})).samples
            for seed in (1, 1, 2)
        )
        assert torch.equal(one, two)
        assert not torch.equal(one, other)


def signal_to_noise(signal: torch.Tensor, heard: torch.Tensor) -> float:
    """In decibels."""
    error = (heard - signal).square().mean().item()
    return 10 * math.log10(signal.square().mean().item() / max(error, 1e-20))


class TestStylize:
    def test_strength_0_gives_the_content_back(self, melody, rhythm):
        made = audio.stylize(melody, rhythm, AudioOptions(**SMALL | {"strength": 0.0}))
        assert signal_to_noise(melody.samples, made.samples) > 60

    def test_high_peaks_are_not_clipped(self, melody, rhythm):
        """A moment of sound in a long silence."""
        brief = Sound(torch.cat([melody.samples[:, :300], torch.zeros(1, 20000)], 1), 8000)
        made = audio.stylize(brief, rhythm, AudioOptions(**SMALL | {"strength": 0.0, "iterations": 2}))
        assert signal_to_noise(brief.samples, made.samples) > 60
        level = _common_level([melody.samples, brief.samples])
        assert level * brief.samples.abs().max() / brief.level == pytest.approx(0.9)
        assert _common_level([melody.samples]) == 0.1

    def test_style_comes_nearer_and_content_stays(self, melody, rhythm):
        steps = list(iterate(melody, rhythm, AudioOptions(**SMALL)))

        def style(step):
            return sum(value for name, value in step.losses.items() if name.startswith("style"))

        assert style(steps[-1]) < 0.5 * style(steps[0])
        made = result_of(steps[-1])
        assert made.samples.shape == melody.samples.shape
        peak = made.samples.abs().max()  # of clicks, there is no room for more
        assert made.level == pytest.approx(melody.level, rel=0.05) or 0.99 < peak < 1

    def test_more_strength_more_style(self, melody, rhythm):
        losses = []
        for strength in (0.4, 1.0, 2.0):
            *_, last = iterate(melody, rhythm, AudioOptions(**SMALL | {"strength": strength}))
            weight = 4 * strength**3
            losses.append(sum(v for name, v in last.losses.items() if name.startswith("style")) / weight)
        assert losses[0] > losses[1] > losses[2]

    def test_stereo_and_other_rates(self, make_tune, rhythm):
        made = audio.stylize(make_tune(1.0, 44100, 2), rhythm, AudioOptions(**SMALL | {"iterations": 3}))
        assert made.samples.shape == (2, 8000)
        assert made.rate == 8000

    def test_resumed_it_ends_in_the_same_sound(self, melody, rhythm, tmp_path):
        options = AudioOptions(**SMALL | {"iterations": 12})
        whole = audio.stylize(melody, rhythm, options).samples
        where = Checkpoints(tmp_path / "c", every=0.0)
        steps = iterate(melody, rhythm, options, checkpoints=where)
        for _ in range(5):
            next(steps)
        steps.close()
        *_, last = iterate(melody, rhythm, options, checkpoints=dataclasses.replace(where, resume=True))
        assert torch.equal(result_of(last).samples, whole)


class TestErrors:
    def test_too_short(self, melody, rhythm):
        short = Sound(melody.samples[:, :1], 8000)
        with pytest.raises(SoundError, match="the content has 1 samples; expected more than 2048"):
            audio.stylize(short, rhythm, AudioOptions(**SMALL))
        short = Sound(rhythm.samples[:, :2500], 8000)
        with pytest.raises(SoundError, match="the style lasts 0.31 s; the encoder 'wide' needs"):
            audio.stylize(melody, short, AudioOptions(**SMALL, encoder="wide"))

    def test_too_little_memory(self, melody, rhythm):
        with pytest.raises(BudgetError, match="--memory"):
            audio.stylize(melody, rhythm, AudioOptions(**SMALL | {"memory": "1MB"}))

    def test_prepared_sounds_have_the_rate(self, make_tune):
        assert _prepared(make_tune(1.0, 44100), "x", AudioOptions(**SMALL)).rate == 8000
