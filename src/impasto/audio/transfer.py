"""Sounds made: the content of one in the texture of another, or a texture alone, by the optimiser of pictures."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike

import scipy.signal
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.audio import sounds
from impasto.audio.encoder import HOP, WINDOW, Encoder, encoder
from impasto.audio.objective import Chunk, Objective, canvas_of, chunks, listen, samples_of
from impasto.audio.sounds import Sound
from impasto.devices import choose_device
from impasto.errors import BudgetError, SoundError
from impasto.losses.objective import Style
from impasto.losses.statistics import STATISTICS, Sums
from impasto.losses.targets import CONTENT_NORMS, STYLE_NORMS
from impasto.optim import memory
from impasto.optim.checkpoints import Checkpoints, hashes
from impasto.optim.clock import Clock
from impasto.optim.memory import Plan
from impasto.optim.multiscale import Here, descend
from impasto.optim.schedule import Scale
from impasto.optim.steps import Step
from impasto.settings.options import AudioOptions, DescentOptions, SoundOptions, SoundTextureOptions

SoundLike = str | PathLike[str] | Sound

#: How loud sounds are while they are worked on, as the root mean square of their samples: room is left for peaks.
LEVEL = 0.1
#: Textures are made of multiples of so many samples.
ROUND = 8 * HOP
#: Seconds over which the ends of a result are faded, so that they do not click.
FADE = 0.005
#: Bytes of the content's features that are kept rather than computed anew in every evaluation.
KEPT = 256 << 20
#: Bytes that evaluating takes per frame of a chunk, and that all takes per sample of the whole.
TAKEN, HELD = 400_000, 30 * 4


@dataclass(frozen=True, eq=False)
class SoundTask(Here):
    """What is optimised; see `descent.Operation`.

    Attributes:
        content, style: `(c, t)`, as loud as `LEVEL`; no content for textures.
        loudness: the level of the result.
        channels: of the result.
    """

    options: SoundOptions
    encoder: Encoder
    content: Tensor | None
    style: Tensor
    content_weight: float
    style_weight: float
    loudness: float
    size: tuple[int, int]
    pictures: Mapping[str, str]

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.encoder.window.device

    def plan(self, scale: Scale, options: DescentOptions) -> Plan:
        """Chunks of as many samples as the memory there is allows."""
        budget = memory.budget(options.memory, self.device)
        left = budget - HELD * scale.width
        least = 4 * (self.encoder.reach + 1)
        frames = min(int(left / TAKEN), self.encoder.frames(scale.width))
        if frames < min(least, self.encoder.frames(scale.width)):
            needed = (HELD * scale.width + least * TAKEN) / 1e9
            raise BudgetError(
                f"{scale.width / self.options.sample_rate:.0f} s take {needed:.2f} GB at least; "
                "give more with --memory, or a shorter sound"
            )
        return Plan(frames * HOP, options.optimizer, options.history, True, HELD * scale.width + frames * TAKEN)

    def objective_at(self, scale: Scale, plan: Plan) -> Objective:
        """The objective, its targets measured on content and style."""
        most = max(1, plan.window // HOP)
        content_weights = {}
        if self.content is not None and self.content_weight:
            energies = self._energies(self.content, most)
            brief = {layer.name for layer in self.encoder.layers if layer.pool == 1}  # long ones blur what is when
            content_weights = {
                layer: self.content_weight / len(brief) * CONTENT_NORMS["relative"](count, energy)
                for layer, (count, energy) in energies.items()
                if layer in brief
            }
        parts = self._styles(most) if self.style_weight else []
        content, marks = self.content if content_weights else None, self._chunks(self.hears, scale.width, most)
        kept = {}
        size = 4 * self.encoder.frames(scale.width) * sum(len(layer.weight) for layer in self.encoder.layers)
        if content is not None and size * len(content) <= KEPT:
            with torch.no_grad():
                kept = {(marks[chunk], layer): found for chunk, layer, found in listen(self.encoder, content, marks)}
        return Objective(self.hears, parts, content, content_weights, marks, kept)

    @property
    def hears(self) -> Encoder:
        """What listens to the result: a texture goes on at its beginning, so that its ends are as any other place."""
        return dataclasses.replace(self.encoder, wraps=self.content is None)

    def finish(self, canvas: Tensor) -> Sound:
        """The sound of a canvas: as loud as it is to be, without clipping, its ends faded."""
        samples = samples_of(canvas)[:, : self.size[1]].clone()
        samples *= self.loudness / max(samples.square().mean().sqrt().item(), 1e-9)
        samples /= max(1.0, samples.abs().max().item() / 0.999)
        count = min(round(FADE * self.options.sample_rate), samples.shape[1] // 2)
        ramp = torch.linspace(0, 1, count)
        if self.content is None:  # a content has ends of its own
            samples[:, :count] *= ramp
            samples[:, samples.shape[1] - count :] *= ramp.flip(0)
        return Sound(samples, self.options.sample_rate)

    def _chunks(self, encoder: Encoder, samples: int, most: int) -> list[Chunk]:
        return chunks(encoder.positions(samples), most, encoder.stride)

    def _energies(self, samples: Tensor, most: int) -> dict[str, tuple[int, float]]:
        """Layer -> how many numbers its features are, and the mean of their squares."""
        found: dict[str, tuple[int, float]] = {}
        with torch.no_grad():
            for _, layer, features in listen(
                self.encoder, samples, self._chunks(self.encoder, samples.shape[1], most)
            ):
                count, total = found.get(layer, (0, 0.0))
                found[layer] = (count + features.numel(), total + features.square().sum().item())
        return {layer: (count, total / count) for layer, (count, total) in found.items()}

    def _styles(self, most: int) -> list[Style]:
        sums: dict[str, Sums] = {}
        statistics = {
            layer.name: STATISTICS[self.options.statistic](None, self.options.seed) for layer in self.encoder.layers
        }
        with torch.no_grad():
            for _, name, features in listen(
                self.encoder, self.style, self._chunks(self.encoder, self.style.shape[1], most)
            ):
                part = statistics[name].phi.sums(features, None)
                sums[name] = sums[name] + part if name in sums else part
        terms = []
        for layer in self.encoder.layers:
            statistic, target = statistics[layer.name], sums[layer.name].mean
            distance = statistic.distance_to(target)
            scale = STYLE_NORMS["relative"](distance, target, len(layer.weight))
            weight = self.style_weight / len(self.encoder.layers) * scale
            terms.append(Style(layer.name, statistic.phi, distance, weight))
        return terms


def stylize(content: SoundLike, style: SoundLike, options: AudioOptions | None = None) -> Sound:
    """The content of one sound in the texture of another (Ulyanov & Lebedev 2016).

    Args:
        content: a file, or a sound.
        style: likewise.
        options: see `AudioOptions`.

    Returns:
        As long and as loud as the content, at `options.sample_rate`.

    Raises:
        SoundError: a file that is missing, damaged, silent or too short.
        BudgetError: too little memory.
    """
    (last,) = deque(iterate(content, style, options), maxlen=1)
    return result_of(last)


def texture(style: SoundLike, options: SoundTextureOptions | None = None) -> Sound:
    """A texture of a sound, of any length, from noise. Arguments and errors are as for `stylize`."""
    (last,) = deque(iterate_texture(style, options), maxlen=1)
    return result_of(last)


def result_of(step: Step) -> Sound:
    """The sound of a step."""
    found = step.finish(step.image.cpu())
    assert isinstance(found, Sound)
    return found


def iterate(
    content: SoundLike,
    style: SoundLike,
    options: AudioOptions | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Step]:
    """The steps of `stylize`, as they come; their images are canvases of samples."""
    started, options = time.monotonic(), options or AudioOptions()
    one = _prepared(content, "the content", options)
    two = _prepared(style, "the style", options)
    start = (
        one.samples
        if options.init == "content"
        else _noise((one.samples.shape[0], one.samples.shape[1]), two.samples, options.seed)
    )
    return _iterate(options, one, two, start, options.weight_of_style, checkpoints, started)


def iterate_texture(
    style: SoundLike, options: SoundTextureOptions | None = None, checkpoints: Checkpoints | None = None
) -> Iterator[Step]:
    """The steps of `texture`, as they come."""
    started, options = time.monotonic(), options or SoundTextureOptions()
    given = _prepared(style, "the sound", options)
    length = given.samples.shape[1] if options.seconds is None else round(options.seconds * options.sample_rate)
    whole = -(-length // ROUND) * ROUND  # it is made to go on at its beginning, and cut where it is to end
    start = _noise((given.samples.shape[0], whole), given.samples, options.seed)
    return _iterate(options, None, given, start, 1.0, checkpoints, started, length)


def _iterate(
    options: SoundOptions,
    content: Sound | None,
    style: Sound,
    start: Tensor,
    style_weight: float,
    checkpoints: Checkpoints | None,
    started: float,
    length: int | None = None,
) -> Iterator[Step]:
    device = choose_device(options.device)
    shortest = min(style.samples.shape[1], start.shape[1])
    hears = encoder(options.encoder, options.seed, device, options.sample_rate).within(shortest)
    hears = hears.fitted(_leveled(style).to(device))
    least = (hears.reach + 1) * HOP
    for what, samples in (("the style", style.samples), ("the result", start)):
        if samples.shape[1] < least:
            raise SoundError(
                f"{what} lasts {samples.shape[1] / options.sample_rate:.2f} s; the encoder {options.encoder!r} needs "
                f"{least / options.sample_rate:.2f} s at least"
            )
    like = content or style
    given = {"content": None if content is None else content.samples, "style": style.samples}
    task = SoundTask(
        options,
        hears,
        None if content is None else _leveled(content).to(device),
        _leveled(style).to(device),
        getattr(options, "content_weight", 0.0),
        style_weight,
        like.level,
        (1, length or start.shape[1]),
        hashes(given) if checkpoints else {},
    )
    scales = (Scale(1, start.shape[1], options.iterations),)
    begin = canvas_of(start * (LEVEL / max(start.square().mean().sqrt().item(), 1e-9)))[0]
    return descend(task, options, scales, begin.to(device), Clock(started, options.time_budget, scales), checkpoints)


def _prepared(given: SoundLike, what: str, options: SoundOptions) -> Sound:
    sound = sounds.read(given, what).at(options.sample_rate)
    if sound.samples.shape[1] <= WINDOW:
        raise SoundError(f"{what} has {sound.samples.shape[1]} samples; needed are more than {WINDOW}")
    return sound


def _leveled(sound: Sound) -> Tensor:
    """Its samples, as loud as sounds are worked on."""
    return sound.samples * (LEVEL / max(sound.level, 1e-9))


def _noise(shape: tuple[int, int], like: Tensor, seed: int) -> Tensor:
    """Noise with the average spectrum of a sound `(c, t)`: of white noise the highs would be heard to the end."""
    _, power = scipy.signal.welch(like.mean(0).numpy(), nperseg=WINDOW)
    white = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    spectrum = torch.fft.rfft(white)
    magnitude = torch.from_numpy(power).float().sqrt()[None, None]
    shaped = F.interpolate(magnitude, spectrum.shape[-1], mode="linear", align_corners=True)[0]
    noise = torch.fft.irfft(spectrum * shaped, shape[-1])
    return noise * (LEVEL / max(noise.square().mean().sqrt().item(), 1e-12))
