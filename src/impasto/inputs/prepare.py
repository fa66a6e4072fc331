"""What is to be painted, whichever way: the photo, where each painting's style goes, and what is made of colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto import images
from impasto.images import Picture, PictureLike, color
from impasto.images.regions import Region
from impasto.inputs import masks
from impasto.inputs.read import Memo, identity, read_content, read_styles, remembered
from impasto.optim import memory
from impasto.settings.options import FastOptions, StylizeOptions


@dataclass(frozen=True, eq=False)
class Scene:
    """A photo and its paintings, as the options have them.

    Attributes:
        original: the photo as given; `photo`: at the final size.
        paintings: (name, picture) pairs, as given.
        seen: `(3, h, w)`, what is looked at of the photo: all of it, or its luminance.
        parts: the regions, their sources in the colours that they are to have.
        keep: `(h, w)`, what stays untouched, or None.
        luminous: whether only luminance is painted.
    """

    original: Picture
    photo: Picture
    paintings: Sequence[tuple[str, Picture]]
    seen: Tensor
    parts: tuple[Region, ...]
    keep: Tensor | None
    luminous: bool

    @property
    def size(self) -> tuple[int, int]:
        """Of the result, height and width in pixels."""
        return self.photo.size

    def finish(self, image: Tensor) -> Picture:
        """The picture of what was painted, `(3, h, w)` of any size: in its colours, with what stays and the alpha."""
        painted = images.resize(image, *self.size)
        if self.luminous:
            painted = color.with_colors_of(painted, self.photo.rgb)
        return Picture(painted if self.keep is None else painted.lerp(self.photo.rgb, self.keep), self.photo.alpha)


def arrange(
    content: PictureLike,
    styles: PictureLike | Sequence[PictureLike],
    options: StylizeOptions | FastOptions,
    device: torch.device,
    memo: Memo,
) -> Scene:
    """The scene of these pictures.

    Raises:
        ValueError, PictureError, BudgetError: as `transfer.stylize`.
    """
    original = remembered(memo, ("content", identity(content)), lambda: read_content(content))
    size = original.size if options.size is None else images.fit(original.size, options.size)
    memory.check_possible(size, device, options.memory)
    photo = original.resized(*size)
    paintings = read_styles(styles, size[0] * size[1] * max(options.style_scale) ** 2, memo)
    parts, keep = masks.assign(photo, paintings, options.style_weights, options.content_mask, options.style_mask)
    if options.color in ("match", "both"):
        parts = tuple(color.in_colors_of(photo.rgb, part, options.color_match) for part in parts)
    seen, luminous = photo.rgb, options.color in ("luminance", "both")
    if luminous:
        seen = color.luminance(seen)
        parts = tuple(part.repainted(lambda source: color.luminance(source.image)) for part in parts)
    return Scene(original, photo, paintings, seen, parts, keep, luminous)


def palette(scene: Scene, options: StylizeOptions | FastOptions) -> Tensor:
    """The photo in the paintings' colours and nothing else of theirs, `(3, h, w)`."""
    colored = color.recolor(scene.photo.rgb, scene.parts, options.color_match)
    return scene.photo.rgb.lerp(colored, min(options.strength, 1.0))
