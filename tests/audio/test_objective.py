"""The objective of sounds: chunk by chunk as the whole, its gradient, its chunks."""

import dataclasses

import pytest
import torch

from impasto.audio.encoder import encoder
from impasto.audio.objective import Objective, canvas_of, chunks, samples_of
from impasto.audio.transfer import SoundTask
from impasto.settings.options import AudioOptions

SMALL = {"sample_rate": 8000, "iterations": 40}


def task(content, style, **changes) -> SoundTask:
    options = AudioOptions(**SMALL | changes)
    hears = encoder(options.encoder, 0, rate=8000).fitted(style.samples)
    return SoundTask(options, hears, content.samples, style.samples, 1.0, 20.0, 0.1, (1, content.samples.shape[1]), {})


def whole(made: SoundTask, most: int) -> Objective:
    from impasto.optim.memory import Plan
    from impasto.optim.schedule import Scale

    return made.objective_at(Scale(1, made.size[1], 1), Plan(most * 512, "lbfgs", 10, True, 0))


class TestObjective:
    @pytest.mark.parametrize("statistic", ["gram", "mean", "moments", "covariance"])
    def test_chunks_are_the_whole(self, melody, rhythm, statistic):
        made = task(melody, rhythm, statistic=statistic)
        canvas = canvas_of(rhythm.samples * 0.7 + melody.samples * 0.3)
        one, many = whole(made, 10_000).value_and_grad(canvas), whole(made, 3).value_and_grad(canvas)
        assert len(whole(made, 3).chunks) > 5
        assert one.terms.keys() == many.terms.keys()
        assert many.loss == pytest.approx(one.loss, rel=1e-4)
        assert (one.gradient - many.gradient).norm() < 1e-3 * one.gradient.norm()

    def test_the_gradient_is_the_slope(self, melody, rhythm):
        objective = whole(task(melody, rhythm), 10_000)
        generator = torch.Generator().manual_seed(0)
        canvas = canvas_of(melody.samples + 0.05 * torch.randn(melody.samples.shape, generator=generator))
        here = objective.value_and_grad(canvas)
        direction = here.gradient / here.gradient.norm()
        step = 1e-2
        ahead, behind = (objective.value_and_grad(canvas + s * direction).loss for s in (step, -step))
        assert (ahead - behind) / (2 * step) == pytest.approx(here.gradient.norm().item(), rel=0.03)

    def test_content_is_none_at_the_content_itself(self, melody, rhythm):
        objective = dataclasses.replace(whole(task(melody, rhythm), 10_000), styles=[])
        assert objective.value_and_grad(canvas_of(melody.samples)).loss < 1e-6

    def test_style_does_not_care_when(self, melody, rhythm):
        """A style that begins later has the same statistics, but for its ends."""
        made = task(melody, rhythm)
        objectives = [
            whole(dataclasses.replace(made, style=style), 10_000)
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

    def test_chunks_cover_every_frame_once(self):
        for frames in (1, 7, 100):
            parts = chunks(frames, 9)
            assert [f for part in parts for f in range(part.start, part.stop)] == list(range(frames))
            assert max(part.stop - part.start for part in parts) <= 9
            assert all(part.start % 4 == 0 for part in chunks(frames, 9, 4))
