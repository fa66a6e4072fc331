"""Texture synthesis: a picture of any size, made from noise, with a painting's feature statistics everywhere."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Unpack

import torch
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT, choose_device
from impasto.images import Picture, PictureLike, color
from impasto.inputs import masks
from impasto.inputs.checks import check_regions
from impasto.inputs.memo import Memo
from impasto.inputs.read import read_styles
from impasto.isolation import isolated
from impasto.losses.targets import nonzero
from impasto.operations.problem import PictureProblem, load_encoder
from impasto.optim import memory, schedule
from impasto.optim.checkpoints import Checkpoints, hashes
from impasto.optim.multiscale import noise, optimize_scales
from impasto.optim.problem import LocalExecution
from impasto.optim.steps import Step
from impasto.presets import options_from
from impasto.progress import ProgressOption, last_step
from impasto.settings.keywords import TextureKeywords
from impasto.settings.options import TextureOptions


def texture(
    styles: PictureLike | Sequence[PictureLike],
    options: TextureOptions | None = None,
    *,
    progress: ProgressOption = False,
    **changes: Unpack[TextureKeywords],
) -> Picture:
    """A texture of `styles` (Gatys, Ecker & Bethge, "Texture synthesis using CNNs", NeurIPS 2015).

    Args:
        styles: as in `stylize`: one picture, or a sequence whose textures are blended.
        options: see `TextureOptions`.
        progress, changes: as in `stylize`.

    Returns:
        A picture of `options.size`; with `options.seamless`, one that can be tiled.

    Raises:
        ValueError, PictureError, WeightsError, BudgetError: see `stylize`.
    """
    return last_step(
        lambda notify: iterate_texture(styles, options, memo=Memo(0).notifying(notify), **changes), progress
    ).picture


@isolated
def iterate_texture(
    styles: PictureLike | Sequence[PictureLike],
    options: TextureOptions | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    memo: Memo | None = None,
    **changes: Unpack[TextureKeywords],
) -> Iterator[Step]:
    """The steps of `texture`, as they come; errors in the arguments are raised before the first.

    For `checkpoints`, see `iterate`. With a `memo`, runs share the network and the paintings that they read.
    """
    started = time.monotonic()
    options = options_from(TextureOptions, options, changes)
    memo = Memo(0) if memo is None else memo
    device = choose_device(options.device)
    width, height = options.size
    memory.check_possible((height, width), device, options.memory, "the texture")
    layers = nonzero(options.resolved_style_layers)
    encoder = load_encoder(options, memo)
    encoder.check_layers(options.resolved_style_layers)
    encoder.check_size(height, width, layers, "the texture")
    scales = schedule.plan(height, width, options.iterations, options.scales)
    if options.seamless:
        encoder = dataclasses.replace(encoder, padding="circular")
        scales = schedule.rounded(scales, max(map(encoder.stride, layers)))
    paintings = read_styles(styles, height * width * max(options.style_scale) ** 2, memo)
    blank = Picture(torch.zeros(3, height, width, **CPU_FLOAT))
    (region,), _ = masks.assign(blank, paintings, options.style_weights, {}, options.style_mask)
    check_regions((region,), encoder, layers, scales, options)
    # In the colours of the style, which the optimiser then need not find.
    start = color.recolor(noise(scales[0].height, scales[0].width, options.seed, 0.1), (region,), "covariance")

    def finish(image: Tensor) -> Picture:
        return Picture(images.resize(image, height, width, options.seamless))

    given: dict[str, Tensor | None] = {
        f"style {number}": painting.rgb for number, (_, painting) in enumerate(paintings, start=1)
    }
    given |= {f"mask over {source.name}": source.mask for source in region.sources}
    problem = PictureProblem(
        encoder=encoder.up_to(layers).to(device),
        options=options,
        size=(height, width),
        scales=scales,
        finish=finish,
        regions=(region,),
        style_layers=layers,
        wraps=options.seamless,
        input_hashes=hashes(given) if checkpoints else {},
    )
    return optimize_scales(LocalExecution(problem), start.to(device), started, checkpoints)
