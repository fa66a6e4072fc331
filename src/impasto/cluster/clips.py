"""A clip over many workers: scenes apart, long ones in stretches whose joints are faded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from impasto import images
from impasto.batch.pools import Pool, use_threads
from impasto.cluster.connection import Workers, connect
from impasto.errors import ClusterError
from impasto.files import StrPath
from impasto.images import Picture
from impasto.inputs.read import read_styles
from impasto.settings.options import VideoOptions
from impasto.video import clips, flow
from impasto.video.clips import Clip
from impasto.video.finished import Work, finishing
from impasto.video.frames import painter_of
from impasto.video.stylizer import Clock, Shot, Way, prepared

#: Frames of a stretch of a scene that is longer, and how many of them are painted by both sides of a joint.
STRETCH, OVERLAP = 60, 8
#: How often a stretch is begun whose workers are lost.
TRIES = 3

#: A frame as it travels: `(h, w, 3)`, of the clip's own size, so that a worker sees what one process would.
Frame = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, eq=False)
class Stretch:
    """Frames that one worker paints, one after another.

    Attributes:
        start: number of the first.
        scene: from 1.
        joined: whether the scene began before it.
        moments: time and duration of each frame.
    """

    start: int
    scene: int
    joined: bool
    frames: list[Frame]
    moments: list[tuple[int, int]]

    @property
    def stop(self) -> int:
        """The number after that of the last frame."""
        return self.start + len(self.frames)


def iterate(
    clip: StrPath | Clip,
    styles: Sequence[str],
    output: StrPath,
    options: VideoOptions | None = None,
    resume: bool = False,
    address: str = "auto",
    threads: int = 1,
    pool: Pool | None = None,
) -> Iterator[Shot]:
    """`impasto.video.iterate` over the workers of a Ray cluster: finished frames, in their order.

    Scenes are painted apart, as they would be in one process. A scene of more than `STRETCH` frames is divided; the
    frames around a joint are painted by both sides and faded from one to the other.

    Raises:
        What `impasto.video.iterate` raises; ClusterError: no cluster.
        ValueError: options that no cluster can follow.
    """
    options, output = options or VideoOptions(), Path(output)
    if options.passes > 1:
        raise ValueError("passes go to and fro over whole scenes; with a cluster there is one")
    if options.flow is not None:
        raise ValueError("files of optical flow are on this machine, and workers may be on others; leave --flow away")
    if pool is None:
        connect(address)
        pool = Workers(threads)
    clip, size, work = prepared(clip, styles, output, options, resume)
    paintings = [picture for _, picture in read_styles(styles, size[0] * size[1], {})] if styles else []
    return _iterate(clip, paintings, output, options, size, work, pool, threads)


def _iterate(
    clip: Clip,
    styles: Sequence[Picture],
    output: Path,
    options: VideoOptions,
    size: tuple[int, int],
    work: Work,
    pool: Pool,
    threads: int,
) -> Iterator[Shot]:
    clock = Clock(len(work.done), clip.frames, 1)
    with finishing(output, [work], clip, options):
        shared = pool.share(list(styles))
        try:
            merged = _Merged(work, clip, clock)
            for stretch, painted in _painted(clip, size, work, pool, shared, options, threads):
                yield from merged.add(stretch, painted)
            yield from merged.end()
        finally:
            pool.close()


# -- what is painted together ------------------------------------------------------------------------------------


def stretches(clip: Clip, size: tuple[int, int]) -> Iterator[Stretch]:
    """The stretches of a clip, in order; where one goes on in the next, `OVERLAP` frames are in both."""
    frames: list[Frame] = []
    moments: list[tuple[int, int]] = []
    scene, start, joined = 1, 1, False
    before: Tensor | None = None
    for number, frame in enumerate(clips.frames(clip), start=1):
        photo = images.resize(frame.image, *size)
        if before is not None and _is_cut(photo, before):
            yield Stretch(start, scene, joined, frames, moments)
            frames, moments = [], []
            scene, start, joined = scene + 1, number, False
        elif len(frames) == STRETCH + OVERLAP:
            yield Stretch(start, scene, joined, frames, moments)
            frames, moments = frames[STRETCH:], moments[STRETCH:]
            start, joined = start + STRETCH, True
        before = photo
        frames.append((frame.image * 255).round().byte().permute(1, 2, 0).numpy())
        moments.append((frame.time, frame.duration))
    if frames:
        yield Stretch(start, scene, joined, frames, moments)


def _is_cut(photo: Tensor, before: Tensor) -> bool:
    return flow.is_cut(photo, before, flow.trust(flow.between(photo, before), flow.between(before, photo)))


def paint(
    stretch: Stretch,
    styles: Sequence[Picture],
    options: VideoOptions,
    size: tuple[int, int],
    threads: int,
) -> list[tuple[Frame, float]]:
    """What a worker does: each frame's picture, and the part of it that was followed."""
    use_threads(threads)
    way = Way(painter_of(styles, options), options)
    made = []
    for number, frame in enumerate(stretch.frames, start=stretch.start):
        picture, _, share = way(number, images.resize(images.read(frame).rgb, *size))
        made.append((np.asarray(picture.to_pil()), share))
    return made


def _painted(
    clip: Clip,
    size: tuple[int, int],
    work: Work,
    pool: Pool,
    styles: Any,
    options: VideoOptions,
    threads: int,
) -> Iterator[tuple[Stretch, list[tuple[Frame, float]]]]:
    """Stretches with what became of them, in order; none all of whose frames are finished."""
    coming = (stretch for stretch in stretches(clip, size) if stretch.stop - 1 > len(work.done))
    waiting: list[tuple[Stretch, Future[Any], int]] = []
    more = True
    while more or waiting:
        while more and len(waiting) < max(1, pool.room):
            stretch = next(coming, None)
            more = stretch is not None
            if stretch is not None:
                waiting.append((stretch, pool.submit(paint, stretch, styles, options, size, threads), 1))
        if not waiting:
            return
        first, future, attempt = waiting[0]
        failure = future.exception()
        if failure is None:
            waiting.pop(0)
            yield first, future.result()
        elif isinstance(failure, pool.lost) and attempt < TRIES:
            waiting[0] = (first, pool.submit(paint, first, styles, options, size, threads), attempt + 1)
        elif isinstance(failure, pool.lost):
            raise ClusterError(f"the workers of frames {first.start} to {first.stop - 1} were lost {attempt} times")
        else:
            raise failure


# -- and put together --------------------------------------------------------------------------------------------


class _Merged:
    """Puts finished frames away in their order, those at joints faded from one stretch to the next."""

    def __init__(self, work: Work, clip: Clip, clock: Clock) -> None:
        self._work, self._clip, self._clock = work, clip, clock
        self._held: list[tuple[int, Frame]] = []  # the end of a stretch that the next one may begin before

    def add(self, stretch: Stretch, painted: Sequence[tuple[Frame, float]]) -> Iterator[Shot]:
        """A stretch, after all those before it."""
        if not stretch.joined:
            yield from self.end()
        faded = dict(self._held)
        self._held, self._last = [], stretch
        for index, (frame, share) in enumerate(painted):
            number = stretch.start + index
            if number in faded:
                weight = (index + 1) / (OVERLAP + 1)
                frame = np.round((1 - weight) * faded[number] + weight * frame).astype(np.uint8)  # noqa: PLW2901
            if index >= STRETCH:  # the next stretch has these too
                self._held.append((number, frame))
            else:
                yield from self._keep(stretch, number, frame, share)

    def end(self) -> Iterator[Shot]:
        """No more of this scene."""
        for number, frame in self._held:
            yield from self._keep(self._last, number, frame, 1.0)
        self._held = []

    def _keep(self, stretch: Stretch, number: int, frame: Frame, share: float) -> Iterator[Shot]:
        if number <= len(self._work.done):
            return
        index = number - stretch.start
        cut = index == 0 and not stretch.joined
        picture = images.read(frame)
        self._work.add(number, picture, (*stretch.moments[index], cut))
        count = max(self._clip.frames, number)
        yield Shot(number, count, 1, 1, stretch.scene, picture, share, *self._clock.tick(number))
