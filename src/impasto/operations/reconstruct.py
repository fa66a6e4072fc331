"""Reconstructions: what a layer knows of a picture, shown by another picture with the same features."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Unpack

from torch import Tensor

from impasto import images
from impasto.devices import choose_device
from impasto.images import Picture, PictureLike
from impasto.images.regions import Region
from impasto.inputs import masks
from impasto.inputs.checks import check_regions
from impasto.inputs.memo import Memo
from impasto.inputs.read import read_content
from impasto.isolation import isolated
from impasto.losses.targets import nonzero
from impasto.operations.problem import ContentTarget, PictureProblem, load_encoder
from impasto.optim import memory, schedule
from impasto.optim.checkpoints import Checkpoints, hashes
from impasto.optim.multiscale import noise, optimize_scales
from impasto.optim.problem import LocalExecution
from impasto.optim.steps import Step
from impasto.presets import options_from
from impasto.progress import ProgressOption, last_step
from impasto.settings.keywords import ReconstructKeywords
from impasto.settings.options import ReconstructOptions


def reconstruct(
    picture: PictureLike,
    options: ReconstructOptions | None = None,
    *,
    progress: ProgressOption = False,
    **changes: Unpack[ReconstructKeywords],
) -> Picture:
    """A picture optimised from noise until some layers see in it what they see in `picture`.

    Equal activations of a layer, position by position, reconstruct the content, equal statistics of several layers the
    style (figure 1 of Gatys, Ecker & Bethge, CVPR 2016; Mahendran & Vedaldi, arXiv 1412.0035).

    Args:
        picture: as the content of `stylize`.
        options: see `ReconstructOptions`.
        progress, changes: as in `stylize`.

    Raises:
        ValueError, PictureError, WeightsError, BudgetError: see `stylize`.
    """
    return last_step(
        lambda notify: iterate_reconstruction(picture, options, memo=Memo(0).notifying(notify), **changes), progress
    ).picture


@isolated
def iterate_reconstruction(
    picture: PictureLike,
    options: ReconstructOptions | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    memo: Memo | None = None,
    **changes: Unpack[ReconstructKeywords],
) -> Iterator[Step]:
    """The steps of `reconstruct`, as they come; errors in the arguments are raised before the first.

    For `checkpoints`, see `iterate`. With a `memo`, runs share the network.
    """
    started = time.monotonic()
    options = options_from(ReconstructOptions, options, changes)
    memo = Memo(0) if memo is None else memo
    device = choose_device(options.device)
    original = read_content(picture, "the picture", options.size)
    size = original.shape if options.size is None else images.fit(original.shape, options.size)
    memory.check_possible(size, device, options.memory, "the picture")
    content, style = nonzero(options.resolved_content_layers), nonzero(options.resolved_style_layers)
    taps = {**content, **style}
    encoder = load_encoder(options, memo)
    encoder.check_layers({**options.resolved_content_layers, **options.resolved_style_layers})
    encoder.check_size(*size, taps, "the picture")
    scales = schedule.plan(*size, options.iterations, options.scales)
    start = noise(*size, options.seed)
    (masked,), _ = masks.assign(original, [("the picture", original)], options.style_weights, {}, options.style_mask)
    region = Region(None, masked.sources)
    check_regions((region,), encoder, style, scales, options)

    def finish(image: Tensor) -> Picture:
        return Picture(images.resize(image, *size))

    given = {"picture": original.rgb, **{f"mask over {source.name}": source.mask for source in region.sources}}
    problem = PictureProblem(
        encoder=encoder.up_to(taps).to(device),
        options=options,
        size=size,
        scales=scales,
        finish=finish,
        regions=(region,),
        style_layers=style,
        content=ContentTarget(original.rgb, content),
        input_hashes=hashes(given) if checkpoints else {},
    )
    return optimize_scales(LocalExecution(problem), start.to(device), started, checkpoints)
