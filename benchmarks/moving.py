"""Video: temporal error, style loss and time, compared with the same frames stylised independently.

    python -m benchmarks.moving CLIP PAINTING -o FOLDER [--size 256] [--frames 8] [--fast] [--flow FOLDER]

The temporal error is the mean squared difference between a frame and the one before, warped along the flow of the
*source* (from .flo files, or estimated), over the pixels with reliable flow; the mean over frames. Blur would lower it,
so the style loss (Gram matrices at relu1_1 to relu5_1, relative to the painting's) is printed beside it, and the error
of the source below. A contact sheet of consecutive frames goes to FOLDER/sheet.png.
"""

import argparse
import dataclasses
import statistics
import time
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import torch

from impasto import images, video
from impasto.images import Picture
from impasto.images.sheets import contact_sheet
from impasto.inputs.read import read_styles
from impasto.losses.statistics import gram
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
    parser.add_argument("--skip", type=int, default=0, help="leave out so many frames at the beginning")
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
    together, seconds = stylize(source, given.painting, given.output / "together.mp4", options)
    independent = []
    for path in clips.pictures_in(source):
        alone = given.output / "alone" / path.stem
        alone.mkdir(parents=True, exist_ok=True)
        images.write(alone / path.name, images.read(path))
        without_flow = dataclasses.replace(options, flow=None)
        independent += stylize(alone, given.painting, given.output / "alone.gif", without_flow)[0]
    photos = [images.resize(images.read(path).rgb, *together[0].shape) for path in clips.pictures_in(source)]
    style_loss = style_loss_of(given.painting, together[0].shape)
    results = {"together": together, "frame by frame": independent, "the source itself": [*map(Picture, photos)]}
    errors = {name: temporal_error(frames, photos, options) for name, frames in results.items()}
    for name, frames in results.items():
        style = statistics.median(map(style_loss, frames))
        print(f"{name:18} temporal error {errors[name]:.6f}  style loss {style:.4f}")
    print(f"together is {errors['together'] / errors['frame by frame']:.2f} of frame by frame")
    later = statistics.median(seconds[1:]) if len(seconds) > 1 else float("nan")
    print(f"{given.size} px: first frame {seconds[0]:.1f} s, later frames {later:.2f} s")
    cells = [
        ("" if row else f"frame {number}", frame)
        for row, frames in enumerate(results.values())
        for number, frame in enumerate(frames, 1)
    ]
    images.write(given.output / "sheet.png", contact_sheet(cells, len(photos), 256))


def stylize(clip: Path, painting: str, output: Path, options: VideoOptions) -> tuple[list[Picture], list[float]]:
    """The frames, and the seconds that each took."""
    pictures, times = [], [time.perf_counter()]
    for frame in video.iterate(clip, painting, output, options):
        pictures.append(frame.picture)
        times.append(time.perf_counter())
    return pictures, [end - start for start, end in pairwise(times)]


def temporal_error(frames: list[Picture], photos: list[torch.Tensor], options: VideoOptions) -> float:
    found = []
    for number, ((one, two), (before, after)) in enumerate(zip(pairwise(frames), pairwise(photos), strict=True), 1):
        if options.flow is None:
            backward, forward = flow.estimate(after, before), flow.estimate(before, after)
        else:
            folder, size = Path(options.flow), after.shape[-2:]
            backward = flow.read(folder / f"backward_{number + 1}_{number}.flo", *size)
            forward = flow.read(folder / f"forward_{number}_{number + 1}.flo", *size)
        reliable = flow.reliability(backward, forward)
        error = (two.rgb - flow.warp(one.rgb, backward)).square().mean(0)
        found.append(((error * reliable).sum() / reliable.sum()).item())
    return statistics.mean(found)


def style_loss_of(painting: str, size: tuple[int, int]) -> Callable[[Picture], float]:
    encoder = weights.load("vgg19", padding="replicate")
    ((_, picture),) = read_styles(painting, size[0] * size[1])
    target = picture.resized(
        *images.fit_area(picture.shape, min(size[0] * size[1], picture.shape[0] * picture.shape[1]))
    )

    def grams(given: Picture) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            features = encoder(given.rgb[None], list(STYLE_LAYERS))
        return {layer: gram(features[layer][0].flatten(1)).mean for layer in STYLE_LAYERS}

    target_grams = grams(target)

    def style_loss(given: Picture) -> float:
        found = grams(given)
        return sum(
            weight * ((found[layer] - target_grams[layer]).square().sum() / target_grams[layer].square().sum()).item()
            for layer, weight in STYLE_LAYERS.items()
        )

    return style_loss


if __name__ == "__main__":
    main()
