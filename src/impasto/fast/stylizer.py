"""Feed-forward stylisation: a photo of any size, with regions, strength and colours, in one pass of the network."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Unpack

import torch
from torch import Tensor

from impasto import images
from impasto.devices import choose_device
from impasto.errors import BudgetError
from impasto.fast import learning, models
from impasto.fast.inference import BYTES_PER_PIXEL, RunningMoments, StyledRegion, layer_count, paint
from impasto.fast.models import ANY, Model
from impasto.fast.objective import PAINTING_AREA
from impasto.images import Picture, PictureLike, color
from impasto.images.regions import resize_mask
from impasto.inputs.memo import Memo
from impasto.inputs.prepare import Inputs, palette, prepare_inputs
from impasto.inputs.read import BLANK
from impasto.isolation import isolated
from impasto.optim import memory
from impasto.optim.canvas import LocalCanvas
from impasto.optim.steps import Step, single_step
from impasto.presets import options_from
from impasto.progress import ProgressOption, last_step
from impasto.settings.keywords import FastKeywords
from impasto.settings.options import FastOptions

#: Seconds between two previews of a style that is being learnt, and their long side, in pixels.
PREVIEW_INTERVAL, PREVIEW_SIDE = 3.0, 256


def stylize(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: FastOptions | None = None,
    *,
    progress: ProgressOption = False,
    **changes: Unpack[FastKeywords],
) -> Picture:
    """`content` repainted in the manner of `styles`, in one forward pass of a network.

    A style of the gallery (see `impasto styles`) is painted at once. Any other painting is learnt first, which
    takes two minutes (`options.learn_seconds`), and kept in the user's cache.

    Args:
        content: as for `impasto.stylize`.
        styles: likewise, or names of the gallery.
        options: see `FastOptions`.
        progress, changes: as for `impasto.stylize`.

    Returns:
        The picture, `options.size` pixels on its long side, with the content's alpha.

    Raises:
        ValueError: arguments that do not fit.
        PictureError, WeightsError: a file that is missing or damaged.
        BudgetError: a picture for which there is not enough memory.
    """
    return last_step(
        lambda notify: iterate(content, styles, options, memo=Memo().notifying(notify), **changes), progress
    ).picture


@isolated
def iterate(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: FastOptions | None = None,
    *,
    memo: Memo | None = None,
    **changes: Unpack[FastKeywords],
) -> Iterator[Step]:
    """The steps of `stylize`, one for each layer; the photo is shown until the last.

    Paintings that are not known yet are learnt before: each step of that is a step here, too, with the picture as it
    looks so far.

    Arguments and errors are those of `stylize`; errors in the arguments are raised before the first step. Runs that
    share a `memo` share the model and the paintings' vectors.
    """
    started = time.monotonic()
    options = options_from(FastOptions, options, changes)
    memo = Memo() if memo is None else memo
    device = choose_device(options.device)
    model = load_model(options, device, memo)
    inputs = read_inputs(model, content, styles, options, device, memo)
    if options.color == "palette":
        return iter([single_step(palette(inputs, options), inputs.finish, time.monotonic() - started)])
    check_memory(inputs.size, options, device)
    vectors = learning.Vectors(model, options, device, memo)
    vectors.check(inputs.regions)
    return _steps(model, inputs, vectors, options, device, started)


def draft(inputs: Inputs, options: FastOptions, device: torch.device) -> Tensor:
    """The painted photo, `(3, h, w)`, as a start for the optimisation, at once: paintings are not learnt for it."""
    options = dataclasses.replace(options, model=ANY if options.model is None else options.model)
    memo = Memo()
    model = load_model(options, device, memo)
    steps = _steps(model, inputs, learning.Vectors(model, options, device, memo), options, device, time.monotonic())
    (last,) = deque(steps, maxlen=1)
    return _recolored(last.image.cpu(), inputs.photo, options)


def load_model(options: FastOptions, device: torch.device, memo: Memo) -> Model:
    """The model that the options name."""
    path = None if options.model in (None, ANY) else Path(options.model)
    return memo.get(("model", path, device), lambda: models.load(path, device))


def read_inputs(
    model: Model,
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: FastOptions,
    device: torch.device,
    memo: Memo,
) -> Inputs:
    """The inputs as the network reads them: styles keep their own colours, and the picture is recoloured at the end.

    Raises:
        ValueError, PictureError, BudgetError: as `prepare_inputs`.
    """
    if options.color == "palette":
        return prepare_inputs(content, styles, options, device, memo)
    given = dataclasses.replace(options, color="style")
    area = PAINTING_AREA * max(options.style_scale) ** 2
    inputs = prepare_inputs(content, styles, given, device, memo, area, model.styles)
    if options.color not in ("luminance", "both"):
        return inputs
    return dataclasses.replace(inputs, content=color.luminance(inputs.photo.rgb), luminance_only=True)


def _steps(
    model: Model,
    inputs: Inputs,
    vectors: learning.Vectors,
    options: FastOptions,
    device: torch.device,
    started: float,
) -> Iterator[Step]:
    """The steps of prepared inputs: learning, if it is needed, then painting."""
    painter = FramePainter(model, inputs, options, device)

    def step(
        canvas: Tensor, done: int, total: int, eta: float, note: str = "", losses: Mapping[str, float] | None = None
    ) -> Step:
        seconds, loss = time.monotonic() - started, sum((losses or {}).values())
        return Step(
            LocalCanvas(canvas[None]),
            done,
            total,
            1,
            1,
            done,
            loss,
            losses or {},
            seconds,
            eta,
            inputs.size,
            note,
            painter.finish,
        )

    def steps() -> Iterator[Step]:
        photo = inputs.content.to(device)
        previewed, shown = time.monotonic(), photo
        for progress in vectors.learn(inputs.regions):
            if time.monotonic() - previewed > PREVIEW_INTERVAL:
                shown, previewed = painter.preview(photo, progress.vector), time.monotonic()
            note = f"learning {Path(progress.name).name}"
            yield step(shown, round(100 * progress.fraction), 100, progress.eta, note, progress.losses)
        painter.use(vectors)
        began = time.monotonic()
        for canvas, done, total in painter.steps(inputs.photo.rgb):
            left = (time.monotonic() - began) / done * (total - done)
            yield step(photo if canvas is None else canvas, done, total, left)

    return steps()


class FramePainter:
    """Paints a photo, or the frames of one scene: vectors are kept, and statistics of frames can be averaged.

    Args:
        inputs: of the photo, or of the scene's first frame.
        averages: whether statistics are averaged over frames.
    """

    def __init__(
        self, model: Model, inputs: Inputs, options: FastOptions, device: torch.device, averages: bool = False
    ) -> None:
        self._model, self._inputs, self._options, self._device = model, inputs, options, device
        self._running: tuple[RunningMoments, RunningMoments] | None = ({}, {}) if averages else None
        self._parts: list[StyledRegion] = []

    def use(self, vectors: learning.Vectors) -> None:
        """Look up the vectors of all styles, which are known by now."""
        self._parts = [
            StyledRegion(
                None if region.mask is None else region.mask.to(self._device),
                self._options.strength * vectors.of(region),
            )
            for region in self._inputs.regions
        ]

    def steps(self, photo: Tensor) -> Iterator[tuple[Tensor | None, int, int]]:
        """(None, layers done, layers in all), and last the canvas, of a frame `(3, h, w)`.

        For strengths below 1, what the network loses of a photo that it leaves as it is, at strength 0, is restored
        in proportion.
        """
        strength, content = min(self._options.strength, 1.0), self._content(photo)
        total = (2 if strength < 1 else 1) * layer_count(self._model.network)
        done, residual, canvas = 0, None, content
        if strength < 1:
            zero = [StyledRegion(None, torch.zeros_like(self._parts[0].vector))]
            for found in paint(self._model.network, content, zero, self._running and self._running[0]):
                done += 1
                yield None, done, total
                canvas = content if found is None else found
            residual = (1 - strength) * (content - canvas)
        for found in paint(self._model.network, content, self._parts, self._running and self._running[1]):
            done += 1
            if found is None:
                yield None, done, total
            else:
                yield (found if residual is None else (found + residual).clamp(0, 1)), done, total

    def preview(self, photo: Tensor, vector: Tensor) -> Tensor:
        """A small canvas of a photo `(3, h, w)` in a style that is still being learnt."""
        height, width = photo.shape[-2:]
        small = images.resize(photo, *images.fit((height, width), min(PREVIEW_SIDE, max(height, width))))
        (canvas,) = deque(paint(self._model.network, small, [StyledRegion(None, vector)]), maxlen=1)
        assert canvas is not None
        return canvas

    def paint(self, photo: Tensor) -> Tensor:
        """The canvas of a frame `(3, h, w)`, before its colours are finished."""
        ((canvas, _, _),) = deque(self.steps(photo), maxlen=1)
        assert canvas is not None
        return canvas

    def _content(self, photo: Tensor) -> Tensor:
        """What the network reads of a frame: its luminance, if that alone is painted; transparent parts filled."""
        alpha = self._inputs.photo.alpha
        if alpha is not None:
            mean = (photo * alpha).sum((1, 2)) / alpha.sum().clamp_min(1e-6)
            photo = mean[:, None, None].lerp(photo, alpha)
        return (color.luminance(photo) if self._inputs.luminance_only else photo).to(self._device)

    def finish(self, canvas: Tensor, photo: Tensor | None = None) -> Picture:
        """The picture of a painted frame, in the colours that the options ask for."""
        inputs = self._inputs if photo is None else dataclasses.replace(self._inputs, photo=Picture(photo))
        return inputs.finish(_recolored(canvas.cpu(), inputs.photo, self._options).clamp(0, 1))


def _recolored(canvas: Tensor, photo: Picture, options: FastOptions) -> Tensor:
    """A canvas `(3, h, w)` in the colours of a photo, of any size, if the options ask for these.

    What is transparent does not count.
    """
    if options.color not in ("match", "both"):
        return canvas
    reference = color.luminance(photo.rgb) if options.color == "both" else photo.rgb
    weights = resize_mask(photo.alpha, *canvas.shape[-2:])
    return color.match(canvas, reference, options.color_match, weights, photo.alpha)


def frame_painter(
    frame: Picture,
    styles: PictureLike | Sequence[PictureLike],
    options: FastOptions,
    device: torch.device,
    memo: Memo,
) -> FramePainter:
    """A painter of the frames of a scene, given the first of them. Paintings that are not known are learnt.

    Raises:
        ValueError, PictureError, WeightsError, BudgetError: as `iterate`.
    """
    model = load_model(options, device, memo)
    inputs = read_inputs(model, frame, styles, options, device, Memo(0))
    check_memory(inputs.size, options, device)
    vectors = learning.Vectors(model, options, device, memo)
    vectors.check(inputs.regions)
    deque(vectors.learn(inputs.regions), maxlen=0)
    painter = FramePainter(model, inputs, options, device, averages=True)
    painter.use(vectors)
    return painter


@isolated
def learn_ahead(
    styles: PictureLike | Sequence[PictureLike], options: FastOptions, memo: Memo | None = None
) -> Iterator[learning.LearningProgress]:
    """Learn those of the styles that are not known yet, so that what is painted later need not.

    The colours of a `palette` need no learning.

    Raises:
        ValueError, PictureError, WeightsError: as `iterate`.
    """
    memo, device = Memo() if memo is None else memo, choose_device(options.device)
    if options.color == "palette":
        return iter(())
    model = load_model(options, device, memo)
    alone = dataclasses.replace(options, content_mask={}, size=None, color="style")
    inputs = read_inputs(model, BLANK, styles, alone, device, memo)
    vectors = learning.Vectors(model, options, device, memo)
    vectors.check(inputs.regions)
    return vectors.learn(inputs.regions)


def check_memory(size: tuple[int, int], options: FastOptions, device: torch.device) -> None:
    """Raise a BudgetError if there is not enough memory to paint a picture of this size."""
    needed = bytes_needed(size[0] * size[1])
    if needed > memory.budget(options.memory, device):
        raise BudgetError(
            f"{size[1]}×{size[0]} px take about {needed / 1e9:.2f} GB beyond what the process holds; "
            "give more (memory=, or --memory), or make it smaller"
        )


def bytes_needed(pixels: int) -> int:
    """Bytes that painting so many pixels takes."""
    return BYTES_PER_PIXEL * pixels
