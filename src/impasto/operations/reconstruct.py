"""Reconstructions: what a layer knows of a picture, found by making another that looks the same to it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from torch import Tensor

from impasto import images
from impasto.devices import choose_device
from impasto.images import Picture, PictureLike, regions
from impasto.inputs import masks
from impasto.inputs.read import read_content
from impasto.losses.objective import Objective
from impasto.losses.targets import content_terms, look_at, style_terms, weighed
from impasto.optim import memory, schedule
from impasto.optim.checkpoints import Checkpoints, hashes
from impasto.optim.clock import Clock
from impasto.optim.memory import Plan
from impasto.optim.multiscale import Task, descend, noise
from impasto.optim.schedule import Scale
from impasto.optim.steps import Step
from impasto.settings.options import ReconstructOptions
from impasto.vgg import weights
from impasto.vgg.tiling import divide


def reconstruct(picture: PictureLike, options: ReconstructOptions | None = None) -> Picture:
    """A picture made from noise until it looks the same as `picture` to some layers.

    The same activations of a layer, position by position, reconstruct the content, the same statistics of
    several the style (figure 1 of Gatys, Ecker & Bethge, CVPR 2016; Mahendran & Vedaldi, arXiv 1412.0035).

    Args:
        picture: as the content of `stylize`.
        options: see `ReconstructOptions`.

    Raises:
        ValueError, PictureError, WeightsError: see `stylize`.
    """
    (last,) = deque(iterate_reconstruction(picture, options), maxlen=1)
    return last.picture


def iterate_reconstruction(
    picture: PictureLike,
    options: ReconstructOptions | None = None,
    checkpoints: Checkpoints | None = None,
) -> Iterator[Step]:
    """The steps of `reconstruct`, as they come; what is wrong with the arguments is raised before the first.

    For `checkpoints`, see `iterate`.
    """
    started = time.monotonic()
    options = options or ReconstructOptions()
    device = choose_device(options.device)
    original = read_content(picture, "the picture")
    size = original.size if options.size is None else images.fit(original.size, options.size)
    memory.check_possible(size, device, options.memory, "the picture")
    content, style = options.layers_of_content, options.layers_of_style
    encoder = weights.load(options.weights, options.pooling, options.padding, options.preprocessing)
    encoder.check_size(*size, {**content, **style}, "the picture")
    scales = schedule.plan(*size, options.iterations, options.scales)
    encoder = encoder.up_to({**content, **style}).to(device)
    start = noise(*size, options.seed)
    (part,), _ = masks.assign(original, [("the picture", original)], options.style_weights, {}, options.style_mask)
    part = regions.Region(None, part.sources)
    regions.check_regions((part,), encoder, style, scales, options)

    def objective_at(scale: Scale, plan: Plan) -> Objective:
        small = images.resize(original.rgb, scale.height, scale.width).to(device)[None]
        tiles = divide(encoder, {*content, *style}, scale.height, scale.width, plan.window)
        there = part.at(scale, options.style_scale, device)
        terms, _ = style_terms(
            encoder, there, style, options.style_norm, options.statistic, options.seed, window=plan.window
        )
        known = content_terms(look_at(encoder, small, content, tiles, plan.keeps), "relative")
        parts = (*weighed(known, content, 1.0), *weighed(terms, style, 1.0))
        return Objective(encoder, parts, options.total_variation, tiles=tiles, photo=small)

    def finish(image: Tensor) -> Picture:
        return Picture(images.resize(image, *size))

    given = {"picture": original.rgb, **{f"mask over {source.name}": source.where for source in part.sources}}
    pictures = hashes(given) if checkpoints else {}
    task = Task(encoder, content, style, objective_at, finish, size, pictures=pictures)
    clock = Clock(started, options.time_budget, scales)
    return descend(task, options, scales, start.to(device), clock, checkpoints)
