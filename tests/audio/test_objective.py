"""The objective of sounds: chunk by chunk as the whole, its gradient, its view."""

import dataclasses

import pytest
import torch

from impasto.audio import transfer
from impasto.audio.encoder import sound_encoder
from impasto.audio.objective import canvas_of, samples_of
from impasto.audio.transfer import SoundProblem
from impasto.losses.objective import Objective
from impasto.losses.terms import ContentLoss
from impasto.optim.memory import Plan
from impasto.optim.schedule import Scale
from impasto.settings.options import AudioOptions

SMALL = {"sample_rate": 8000, "iterations": 40}


def problem(content, style, **changes) -> SoundProblem:
    options = AudioOptions(**SMALL | changes)
    encoder = sound_encoder(options.encoder, 0, rate=8000).fitted(style.samples)
    size = (1, content.samples.shape[1])
    scales = (Scale(1, size[1], 1),)
    return SoundProblem(options, encoder, content.samples, style.samples, 1.0, 20.0, 0.1, size, scales, {})


def in_chunks(made: SoundProblem, most: int) -> Objective:
    return made.objective(made.scales[0], Plan(most * 512, "lbfgs", 10, True, 0))


class TestObjective:
    @pytest.mark.parametrize("statistic", ["gram", "mean", "moments", "covariance"])
    def test_chunks_are_the_in_chunks(self, melody, rhythm, statistic):
        made = problem(melody, rhythm, statistic=statistic)
        canvas = canvas_of(rhythm.samples * 0.7 + melody.samples * 0.3)
        one, many = in_chunks(made, 10_000).value_and_grad(canvas), in_chunks(made, 3).value_and_grad(canvas)
        assert len(in_chunks(made, 3).tiles) > 5
        assert one.terms.keys() == many.terms.keys()
        assert many.loss == pytest.approx(one.loss, rel=1e-4)
        assert (one.gradient - many.gradient).norm() < 1e-3 * one.gradient.norm()

    def test_the_gradient_is_the_slope(self, melody, rhythm):
        objective = in_chunks(problem(melody, rhythm), 10_000)
        generator = torch.Generator().manual_seed(0)
        canvas = canvas_of(melody.samples + 0.05 * torch.randn(melody.samples.shape, generator=generator))
        here = objective.value_and_grad(canvas)
        direction = here.gradient / here.gradient.norm()
        step = 1e-2
        ahead, behind = (objective.value_and_grad(canvas + s * direction).loss for s in (step, -step))
        assert (ahead - behind) / (2 * step) == pytest.approx(here.gradient.norm().item(), rel=0.03)

    def test_content_is_none_at_the_content_itself(self, melody, rhythm):
        objective = in_chunks(problem(melody, rhythm), 10_000)
        content = [term for term in objective.terms if isinstance(term, ContentLoss)]
        objective = dataclasses.replace(objective, terms=content)
        assert objective.value_and_grad(canvas_of(melody.samples)).loss < 1e-6

    def test_style_does_not_care_when(self, melody, rhythm):
        """A style that begins later has the same statistics, but for its ends."""
        made = problem(melody, rhythm)
        objectives = [
            in_chunks(dataclasses.replace(made, style=style), 10_000)
            for style in (rhythm.samples, rhythm.samples.roll(4000, 1), melody.samples)
        ]
        own, later, other = (
            sum(v for name, v in o.value_and_grad(canvas_of(rhythm.samples)).terms.items() if name.startswith("style"))
            for o in objectives
        )
        assert own < 1e-6 * other
        assert later < 0.1 * other

    def test_canvas_and_samples(self, make_tune):
        samples = make_tune(channels=2).samples
        assert torch.allclose(samples_of(canvas_of(samples)), samples, atol=1e-6)

    def test_content_features_are_cached_or_computed_again(self, melody, rhythm, monkeypatch):
        canvas, found = canvas_of(rhythm.samples), []
        for cached in (1 << 30, 0):
            monkeypatch.setattr(transfer, "CACHED_FEATURES", cached)
            objective = in_chunks(problem(melody, rhythm), 5)
            assert any(term.reads_photo for term in objective.terms) == (not cached)
            found.append(objective.value_and_grad(canvas))
        assert found[1].loss == pytest.approx(found[0].loss, rel=1e-5)
        assert (found[0].gradient - found[1].gradient).norm() < 1e-4 * found[0].gradient.norm()
