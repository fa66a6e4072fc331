"""The inputs of a repainted picture, prepared for optimisation and feed-forward networks alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto import images
from impasto.images import Picture, PictureLike, color
from impasto.images.regions import Region
from impasto.inputs import masks
from impasto.inputs.memo import Memo, identity
from impasto.inputs.read import opened, read_content, read_styles
from impasto.optim import memory
from impasto.settings.options import FastOptions, StylizeOptions


@dataclass(frozen=True, eq=False)
class Inputs:
    """A photo and its paintings, prepared as the options say.

    Attributes:
        original: the photo as given.
        photo: at the final size.
        paintings: (name, picture) pairs, as given.
        content: `(3, h, w)`, what the network reads of the photo: all of it, or its luminance.
        regions: with their sources in the colours that the options ask for.
        keep: `(h, w)`, 1 where the photo stays as it is; None for nowhere.
        luminance_only: whether only luminance is painted.
    """

    original: Picture
    photo: Picture
    paintings: Sequence[tuple[str, Picture]]
    content: Tensor
    regions: tuple[Region, ...]
    keep: Tensor | None
    luminance_only: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the result, in pixels."""
        return self.photo.shape

    def finish(self, image: Tensor) -> Picture:
        """The result, from a painted image `(3, h, w)` of any size: with its colours, kept parts and alpha."""
        painted = images.resize(image, *self.size)
        if self.luminance_only:
            painted = color.with_colors_of(painted, self.photo.rgb)
        return Picture(painted if self.keep is None else painted.lerp(self.photo.rgb, self.keep), self.photo.alpha)


def prepare_inputs(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | FastOptions,
    device: torch.device,
    memo: Memo,
    style_area: float | None = None,
    known_styles: Collection[str] = (),
) -> Inputs:
    """Read, resize and recolour the inputs, and assign styles to regions.

    Args:
        style_area: the area at which built-in styles are painted; by default that which the options need.
        known_styles: names of styles that are known without their pictures.

    Raises:
        ValueError, PictureError, BudgetError: as `operations.stylize.stylize`.
    """
    content = opened(content, "the content")
    original = memo.get(
        ("content", identity(content), options.size), lambda: read_content(content, long_side=options.size)
    )
    size = original.shape if options.size is None else images.fit(original.shape, options.size)
    memory.check_possible(size, device, options.memory)
    photo = original.resized(*size)
    area = style_area or size[0] * size[1] * max(options.style_scale) ** 2
    paintings = read_styles(styles, area, memo, known_styles)
    regions, keep = masks.assign(photo, paintings, options.style_weights, options.content_mask, options.style_mask)
    if options.color in ("match", "both"):
        regions = tuple(color.in_colors_of(photo.rgb, region, options.color_match) for region in regions)
    read, luminance_only = photo.rgb, options.color in ("luminance", "both")
    if luminance_only:
        read = color.luminance(read)
        regions = tuple(region.with_images(lambda source: color.luminance(source.image)) for region in regions)
    return Inputs(original, photo, paintings, read, regions, keep, luminance_only)


def palette(inputs: Inputs, options: StylizeOptions | FastOptions) -> Tensor:
    """The photo in the paintings' colours, without their strokes, `(3, h, w)`."""
    colored = color.recolor(inputs.photo.rgb, inputs.regions, options.color_match)
    return inputs.photo.rgb.lerp(colored, min(options.strength, 1.0))
