"""What paints the frames of a clip: the slow way, by optimisation, or the fast one, by a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from impasto.devices import choose_device
from impasto.fast import stylizer as feedforward
from impasto.images import Picture, PictureLike, color
from impasto.inputs.prepare import prepare_inputs
from impasto.inputs.read import Memo, read_styles
from impasto.losses.terms import TemporalLoss
from impasto.operations.stylize import iterate as iterate_picture
from impasto.settings.options import VideoOptions

#: What a run remembers from frame to frame: what depends on the paintings and the network alone.
KEPT = ("encoder", "style", "styles", "model")


class Slow:
    """Paints frames by optimisation; what only the paintings decide is computed once for a scene."""

    def __init__(self, styles: PictureLike | Sequence[PictureLike], options: VideoOptions) -> None:
        self._styles, self._options = styles, options
        self._memo: Memo = {}
        self._given: Any = styles

    def begin(self, photo: Tensor) -> None:
        """Get ready for a scene that begins with this frame, `(3, h, w)`."""
        self._memo = {key: value for key, value in self._memo.items() if key[0] == "encoder"}  # type: ignore[index]
        self._given = self._colored(photo)

    def __call__(self, photo: Tensor, temporal: TemporalLoss | None) -> tuple[Tensor, Picture]:
        """The canvas and the picture of a frame, `(3, h, w)`; without an temporal, of the first of a scene."""
        options = self._options
        slow = options.stylize_options
        if temporal is not None:
            slow = dataclasses.replace(slow, iterations=options.later, scales=1)
        if slow.color in ("match", "both"):  # as for the first frame of the scene, or the colours would waver
            slow = dataclasses.replace(slow, color="style" if slow.color == "match" else "luminance")
        memo = dict(self._memo)
        *_, step = iterate_picture(
            Picture(photo), self._given, dataclasses.replace(slow, size=None), memo, temporal=temporal
        )
        self._memo = {key: value for key, value in memo.items() if isinstance(key, tuple) and key[0] in KEPT}
        return step.image.cpu(), step.picture

    def _colored(self, photo: Tensor) -> Any:
        """The paintings; in the colours of the scene's first frame, if these are to be kept."""
        options = self._options
        if options.color not in ("match", "both"):
            return self._styles
        paintings = read_styles(self._styles, photo.shape[-2] * photo.shape[-1], {})
        return [
            Picture(color.match(painting.rgb, photo, options.color_match), painting.alpha) for _, painting in paintings
        ]


class Fast:
    """Paints frames with the network, its statistics accumulated over a scene."""

    def __init__(self, styles: PictureLike | Sequence[PictureLike], options: VideoOptions) -> None:
        self._styles, self._options = styles, options
        self._device = choose_device(options.device)
        self._memo: Memo = {}
        self._painter: feedforward.FramePainter | None = None

    def begin(self, photo: Tensor) -> None:
        """As `Slow`."""
        options = dataclasses.replace(self._options.fast_options, size=None)
        styles = feedforward.styles_for(
            feedforward.load_model(options, self._device, self._memo), self._styles, options
        )
        scene = prepare_inputs(Picture(photo), styles, options, self._device, {})
        self._painter = feedforward.FramePainter(scene, options, self._device, self._memo)

    def __call__(self, photo: Tensor, temporal: TemporalLoss | None) -> tuple[Tensor, Picture]:
        """As `Slow`."""
        if self._painter is None:  # gone on from within a scene
            self.begin(photo)
        assert self._painter is not None
        canvas = self._painter.paint(photo).cpu()
        if temporal is not None:
            canvas = canvas.lerp(temporal.image[0], self._options.smoothing * temporal.trust)
        return canvas, self._painter.finish(canvas, photo)


Painter = Slow | Fast


def painter_of(styles: PictureLike | Sequence[PictureLike], options: VideoOptions) -> Painter:
    """What paints the frames of a clip."""
    return (Fast if options.fast else Slow)(styles, options)
