"""Texture synthesis: a picture of any size, made from noise, in which a painting's features are spread alike."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from impasto import images
from impasto.devices import choose_device
from impasto.images import Picture, PictureLike, color, regions
from impasto.inputs import masks
from impasto.inputs.read import read_styles
from impasto.losses.objective import Objective
from impasto.losses.targets import style_terms, weighed
from impasto.optim import memory, schedule
from impasto.optim.checkpoints import Checkpoints, hashes
from impasto.optim.clock import Clock
from impasto.optim.memory import Plan
from impasto.optim.multiscale import Task, descend, noise
from impasto.optim.schedule import Scale
from impasto.optim.steps import Step
from impasto.settings.options import TextureOptions
from impasto.vgg import weights
from impasto.vgg.tiling import divide


def texture(styles: PictureLike | Sequence[PictureLike], options: TextureOptions | None = None) -> Picture:
    """A texture of `styles` (Gatys, Ecker & Bethge, "Texture synthesis using CNNs", NeurIPS 2015).

    Args:
        styles: as in `stylize`: one picture, or a sequence whose textures are blended.
        options: see `TextureOptions`.

    Returns:
        A picture of `options.size`; with `options.seamless`, one that can be tiled.

    Raises:
        ValueError, PictureError, WeightsError: see `stylize`.
    """
    (last,) = deque(iterate_texture(styles, options), maxlen=1)
    return last.picture


def iterate_texture(
    styles: PictureLike | Sequence[PictureLike],
    options: TextureOptions | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Step]:
    """The steps of `texture`, as they come; what is wrong with the arguments is raised before the first.

    For `checkpoints`, see `iterate`.
    """
    started = time.monotonic()
    options = options or TextureOptions()
    device = choose_device(options.device)
    width, height = options.size
    largest = height * width * max(options.style_scale) ** 2
    memory.check_possible((height, width), device, options.memory, "the texture")
    layers = options.layers_of_style
    encoder = weights.load(options.weights, options.pooling, options.padding, options.preprocessing)
    encoder.check_size(height, width, layers, "the texture")
    scales = schedule.plan(height, width, options.iterations, options.scales)
    if options.seamless:
        encoder = dataclasses.replace(encoder, padding="circular")
    paintings = read_styles(styles, largest, {})
    blank = Picture(torch.zeros(3, height, width))
    (part,), _ = masks.assign(blank, paintings, options.style_weights, {}, options.style_mask)
    regions.check_regions((part,), encoder, layers, scales, options)
    # In the colours of the style, which the optimiser then need not look for.
    start = color.recolor(noise(scales[0].height, scales[0].width, options.seed, 0.1), (part,), "covariance")
    encoder = encoder.up_to(layers).to(device)

    def objective_at(scale: Scale, plan: Plan) -> Objective:
        there = part.at(scale, options.style_scale, device)
        tiles = divide(encoder, layers, scale.height, scale.width, plan.window)
        terms, _ = style_terms(
            encoder, there, layers, options.style_norm, options.statistic, options.seed, window=plan.window
        )
        return Objective(encoder, weighed(terms, layers, 1.0), options.total_variation, tiles=tiles)

    def finish(image: Tensor) -> Picture:
        return Picture(images.resize(image, height, width, options.seamless))

    given: dict[str, Tensor | None] = {
        f"style {number}": painting.rgb for number, (_, painting) in enumerate(paintings, start=1)
    }
    given |= {f"mask over {source.name}": source.where for source in part.sources}
    pictures = hashes(given) if checkpoints else {}
    size = (height, width)
    task = Task(encoder, (), layers, objective_at, finish, size, options.seamless, pictures=pictures)
    clock = Clock(started, options.time_budget, scales)
    return descend(task, options, scales, start.to(device), clock, checkpoints)
