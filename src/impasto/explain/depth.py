"""What each layer knows of a picture: content by layer, style by depth."""

from __future__ import annotations

from collections import deque

from torch import Tensor

import impasto
from impasto import images
from impasto.explain import figures
from impasto.explain.report import Report, Section, Table, Tell, quiet
from impasto.images import PictureLike
from impasto.inputs.read import read_content, read_styles
from impasto.settings.options import STYLE_LAYERS, ReconstructOptions, TextureOptions

LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")


def representations(
    photo: PictureLike, painting: PictureLike, size: int = 256, iterations: int = 150, tell: Tell = quiet
) -> Report:
    """Content by layer and style by depth: figure 1 of Gatys, Ecker and Bethge, CVPR 2016.

    Raises:
        ValueError, PictureError: see `impasto.stylize`.
    """
    taps, styles = list(LAYERS), list(STYLE_LAYERS)
    content: list[tuple[str, Tensor]] = []
    errors: list[tuple[str | float, ...]] = []
    for number, layer in enumerate(taps):
        tell(number, 2 * len(taps), f"content of {layer}")
        plain = ReconstructOptions(size=size, iterations=iterations, content_layer={layer: 1.0})
        (last,) = deque(impasto.iterate_reconstruction(photo, plain), maxlen=1)
        original = read_content(photo).resized(*last.size).rgb
        content.append((layer, last.picture.rgb))
        errors.append((layer, (last.picture.rgb - original).square().mean().item()))
    ((_, given),) = read_styles(painting, size * size, {})
    height, width = images.fit(given.size, size)
    style: list[tuple[str, Tensor]] = []
    for number in range(1, len(styles) + 1):
        tell(len(taps) + number - 1, 2 * len(taps), f"style of {styles[number - 1]} and below")
        chosen = dict.fromkeys(styles[:number], 1.0)
        plain_texture = TextureOptions(size=(width, height), style_layers=chosen, iterations=max(20, iterations // 3))
        style.append((f"to {styles[number - 1]}", impasto.texture(painting, plain_texture).rgb))
    seen = read_content(photo)
    rows = [
        ("content", [("photo", seen.resized(*images.fit(seen.size, size)).rgb), *content]),
        ("style", [("painting", given.resized(height, width).rgb), *style]),
    ]
    return Report(
        "What each layer knows of a picture",
        [
            Section(
                "Content by layer, style by depth",
                [
                    "Above, the photo reconstructed from noise until one layer sees in it what it sees in the photo. "
                    "Low layers keep every pixel; high ones keep what things are and about where.",
                    "Below, textures that share the painting's Gram matrices at more and more layers. Places are "
                    "forgotten; from colours to strokes to whole shapes, more of the manner is kept.",
                ],
                [("representations", figures.grid(rows, 2.0))],
                [Table("content-error", ["layer", "mean squared error of the pixels"], errors)],
            )
        ],
    )
