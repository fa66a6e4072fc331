"""Sounds made: the objective chunk by chunk as the whole, statistics that come near, content that stays."""

import dataclasses
import math

import pytest
import torch

from impasto import audio
from impasto.audio.encoders import encoder, mel
from impasto.audio.objective import Objective, canvas_of, chunks, listen, samples_of
from impasto.audio.sounds import Sound
from impasto.audio.transfer import SoundTask, _prepared, iterate, iterate_texture, result_of
from impasto.checkpoints import Checkpoints
from impasto.errors import BudgetError, SoundError
from impasto.options import AudioOptions, SoundTextureOptions

SMALL = {"sample_rate": 8000, "iterations": 40}


def task(content, style, **changes) -> SoundTask:
    options = AudioOptions(**SMALL | changes)
    hears = encoder(options.encoder, 0, rate=8000).fitted(style.samples)
    return SoundTask(
        options, hears, content.samples, style.samples, 1.0, 20.0, 0.1, (1, content.samples.shape[1]), {}
    )


def whole(made: SoundTask, most: int) -> Objective:
    from impasto.memory import Plan
    from impasto.schedule import Scale

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
            sum(
                v for name, v in o.value_and_grad(canvas_of(rhythm.samples)).terms.items() if name.startswith("style")
            )
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
        assert made.samples[0, 0].abs() < 1e-3
        assert made.samples[0, -1].abs() < 1e-3

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
        steps = iterate(melody, rhythm, options, where)
        for _ in range(5):
            next(steps)
        steps.close()
        *_, last = iterate(melody, rhythm, options, dataclasses.replace(where, resume=True))
        assert torch.equal(result_of(last).samples, whole)


class TestErrors:
    def test_too_short(self, melody, rhythm):
        short = Sound(melody.samples[:, :1], 8000)
        with pytest.raises(SoundError, match="the content has 1 samples; needed are more than 2048"):
            audio.stylize(short, rhythm, AudioOptions(**SMALL))
        short = Sound(rhythm.samples[:, :2500], 8000)
        with pytest.raises(SoundError, match="the style lasts 0.31 s; the encoder 'wide' needs"):
            audio.stylize(melody, short, AudioOptions(**SMALL, encoder="wide"))

    def test_too_little_memory(self, melody, rhythm):
        with pytest.raises(BudgetError, match="--memory"):
            audio.stylize(melody, rhythm, AudioOptions(**SMALL | {"memory": "1MB"}))

    def test_prepared_sounds_have_the_rate(self, make_tune):
        assert _prepared(make_tune(1.0, 44100), "x", AudioOptions(**SMALL)).rate == 8000


class TestCommands:
    @pytest.fixture
    def files(self, melody, rhythm, tmp_path, monkeypatch):
        from impasto.audio import sounds

        monkeypatch.chdir(tmp_path)
        sounds.write(tmp_path / "tune.wav", melody)
        sounds.write(tmp_path / "clicks.flac", rhythm)

    def run(self, *arguments):
        from impasto import cli

        return cli.run([*arguments])

    def test_audio(self, files, capsys):
        small = ["--sample-rate", "8000", "--iterations", "3"]
        assert (
            self.run("audio", "tune.wav", "clicks.flac", "-o", "out.wav", "--bits", "24", "--plot", "p.png", *small)
            == 0
        )
        assert "out.wav  2.0 s at 8000 Hz, " in capsys.readouterr().out
        assert audio.read("out.wav").samples.shape == (1, 16000)

    def test_texture(self, files, capsys):
        assert self.run("texture", "clicks.flac", "-o", "out.ogg", "--seconds", "1.5", "--iterations", "2") == 0
        assert audio.read("out.ogg").seconds == pytest.approx(1.5, abs=0.01)
        assert self.run("texture", "clicks.flac", "-o", "out.ogg", "--seamless") == 2
        assert "--seamless is for textures of pictures" in capsys.readouterr().err
        assert self.run("texture", "mosaic", "-o", "out.png", "--seconds", "3") == 2

    def test_mistakes(self, files, capsys, photo):
        for arguments, said in (
            (["none.wav", "clicks.flac", "-o", "out.wav"], "no such file"),
            (["tune.wav", "clicks.flac", "-o", "out.png"], "suffix"),
            (["tune.wav", "clicks.flac", "-o", "tune.wav"], "another name"),
            (["tune.wav", "clicks.flac", "-o", "out.wav", "--encoder", "deep"], "encoder"),
            (
                ["tune.wav", "clicks.flac", "-o", "out.mp3", "--strength", "0", "--content-weight", "0"],
                "weigh nothing",
            ),
        ):
            assert self.run("audio", *arguments) == 2
            assert said in capsys.readouterr().err
