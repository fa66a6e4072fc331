"""Quality and speed of sound style transfer and texture synthesis, for each encoder.

    python -m benchmarks.sounding CONTENT STYLE -o FOLDER [--seconds 10] [--encoders stacked wide]

Transfers the texture of STYLE to CONTENT, synthesises a texture of STYLE, and writes the sounds and their spectrograms
(FOLDER/spectrograms.png). For each result, prints:

- seconds of computation per second of sound;
- the final loss relative to the first;
- the held-out loss: the distance of Gram matrices to the style's, under filters of another seed and width, relative to
  that of the start;
- rhythm: the correlation of the autocorrelations of loudness, at lags of 0.1 to 2 s, of the result and of the style.
"""

import argparse
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from impasto import audio
from impasto.audio import sounds
from impasto.audio.encoder import BINS, ENCODERS, HOP, WINDOW, FilterBank, SoundEncoder, SoundLayer
from impasto.audio.sounds import Sound
from impasto.audio.transfer import result_of
from impasto.plots import plot_spectrograms
from impasto.settings.options import AudioOptions, SoundTextureOptions

RATE = 22050


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10, help="length of the excerpts and of the results")
    parser.add_argument("--encoders", nargs="*", default=list(ENCODERS))
    parser.add_argument("--iterations", type=int, help="evaluations; by default those of each operation")
    args = parser.parse_args()
    overrides = {} if args.iterations is None else {"iterations": args.iterations}
    args.output.mkdir(parents=True, exist_ok=True)
    content, style = (excerpt(sounds.read(path).at(RATE), args.seconds) for path in (args.content, args.style))
    plotted = [("content", content), ("style", style)]
    loss = held_out_loss(style)
    for name in args.encoders:
        for operation in ("audio", "texture"):
            begin = time.perf_counter()
            if operation == "audio":
                steps = audio.iterate(content, style, AudioOptions(encoder=name, **overrides))
            else:
                options = SoundTextureOptions(encoder=name, seconds=args.seconds, **overrides)
                steps = audio.iterate_texture(style, options)
            first = next(steps)
            start = content if operation == "audio" else result_of(first)
            last = (deque(steps, maxlen=1) or [first])[0]
            seconds = time.perf_counter() - begin
            result = result_of(last)
            sounds.write(args.output / f"{operation}-{name}.wav", result)
            plotted.append((f"{operation}, {name}", result))
            print(
                f"{operation:8} {name:8} {seconds / result.seconds:5.2f} s per second of sound, "
                f"{last.evaluations} evaluations; loss {last.loss / first.loss:.4f} of the first, "
                f"held-out loss {loss(result) / loss(start):.3f}; "
                f"rhythm {rhythm_correlation(result, style):.2f} (content: {rhythm_correlation(content, style):.2f})",
                flush=True,
            )
    plot_spectrograms(args.output / "spectrograms.png", plotted)


def excerpt(sound: Sound, seconds: float) -> Sound:
    return Sound(sound.samples[:, : round(seconds * sound.rate)], sound.rate)


def held_out_loss(style: Sound) -> Callable[[Sound], float]:
    """The distance of Gram matrices to the style's, relative to the latter, under filters that no encoder uses."""
    generator = torch.Generator().manual_seed(99)
    width, filters = 7, 1024
    weight = (2 / ((BINS + filters) * width)) ** 0.5 * torch.randn(filters, BINS, width, generator=generator)
    layer = SoundLayer("held-out", 0, weight, 1)
    encoder = SoundEncoder((layer,), (FilterBank(None),)).fitted(style.samples)

    @torch.no_grad()
    def gram(sound: Sound) -> torch.Tensor:
        samples = encoder.pad(sound.samples * (style.level / sound.level))
        features = encoder.features(samples[None, :, None], {layer.name})[layer.name][0].flatten(1)
        return features @ features.T / features.shape[1]

    target = gram(style)
    return lambda sound: ((gram(sound) - target).square().sum() / target.square().sum()).item()


def rhythm_correlation(one: Sound, two: Sound) -> float:
    def autocorrelation(sound: Sound) -> np.ndarray:
        frames = sound.samples.mean(0).unfold(0, WINDOW // 2, HOP // 2)
        loudness = frames.square().mean(1).sqrt().log1p().numpy()
        onsets = np.maximum(np.diff(loudness), 0)
        onsets = onsets - onsets.mean()
        correlation = np.correlate(onsets, onsets, "full")[len(onsets) - 1 :]
        rate = sound.rate / (HOP // 2)
        return correlation[round(0.1 * rate) : round(2 * rate)] / max(correlation[0], 1e-12)

    return float(np.corrcoef(autocorrelation(one), autocorrelation(two))[0, 1])


if __name__ == "__main__":
    main()
