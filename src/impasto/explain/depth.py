"""The report on what each layer represents: content by layer, style by depth."""

from __future__ import annotations

from collections import deque

from torch import Tensor

import impasto
from impasto import images
from impasto.explain import figures
from impasto.explain.report import Report, Section, Table, counting
from impasto.images import PictureLike
from impasto.inputs.read import read_content, read_styles
from impasto.isolation import isolated
from impasto.progress import ProgressOption
from impasto.settings.options import STYLE_LAYERS, ReconstructOptions, TextureOptions

LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")


@isolated
def representations(
    photo: PictureLike,
    painting: PictureLike,
    size: int = 256,
    iterations: int = 150,
    progress: ProgressOption = False,
) -> Report:
    """Content by layer and style by depth: figure 1 of Gatys, Ecker and Bethge, CVPR 2016.

    Args:
        size: long side of the reconstructions, in pixels.
        iterations: evaluations of each content reconstruction; a texture takes a third of them.

    Raises:
        ValueError, PictureError: see `impasto.stylize`.
    """
    with counting(progress) as count:
        taps, styles = list(LAYERS), list(STYLE_LAYERS)
        content: list[tuple[str, Tensor]] = []
        errors: list[tuple[str | float, ...]] = []
        for number, layer in enumerate(taps):
            count(number, 2 * len(taps), f"content of {layer}")
            options = ReconstructOptions(size=size, iterations=iterations, content_layer={layer: 1.0})
            (last,) = deque(impasto.iterate_reconstruction(photo, options), maxlen=1)
            original = read_content(photo, long_side=size).resized(*last.shape).rgb
            content.append((layer, last.picture.rgb))
            errors.append((layer, (last.picture.rgb - original).square().mean().item()))
        ((_, style_picture),) = read_styles(painting, size * size)
        height, width = images.fit(style_picture.shape, size)
        style: list[tuple[str, Tensor]] = []
        for number in range(1, len(styles) + 1):
            count(len(taps) + number - 1, 2 * len(taps), f"style up to {styles[number - 1]}")
            layers = dict.fromkeys(styles[:number], 1.0)
            texture = TextureOptions(size=(width, height), style_layers=layers, iterations=max(20, iterations // 3))
            style.append((f"to {styles[number - 1]}", impasto.texture(painting, texture).rgb))
        content_picture = read_content(photo, long_side=size)
        content_size = images.fit(content_picture.shape, size)
        rows = [
            ("content", [("photo", content_picture.resized(*content_size).rgb), *content]),
            ("style", [("painting", style_picture.resized(height, width).rgb), *style]),
        ]
    return Report(
        "What each layer represents",
        [
            Section(
                "Content by layer, style by depth",
                [
                    "Above, the photo reconstructed from its activations at one layer: noise is optimised until "
                    "its activations match. Low layers preserve every pixel; high layers preserve what there is and "
                    "roughly where.",
                    "Below, textures that match the painting's Gram matrices at more and more layers. Positions are "
                    "discarded; each deeper layer adds larger structure, from colours to strokes to shapes.",
                ],
                [("representations", figures.grid(rows, 2.0))],
                [Table("content-error", ["layer", "mean squared error of the pixels"], errors)],
            )
        ],
    )
