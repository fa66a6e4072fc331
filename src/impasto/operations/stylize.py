"""The main job: `iterate` repaints a picture step by step, `stylize` gives the last step's picture."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor

from impasto import images
from impasto.devices import choose_device
from impasto.fast import stylizer
from impasto.images import Picture, PictureLike, color, regions
from impasto.images.regions import Region
from impasto.inputs.prepare import Scene, arrange, palette
from impasto.inputs.read import Memo, identity, remembered
from impasto.losses.objective import Anchor, Nearest, Objective, Style, Term, View
from impasto.losses.targets import Sight, content_terms, look_at, style_terms, weighed
from impasto.optim import schedule
from impasto.optim.checkpoints import Checkpoints, hashes
from impasto.optim.clock import Clock
from impasto.optim.memory import FLOAT, PICTURE, Plan, features
from impasto.optim.multiscale import Task, descend, noise
from impasto.optim.schedule import Scale
from impasto.optim.steps import Step, only_step
from impasto.settings.options import Init, StyledOptions, StylizeOptions
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder
from impasto.vgg.tiling import divide


def stylize(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
) -> Picture:
    """`content` repainted in the manner of `styles` (Gatys, Ecker & Bethge, CVPR 2016).

    Args:
        content: a path, PIL picture, array or tensor (see `images.read` for shapes and ranges), or the name of
            a photo of `photos.PHOTOS`.
        styles: the same, or the name of a built-in style; one, or a sequence of them.
        options: see `StylizeOptions`; `preset(name)` makes those of the papers.

    Returns:
        The picture, `options.size` pixels on its long side, with the content's alpha.

    Raises:
        ValueError: arguments that do not fit, pictures too small for the layers, masks that leave nothing.
        PictureError: a file that is missing or damaged.
        WeightsError: weights that are not here, or damaged.
    """
    (last,) = deque(iterate(content, styles, options), maxlen=1)
    return last.picture


def iterate(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | None = None,
    memo: Memo | None = None,
    checkpoints: Checkpoints | None = None,
    anchor: Anchor | None = None,
) -> Iterator[Step]:
    """The steps of `stylize`, as they come; to cancel, stop asking.

    Arguments and errors are those of `stylize`. What is wrong with them is raised here, before the first step. Runs
    on the same pictures may share a dictionary `memo`, and with it what they would all compute alike. With
    `checkpoints` the run is put away from time to time, and can be resumed; once the picture is safe, `discard` them.
    An `anchor`, of the result's size, is where it starts from, and what the last scale is kept near.
    """
    started = time.monotonic()
    options, known = options or StylizeOptions(), {} if memo is None else memo
    device = choose_device(options.device)
    scene = arrange(content, styles, options, device, known)
    if options.color == "palette":
        return iter([only_step(palette(scene, options), scene.finish, time.monotonic() - started)])

    aims, scales = aims_of(scene, options, device, known, memo, identity(content), anchor)
    start = start_of(options, scene, device) if anchor is None else anchor.start
    task = Task(
        aims.encoder,
        options.content_layers if options.content_weight else {},
        options.layers_of_style if options.weight_of_style else {},
        aims.objective,
        scene.finish,
        scene.size,
        extra=extra(scene, options, aims.encoder),
        pictures=hashes_of(options, scene, start) if checkpoints else {},
    )
    clock = Clock(started, options.time_budget, scales)
    details = anchor is not None or has_details(options)
    return descend(task, options, scales, start.to(device), clock, checkpoints, details)


def aims_of(
    scene: Scene,
    options: StylizeOptions,
    device: torch.device,
    known: Memo,
    memo: Memo | None,
    content: Hashable,
    anchor: Anchor | None = None,
) -> tuple[Aims, tuple[Scale, ...]]:
    """What a scene's picture is judged by, and the scales it goes through.

    Raises:
        ValueError: pictures too small for the layers, masks that leave nothing.
    """
    scales = schedule.plan(*scene.size, options.iterations, _scale_count(options))
    network = (options.weights, options.pooling, options.padding, options.preprocessing)
    encoder = remembered(known, ("encoder", network), lambda: weights.load(*network))
    style_layers = options.layers_of_style if options.weight_of_style else {}
    taps = {**options.content_layers, **style_layers}
    encoder.check_size(*scene.size, taps, "the result")
    regions.check_regions(scene.parts, encoder, style_layers, scales, options)
    near = None if anchor is None else anchor.to(device)
    return Aims(encoder.up_to(taps).to(device), options, scene, content, memo, near), scales


def extra(scene: Scene, options: StylizeOptions, encoder: Encoder) -> float:
    """Bytes per pixel of the picture that masks take, at every layer, views of the canvas, and all features of the
    paintings, where the nearest are looked for among them."""
    masks = sum(part.where is not None for part in scene.parts) + (scene.keep is not None)
    views = scene.luminous + (scene.keep is not None)
    banks = 0.0
    if options.statistic == "nearest":
        size = Scale(*scene.size, 1)
        sources = [source for part in scene.parts for source in part.sources]
        areas = [math.prod(source.size_at(size, by)) for source in sources for by in options.style_scale]
        banks = features(encoder, options.layers_of_style) * sum(areas) / size.pixels
    return masks * 2.5 * FLOAT + views * 2 * PICTURE + banks


def hashes_of(options: StylizeOptions, scene: Scene, start: Tensor) -> dict[str, str]:
    """What a run is given, by names for people."""
    original = scene.original
    given = {"content": original.rgb, "alpha of the content": original.alpha, "mask 'keep'": scene.keep}
    given |= {f"style {number}": painting.rgb for number, (_, painting) in enumerate(scene.paintings, start=1)}
    for part in scene.parts:
        given |= {f"mask of {part.name}": part.where}
        given |= {f"mask over {source.name}": source.where for source in part.sources}
    return hashes(given | ({} if options.init in get_args(Init) else {"start": start}))


#: The options that the features of a picture depend on, and those that the target of a style does.
_SEEN_BY = ("weights", "preprocessing", "pooling", "padding", "color", "color_match", "content_mask")
_STYLE_BY = (*_SEEN_BY, "statistic", "style_norm", "style_scale", "style_weights", "style_mask")


@dataclass(frozen=True, eq=False)
class Aims:
    """What a picture is judged by, at any scale.

    Attributes:
        encoder: on the device to compute on.
        content: what tells the photo from others.
        memo: what runs share; what only the targets depend on is computed once for all of them.
        anchor: what the last scale is kept near, if anything.
    """

    encoder: Encoder
    options: StylizeOptions
    scene: Scene
    content: Hashable
    memo: Memo | None = None
    anchor: Anchor | None = None

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.encoder.mean.device

    @property
    def content_layers(self) -> dict[str, float]:
        """Those that weigh something, and their weights."""
        return {layer: w for layer, w in self.options.content_layers.items() if w * self.options.content_weight}

    @property
    def style_layers(self) -> dict[str, float]:
        """Those that weigh something, and their weights."""
        return {layer: w for layer, w in self.options.layers_of_style.items() if w * self.options.weight_of_style}

    @property
    def _given(self) -> tuple[Hashable, ...]:
        """What all targets depend on."""
        return (tuple(self.scene.seen.shape), self.device, tuple(self.content_layers), tuple(self.style_layers))

    def styles(self, scale: Scale, window: int) -> tuple[list[Style | Nearest], dict[str, float]]:
        """Style terms, and the energy of the paintings at the content layers."""
        options, parts, size = self.options, self.scene.parts, (scale.height, scale.width)
        seed = options.seed if options.statistic == "gaussian" else 0
        # The photo has a say in what the style is only through its colours, and through where it is transparent.
        said = options.color in ("match", "both") or self.scene.photo.alpha is not None
        paintings = tuple(identity(painting) for _, painting in self.scene.paintings)
        by = (self.content if said else None, paintings, seed, *self._given, *frozen(options, _STYLE_BY))

        def look(part: Region) -> tuple[Sequence[Style | Nearest], dict[str, float]]:
            return style_terms(
                self.encoder,
                part.at(scale, options.style_scale, self.device),
                self.style_layers,
                options.style_norm,
                options.statistic,
                seed,
                self.content_layers,
                window,
            )

        known: Memo = {} if self.memo is None else self.memo
        looks = remembered(known, ("styles", size, window, by), lambda: [look(part) for part in parts])
        cover = max(sum(part.share for part in parts), 1e-12)
        energy = {
            layer: sum(part.share * seen[layer] for part, (_, seen) in zip(parts, looks, strict=True)) / cover
            for layer in self.content_layers
        }
        return [term for terms, _ in looks for term in terms], energy

    def terms(
        self, sights: Mapping[str, Sight], styles: Sequence[Style | Nearest], energy: Mapping[str, float]
    ) -> tuple[Term, ...]:
        """All terms, weighed."""
        content = content_terms(sights, self.options.content_norm, energy)
        return (
            *weighed(content, self.content_layers, self.options.content_weight),
            *weighed(styles, self.style_layers, self.options.weight_of_style),
        )

    def photo_at(self, scale: Scale) -> Tensor:
        """What is looked at of the photo, `(1, 3, h, w)`."""
        return images.resize(self.scene.seen, scale.height, scale.width).to(self.device)[None]

    def view(self, photo: Tensor) -> View:
        """What of the canvas is judged, where the photo looks so."""
        keep, size = self.scene.keep, photo.shape[-2:]
        return View(
            self.scene.luminous,
            photo,
            None if keep is None else images.resize(keep[None], *size)[0].to(self.device),
        )

    def objective(self, scale: Scale, plan: Plan) -> Objective:
        """What is minimised at a scale, computed as planned."""
        size = (scale.height, scale.width)
        known: Memo = {} if self.memo is None else self.memo
        photo = self.photo_at(scale)
        tiles = divide(self.encoder, {*self.content_layers, *self.style_layers}, *size, plan.window)
        styles, energy = self.styles(scale, plan.window)
        sights = remembered(
            known,
            ("photo", size, plan.window, plan.keeps, self.content, *self._given, *frozen(self.options, _SEEN_BY)),
            lambda: look_at(self.encoder, photo, self.content_layers, tiles, plan.keeps),
        )
        return Objective(
            self.encoder,
            self.terms(sights, styles, energy),
            self.options.total_variation,
            self.view(photo),
            tiles,
            photo,
            self.anchor if size == self.scene.size else None,
        )


def frozen(options: StyledOptions, names: Sequence[str]) -> tuple[Hashable, ...]:
    """The values of these options as a key: masks by what they are, everything else by its text."""
    values = [getattr(options, name) for name in names]
    return tuple(
        tuple((key, identity(mask)) for key, mask in value.items()) if isinstance(value, Mapping) else repr(value)
        for value in values
    )


def _scale_count(options: StylizeOptions) -> int | None:
    """A draft is nearly done: who starts from one goes on at its size."""
    draft = options.init == "fast" or options.init not in get_args(Init)
    return 1 if options.scales is None and draft else options.scales


def has_details(options: StylizeOptions) -> bool:
    """Whether details of the start are worth having at every scale: those of noise are not."""
    return options.init not in ("noise", "mixed")


def start_of(options: StylizeOptions, scene: Scene, device: torch.device) -> Tensor:
    """The picture that the optimiser starts from, `(3, h, w)`, at the final size."""
    photo, parts = scene.seen, scene.parts
    generator = torch.Generator().manual_seed(options.seed)
    starts: dict[str, Callable[[], Tensor]] = {
        "content": lambda: color.recolor(photo, parts, options.color_match) if options.match_colors else photo,
        "noise": lambda: noise(photo.shape[-2], photo.shape[-1], options.seed),
        # As the course does: up to a quarter of the range either way, so that the start still resembles the photo.
        "mixed": lambda: (starts["content"]() + 0.5 * torch.rand(photo.shape, generator=generator) - 0.25).clamp(
            0, 1
        ),
        "style": lambda: _cover(parts[0].sources[0].image, photo.shape[-2], photo.shape[-1]) if parts else photo,
        "fast": lambda: stylizer.draft(scene, options.fast_options, device),
    }
    if options.init in starts:
        return starts[options.init]()
    if not Path(options.init).exists() and not Path(options.init).suffix:
        raise ValueError(f"unknown init {options.init!r}; choose from {', '.join(starts)}, or give a file")
    return images.read(options.init, "the start").resized(*photo.shape[-2:]).rgb


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
