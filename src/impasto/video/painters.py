"""Two ways to stylise the frames of a clip: by optimisation, and by a feed-forward network."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from impasto.devices import choose_device
from impasto.fast import stylizer as feedforward
from impasto.images import Picture, PictureLike, color
from impasto.inputs.memo import Memo
from impasto.inputs.read import opened_styles, read_styles
from impasto.losses.terms import TemporalLoss
from impasto.operations.stylize import calibrated
from impasto.operations.stylize import iterate as iterate_picture
from impasto.settings.options import StylizeOptions, VideoOptions

#: Kinds in the memo that depend on the paintings and the network alone: kept during a scene.
SHARED_KINDS = ("encoder", "style", "styles", "model")


class Painter(Protocol):
    """Stylises the frames of a clip, one after another."""

    def begin_scene(self, photo: Tensor) -> None:
        """Prepare for a scene whose first frame is `photo`, `(3, h, w)`, sRGB in [0, 1]."""
        ...

    def __call__(self, photo: Tensor, temporal: TemporalLoss | None) -> tuple[Tensor, Picture]:
        """The stylised canvas `(3, h, w)` of a frame, and the picture that is made from it.

        Args:
            photo: `(3, h, w)`, sRGB in [0, 1].
            temporal: holds the frame near the one before; None for the first frame of a scene.
        """
        ...


class OptimizingPainter:
    """Optimises each frame; the targets of the paintings are computed once per scene."""

    def __init__(self, styles: PictureLike | Sequence[PictureLike], options: VideoOptions) -> None:
        self._styles, self._options = opened_styles(styles), options
        self._memo = Memo()
        self._scene_styles: Any = self._styles
        self._scene_options = options.stylize_options

    def begin_scene(self, photo: Tensor) -> None:
        self._memo.keep_only("encoder")
        self._scene_styles = self._recolored_styles(photo)
        self._scene_options = self._calibrated(photo)

    def __call__(self, photo: Tensor, temporal: TemporalLoss | None) -> tuple[Tensor, Picture]:
        options = self._scene_options
        if temporal is not None:
            options = dataclasses.replace(options, iterations=self._options.later, scales=1)
        steps = iterate_picture(Picture(photo), self._scene_styles, options, memo=self._memo, temporal=temporal)
        (step,) = deque(steps, maxlen=1)
        self._memo.keep_only(*SHARED_KINDS)
        return step.image.cpu(), step.picture

    def _calibrated(self, photo: Tensor) -> StylizeOptions:
        """The options of all frames of a scene, with a style weight that suits its first one."""
        options = dataclasses.replace(self._options.stylize_options, size=None)
        if options.color in ("match", "both"):  # the styles have the scene's colours already
            options = dataclasses.replace(options, color="style" if options.color == "match" else "luminance")
        return calibrated(Picture(photo), self._scene_styles, options, self._memo)

    def _recolored_styles(self, photo: Tensor) -> Any:
        """With `match`, the paintings in the colours of the scene's first frame: matching each frame would flicker."""
        options = self._options
        if options.color not in ("match", "both"):
            return self._styles
        paintings = read_styles(self._styles, photo.shape[-2] * photo.shape[-1])
        return [
            Picture(color.match(painting.rgb, photo, options.color_match), painting.alpha) for _, painting in paintings
        ]


class FeedForwardPainter:
    """Stylises each frame in one forward pass, and blends it with the frame before, warped along the flow."""

    def __init__(self, styles: PictureLike | Sequence[PictureLike], options: VideoOptions) -> None:
        self._styles, self._options = opened_styles(styles), options
        self._device = choose_device(options.device)
        self._memo = Memo()
        self._painter: feedforward.FramePainter | None = None

    def begin_scene(self, photo: Tensor) -> None:
        options = dataclasses.replace(self._options.fast_options, size=None)
        self._painter = feedforward.frame_painter(Picture(photo), self._styles, options, self._device, self._memo)

    def __call__(self, photo: Tensor, temporal: TemporalLoss | None) -> tuple[Tensor, Picture]:
        assert self._painter is not None
        canvas = self._painter.paint(photo).cpu()
        if temporal is not None:
            canvas = canvas.lerp(temporal.image[0], self._options.smoothing * temporal.trust)
        return canvas, self._painter.finish(canvas, photo)


def make_painter(styles: PictureLike | Sequence[PictureLike], options: VideoOptions) -> Painter:
    """The painter that the options ask for."""
    return FeedForwardPainter(styles, options) if options.fast else OptimizingPainter(styles, options)
