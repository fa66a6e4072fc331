"""Clips: how steady, how near to the painting, how fast; against the same frames painted one by one.

    python -m benchmarks.moving CLIP PAINTING -o FOLDER [--size 256] [--frames 8] [--fast] [--flow FOLDER]

Temporal error: each frame less the one before, moved along the flow of the *source* (given as .flo files, or
estimated), squared, over the pixels that can be followed; the mean over frames. Blur would win, so the style loss
(Gram matrices at relu1_1 to relu5_1, relative to the painting's) stands beside it, and the source's own error below.
Writes a sheet of consecutive frames, both ways, to FOLDER/sheet.png.
"""

import argparse
import dataclasses
import statistics
import time
from itertools import islice, pairwise
from pathlib import Path

import torch

from impasto import images, video
from impasto.images import Picture
from impasto.images.sheets import contact_sheet
from impasto.losses import statistics as features
from impasto.settings.options import STYLE_LAYERS, VideoOptions
from impasto.vgg import weights
from impasto.video import clips, flow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("painting")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--skip", type=int, default=0, help="frames of the clip to pass over")
    parser.add_argument("--fast", action="store_true")
    parser.add_argument("--flow", type=Path, help="folder of forward_1_2.flo, backward_2_1.flo and so on")
    given = parser.parse_args()
    source = given.output / "source"
    source.mkdir(parents=True, exist_ok=True)
    for old in source.iterdir():
        old.unlink()
    frames = islice(clips.frames(clips.open_clip(given.clip)), given.skip, given.skip + given.frames)
    for number, frame in enumerate(frames, start=1):
        images.write(source / f"{number:04}.png", Picture(frame.image))
    options = VideoOptions(
        size=given.size, fast=given.fast, flow=None if given.flow is None else str(given.flow.absolute())
    )
    together, paces = paint(source, given.painting, given.output / "together.mp4", options)
    apart = []
    for path in clips.pictures_in(source):
        alone = given.output / "alone" / path.stem
        alone.mkdir(parents=True, exist_ok=True)
        images.write(alone / path.name, images.read(path))
        shots, _ = paint(alone, given.painting, given.output / "alone.gif", dataclasses.replace(options, flow=None))
        apart += shots
    photos = [images.resize(images.read(path).rgb, *together[0].size) for path in clips.pictures_in(source)]
    judge = style_judge(given.painting, together[0].size)
    ways = {"together": together, "frame by frame": apart, "the source itself": [Picture(photo) for photo in photos]}
    errors = {name: temporal(shots, photos, options) for name, shots in ways.items()}
    for name, shots in ways.items():
        style = statistics.median(judge(shot) for shot in shots)
        print(f"{name:18} temporal error {errors[name]:.6f}  style loss {style:.4f}")
    print(f"together is {errors['together'] / errors['frame by frame']:.2f} of frame by frame")
    later = statistics.median(paces[1:]) if len(paces) > 1 else float("nan")
    print(f"{given.size} px: first frame {paces[0]:.1f} s, later frames {later:.2f} s")
    shown = [
        ("" if row else f"frame {n}", shot)
        for row, shots in enumerate(ways.values())
        for n, shot in enumerate(shots, 1)
    ]
    images.write(given.output / "sheet.png", contact_sheet(shown, len(photos), 256))


def paint(clip: Path, painting: str, output: Path, options: VideoOptions) -> tuple[list[Picture], list[float]]:
    """The frames, and the seconds that each took."""
    begun, shots, marks = time.perf_counter(), [], []
    for shot in video.iterate(clip, painting, output, options):
        shots.append(shot.picture)
        marks.append(time.perf_counter())
    return shots, [later - sooner for sooner, later in pairwise([begun, *marks])]


def temporal(shots: list[Picture], photos: list[torch.Tensor], options: VideoOptions) -> float:
    found = []
    for number, ((one, two), (before, after)) in enumerate(zip(pairwise(shots), pairwise(photos), strict=True), 1):
        if options.flow is None:
            back, forth = flow.between(after, before), flow.between(before, after)
        else:
            folder, size = Path(options.flow), after.shape[-2:]
            back = flow.read(folder / f"backward_{number + 1}_{number}.flo", *size)
            forth = flow.read(folder / f"forward_{number}_{number + 1}.flo", *size)
        trust = flow.trust(back, forth)
        error = (two.rgb - flow.warp(one.rgb, back)).square().mean(0)
        found.append(((error * trust).sum() / trust.sum()).item())
    return statistics.mean(found)


def style_judge(painting: str, size: tuple[int, int]):
    encoder = weights.load("vgg19", padding="replicate")
    picture = images.read(painting)
    target = picture.resized(*images.fit_area(picture.size, min(size[0] * size[1], picture.size[0] * picture.size[1])))

    def grams(given: Picture) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            seen = encoder(given.rgb[None], list(STYLE_LAYERS))
        return {layer: features.gram(seen[layer][0].flatten(1)).mean for layer in STYLE_LAYERS}

    wanted = grams(target)

    def judge(given: Picture) -> float:
        found = grams(given)
        return sum(
            weight * ((found[layer] - wanted[layer]).square().sum() / wanted[layer].square().sum()).item()
            for layer, weight in STYLE_LAYERS.items()
        )

    return judge


if __name__ == "__main__":
    main()
