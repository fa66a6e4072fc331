"""A clip stylised frame by frame, each frame held near the one before along the optical flow, so that nothing flickers.

Ruder, Dosovitskiy and Brox, "Artistic style transfer for videos" (arXiv 1604.08610): every frame starts from the one
before, warped along the flow, and a temporal loss keeps it near that wherever the flow is reliable. Elsewhere, behind
moving objects say, it is stylised anew. With a feed-forward network, frames are blended instead.

Finished frames are kept in a folder beside the output until the clip is written, so that an interrupted run can resume.
"""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Unpack, get_args

import torch
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.errors import PictureError
from impasto.files import StrPath, local_path
from impasto.images import Picture, PictureLike
from impasto.inputs.masks import ALPHA, read_mask
from impasto.inputs.read import opened_styles
from impasto.isolation import isolated
from impasto.losses.terms import TemporalLoss
from impasto.optim.checkpoints import hashes
from impasto.optim.clock import fraction_done
from impasto.presets import options_from
from impasto.progress import Progress, ProgressOption, closed_afterwards, shown
from impasto.settings.choices import Init
from impasto.settings.fields import result_settings
from impasto.settings.keywords import VideoKeywords
from impasto.settings.options import VideoOptions
from impasto.video import clips, flow
from impasto.video.clips import Clip
from impasto.video.flow import FlowField
from impasto.video.frame_store import FrameStore, check_output, frames_folder, write_on_exit
from impasto.video.painters import Painter, make_painter

#: In later passes, how far a frame's start is blended towards its warped neighbour, where the flow is reliable
#: (section 4.3).
BLEND = 0.5
#: With a feed-forward network, how many frames a resumed run repaints: those before them count for 0.00003.
REPAINTED = 100


@dataclass(frozen=True, eq=False)
class StylizedFrame:
    """A finished frame.

    Attributes:
        number: from 1.
        frames: their number in the clip; may grow where the file declares too few.
        pass_number, passes: the pass over the clip, from 1, and how many there are.
        scene: from 1.
        picture: as it will be in the clip.
        reliable_share: of its pixels, by the flow from the frame before; 0 for the first frame of a scene.
        seconds: since this run was started or resumed.
        eta: seconds left.
    """

    number: int
    frames: int
    pass_number: int
    passes: int
    scene: int
    picture: Picture
    reliable_share: float
    seconds: float
    eta: float

    @property
    def fraction(self) -> float:
        """The part of the time that is over, in [0, 1]."""
        return fraction_done(self.seconds, self.eta)


@dataclass(frozen=True, eq=False)
class PreviousFrame:
    """A frame that was stylised before.

    Attributes:
        number: from 1.
        photo: the source frame, `(3, h, w)`, at the size of the result.
        canvas: the stylised frame, likewise.
    """

    number: int
    photo: Tensor
    canvas: Tensor


def stylize(
    clip: StrPath | Clip,
    styles: PictureLike | Sequence[PictureLike],
    output: StrPath,
    options: VideoOptions | None = None,
    *,
    resume: bool = False,
    progress: ProgressOption = False,
    **changes: Unpack[VideoKeywords],
) -> Path:
    """Stylise a clip, and write it to `output`; returns the path. Arguments and errors are those of `iterate`.

    Args:
        progress, changes: as for `impasto.stylize`; the steps are frames.
    """
    frames = iterate(clip, styles, output, options, resume=resume, **changes)
    with shown(progress) as report, closed_afterwards(frames):
        for frame in frames:
            report(Progress(f"frame {frame.number}/{frame.frames}", frame.fraction, frame.eta))
    return Path(output)


@isolated
def iterate(
    clip: StrPath | Clip,
    styles: PictureLike | Sequence[PictureLike],
    output: StrPath,
    options: VideoOptions | None = None,
    *,
    resume: bool = False,
    **changes: Unpack[VideoKeywords],
) -> Iterator[StylizedFrame]:
    """Stylise a clip frame by frame, and write it to `output` at the end.

    If the iterator is closed earlier, the frames finished so far are written as a clip, and kept for `resume`.

    Raises:
        ValueError: arguments that do not fit.
        ClipError, PictureError, WeightsError: a file that is missing or damaged.
        CheckpointError: the run to resume had other settings or inputs, or its folder is damaged.
    """
    options, styles, output = options_from(VideoOptions, options, changes), opened_styles(styles), Path(output)
    clip, size, store = prepare(clip, styles, output, options, resume)
    return _iterate(clip, styles, output, options, size, store)


def prepare(
    clip: StrPath | Clip,
    styles: PictureLike | Sequence[PictureLike],
    output: Path,
    options: VideoOptions,
    resume: bool,
) -> tuple[Clip, tuple[int, int], FrameStore]:
    """The clip, the height and width of the result, and the store of finished frames; raises as `iterate` does."""
    if not isinstance(clip, Clip):
        rate = None if options.frame_rate is None else Fraction(options.frame_rate).limit_denominator(1001)
        clip = clips.open_clip(clip, rate)
    check_output(output, clip.path)
    size = clip.size
    if options.size is not None:  # even sides, which every encoder and player supports
        height, width = images.fit(clip.size, options.size)
        size = max(2, height // 2 * 2), max(2, width // 2 * 2)
    if options.flow is not None and clip.frames > 1:
        _read_flow(Path(options.flow), 1, 2, size)
        _read_flow(Path(options.flow), 2, 1, size)
    settings = result_settings(options) | {"size": size} | _hashes(clip, styles, options, size)
    return clip, size, FrameStore(frames_folder(output), settings, resume)


def _hashes(
    clip: Clip, styles: PictureLike | Sequence[PictureLike], options: VideoOptions, size: tuple[int, int]
) -> dict[str, str]:
    """Name, for people -> hash of each input."""
    found = {"clip": clips.digest(clip)}
    if options.init not in get_args(Init):
        found["init"] = _hash(options.init, "the start")
    found |= {f"style {number}": _hash(style, "the style") for number, style in enumerate(opened_styles(styles), 1)}
    masks = {f"mask of {name}": mask for name, mask in options.content_mask.items()}
    masks |= {f"mask over {name}": mask for name, mask in options.style_mask.items()}
    for name, mask in masks.items():
        is_alpha = isinstance(mask, str) and mask == ALPHA
        found |= {name: ALPHA} if is_alpha else hashes({name: read_mask(mask, name, size)})
    return found


def _hash(given: PictureLike, what: str) -> str:
    """Of a picture's values; what is no file, such as the name of a built-in style, as it is."""
    if isinstance(given, (str, PathLike)) and not local_path(given, PictureError).is_file():
        return str(given)
    return images.read(given, what).digest


def _iterate(
    clip: Clip,
    styles: PictureLike | Sequence[PictureLike],
    output: Path,
    options: VideoOptions,
    size: tuple[int, int],
    store: FrameStore,
) -> Iterator[StylizedFrame]:
    painter = make_painter(styles, options)
    stores, clock = [store], FrameClock(len(store.finished), clip.frames, options.passes)
    with write_on_exit(output, stores, clip, options):
        yield from _first_pass(clip, options, size, store, painter, clock)
        for number in range(2, options.passes + 1):
            stores.append(store.open_pass(number))
            clock.skip(stores[-1])
            yield from _later_pass(number, options, stores, painter, clock)


class FrameClock:
    """Time spent and time left, from the frames finished since the run was started or resumed."""

    def __init__(self, skipped: int, frames: int, passes: int) -> None:
        self._started, self._frames, self._passes = time.monotonic(), frames, passes
        self._skipped, self._done = skipped, 0

    def skip(self, store: FrameStore) -> None:
        """Count the frames of a later pass that were finished before."""
        self._skipped += len(store.finished)

    def tick(self, frames: int) -> tuple[float, float]:
        """Count a frame; the seconds spent and left, if each pass has at least `frames` frames."""
        self._done += 1
        seconds = time.monotonic() - self._started
        left = max(frames, self._frames) * self._passes - self._skipped - self._done
        return seconds, seconds / self._done * max(0, left)


def _first_pass(
    clip: Clip, options: VideoOptions, size: tuple[int, int], store: FrameStore, painter: Painter, clock: FrameClock
) -> Iterator[StylizedFrame]:
    stylizer = FrameStylizer(painter, options)
    cuts = [number for number, (_, _, is_cut) in enumerate(store.finished, start=1) if is_cut]
    finished, scene, scene_start = len(store.finished), len(cuts), max(cuts, default=1)
    for number, frame in enumerate(clips.frames(clip), start=1):
        photo, source = images.resize(frame.image, *size), store.source_path(number)
        if options.passes > 1 and not source.exists():
            images.write(source, Picture(photo))
        if number <= finished:
            age = finished - number
            if number >= scene_start and options.fast and age < REPAINTED:
                stylizer(number, photo)
            elif number >= scene_start and not options.fast:
                canvas = store.canvas(number) if age < stylizer.max_offset else None
                stylizer.restore(number, photo, canvas, number == scene_start)
            continue
        picture, is_cut, share = stylizer(number, photo)
        scene += is_cut
        if not options.fast:
            store.save_canvas(number, stylizer.canvas)
        store.add(number, picture, (frame.time, frame.duration, is_cut))
        store.remove_canvas(number - stylizer.max_offset)
        count = max(clip.frames, number)
        yield StylizedFrame(number, count, 1, options.passes, scene, picture, share, *clock.tick(number))


class FrameStylizer:
    """Stylises the frames of a clip in order, each held near earlier ones.

    Attributes:
        max_offset: how many frames back the farthest one is.
    """

    def __init__(self, painter: Painter, options: VideoOptions) -> None:
        self._painter, self._options = painter, options
        farthest = 1 if options.fast else options.long_term
        self._offsets = [offset for offset in (1, 2, 4, 8, 16) if offset <= farthest]
        self.max_offset = max(self._offsets)
        self._previous: deque[PreviousFrame] = deque(maxlen=self.max_offset)

    @property
    def canvas(self) -> Tensor:
        """That of the last frame, `(3, h, w)`."""
        return self._previous[-1].canvas

    def restore(self, number: int, photo: Tensor, canvas: Tensor | None, is_cut: bool) -> None:
        """Take over a frame of an interrupted run; its canvas `(3, h, w)` is None if no later frame refers to it."""
        if is_cut:
            self._previous.clear()
            self._painter.begin_scene(photo)
        if canvas is not None:
            self._previous.append(PreviousFrame(number, photo, canvas))

    def __call__(self, number: int, photo: Tensor) -> tuple[Picture, bool, float]:
        """The picture of a frame `(3, h, w)`, whether it begins a scene, and the share of pixels with reliable flow."""
        options, previous = self._options, self._previous
        references = [
            (earlier, *_backward_flow(photo, earlier, number, options))
            for earlier in previous
            if number - earlier.number in self._offsets
        ]
        is_cut = not previous or flow.is_scene_cut(photo, previous[-1].photo, references[-1][2])
        if is_cut:
            previous.clear()
            references = []
            self._painter.begin_scene(photo)
        canvas, picture = self._painter(photo, temporal_loss(references, options.temporal_weight))
        previous.append(PreviousFrame(number, photo, canvas))
        return picture, is_cut, references[-1][2].mean().item() if references else 0.0


def _later_pass(
    pass_number: int, options: VideoOptions, stores: Sequence[FrameStore], painter: Painter, clock: FrameClock
) -> Iterator[StylizedFrame]:
    """Alternately backward and forward: each frame starts from its result of the pass before and its neighbour's."""
    first, before, store = stores[0], stores[-2], stores[-1]
    count, is_forward = len(first.finished), pass_number % 2
    order = list(range(1, count + 1)) if is_forward else list(range(count, 0, -1))
    scenes = list(itertools.accumulate(int(is_cut) for _, _, is_cut in first.finished))
    current_scene = 0
    for number in order[len(store.finished) :]:
        scene = scenes[number - 1]
        if scene != current_scene:
            current_scene = scene
            painter.begin_scene(images.read(first.source_path(scenes.index(scene) + 1)).rgb)
        neighbour = number - 1 if is_forward else number + 1
        photo, own = (images.read(path).rgb for path in (first.source_path(number), before.path(number)))
        temporal, share = TemporalLoss(own[None], torch.zeros(own.shape[1:], **CPU_FLOAT), 0.0, own), 0.0
        if 1 <= neighbour <= count and scenes[neighbour - 1] == scene:
            files = first.source_path(neighbour), store.path(neighbour)
            earlier = PreviousFrame(neighbour, *(images.read(file).rgb for file in files))
            backward, reliable = _backward_flow(photo, earlier, number, options)
            loss = temporal_loss([(earlier, backward, reliable)], options.temporal_weight)
            assert loss is not None
            start = own.lerp(loss.image[0], BLEND * reliable)
            temporal, share = TemporalLoss(loss.image, reliable, options.temporal_weight, start), reliable.mean().item()
        _, picture = painter(photo, temporal)
        store.add(number, picture, first.finished[number - 1])
        yield StylizedFrame(number, count, pass_number, options.passes, scene, picture, share, *clock.tick(count))


def _backward_flow(
    photo: Tensor, earlier: PreviousFrame, number: int, options: VideoOptions
) -> tuple[FlowField, Tensor]:
    """The flow from frame `number` to an earlier one, and its reliability `(h, w)`."""
    if options.flow is not None:
        folder, size = Path(options.flow), (photo.shape[-2], photo.shape[-1])
        backward = _read_flow(folder, number, earlier.number, size)
        forward = _read_flow(folder, earlier.number, number, size)
    else:
        backward, forward = flow.estimate(photo, earlier.photo), flow.estimate(earlier.photo, photo)
    return backward, flow.reliability(backward, forward)


def _read_flow(folder: Path, start: int, stop: int, size: tuple[int, int]) -> FlowField:
    """The flow from one frame to another, by their numbers, at this height and width."""
    direction = "forward" if start < stop else "backward"
    return flow.read(folder / f"{direction}_{start}_{stop}.flo", *size)


def temporal_loss(references: Sequence[tuple[PreviousFrame, FlowField, Tensor]], weight: float) -> TemporalLoss | None:
    """The loss that holds a frame near earlier ones, warped along the flow; None without any.

    A farther frame counts only where the nearer ones are unreliable (eq. 9). The squared errors from several frames sum
    to the squared error from their mean, up to a constant.

    Args:
        references: (earlier frame, flow to it, reliability of the flow) triples, the nearest last.
    """
    if not references:
        return None
    image, total = torch.zeros_like(references[0][0].canvas), torch.zeros_like(references[0][2])
    for earlier, backward, reliable in reversed(references):
        share = (reliable - total).clamp_min(0)
        image += share * flow.warp(earlier.canvas, backward)
        total += share
    nearest, backward, _ = references[-1]
    image += (1 - total) * flow.warp(nearest.canvas, backward)  # a start where none is reliable
    image = image.clamp(0, 1)
    return TemporalLoss(image[None], total, weight, image)
