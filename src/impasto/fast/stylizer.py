"""Painting with a trained network: a photo of any size, in tiles where it is large, with all that regions allow."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from impasto import images
from impasto.devices import choose_device
from impasto.errors import BudgetError
from impasto.fast import models
from impasto.fast.inference import WINDOW, Part, Running, code_of, padded, paint, windows
from impasto.fast.models import Model
from impasto.fast.networks import Code, Network, blended
from impasto.images import Picture, PictureLike, color
from impasto.images.regions import Region, Source
from impasto.inputs.prepare import Scene, arrange, palette
from impasto.inputs.read import Memo, remembered
from impasto.optim import memory
from impasto.optim.schedule import Scale
from impasto.optim.steps import Step, only_step
from impasto.settings.options import FastOptions

#: Pixels of a window at least, however little memory there is.
LEAST = 1 << 15
#: Bytes that a stage takes per pixel of its window, and that features and pictures take per pixel of the whole.
TAKEN, HELD = 1100, 220
#: The photo is looked at in so many pixels, for what weaker strengths keep of it.
LOOK = 1 << 18


def stylize(
    content: PictureLike, styles: PictureLike | Sequence[PictureLike] = (), options: FastOptions | None = None
) -> Picture:
    """`content` repainted in the manner of `styles`, by one pass of a network.

    Args:
        content: as for `impasto.stylize`.
        styles: likewise; none for a model that knows but one.
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


def iterate(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike] = (),
    options: FastOptions | None = None,
    memo: Memo | None = None,
) -> Iterator[Step]:
    """The steps of `stylize`, a tile each; what is not painted yet is as in the photo.

    Arguments and errors are those of `stylize`; what is wrong with them is raised before the first step. Runs that
    share a dictionary `memo` share the model and the paintings' codes.
    """
    started = time.monotonic()
    options, known = options or FastOptions(), {} if memo is None else memo
    device = choose_device(options.device)
    model = loaded(options, device, known)
    scene = arrange(content, styles_for(model, styles, options), options, device, known)
    if options.color == "palette":
        return iter([only_step(palette(scene, options), scene.finish, time.monotonic() - started)])
    return _scene_steps(model, scene, options, device, known, started)


def draft(scene: Scene, options: FastOptions, device: torch.device) -> Tensor:
    """What the network that comes along makes of a scene, `(3, h, w)`: for the slow way to start from."""
    (last,) = deque(_scene_steps(loaded(options, device, {}), scene, options, device, {}, time.monotonic()), maxlen=1)
    return last.image.cpu()


def loaded(options: FastOptions, device: torch.device, memo: Memo) -> Model:
    """The model that the options name."""
    path = None if options.model is None else Path(options.model)
    return remembered(memo, ("model", options.model, device), lambda: models.load(path, device))


def styles_for(
    model: Model, styles: PictureLike | Sequence[PictureLike], options: FastOptions
) -> PictureLike | Sequence[PictureLike]:
    """The styles, if the model takes any; something in their place, if it knows but one.

    Raises:
        ValueError: styles that are missing, or too many, or colours that the model's own painting cannot give.
    """
    empty = isinstance(styles, (list, tuple)) and not styles
    if model.code is None:
        if empty:
            raise ValueError("no style was given; needed is one at least")
        return styles
    if not empty:
        raise ValueError(f"the model {options.model} knows one painting, its own; give no style with it")
    if options.color not in ("style", "luminance"):
        raise ValueError(f"color {options.color} asks for the painting, and the model has only what it learnt of it")
    return Picture(torch.zeros(3, 8, 8))


def _scene_steps(
    model: Model, scene: Scene, options: FastOptions, device: torch.device, memo: Memo, started: float
) -> Iterator[Step]:
    """The steps of a scene."""
    paintings = _paintings(model, scene, options, device, memo)
    window = _window(options, device, scene.size)

    def finish(canvas: Tensor) -> Picture:
        return scene.finish(canvas.clamp(0, 1))

    def steps() -> Iterator[Step]:
        seen = scene.seen.to(device)
        for canvas, done, total in _canvases(model.network, seen, paintings, options.strength, window):
            seconds = time.monotonic() - started
            eta, none = seconds / done * (total - done), dict[str, float]()
            yield Step(canvas, done, total, 1, 1, done, 0.0, none, seconds, eta, scene.size, "", finish)

    return steps()


# -- what is to be painted -----------------------------------------------------------------------------------


def _paintings(
    model: Model, scene: Scene, options: FastOptions, device: torch.device, memo: Memo
) -> list[list[Part]]:
    """What is painted one after another: for strengths below 1, the photo in its own style first."""
    strengths = (0.0, options.strength) if options.strength < 1 else (options.strength,)
    own: Code | None = None
    if options.strength != 1:
        small = images.resize(scene.seen, *images.fit_area(scene.size, min(LOOK, scene.size[0] * scene.size[1])))
        own = code_of(model.network, Source("the photo", small.to(device)))
    return [_parts(model, scene, strength, own, options, device, memo) for strength in strengths]


def _parts(
    model: Model,
    scene: Scene,
    strength: float,
    own: Code | None,
    options: FastOptions,
    device: torch.device,
    memo: Memo,
) -> list[Part]:
    """What is painted where, at the size of the photo, padded; `own` is the photo's code, where strength is not 1."""
    network, (height, width) = model.network, scene.size
    mine = [] if own is None else [(own, 1 - strength)]
    parts = []
    for region in scene.parts:
        codes = _codes(model, region, Scale(height, width, 1), options, device, memo) if strength else []
        styles = [(code, weight * strength) for code, weight in codes]
        where = None if region.where is None else padded(region.where[None].to(device), network.multiple)[0]
        parts.append(Part(where, blended([*styles, *mine]), styles))
    return parts


def _codes(
    model: Model, region: Region, scale: Scale, options: FastOptions, device: torch.device, memo: Memo
) -> list[tuple[Code, float]]:
    if model.code is not None:
        return [(model.code, 1.0)]
    found = []
    for source in region.sources:
        for factor in options.style_scale:
            size = source.size_at(scale, factor)

            def look(source: Source = source, size: tuple[int, int] = size) -> Code:
                return code_of(model.network, source.resized(*size).to(device), _window(options, device, size))

            key = ("code", id(source.image), id(source.where), size, options.model, device)
            # What is remembered by its identity is kept, so that nothing else can take it.
            code, _ = remembered(memo, key, lambda look=look, source=source: (look(), source))  # type: ignore[misc]
            found.append((code, source.weight / len(options.style_scale)))
    return found


# -- painting it -----------------------------------------------------------------------------------------------


def _window(options: FastOptions, device: torch.device, size: tuple[int, int]) -> int:
    """Pixels of a window that fits into the memory there is, beside pictures of this size.

    Raises:
        BudgetError: none does.
    """
    pixels = size[0] * size[1]
    left = memory.budget(options.memory, device) - HELD * pixels
    if left < TAKEN * min(LEAST, pixels):
        needed = (HELD * pixels + TAKEN * LEAST) / 1e9
        raise BudgetError(
            f"{size[1]}×{size[0]} px take about {needed:.2f} GB beside what is taken already; "
            "give more with --memory, or make it smaller"
        )
    return max(LEAST, min(WINDOW, int(left / TAKEN)))


def taken(pixels: int) -> int:
    """The bytes that it takes to paint so many pixels, if memory asks for no smaller windows."""
    return min(pixels, WINDOW) * TAKEN + pixels * HELD


def _canvases(
    network: Network,
    seen: Tensor,
    paintings: Sequence[Sequence[Part]],
    strength: float,
    window: int,
    running: Running | None = None,
) -> Iterator[tuple[Tensor, int, int]]:
    """The way through one painting; or through two, of which the first is the photo in its own style.

    What the network loses even of a photo that stays itself is given back then: at strength 0 it is the photo.

    Args:
        seen: `(3, h, w)`, on the device to compute on.
        running: see `paint`.

    Returns:
        (canvas, tiles done, tiles in all), the canvas `(3, h, w)`; only the last is clipped to [0, 1], since to clip
        a large picture after every tile takes longer than to paint it.
    """
    height, width = seen.shape[-2:]
    photo = padded(seen, network.multiple)
    size = (photo.shape[-2], photo.shape[-1])
    total = len(paintings) * sum(
        len(windows(*size, window, network.multiple, stage.reach)) for stage in network.chain
    )
    done, lost, canvas = 0, None, photo
    for number, parts in enumerate(paintings, start=1):
        for canvas in paint(network, photo, parts, window, running):
            done += 1
            if done < total:
                yield canvas[:, :height, :width], done, total
        if number < len(paintings):
            lost = photo - canvas
    canvas = canvas if lost is None else canvas + (1 - strength) * lost
    yield canvas[:, :height, :width].clamp(0, 1), total, total


class Painter:
    """Paints frame after frame of one scene: paintings are looked at once, and statistics of frames accumulate."""

    def __init__(self, scene: Scene, options: FastOptions, device: torch.device, memo: Memo) -> None:
        self._scene, self._strength, self._device = scene, options.strength, device
        model = loaded(options, device, memo)
        self._network = model.network
        self._paintings = _paintings(model, scene, options, device, memo)
        self._window = _window(options, device, scene.size)
        self._running: Running = {}

    def paint(self, photo: Tensor) -> Tensor:
        """A frame `(3, h, w)`, painted; what of it is finished is not in its colours yet."""
        seen = (color.luminance(photo) if self._scene.luminous else photo).to(self._device)
        found = _canvases(self._network, seen, self._paintings, self._strength, self._window, self._running)
        ((canvas, _, _),) = deque(found, maxlen=1)
        return canvas

    def finish(self, canvas: Tensor, photo: Tensor) -> Picture:
        """The picture of a frame that was painted."""
        return dataclasses.replace(self._scene, photo=Picture(photo)).finish(canvas)
