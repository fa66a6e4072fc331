"""Sound: how near, how fast, what it looks like, for each encoder.

    python -m benchmarks.sounding CONTENT STYLE -o FOLDER [--seconds 10] [--encoders stacked wide]

Gives CONTENT the texture of STYLE and makes a texture of STYLE, writes the sounds and their spectrograms side by side
(FOLDER/spectrograms.png), and prints seconds of work per second of sound, the distance of the statistics from the
style's as a part of what it was at the start, and how well rhythm survives: how the loudness repeats itself after 0.1
to 2 s, correlated with how the style's does. Both encoders are judged by one they do not share filters with.
"""

import argparse
import time
from collections import deque
from pathlib import Path

import numpy as np
import torch

from impasto import audio
from impasto.audio import encoder, sounds
from impasto.audio.encoder import BINS, HOP, WINDOW, Bank, Encoder, Layer
from impasto.audio.transfer import result_of
from impasto.plots import plot_spectrograms
from impasto.settings.options import AudioOptions, SoundTextureOptions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("content")
    parser.add_argument("style")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--encoders", nargs="*", default=list(encoder.ENCODERS))
    parser.add_argument("--iterations", type=int, help="by default those of each operation")
    given = parser.parse_args()
    few = {} if given.iterations is None else {"iterations": given.iterations}
    given.output.mkdir(parents=True, exist_ok=True)
    content, style = (cut(sounds.read(path).at(22050), given.seconds) for path in (given.content, given.style))
    shown = [("content", content), ("style", style)]
    judge = judge_of(style)
    for name in given.encoders:
        for kind in ("audio", "texture"):
            begun = time.perf_counter()
            if kind == "audio":
                steps = audio.iterate(content, style, AudioOptions(encoder=name, **few))
            else:
                steps = audio.iterate_texture(style, SoundTextureOptions(encoder=name, seconds=given.seconds, **few))
            first = next(steps)
            (last,) = deque(steps, maxlen=1)
            seconds = time.perf_counter() - begun
            made = result_of(last)
            sounds.write(given.output / f"{kind}-{name}.wav", made)
            shown.append((f"{kind}, {name}", made))
            start = content if kind == "audio" else result_of(first)
            print(
                f"{kind:8} {name:8} {seconds / made.seconds:5.2f} s per second of sound, "
                f"{last.evaluations} evaluations; loss {last.loss / first.loss:.4f} of the start's, "
                f"judged apart {judge(made) / judge(start):.3f}; "
                f"rhythm {rhythm(made, style):.2f} (content's own {rhythm(content, style):.2f})"
            )
    plot_spectrograms(given.output / "spectrograms.png", shown)


def cut(sound: sounds.Sound, seconds: float) -> sounds.Sound:
    return sounds.Sound(sound.samples[:, : round(seconds * sound.rate)], sound.rate)


def judge_of(style: sounds.Sound):
    """Distance of Gram matrices under filters of another seed and width, relative to the style's."""
    generator = torch.Generator().manual_seed(99)
    width, filters = 7, 1024
    weight = (2 / ((BINS + filters) * width)) ** 0.5 * torch.randn(filters, BINS, width, generator=generator)
    level = style.level

    def gram(sound: sounds.Sound) -> torch.Tensor:
        samples = sound.samples * (level / sound.level)
        with torch.no_grad():
            features = next(iter(hears(hears.pad(samples)).values())).transpose(0, 1).flatten(1)
            return features @ features.T / features.shape[1]

    hears = Encoder((Layer("judge", 0, weight, 1),), (Bank(None),)).fitted(style.samples)
    target = gram(style)
    return lambda sound: ((gram(sound) - target).square().sum() / target.square().sum()).item()


def rhythm(one: sounds.Sound, two: sounds.Sound) -> float:
    def repeats(sound: sounds.Sound) -> np.ndarray:
        frames = sound.samples.mean(0).unfold(0, WINDOW // 2, HOP // 2)
        loud = frames.square().mean(1).sqrt().log1p().numpy()
        loud = np.maximum(np.diff(loud), 0)
        loud = loud - loud.mean()
        whole = np.correlate(loud, loud, "full")[len(loud) - 1 :]
        pace = sound.rate / (HOP // 2)
        return whole[round(0.1 * pace) : round(2 * pace)] / max(whole[0], 1e-12)

    return float(np.corrcoef(repeats(one), repeats(two))[0, 1])


if __name__ == "__main__":
    main()
