"""A clip repainted frame by frame, each held to the one before along the optical flow, so that nothing flickers.

Ruder, Dosovitskiy and Brox, "Artistic style transfer for videos" (arXiv 1604.08610): every frame starts from the one
before, moved to where things are now, and is kept near it wherever that can be followed. Where it cannot, behind
what has moved away, it is painted anew. With the fast way a frame is one pass of a network, and what can be followed
is blended with the frame before.

Finished frames lie in a folder beside the clip until it is written: a run that was interrupted goes on there.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto import images
from impasto.files import StrPath
from impasto.images import Picture, PictureLike
from impasto.losses.terms import TemporalLoss
from impasto.settings.fields import result_settings
from impasto.settings.options import VideoOptions
from impasto.video import clips, flow
from impasto.video.clips import Clip
from impasto.video.finished import Work, finishing, work_of
from impasto.video.flow import Field
from impasto.video.frames import Painter, painter_of

#: How much of the neighbour, where it can be followed, a frame of a later pass starts from (section 4.3).
BLEND = 0.5


@dataclass(frozen=True, eq=False)
class Shot:
    """A finished frame.

    Attributes:
        number: from 1; `frames`: how many there are, as far as the file tells.
        turn: the pass over the clip, from 1; `turns`: how many there are.
        scene: from 1.
        picture: as it will be in the clip.
        followed: the part of it that could be followed from the frame before.
        seconds: since this session began; `eta`: seconds left.
    """

    number: int
    frames: int
    turn: int
    turns: int
    scene: int
    picture: Picture
    followed: float
    seconds: float
    eta: float


@dataclass(frozen=True, eq=False)
class Past:
    """A frame that was painted before.

    Attributes:
        number: from 1.
        photo: `(3, h, w)`, at the result's size.
        canvas: what was optimised, likewise.
    """

    number: int
    photo: Tensor
    canvas: Tensor


def iterate(
    clip: StrPath | Clip,
    styles: PictureLike | Sequence[PictureLike],
    output: StrPath,
    options: VideoOptions | None = None,
    resume: bool = False,
) -> Iterator[Shot]:
    """Repaint a clip, and write it to `output` when all frames are done: the frames, as they are finished.

    Who stops asking before, finds what is finished written all the same, and the frames kept for `resume`.

    Raises:
        ValueError, PictureError: arguments that do not fit, files that are missing or damaged.
        CheckpointError: there are finished frames of a run with other settings.
    """
    options, output = options or VideoOptions(), Path(output)
    clip, size, work = prepared(clip, styles, output, options, resume)
    return _iterate(clip, styles, output, options, size, work)


def prepared(
    clip: StrPath | Clip,
    styles: PictureLike | Sequence[PictureLike],
    output: Path,
    options: VideoOptions,
    resume: bool,
) -> tuple[Clip, tuple[int, int], Work]:
    """The clip, the size of its result, and the folder of its finished frames; errors as of `iterate`."""
    clips.check_output(output)
    if not isinstance(clip, Clip):
        clip = clips.open_clip(
            clip, None if options.frame_rate is None else Fraction(options.frame_rate).limit_denominator(1001)
        )
    size = clip.size
    if options.size is not None:  # even sides: all that encoders and players like is so
        height, width = images.fit(clip.size, options.size)
        size = max(2, height // 2 * 2), max(2, width // 2 * 2)
    given = [style if isinstance(style, (str, os.PathLike)) else "picture" for style in _listed(styles)]
    settings = result_settings(options)
    settings |= {"clip": clip.path.name, "styles": [str(style) for style in given], "size": size}
    return clip, size, Work(work_of(output), settings, resume)


def _listed(styles: PictureLike | Sequence[PictureLike]) -> Sequence[Any]:
    return styles if isinstance(styles, (list, tuple)) else [styles]


def _iterate(
    clip: Clip,
    styles: PictureLike | Sequence[PictureLike],
    output: Path,
    options: VideoOptions,
    size: tuple[int, int],
    work: Work,
) -> Iterator[Shot]:
    painter = painter_of(styles, options)
    turns, clock = [work], Clock(len(work.done), clip.frames, options.passes)
    with finishing(output, turns, clip, options):
        yield from _forward(clip, options, size, work, painter, clock)
        for turn in range(2, options.passes + 1):
            turns.append(work.next_pass(turn))
            clock.skip(turns[-1])
            yield from _again(turn, options, work, turns[-2], turns[-1], painter, clock)


class Clock:
    """How long it takes: frames done in this session, of those that there are over all passes."""

    def __init__(self, before: int, frames: int, passes: int) -> None:
        self._started, self._frames, self._passes = time.monotonic(), frames, passes
        self._skipped, self._done = before, 0

    def skip(self, work: Work) -> None:
        """Frames of a pass that were there already."""
        self._skipped += len(work.done)

    def tick(self, frames: int) -> tuple[float, float]:
        """Seconds so far and left, after one more frame, where there are `frames` in a pass."""
        self._done += 1
        seconds = time.monotonic() - self._started
        left = max(frames, self._frames) * self._passes - self._skipped - self._done
        return seconds, seconds / self._done * max(0, left)


def _forward(
    clip: Clip, options: VideoOptions, size: tuple[int, int], work: Work, painter: Painter, clock: Clock
) -> Iterator[Shot]:
    """The first pass: frame after frame, as they are read."""
    way = Way(painter, options)
    before, scene = len(work.done), sum(cut for _, _, cut in work.done)
    for number, frame in enumerate(clips.frames(clip), start=1):
        photo = images.resize(frame.image, *size)
        if number <= before:
            cut = work.done[number - 1][2]
            way.recall(number, photo, images.read(work.path(number)).rgb if before - number < way.span else None, cut)
            continue
        if options.passes > 1:
            images.write(work.source(number), Picture(photo))
        picture, cut, share = way(number, photo)
        scene += cut
        work.add(number, picture, (frame.time, frame.duration, cut))
        yield Shot(number, max(clip.frames, number), 1, options.passes, scene, picture, share, *clock.tick(number))


class Way:
    """Through a clip, frame after frame, each held to those before.

    Attributes:
        span: how many frames before are remembered.
    """

    def __init__(self, painter: Painter, options: VideoOptions) -> None:
        self._painter, self._options = painter, options
        farthest = 1 if options.fast else options.long_term
        self._offsets = [offset for offset in (1, 2, 4, 8, 16) if offset <= farthest]
        self.span = max(self._offsets)
        self._past: deque[Past] = deque(maxlen=self.span)

    def recall(self, number: int, photo: Tensor, canvas: Tensor | None, cut: bool) -> None:
        """A frame that was painted before, `(3, h, w)`; its canvas, if it is to be remembered."""
        if cut:
            self._past.clear()
            self._painter.begin(photo)
        if canvas is not None:
            self._past.append(Past(number, photo, canvas))

    def __call__(self, number: int, photo: Tensor) -> tuple[Picture, bool, float]:
        """The picture of a frame, `(3, h, w)`, whether it begins a scene, and the part of it that was followed."""
        options, past = self._options, self._past
        followed = [
            (earlier, *_follow(photo, earlier, number, options))
            for earlier in past
            if number - earlier.number in self._offsets
        ]
        cut = not past or flow.is_cut(photo, past[-1].photo, followed[-1][2])
        if cut:
            past.clear()
            followed = []
            self._painter.begin(photo)
        canvas, picture = self._painter(photo, held(followed, options.temporal_weight))
        past.append(Past(number, photo, canvas))
        return picture, cut, followed[-1][2].mean().item() if followed else 0.0


def _again(
    turn: int,
    options: VideoOptions,
    first: Work,
    before: Work,
    work: Work,
    painter: Painter,
    clock: Clock,
) -> Iterator[Shot]:
    """A further pass, the other way than the one before: each frame from its own and the neighbour's result."""
    count, onward = len(first.done), turn % 2
    order = list(range(1, count + 1)) if onward else list(range(count, 0, -1))
    scenes = list(itertools.accumulate(int(cut) for _, _, cut in first.done))
    begun = 0
    for number in order[len(work.done) :]:
        if scenes[number - 1] != begun:
            begun = scenes[number - 1]
            painter.begin(images.read(first.source(scenes.index(begun) + 1)).rgb)
        neighbour = number - 1 if onward else number + 1
        photo, own = (images.read(path).rgb for path in (first.source(number), before.path(number)))
        temporal, share = TemporalLoss(own[None], torch.zeros(own.shape[1:]), 0.0, own), 0.0
        if 1 <= neighbour <= count and scenes[neighbour - 1] == scenes[number - 1]:
            past = Past(neighbour, *(images.read(p).rgb for p in (first.source(neighbour), work.path(neighbour))))
            back, trust = _follow(photo, past, number, options)
            kept = held([(past, back, trust)], options.temporal_weight)
            assert kept is not None
            start = own.lerp(kept.image[0], BLEND * trust)
            temporal, share = TemporalLoss(kept.image, trust, options.temporal_weight, start), trust.mean().item()
        _, picture = painter(photo, temporal)
        work.add(number, picture, first.done[number - 1])
        scene = scenes[number - 1]
        yield Shot(number, count, turn, options.passes, scene, picture, share, *clock.tick(count))


def _follow(photo: Tensor, earlier: Past, number: int, options: VideoOptions) -> tuple[Field, Tensor]:
    """The field from a frame back to an earlier one, and where it is to be trusted."""
    if options.flow is not None:
        folder, (height, width) = Path(options.flow), photo.shape[-2:]
        back = flow.read(folder / f"backward_{number}_{earlier.number}.flo", height, width)
        forth = flow.read(folder / f"forward_{earlier.number}_{number}.flo", height, width)
    else:
        back, forth = flow.between(photo, earlier.photo), flow.between(earlier.photo, photo)
    return back, flow.trust(back, forth)


def held(followed: Sequence[tuple[Past, Field, Tensor]], weight: float) -> TemporalLoss | None:
    """What a frame is kept near: earlier frames, moved to where things are now, where they can be followed.

    The farther ones count only where nearer ones do not (eq. 9). Of squared errors from several, the sum is the
    squared error from their mean, but for a constant.
    """
    if not followed:
        return None
    image, trust = torch.zeros_like(followed[0][0].canvas), torch.zeros_like(followed[0][2])
    for earlier, back, trusted in reversed(followed):  # the nearest first
        share = (trusted - trust).clamp_min(0)
        image += share * flow.warp(earlier.canvas, back)
        trust += share
    nearest, back, _ = followed[-1]
    image += (1 - trust) * flow.warp(nearest.canvas, back)  # somewhere to start from, where nothing is trusted
    image = image.clamp(0, 1)
    return TemporalLoss(image[None], trust, weight, image)
