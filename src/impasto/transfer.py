"""The main job: `iterate` repaints a picture step by step, `stylize` gives the last step's picture."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

import torch
from torch import Tensor

from impasto import color, images, photos, schedule, weights
from impasto import styles as built_in
from impasto.encoders import Encoder
from impasto.images import Picture, PictureLike
from impasto.objective import Objective, content_terms, style_terms
from impasto.optimize import METHODS, is_finite
from impasto.options import Init, StylizeOptions
from impasto.schedule import Scale

log = logging.getLogger(__name__)

#: What the preparation of a scale costs (its targets, its first point), in evaluations: for estimates.
PREPARATION = 2


@dataclass(frozen=True, eq=False)
class Step:
    """One improvement of the picture.

    Attributes:
        image: `(3, h, w)` at this scale's size, sRGB in [0, 1].
        iteration, iterations: evaluations done, and planned, at this scale.
        scale, scales: which scale this is, from 1, and how many there are.
        evaluations: evaluations done in all.
        loss, losses: the objective's value, and the weighted value of each term by name.
        seconds: since the beginning.
        eta: seconds that are left, as far as one can tell.
        size: height and width of the final picture.
        alpha: the content's alpha at the final size, `(h, w)`, or None.
        note: something a person should know, say that the optimiser gave up; mostly empty.
    """

    image: Tensor
    iteration: int
    iterations: int
    scale: int
    scales: int
    evaluations: int
    loss: float
    losses: Mapping[str, float]
    seconds: float
    eta: float
    size: tuple[int, int]
    alpha: Tensor | None = field(default=None, repr=False)
    note: str = ""

    @property
    def picture(self) -> Picture:
        """The picture as it would be kept now: at exactly the final size, with the content's alpha."""
        return Picture(images.resize(self.image.cpu(), *self.size), self.alpha)


def stylize(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
) -> Picture:
    """`content` repainted in the manner of `styles` (Gatys, Ecker & Bethge, CVPR 2016).

    Args:
        content: a path, PIL picture, array or tensor (see `images.read` for shapes and ranges), or the name of
            a photo of `photos.PHOTOS`.
        styles: the same, or the name of a built-in style; one, or a sequence of one.
        options: see `StylizeOptions`; `preset(name)` makes those of the papers.

    Returns:
        The picture, `options.size` pixels on its long side, with the content's alpha.

    Raises:
        ValueError: arguments that do not fit, pictures too small for the layers.
        PictureError: a file that is missing or damaged.
        WeightsError: weights that are not here, or damaged.
    """
    (last,) = deque(iterate(content, styles, options), maxlen=1)
    return last.picture


def iterate(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
) -> Iterator[Step]:
    """The steps of `stylize`, as they come; to cancel, stop asking.

    Arguments and errors are those of `stylize`. What is wrong with them is raised here, before the first step.
    """
    started = time.monotonic()
    options = options or StylizeOptions()
    device = choose_device(options.device)
    photo = _read_content(content)
    size = photo.size if options.size is None else images.fit(photo.size, options.size)
    scales = schedule.plan(*size, options.iterations, _scale_count(options))
    encoder = weights.load(options.weights, options.pooling, options.padding, options.preprocessing)
    taps = {**options.content_layers, **options.style_layers}
    encoder.check_size(*size, taps, "the result")
    painting = _read_style(styles, scales[-1].pixels)
    encoder.check_size(*_style_size(painting, scales[0]), taps, "the style")
    photo = photo.resized(*size)
    start = _start(options, photo.rgb, painting.rgb)
    encoder = encoder.up_to(taps).to(device)
    clock = _Clock(started, options.time_budget, scales)
    return _steps(encoder, options, photo, painting, start.to(device), scales, clock)


def _steps(
    encoder: Encoder,
    options: StylizeOptions,
    photo: Picture,
    painting: Picture,
    image: Tensor,
    scales: Sequence[Scale],
    clock: _Clock,
) -> Iterator[Step]:
    """Through the scales: each starts from what the one before arrived at, the first from `image`."""
    evaluations = 0
    for index, scale in enumerate(scales):
        if index > 0 and not clock.enter(index):
            log.warning("out of time before %d×%d px", scale.width, scale.height)
            break
        image = images.resize(image, scale.height, scale.width)
        target = images.resize(photo.rgb, scale.height, scale.width)
        style = images.resize(painting.rgb, *_style_size(painting, scale))
        objective = _objective(encoder, options, target.to(image.device), style.to(image.device))
        method = METHODS[options.optimizer](objective.value_and_grad, image[None], options.history, options.rate)
        for point in method:
            if not is_finite(point.evaluation) and index == 0:
                raise ValueError(f"the loss is {point.evaluation.loss} at the start; use smaller weights or strength")
            image = point.image[0]
            done = min(point.evaluations, scale.evaluations)
            clock.tick(index, done)
            yield Step(
                image=image,
                iteration=done,
                iterations=scale.evaluations,
                scale=index + 1,
                scales=len(scales),
                evaluations=evaluations + point.evaluations,
                loss=point.evaluation.loss,
                losses=point.evaluation.terms,
                seconds=clock.seconds,
                eta=clock.eta(index, done, bool(point.note)),
                size=photo.size,
                alpha=photo.alpha,
                note=point.note,
            )
            if point.note:
                log.warning("%d×%d px: %s", scale.width, scale.height, point.note)
            if point.evaluations >= scale.evaluations or clock.is_over(index):
                break
        evaluations += point.evaluations
        if not is_finite(point.evaluation):
            break


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the best one here.

    Raises:
        ValueError: a device that this machine or this build of PyTorch lacks.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(device for device in ("cuda", "mps", "cpu") if available[device]))
    if not available[name]:
        here = ", ".join(device for device, there in available.items() if there)
        raise ValueError(f"device {name} is not available here; choose from auto, {here}")
    return torch.device(name)


def _scale_count(options: StylizeOptions) -> int | None:
    """A draft to start from is worth something only if its details survive: it starts at full size."""
    return 1 if options.scales is None and options.init not in get_args(Init) else options.scales


def _read_content(given: PictureLike) -> Picture:
    if isinstance(given, str) and given in photos.PHOTOS and not Path(given).exists():
        return images.read(photos.load(given), given)
    return images.read(given, "the content")


def _read_style(given: PictureLike | Sequence[PictureLike], pixels: int) -> Picture:
    if isinstance(given, (list, tuple)):
        if len(given) != 1:
            raise ValueError(f"{len(given)} styles were given; needed is one")
        given = given[0]
    style = cast(PictureLike, given)
    if isinstance(style, str) and style in built_in.STYLES and not Path(style).exists():
        side = max(built_in.LEAST_SIDE, round(pixels**0.5))
        return images.read(built_in.paint(style, side, side), style)
    if isinstance(style, (str, os.PathLike)) and not Path(style).exists() and not Path(style).suffix:
        raise ValueError(
            f"no such style: {os.fspath(style)!r} is neither a file nor one of {', '.join(built_in.STYLES)}"
        )
    return images.read(style, "the style")


def _style_size(painting: Picture, scale: Scale) -> tuple[int, int]:
    """As many pixels as the scale has, but never more than the painting: enlarging only blurs its strokes."""
    return images.fit_area(painting.size, min(scale.pixels, painting.size[0] * painting.size[1]))


def _start(options: StylizeOptions, photo: Tensor, painting: Tensor) -> Tensor:
    """The picture that the optimiser starts from, `(3, h, w)`, at the final size."""
    generator = torch.Generator().manual_seed(options.seed)
    starts: dict[str, Callable[[], Tensor]] = {
        "content": lambda: color.match(photo, painting) if options.match_colors else photo,
        # Gentle noise, as in Gatys's own code: what is loud at the start is heard for hundreds of iterations.
        "noise": lambda: (0.5 + 0.02 * torch.randn(photo.shape, generator=generator)).clamp(0, 1),
        # As the course does: up to a quarter of the range either way, so that the start still resembles the photo.
        "mixed": lambda: (starts["content"]() + 0.5 * torch.rand(photo.shape, generator=generator) - 0.25).clamp(
            0, 1
        ),
        "style": lambda: _cover(painting, photo.shape[-2], photo.shape[-1]),
    }
    if options.init in starts:
        return starts[options.init]()
    if not Path(options.init).exists() and not Path(options.init).suffix:
        raise ValueError(f"unknown init {options.init!r}; choose from {', '.join(starts)}, or give a file")
    return images.read(options.init, "the start").resized(photo.shape[-2], photo.shape[-1]).rgb


def _cover(picture: Tensor, height: int, width: int) -> Tensor:
    """`picture` scaled and cut around its middle to exactly this size."""
    factor = max(height / picture.shape[-2], width / picture.shape[-1])
    larger = images.resize(
        picture,
        max(height, round(picture.shape[-2] * factor)),
        max(width, round(picture.shape[-1] * factor)),
    )
    top, left = (larger.shape[-2] - height) // 2, (larger.shape[-1] - width) // 2
    return larger[:, top : top + height, left : left + width]


def _objective(encoder: Encoder, options: StylizeOptions, photo: Tensor, painting: Tensor) -> Objective:
    """The objective at one scale: both pictures are `(3, h, w)` at its size."""
    content = content_terms(
        encoder,
        photo[None],
        painting[None],
        options.content_layers,
        options.content_weight,
        options.content_norm,
    )
    style = style_terms(
        encoder,
        painting[None],
        options.style_layers,
        options.style_weight * options.strength**3,
        options.style_norm,
        options.statistic,
        options.seed,
    )
    return Objective(encoder, content, style, options.total_variation)


class _Clock:
    """Time that went by, time that is left, and each scale's share of a budget.

    An evaluation's cost is taken to be proportional to its pixels.
    """

    def __init__(self, started: float, budget: float | None, scales: Sequence[Scale]) -> None:
        self._started = started
        self._budget = budget
        self._costs = [(scale.evaluations + PREPARATION) * scale.pixels for scale in scales]
        self._scales = scales
        self._pace = 0.0  # seconds per pixel and evaluation
        self._deadline = float("inf")
        self.seconds = 0.0
        self._entered = self._now()
        self._share(0)

    def _now(self) -> float:
        return time.monotonic() - self._started

    def _share(self, index: int) -> None:
        if self._budget is not None:
            left = self._budget - self._entered
            self._deadline = self._entered + left * self._costs[index] / sum(self._costs[index:])

    def enter(self, index: int) -> bool:
        """Begin a scale after the first; False if there is no time left for it."""
        self._entered = self._now()
        self._share(index)
        if self._budget is None:
            return True
        least = (PREPARATION + 1) * self._scales[index].pixels * self._pace
        return self._entered + least <= self._budget

    def tick(self, index: int, done: int) -> None:
        """Note that `done` evaluations of this scale are behind us."""
        self.seconds = self._now()
        self._pace = (self.seconds - self._entered) / ((done + PREPARATION) * self._scales[index].pixels)

    def is_over(self, index: int) -> bool:
        """Whether one more evaluation would overrun this scale's share of the budget."""
        return self.seconds + self._pace * self._scales[index].pixels > self._deadline

    def eta(self, index: int, done: int, stopped: bool) -> float:
        """Seconds left."""
        here = 0 if stopped else (self._scales[index].evaluations - done) * self._scales[index].pixels
        left = self._pace * (here + sum(self._costs[index + 1 :]))
        return left if self._budget is None else max(0.0, min(left, self._budget - self.seconds))
