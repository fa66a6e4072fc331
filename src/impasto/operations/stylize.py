"""The main operation: `iterate` repaints a picture step by step, `stylize` gives the last step's picture."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Unpack, get_args

import torch
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT, choose_device
from impasto.fast import stylizer
from impasto.files import StrPath
from impasto.images import Picture, PictureLike, color
from impasto.inputs.checks import check_regions
from impasto.inputs.memo import Memo, identity
from impasto.inputs.prepare import Inputs, palette, prepare_inputs
from impasto.inputs.read import BLANK, may_be_file, opened
from impasto.isolation import isolated
from impasto.losses.saliency import LAYER as SALIENCY_LAYER
from impasto.losses.saliency import saliency
from impasto.losses.targets import nonzero
from impasto.losses.terms import TemporalLoss
from impasto.operations import calibration
from impasto.operations.problem import ContentTarget, PictureProblem, load_encoder
from impasto.optim import schedule
from impasto.optim.checkpoints import Checkpoints, hashes
from impasto.optim.multiscale import noise, optimize_scales
from impasto.optim.problem import LocalExecution
from impasto.optim.steps import Step, single_step
from impasto.presets import options_from
from impasto.progress import ProgressOption, last_step
from impasto.settings.choices import Init
from impasto.settings.fields import unknown
from impasto.settings.keywords import StylizeKeywords
from impasto.settings.options import StyleLossOptions, StylizeOptions


def stylize(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
    *,
    progress: ProgressOption = False,
    **changes: Unpack[StylizeKeywords],
) -> Picture:
    """`content` repainted in the manner of `styles` (Gatys, Ecker & Bethge, CVPR 2016).

    Args:
        content: a path, PIL picture, array or tensor (see `images.read` for shapes and ranges), or the name of
            a photo of `inputs.photos.PHOTOS`.
        styles: the same, or the name of a built-in style; one, or a sequence of them.
        options: see `StylizeOptions`; `preset(name)` makes those of the papers.
        progress: True shows a bar in a terminal or notebook; or what to call with a `Progress` from the beginning on.
        changes: single options, such as `size=256`, over the `options` or those of `preset="…"`.

    Returns:
        The picture, `options.size` pixels on its long side, with the content's alpha.

    Raises:
        ValueError: arguments that do not fit, pictures too small for the layers, masks that leave nothing.
        TypeError: `options` of another operation.
        PictureError: a file that is missing or damaged.
        WeightsError: weights that are not here, or damaged.
        BudgetError: a picture for which there is not enough memory.
    """
    return last_step(
        lambda notify: iterate(content, styles, options, memo=Memo(0).notifying(notify), **changes), progress
    ).picture


@isolated
def iterate(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
    *,
    checkpoints: Checkpoints | None = None,
    memo: Memo | None = None,
    temporal: TemporalLoss | None = None,
    **changes: Unpack[StylizeKeywords],
) -> Iterator[Step]:
    """The steps of `stylize`, as they come; to cancel, close the iterator.

    Arguments and errors are those of `stylize`; errors in the arguments are raised here, before the first step.

    Args:
        checkpoints: where to save the run from time to time, so that it can be resumed; once the picture is written,
            `discard` them.
        memo: shares what runs on the same pictures have in common, which is computed once.
        temporal: for a frame of a clip, what it starts from and what its last scale is held near, of the result's
            size.
    """
    started = time.monotonic()
    options = options_from(StylizeOptions, options, changes)
    memo = Memo(0) if memo is None else memo
    device = choose_device(options.device)
    content = opened(content, "the content")
    inputs = prepare_inputs(content, styles, options, device, memo)
    if options.color == "palette":
        return iter([single_step(palette(inputs, options), inputs.finish, time.monotonic() - started)])
    problem, start = problem_of(inputs, options, device, memo, content, temporal, checkpoints)
    return optimize_scales(LocalExecution(problem), start.to(device), started, checkpoints)


def problem_of(
    inputs: Inputs,
    options: StylizeOptions,
    device: torch.device,
    memo: Memo | None = None,
    content: StrPath | bytes | Picture = BLANK,
    temporal: TemporalLoss | None = None,
    checkpoints: Checkpoints | None = None,
) -> tuple[PictureProblem, Tensor]:
    """What is optimised to repaint a photo, and the picture that it starts from, `(3, h, w)`.

    Args:
        content: the photo as given, by which the `memo` tells it from others.
        temporal: see `iterate`.
        checkpoints: the inputs are hashed for them; a run to be resumed is not calibrated again.

    Raises:
        ValueError: pictures too small for the layers, masks that leave nothing, a start that does not exist.
    """
    memo = Memo(0) if memo is None else memo
    scales = schedule.plan(*inputs.size, options.iterations, _scale_count(options))
    encoder = load_encoder(options, memo)
    content_layers = nonzero(options.content_layers, options.content_weight)
    style_layers = nonzero(options.resolved_style_layers, options.effective_style_weight)
    taps = {**content_layers, **style_layers}
    known = {layer.name for layer in encoder.layers}
    calibrates = options.style_weight is None and bool(content_layers and style_layers) and calibration.LAYER in known
    encoder.check_layers({**options.content_layers, **options.resolved_style_layers})
    encoder.check_size(*inputs.size, taps, "the result")
    check_regions(inputs.regions, encoder, style_layers, scales, options)
    start = start_of(options, inputs, device) if temporal is None else temporal.start
    if start is inputs.content:
        start = start.clone()  # released when the canvas is another, as memory plans expect; the photo is not
    photo_key, style_key = _memo_keys(inputs, options, device, identity(content), content_layers, style_layers)
    focus = None
    if options.saliency and content_layers and SALIENCY_LAYER in known:
        focus = memo.get(("saliency", photo_key), lambda: saliency(encoder, inputs.content)).to(device)
    problem = PictureProblem(
        encoder=encoder.up_to({*taps, calibration.LAYER} if calibrates else taps).to(device),
        options=options,
        size=inputs.size,
        scales=scales,
        finish=inputs.finish,
        regions=inputs.regions,
        style_layers=style_layers,
        style_weight=options.effective_style_weight,
        content=ContentTarget(
            inputs.content,
            content_layers,
            options.content_weight,
            options.content_norm,
            bounded_by_style=True,
            saliency=focus,
            saliency_share=options.saliency,
        ),
        strength=options.strength if calibrates else None,
        keep=inputs.keep,
        luminance_only=inputs.luminance_only,
        temporal=None if temporal is None else temporal.to(device),
        anchored=options.statistic == "nearest" and bool(content_layers),
        keeps_details=temporal is not None or options.init not in ("noise", "mixed"),
        input_hashes={} if checkpoints is None else _hashes(options, inputs, start),
        memo=memo,
        photo_key=photo_key,
        style_key=style_key,
    )
    if not calibrates:
        return problem, start
    if found := checkpoints.found() if checkpoints else {}:
        return problem.resumed(found), start
    from_photo = dataclasses.replace(options, init="content")
    style_weight = memo.get(
        ("calibrated", photo_key, style_key, options.strength, *_frozen(options, _CALIBRATION_OPTIONS)),
        lambda: calibration.calibrated(problem, start_of(from_photo, inputs, device)).style_weight,
    )
    return dataclasses.replace(problem, style_weight=style_weight), start


def calibrated(
    content: PictureLike, styles: PictureLike | Sequence[PictureLike], options: StylizeOptions, memo: Memo
) -> StylizeOptions:
    """The options with the style weight that `iterate` finds for these pictures, to be used for others like them."""
    content, device = opened(content, "the content"), choose_device(options.device)
    if options.style_weight is not None or options.color == "palette":
        return options
    inputs = prepare_inputs(content, styles, options, device, memo)
    found = problem_of(inputs, options, device, memo, content)[0].found
    return dataclasses.replace(options, style_weight=found.get("style_weight"))


def _hashes(options: StylizeOptions, inputs: Inputs, start: Tensor) -> dict[str, str]:
    """Name, for people -> hash of each input."""
    original = inputs.original
    given = {"content": original.rgb, "alpha of the content": original.alpha, "mask 'keep'": inputs.keep}
    given |= {f"style {number}": painting.rgb for number, (_, painting) in enumerate(inputs.paintings, start=1)}
    for region in inputs.regions:
        given |= {f"mask of {region.name}": region.mask}
        given |= {f"mask over {source.name}": source.mask for source in region.sources}
    return hashes(given | ({} if options.init in get_args(Init) else {"start": start}))


#: The options that the features of the photo depend on, and those that the targets of styles do.
_PHOTO_OPTIONS = ("weights", "preprocessing", "pooling", "padding", "color", "color_match", "content_mask")
_STYLE_OPTIONS = (*_PHOTO_OPTIONS, "statistic", "style_norm", "style_scale", "style_weights", "style_mask")
#: Those that the calibrated style weight depends on besides.
_CALIBRATION_OPTIONS = (
    "content_weight",
    "content_layers",
    "content_norm",
    "saliency",
    "style_layers",
    "total_variation",
    "match_colors",
    "time_budget",
)


def _memo_keys(
    inputs: Inputs,
    options: StylizeOptions,
    device: torch.device,
    content: Hashable,
    content_layers: Mapping[str, float],
    style_layers: Mapping[str, float],
) -> tuple[Hashable, Hashable]:
    """What tells the photo's features, and the styles' targets, from those of other runs that share a memo."""
    given = (tuple(inputs.content.shape), device, tuple(content_layers), tuple(style_layers))
    # Styles depend on the photo only through its colours, and through where it is transparent.
    depends = options.color in ("match", "both") or inputs.photo.alpha is not None
    paintings = tuple(identity(painting) for _, painting in inputs.paintings)
    seed = options.seed if options.statistic == "gaussian" else 0
    return (
        (content, *given, *_frozen(options, _PHOTO_OPTIONS)),
        (content if depends else None, paintings, seed, *given, *_frozen(options, _STYLE_OPTIONS)),
    )


def _frozen(options: StyleLossOptions, names: Sequence[str]) -> tuple[Hashable, ...]:
    """The values of these options as a key: masks by their identity, everything else by its text."""
    values = [(name, getattr(options, name)) for name in names]
    return tuple(
        tuple((key, identity(opened(mask, "a mask"))) for key, mask in value.items())
        if name.endswith("_mask")
        else repr(value)
        for name, value in values
    )


def _scale_count(options: StylizeOptions) -> int | None:
    """One, if not given, for a start that is painted already (`fast`, or a file): it has large strokes."""
    draft = options.init == "fast" or options.init not in get_args(Init)
    return 1 if options.scales is None and draft else options.scales


def start_of(options: StylizeOptions, inputs: Inputs, device: torch.device) -> Tensor:
    """The picture that the optimiser starts from, `(3, h, w)`, at the final size."""
    photo, regions = inputs.content, inputs.regions
    generator = torch.Generator().manual_seed(options.seed)

    def uniform(shape: torch.Size) -> Tensor:
        return torch.rand(shape, generator=generator, **CPU_FLOAT)

    starts: dict[str, Callable[[], Tensor]] = {
        "content": lambda: color.recolor(photo, regions, options.color_match) if options.match_colors else photo,
        "noise": lambda: noise(photo.shape[-2], photo.shape[-1], options.seed),
        # As the course does: up to a quarter of the range either way, so that the start still resembles the photo.
        "mixed": lambda: (starts["content"]() + 0.5 * uniform(photo.shape) - 0.25).clamp(0, 1),
        "style": lambda: _cropped(regions[0].sources[0].image, photo.shape[-2], photo.shape[-1]) if regions else photo,
        "fast": lambda: stylizer.draft(inputs, options.fast_options, device),
    }
    if options.init in starts:
        return starts[options.init]()
    if not may_be_file(options.init):
        raise unknown("init", options.init, starts, ", or give a file")
    return images.read(options.init, "the start", max(photo.shape[-2:])).resized(*photo.shape[-2:]).rgb


def _cropped(picture: Tensor, height: int, width: int) -> Tensor:
    """`picture` scaled and cropped around its middle to exactly this size."""
    factor = max(height / picture.shape[-2], width / picture.shape[-1])
    larger = images.resize(
        picture,
        max(height, round(picture.shape[-2] * factor)),
        max(width, round(picture.shape[-1] * factor)),
    )
    top, left = (larger.shape[-2] - height) // 2, (larger.shape[-1] - width) // 2
    return larger[:, top : top + height, left : left + width]
