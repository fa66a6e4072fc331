"""Feed-forward stylisation: a photo of any size, with regions, strength and colours, in tiles where it is large."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT, choose_device
from impasto.errors import BudgetError
from impasto.fast import models
from impasto.fast.inference import MAX_WINDOW, RunningSums, StyledRegion, code_of, padded, paint, windows
from impasto.fast.models import Model
from impasto.fast.networks import Code, Network, blended
from impasto.images import Picture, PictureLike, color
from impasto.images.regions import Region, StyleSource
from impasto.inputs.prepare import Inputs, palette, prepare_inputs
from impasto.inputs.read import Memo, remembered
from impasto.isolation import isolated
from impasto.optim import memory
from impasto.optim.canvas import LocalCanvas
from impasto.optim.steps import Step, single_step
from impasto.settings.options import FastOptions

#: Pixels of a window at least, however little memory there is.
MIN_WINDOW = 1 << 15
#: Bytes that a stage takes per pixel of its window, and that features and pictures take per pixel of the whole.
BYTES_PER_WINDOW_PIXEL, BYTES_PER_PIXEL = 1100, 220
#: The photo's own code, for strengths other than 1, is read at this many pixels.
PHOTO_PIXELS = 1 << 18


def stylize(
    content: PictureLike, styles: PictureLike | Sequence[PictureLike] = (), options: FastOptions | None = None
) -> Picture:
    """`content` repainted in the manner of `styles`, in one forward pass of a network.

    Args:
        content: as for `impasto.stylize`.
        styles: likewise; none for a model trained on one painting.
        options: see `FastOptions`.

    Returns:
        The picture, `options.size` pixels on its long side, with the content's alpha.

    Raises:
        ValueError: arguments that do not fit.
        PictureError, WeightsError: a file that is missing or damaged.
        BudgetError: a picture for which there is not enough memory.
    """
    (last,) = deque(iterate(content, styles, options), maxlen=1)
    return last.picture


@isolated
def iterate(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike] = (),
    options: FastOptions | None = None,
    memo: Memo | None = None,
) -> Iterator[Step]:
    """The steps of `stylize`, a tile each; what is not painted yet shows the photo.

    Arguments and errors are those of `stylize`; errors in the arguments are raised before the first step. Runs that
    share a dictionary `memo` share the model and the paintings' codes.
    """
    started = time.monotonic()
    options, known = options or FastOptions(), {} if memo is None else memo
    device = choose_device(options.device)
    model = load_model(options, device, known)
    inputs = prepare_inputs(content, styles_for(model, styles, options), options, device, known)
    if options.color == "palette":
        return iter([single_step(palette(inputs, options), inputs.finish, time.monotonic() - started)])
    return _steps(model, inputs, options, device, known, started)


def draft(inputs: Inputs, options: FastOptions, device: torch.device) -> Tensor:
    """The painted photo, `(3, h, w)`, as a start for the optimisation."""
    (last,) = deque(_steps(load_model(options, device, {}), inputs, options, device, {}, time.monotonic()), maxlen=1)
    return last.image.cpu()


def load_model(options: FastOptions, device: torch.device, memo: Memo) -> Model:
    """The model that the options name."""
    path = None if options.model is None else Path(options.model)
    return remembered(memo, ("model", options.model, device), lambda: models.load(path, device))


def styles_for(
    model: Model, styles: PictureLike | Sequence[PictureLike], options: FastOptions
) -> PictureLike | Sequence[PictureLike]:
    """The styles, if the model takes any; a placeholder, if it was trained on one painting.

    Raises:
        ValueError: styles that are missing, or too many, or colours that the model's own painting cannot give.
    """
    empty = isinstance(styles, (list, tuple)) and not styles
    if model.code is None:
        if empty:
            raise ValueError("no style was given; needed is one at least")
        return styles
    if not empty:
        raise ValueError(f"the model {options.model} was trained on one painting; give no style with it")
    if options.color not in ("style", "luminance"):
        raise ValueError(f"color {options.color} asks for the painting, which a model of one painting does not have")
    return Picture(torch.zeros(3, 8, 8, **CPU_FLOAT))


def _steps(
    model: Model, inputs: Inputs, options: FastOptions, device: torch.device, memo: Memo, started: float
) -> Iterator[Step]:
    """The steps of prepared inputs."""
    passes = _passes(model, inputs, options, device, memo)
    window = _window(options, device, inputs.size)

    def finish(canvas: Tensor) -> Picture:
        return inputs.finish(canvas.clamp(0, 1))

    def steps() -> Iterator[Step]:
        photo = inputs.content.to(device)
        for canvas, done, total in _canvases(model.network, photo, passes, options.strength, window):
            seconds = time.monotonic() - started
            eta, none = seconds / done * (total - done), dict[str, float]()
            yield Step(
                LocalCanvas(canvas[None]), done, total, 1, 1, done, 0.0, none, seconds, eta, inputs.size, "", finish
            )

    return steps()


# -- regions and codes --------------------------------------------------------------------------------------


def _passes(
    model: Model, inputs: Inputs, options: FastOptions, device: torch.device, memo: Memo
) -> list[list[StyledRegion]]:
    """The passes of the network: for strengths below 1, the photo in its own style first."""
    strengths = (0.0, options.strength) if options.strength < 1 else (options.strength,)
    own: Code | None = None
    if options.strength != 1:
        small = images.resize(
            inputs.content, *images.fit_area(inputs.size, min(PHOTO_PIXELS, inputs.size[0] * inputs.size[1]))
        )
        own = code_of(model.network, StyleSource("the photo", small.to(device)))
    return [_styled_regions(model, inputs, strength, own, options, device, memo) for strength in strengths]


def _styled_regions(
    model: Model,
    inputs: Inputs,
    strength: float,
    own: Code | None,
    options: FastOptions,
    device: torch.device,
    memo: Memo,
) -> list[StyledRegion]:
    """Each region with its style, at the photo's padded size; `own` is the photo's code, where strength is not 1."""
    network, (height, width) = model.network, inputs.size
    mine = [] if own is None else [(own, 1 - strength)]
    parts = []
    for region in inputs.regions:
        codes = _codes(model, region, height * width, options, device, memo) if strength else []
        styles = [(code, weight * strength) for code, weight in codes]
        mask = None if region.mask is None else padded(region.mask[None].to(device), network.multiple)[0]
        parts.append(StyledRegion(mask, blended([*styles, *mine]), styles))
    return parts


def _codes(
    model: Model, region: Region, pixels: int, options: FastOptions, device: torch.device, memo: Memo
) -> list[tuple[Code, float]]:
    if model.code is not None:
        return [(model.code, 1.0)]
    found = []
    for source in region.sources:
        for factor in options.style_scale:
            size = source.size_for(pixels, factor)

            def read(source: StyleSource = source, size: tuple[int, int] = size) -> Code:
                return code_of(model.network, source.resized(*size).to(device), _window(options, device, size))

            key = ("code", id(source.image), id(source.mask), size, options.model, device)
            # The source is kept, so that no other object can have its identity.
            code, _ = remembered(memo, key, lambda read=read, source=source: (read(), source))  # type: ignore[misc]
            found.append((code, source.weight / len(options.style_scale)))
    return found


# -- painting --------------------------------------------------------------------------------------------------


def _window(options: FastOptions, device: torch.device, size: tuple[int, int]) -> int:
    """Pixels of a window that fits into the memory there is, beside pictures of this size.

    Raises:
        BudgetError: none does.
    """
    pixels = size[0] * size[1]
    left = memory.budget(options.memory, device) - BYTES_PER_PIXEL * pixels
    if left < BYTES_PER_WINDOW_PIXEL * min(MIN_WINDOW, pixels):
        needed = (BYTES_PER_PIXEL * pixels + BYTES_PER_WINDOW_PIXEL * MIN_WINDOW) / 1e9
        raise BudgetError(
            f"{size[1]}×{size[0]} px take about {needed:.2f} GB beyond what the process holds; "
            "give more with --memory, or make it smaller"
        )
    return max(MIN_WINDOW, min(MAX_WINDOW, int(left / BYTES_PER_WINDOW_PIXEL)))


def bytes_needed(pixels: int) -> int:
    """Bytes that painting so many pixels takes, in windows of the usual size."""
    return min(pixels, MAX_WINDOW) * BYTES_PER_WINDOW_PIXEL + pixels * BYTES_PER_PIXEL


def _canvases(
    network: Network,
    content: Tensor,
    passes: Sequence[Sequence[StyledRegion]],
    strength: float,
    window: int,
    running: RunningSums | None = None,
) -> Iterator[tuple[Tensor, int, int]]:
    """(canvas, tiles done, tiles in all) of one pass; or of two, the first of them for the photo in its own style.

    What the network loses of a photo that keeps its style is then restored, so that strength 0 gives the photo.

    Args:
        content: `(3, h, w)`, on the device to compute on.
        running: see `paint`.

    Yields:
        Canvases `(3, h, w)`; only the last is clipped to [0, 1]: clipping a large picture after every tile takes
        longer than painting it.
    """
    height, width = content.shape[-2:]
    photo = padded(content, network.multiple)
    size = (photo.shape[-2], photo.shape[-1])
    tiles = [windows(*size, window, network.multiple, stage.radius) for stage in network.chain]
    total = len(passes) * sum(map(len, tiles))
    done, residual, canvas = 0, None, photo
    for number, parts in enumerate(passes, start=1):
        for canvas in paint(network, photo, parts, window, running):
            done += 1
            if done < total:
                yield canvas[:, :height, :width], done, total
        if number < len(passes):
            residual = photo - canvas
    canvas = canvas if residual is None else canvas + (1 - strength) * residual
    yield canvas[:, :height, :width].clamp(0, 1), total, total


class FramePainter:
    """Paints the frames of one scene: paintings are read once, and the statistics of frames are averaged."""

    def __init__(self, inputs: Inputs, options: FastOptions, device: torch.device, memo: Memo) -> None:
        self._inputs, self._strength, self._device = inputs, options.strength, device
        model = load_model(options, device, memo)
        self._network = model.network
        self._passes = _passes(model, inputs, options, device, memo)
        self._window = _window(options, device, inputs.size)
        self._running: RunningSums = {}

    def paint(self, photo: Tensor) -> Tensor:
        """The canvas of a frame `(3, h, w)`, before its colours are finished."""
        content = (color.luminance(photo) if self._inputs.luminance_only else photo).to(self._device)
        found = _canvases(self._network, content, self._passes, self._strength, self._window, self._running)
        ((canvas, _, _),) = deque(found, maxlen=1)
        return canvas

    def finish(self, canvas: Tensor, photo: Tensor) -> Picture:
        """The picture of a painted frame."""
        return dataclasses.replace(self._inputs, photo=Picture(photo)).finish(canvas)
