"""A clip stylised by many workers: scenes in parallel, long ones in overlapping segments that are cross-faded."""

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
from impasto.inputs.gallery import PAINTINGS
from impasto.inputs.read import is_named, read_styles
from impasto.inputs.styles import STYLES
from impasto.isolation import isolated
from impasto.settings.options import VideoOptions
from impasto.video import clips, flow
from impasto.video.clips import Clip
from impasto.video.frame_store import FrameStore, write_on_exit
from impasto.video.painters import make_painter
from impasto.video.stylizer import FrameClock, FrameStylizer, StylizedFrame, prepare

#: Frames from one segment of a scene to the next, and how many of them the two have in common.
SEGMENT, OVERLAP = 60, 8
#: How often a segment is attempted whose workers are lost.
MAX_ATTEMPTS = 3

#: `(h, w, 3)`: a frame as it is sent.
Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, eq=False)
class Segment:
    """Consecutive frames of a scene, which one worker stylises.

    Attributes:
        start: number of the first frame.
        scene: from 1.
        is_continued: whether the scene began in an earlier segment.
        frames: of the clip's own size, so that a worker resizes them as one process would.
        times: time and duration of each frame.
    """

    start: int
    scene: int
    is_continued: bool
    frames: list[Pixels]
    times: list[tuple[int, int]]

    @property
    def stop(self) -> int:
        """The number after that of the last frame."""
        return self.start + len(self.frames)


@isolated
def iterate(
    clip: StrPath | Clip,
    styles: Sequence[str],
    output: StrPath,
    options: VideoOptions | None = None,
    *,
    resume: bool = False,
    address: str = "auto",
    threads: int = 1,
    pool: Pool | None = None,
) -> Iterator[StylizedFrame]:
    """`impasto.video.iterate` over the workers of a Ray cluster: finished frames, in order.

    Scenes are stylised as they would be in one process. A scene of more than `SEGMENT + OVERLAP` frames is divided.

    Raises:
        What `impasto.video.iterate` raises; ClusterError: no cluster, or too many workers lost.
        ValueError: options that a cluster does not support.
    """
    options, output = options or VideoOptions(), Path(output)
    if options.passes > 1:
        raise ValueError("a cluster makes one pass only; omit --passes or --cluster")
    if options.flow is not None:
        raise ValueError("files of optical flow are on this machine, and workers may be on others; omit --flow")
    if pool is None:
        connect(address)
        pool = Workers(threads)
    clip, size, store = prepare(clip, styles, output, options, resume)
    # The styles that come with impasto are handed over by name, which workers know; others as pictures.
    paintings = [
        style if is_named(style, (*STYLES, *PAINTINGS)) else read_styles(style, size[0] * size[1])[0][1]
        for style in styles
    ]
    return _iterate(clip, paintings, output, options, size, store, pool, threads)


def _iterate(
    clip: Clip,
    styles: Sequence[Picture | str],
    output: Path,
    options: VideoOptions,
    size: tuple[int, int],
    store: FrameStore,
    pool: Pool,
    threads: int,
) -> Iterator[StylizedFrame]:
    clock = FrameClock(len(store.finished), clip.frames, 1)
    with write_on_exit(output, [store], clip, options):
        shared = pool.share(list(styles))
        try:
            joiner = _SegmentJoiner(store, clip, clock)
            for segment, stylized in _stylized_segments(clip, size, store, pool, shared, options, threads):
                yield from joiner.add(segment, stylized)
            yield from joiner.end_scene()
        finally:
            pool.close()


# -- segments ------------------------------------------------------------------------------------------------


def segments(clip: Clip, size: tuple[int, int]) -> Iterator[Segment]:
    """The segments of a clip, in order; consecutive ones of a scene have `OVERLAP` frames in common."""
    frames: list[Pixels] = []
    times: list[tuple[int, int]] = []
    scene, start, is_continued = 1, 1, False
    previous: Tensor | None = None
    for number, frame in enumerate(clips.frames(clip), start=1):
        photo = images.resize(frame.image, *size)
        if previous is not None and _is_scene_cut(photo, previous):
            yield Segment(start, scene, is_continued, frames, times)
            frames, times = [], []
            scene, start, is_continued = scene + 1, number, False
        elif len(frames) == SEGMENT + OVERLAP:
            yield Segment(start, scene, is_continued, frames, times)
            frames, times = frames[SEGMENT:], times[SEGMENT:]
            start, is_continued = start + SEGMENT, True
        previous = photo
        frames.append((frame.image * 255).round().byte().permute(1, 2, 0).numpy())
        times.append((frame.time, frame.duration))
    if frames:
        yield Segment(start, scene, is_continued, frames, times)


def _is_scene_cut(photo: Tensor, previous: Tensor) -> bool:
    reliable = flow.reliability(flow.estimate(photo, previous), flow.estimate(previous, photo))
    return flow.is_scene_cut(photo, previous, reliable)


def stylize_segment(
    segment: Segment,
    styles: Sequence[Picture | str],
    options: VideoOptions,
    size: tuple[int, int],
    threads: int,
) -> list[tuple[Pixels, float]]:
    """Runs on a worker: each frame's picture, and its share of pixels with reliable flow."""
    use_threads(threads)
    stylizer = FrameStylizer(make_painter(styles, options), options)
    stylized = []
    for number, frame in enumerate(segment.frames, start=segment.start):
        picture, _, share = stylizer(number, images.resize(images.read(frame).rgb, *size))
        stylized.append((np.asarray(picture.to_pil()), share))
    return stylized


def _stylized_segments(
    clip: Clip,
    size: tuple[int, int],
    store: FrameStore,
    pool: Pool,
    styles: Any,
    options: VideoOptions,
    threads: int,
) -> Iterator[tuple[Segment, list[tuple[Pixels, float]]]]:
    """Segments in order, each with the results of its worker; those whose frames are all finished are left out."""
    unfinished = (segment for segment in segments(clip, size) if segment.stop - 1 > len(store.finished))
    queue: list[tuple[Segment, Future[Any], int]] = []
    more = True
    while more or queue:
        while more and len(queue) < max(1, pool.capacity):
            segment = next(unfinished, None)
            more = segment is not None
            if segment is not None:
                queue.append((segment, pool.submit(stylize_segment, segment, styles, options, size, threads), 1))
        if not queue:
            return
        first, future, attempt = queue[0]
        error = future.exception()
        if error is None:
            queue.pop(0)
            yield first, future.result()
        elif isinstance(error, pool.lost) and attempt < MAX_ATTEMPTS:
            queue[0] = (first, pool.submit(stylize_segment, first, styles, options, size, threads), attempt + 1)
        elif isinstance(error, pool.lost):
            raise ClusterError(
                f"the workers of frames {first.start} to {first.stop - 1} were lost {attempt} times"
            ) from error
        else:
            raise error


# -- joining -------------------------------------------------------------------------------------------------


class _SegmentJoiner:
    """Stores stylised frames in order, and cross-fades the frames that two segments have in common."""

    def __init__(self, store: FrameStore, clip: Clip, clock: FrameClock) -> None:
        self._store, self._clip, self._clock = store, clip, clock
        self._tail: list[tuple[int, Pixels]] = []  # frames that the next segment may have, too

    def add(self, segment: Segment, stylized: Sequence[tuple[Pixels, float]]) -> Iterator[StylizedFrame]:
        """Add a segment; segments are added in order."""
        if not segment.is_continued:
            yield from self.end_scene()
        overlap = dict(self._tail)
        self._tail, self._last = [], segment
        for index, (pixels, share) in enumerate(stylized):
            number = segment.start + index
            if number in overlap:
                weight = (index + 1) / (OVERLAP + 1)
                pixels = np.round((1 - weight) * overlap[number] + weight * pixels).astype(np.uint8)  # noqa: PLW2901
            if index >= SEGMENT:
                self._tail.append((number, pixels))
            else:
                yield from self._store_frame(segment, number, pixels, share)

    def end_scene(self) -> Iterator[StylizedFrame]:
        """Store the last frames of a scene, which no other segment has."""
        for number, pixels in self._tail:
            yield from self._store_frame(self._last, number, pixels, 1.0)
        self._tail = []

    def _store_frame(self, segment: Segment, number: int, pixels: Pixels, share: float) -> Iterator[StylizedFrame]:
        if number <= len(self._store.finished):
            return
        index = number - segment.start
        is_cut = index == 0 and not segment.is_continued
        picture = images.read(pixels)
        self._store.add(number, picture, (*segment.times[index], is_cut))
        count = max(self._clip.frames, number)
        yield StylizedFrame(number, count, 1, 1, segment.scene, picture, share, *self._clock.tick(number))
