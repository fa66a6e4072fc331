"""Sounds: the content of one in the texture of another, or a texture alone, by the optimiser of pictures."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Unpack

import scipy.signal
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.audio import sounds
from impasto.audio.encoder import HOP, WINDOW, Chunk, SoundEncoder, sound_encoder
from impasto.audio.objective import SoundView, canvas_of, samples_of
from impasto.audio.sounds import Sound
from impasto.devices import CPU_FLOAT, choose_device
from impasto.errors import BudgetError, SoundError
from impasto.isolation import isolated
from impasto.losses.objective import Objective
from impasto.losses.statistics import STATISTICS, Sums
from impasto.losses.targets import CONTENT_NORMS, STYLE_NORMS
from impasto.losses.terms import ContentLoss, StyleLoss, as_matrix
from impasto.optim import memory
from impasto.optim.checkpoints import Checkpoints, hashes
from impasto.optim.memory import Plan
from impasto.optim.multiscale import optimize_scales
from impasto.optim.problem import LocalExecution
from impasto.optim.schedule import Scale
from impasto.optim.steps import Step
from impasto.presets import options_from
from impasto.progress import ProgressOption, last_step
from impasto.settings.keywords import AudioKeywords, SoundTextureKeywords
from impasto.settings.options import AudioOptions, SoundOptions, SoundTextureOptions

SoundLike = str | PathLike[str] | Sound

#: The highest level at which sounds are optimised, as the root mean square of their samples, and their highest peak.
LEVEL, PEAK = 0.1, 0.9
#: Textures are made of multiples of so many samples.
TEXTURE_MULTIPLE = 8 * HOP
#: Seconds over which the ends of a result are faded, so that they do not click.
FADE = 0.005
#: Bytes of the content's features up to which they are cached rather than computed again by every evaluation.
CACHED_FEATURES = 256 << 20
#: Bytes that an evaluation takes per frame of a chunk, and that everything else takes per sample.
BYTES_PER_FRAME, BYTES_PER_SAMPLE = 400_000, 30 * 4


@dataclass(frozen=True, eq=False)
class SoundProblem:
    """A sound to be optimised; see `optim.problem.Problem`.

    Attributes:
        content, style: `(c, t)`, at the same level; no content for textures.
        loudness: the level of the result.
        size: channels (1, as the height of a picture) and samples of the result.
    """

    options: SoundOptions
    encoder: SoundEncoder
    content: Tensor | None
    style: Tensor
    content_weight: float
    style_weight: float
    loudness: float
    size: tuple[int, int]
    scales: Sequence[Scale]
    input_hashes: Mapping[str, str]
    found: Mapping[str, float] = field(default_factory=dict)
    wraps: bool = False
    keeps_details: bool = False

    @property
    def device(self) -> torch.device:
        """Where to compute."""
        return self.encoder.hann.device

    def after(self, scale: Scale, plan: Plan, canvas: Tensor) -> SoundProblem:
        """The same problem: nothing is found."""
        return self

    def resumed(self, found: Mapping[str, float]) -> SoundProblem:
        """The same problem: nothing is found."""
        return self

    def plan(self, scale: Scale) -> Plan:
        """Chunks of as many samples as the memory there is allows.

        Raises:
            BudgetError: not even short ones fit.
        """
        options, fixed = self.options, BYTES_PER_SAMPLE * scale.width
        left = memory.budget(options.memory, self.device) - fixed
        least, available = 4 * (self.encoder.reach + 1), self.encoder.frames(scale.width)
        frames = min(int(left / BYTES_PER_FRAME), available)
        if frames < min(least, available):
            needed = (fixed + least * BYTES_PER_FRAME) / 1e9
            raise BudgetError(
                f"{scale.width / options.sample_rate:.0f} s take {needed:.2f} GB at least; "
                "give more (memory=, or --memory), or a shorter sound"
            )
        return Plan(frames * HOP, options.optimizer, options.history, True, fixed + frames * BYTES_PER_FRAME)

    def objective(self, scale: Scale, plan: Plan) -> Objective:
        """What is minimised, its targets measured on content and style."""
        most, encoder = max(1, plan.window // HOP), self.result_encoder
        chunks = encoder.chunks(scale.width, most)
        photo, losses = None, self._content_losses(most) if self.content_weight else []
        if self.content is not None and losses:
            photo = encoder.pad(self.content)[None, :, None]
        styles = self._style_losses(most) if self.style_weight else []
        return Objective(encoder, [*losses, *styles], None, SoundView(encoder, scale.width), chunks, photo)

    @property
    def result_encoder(self) -> SoundEncoder:
        """The encoder of the result: a texture is periodic, so that its ends are like any other place."""
        return dataclasses.replace(self.encoder, wraps=self.content is None)

    def finish(self, canvas: Tensor) -> Sound:
        """The sound of a canvas: with its own level, without clipping; of a texture that is cut, the ends are faded."""
        whole = samples_of(canvas)
        samples = whole[:, : self.size[1]].clone()
        samples *= self.loudness / max(samples.square().mean().sqrt().item(), 1e-9)
        samples /= max(1.0, samples.abs().max().item() / 0.999)
        if samples.shape[1] < whole.shape[1]:
            count = min(round(FADE * self.options.sample_rate), samples.shape[1] // 2)
            ramp = torch.linspace(0, 1, count, **CPU_FLOAT)
            samples[:, :count] *= ramp
            samples[:, samples.shape[1] - count :] *= ramp.flip(0)
        return Sound(samples, self.options.sample_rate)

    def _features(self, samples: Tensor, chunks: Sequence[Chunk]) -> Iterator[tuple[str, Tensor]]:
        """(layer, features) of each chunk of a sound."""
        padded, names = self.encoder.pad(samples)[None, :, None], [layer.name for layer in self.encoder.layers]
        with torch.no_grad():
            for chunk in chunks:
                for name, features, _ in self.encoder.walk(chunk.window(padded), names):
                    own = chunk.inside(features, self.encoder.stride(name))
                    if own.numel():
                        yield name, own

    def _content_losses(self, most: int) -> list[ContentLoss]:
        """A loss for each layer of single frames: longer ones blur when things happen."""
        if self.content is None:
            return []
        names = {layer.name for layer in self.encoder.layers if layer.pool == 1}
        found: dict[str, list[Tensor]] = {}
        energies: dict[str, tuple[int, float]] = {}
        length = self.content.shape[1]
        size = 4 * self.encoder.frames(length) * sum(len(layer.weight) for layer in self.encoder.layers)
        cached = size * len(self.content) <= CACHED_FEATURES
        for name, features in self._features(self.content, self.encoder.chunks(length, most)):
            if name in names:
                count, total = energies.get(name, (0, 0.0))
                energies[name] = (count + features.numel(), total + features.square().sum().item())
                if cached:
                    found.setdefault(name, []).append(features)
        return [
            ContentLoss(
                name,
                torch.cat(found[name], -1) if cached else None,
                self.content_weight / len(names) * CONTENT_NORMS["relative"](count, total / count),
            )
            for name, (count, total) in energies.items()
        ]

    def _style_losses(self, most: int) -> list[StyleLoss]:
        sums: dict[str, Sums] = {}
        statistics = {
            layer.name: STATISTICS[self.options.statistic](None, self.options.seed) for layer in self.encoder.layers
        }
        for name, features in self._features(self.style, self.encoder.chunks(self.style.shape[1], most)):
            part = statistics[name].phi.reduce(as_matrix(features), None)
            sums[name] = sums[name] + part if name in sums else part
        losses = []
        for layer in self.encoder.layers:
            statistic, target = statistics[layer.name], sums[layer.name].mean
            distance = statistic.distance_to(target)
            scale = STYLE_NORMS["relative"](distance, target, len(layer.weight))
            weight = self.style_weight / len(self.encoder.layers) * scale
            losses.append(StyleLoss(layer.name, statistic.phi, distance, weight))
        return losses


def stylize(
    content: SoundLike,
    style: SoundLike,
    options: AudioOptions | None = None,
    *,
    progress: ProgressOption = False,
    **changes: Unpack[AudioKeywords],
) -> Sound:
    """The content of one sound in the texture of another (Ulyanov & Lebedev 2016).

    Args:
        content: a file, or a sound.
        style: likewise.
        options: see `AudioOptions`.
        progress, changes: as for `impasto.stylize`.

    Returns:
        As long and as loud as the content, at `options.sample_rate`.

    Raises:
        SoundError: a file that is missing, damaged, silent or too short.
        BudgetError: too little memory.
    """
    return result_of(last_step(lambda notify: iterate(content, style, options, **changes), progress))


def texture(
    style: SoundLike,
    options: SoundTextureOptions | None = None,
    *,
    progress: ProgressOption = False,
    **changes: Unpack[SoundTextureKeywords],
) -> Sound:
    """A texture of a sound, of any length, from noise. Arguments and errors are as for `stylize`."""
    return result_of(last_step(lambda notify: iterate_texture(style, options, **changes), progress))


def result_of(step: Step) -> Sound:
    """The sound of a step."""
    found = step.finish(step.image.cpu())
    assert isinstance(found, Sound)
    return found


@isolated
def iterate(
    content: SoundLike,
    style: SoundLike,
    options: AudioOptions | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    **changes: Unpack[AudioKeywords],
) -> Iterator[Step]:
    """The steps of `stylize`, as they come; their images are canvases of samples."""
    started, options = time.monotonic(), options_from(AudioOptions, options, changes)
    one = _prepared(content, "the content", options)
    two = _prepared(style, "the style", options)
    start = (
        one.samples
        if options.init == "content"
        else _noise((one.samples.shape[0], one.samples.shape[1]), two.samples, options.seed)
    )
    weights = (options.content_weight, options.effective_style_weight)
    return _iterate(options, one, two, start, weights, checkpoints, started)


@isolated
def iterate_texture(
    style: SoundLike,
    options: SoundTextureOptions | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    **changes: Unpack[SoundTextureKeywords],
) -> Iterator[Step]:
    """The steps of `texture`, as they come."""
    started, options = time.monotonic(), options_from(SoundTextureOptions, options, changes)
    given = _prepared(style, "the sound", options)
    length = given.samples.shape[1] if options.seconds is None else round(options.seconds * options.sample_rate)
    whole = -(-length // TEXTURE_MULTIPLE) * TEXTURE_MULTIPLE
    if options.seconds is None:
        length = whole  # so that it loops without a seam
    start = _noise((given.samples.shape[0], whole), given.samples, options.seed)
    return _iterate(options, None, given, start, (0.0, 1.0), checkpoints, started, length)


def _iterate(
    options: SoundOptions,
    content: Sound | None,
    style: Sound,
    start: Tensor,
    weights: tuple[float, float],
    checkpoints: Checkpoints | None,
    started: float,
    length: int | None = None,
) -> Iterator[Step]:
    device = choose_device(options.device)
    shortest = min(style.samples.shape[1], start.shape[1])
    encoder = sound_encoder(options.encoder, options.seed, device, options.sample_rate).within(shortest)
    given = {"content": None if content is None else content.samples, "style": style.samples}
    level = _common_level([samples for samples in (*given.values(), start) if samples is not None])
    styled = _at(style.samples, level).to(device)
    encoder = encoder.fitted(styled)
    least = (encoder.reach + 1) * HOP
    for what, samples in (("the style", style.samples), ("the result", start)):
        if samples.shape[1] < least:
            raise SoundError(
                f"{what} lasts {samples.shape[1] / options.sample_rate:.2f} s; the encoder {options.encoder!r} needs "
                f"{least / options.sample_rate:.2f} s at least"
            )
    problem = SoundProblem(
        options,
        encoder,
        None if content is None else _at(content.samples, level).to(device),
        styled,
        *weights,
        (content or style).level,
        (1, length or start.shape[1]),
        (Scale(1, start.shape[1], options.iterations),),
        hashes(given) if checkpoints else {},
    )
    canvas = canvas_of(_at(start, level))[0]
    return optimize_scales(LocalExecution(problem), canvas.to(device), started, checkpoints)


def _prepared(given: SoundLike, what: str, options: SoundOptions) -> Sound:
    sound = sounds.read(given, what).at(options.sample_rate)
    if sound.samples.shape[1] <= WINDOW:
        raise SoundError(f"{what} has {sound.samples.shape[1]} samples; expected more than {WINDOW}")
    return sound


def _common_level(given: Sequence[Tensor]) -> float:
    """The level at which to optimise sounds `(c, t)`: `LEVEL`, or lower, so that no peak is above `PEAK`."""
    return min(LEVEL, *(PEAK * _level(samples) / max(samples.abs().max().item(), 1e-12) for samples in given))


def _level(samples: Tensor) -> float:
    """Root mean square, above 0."""
    return max(samples.square().mean().sqrt().item(), 1e-12)


def _at(samples: Tensor, level: float) -> Tensor:
    return samples * (level / _level(samples))


def _noise(shape: tuple[int, int], like: Tensor, seed: int) -> Tensor:
    """Noise with the average spectrum of a sound `(c, t)`: the highs of white noise would remain audible to the end."""
    _, power = scipy.signal.welch(like.mean(0).numpy(), nperseg=WINDOW)
    white = torch.randn(shape, generator=torch.Generator().manual_seed(seed), **CPU_FLOAT)
    spectrum = torch.fft.rfft(white)
    magnitude = torch.from_numpy(power).float().sqrt()[None, None]
    shaped = F.interpolate(magnitude, spectrum.shape[-1], mode="linear", align_corners=True)[0]
    noise = torch.fft.irfft(spectrum * shaped, shape[-1])
    return _at(noise, LEVEL)
