"""One visitor's picture: what was asked for, checked against what the server gives, and painted step by step."""

from __future__ import annotations

import dataclasses
import secrets
import time
from collections import deque
from collections.abc import Generator, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock
from typing import Any, get_args

import numpy as np

import impasto
from impasto import fast, images, record
from impasto.errors import ImpastoError
from impasto.inputs.read import Memo
from impasto.optim.steps import Step
from impasto.settings.choices import Init
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.vgg import weights
from impasto.web.visitors import LEAVING, Visitor

#: Seconds between two previews.
PACE = 0.8
#: What a picture starts from: no names of files, on a server.
STARTS = get_args(Init)
#: Field -> the most that a visitor may ask for.
MOST = {"iterations": 2000, "scales": 8, "history": 50}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one server gives its visitors.

    Attributes:
        running: jobs at a time.
        waiting: jobs in line behind them.
        size: long side of a result, in pixels.
        upload: bytes of one file.
        pixels: of one picture that is given.
        seconds: of one job; what it has then is the picture.
        memory: bytes for all jobs together; None for most of what is free.
        styles: paintings of one job.
    """

    running: int = 1
    waiting: int = 16
    size: int = 1024
    upload: int = 20_000_000
    pixels: int = 40_000_000
    seconds: float = 600.0
    memory: int | None = None
    styles: int = 4


@dataclass(frozen=True)
class Order:
    """What a visitor asked for.

    Attributes:
        photo: the path of a file.
        styles: built-in names and paths of files.
        options: of the slow way or the fast one, without masks and start from files, which are:
        masks: style's number or `keep` -> mask, `(h, w)` in 0–255, white where.
        style_masks: paths of masks over the styles, in their order.
        start: the path of a picture to start from; None for what the options say.
    """

    photo: str
    styles: Sequence[str]
    options: StylizeOptions | FastOptions
    masks: Mapping[str, np.ndarray[Any, np.dtype[np.uint8]]] = field(default_factory=dict)
    style_masks: Sequence[str] = ()
    start: str | None = None

    @property
    def pictures(self) -> list[str]:
        """Everything that is given by a name or a path."""
        return [self.photo, *self.styles, *self.style_masks, *([self.start] if self.start else [])]


@dataclass(frozen=True)
class Progress:
    """Where a job stands.

    Attributes:
        step: the last step.
        preview: a JPEG of the picture as it would be kept now.
        curve: of all steps, as `plots.loss_figure` takes it.
        done: whether this is the end.
        note: why, if it is not the usual one.
        sketch: whether it is only a sketch, of the fast way, that the picture will replace.
    """

    step: Step
    preview: Path
    curve: Sequence[tuple[int, int, float, Mapping[str, float]]]
    done: bool = False
    note: str = ""
    sketch: bool = False


@dataclass(frozen=True)
class Result:
    """A finished picture.

    Attributes:
        files: a PNG and a JPEG of it, with the settings inside; then the masks that were drawn, if any.
        before: the photo, at the size of the result.
        settings: what made it.
        command: the command line that makes it again.
    """

    files: Sequence[Path]
    before: Path
    settings: Mapping[str, Any]
    command: str


class Studio:
    """Paints: holds what all jobs share, and how many of them there are."""

    def __init__(self, limits: Limits, public: frozenset[str] = frozenset()) -> None:
        """`public`: the paths of styles that are the server's own."""
        self.limits = limits
        self.running = 0
        self._public = public
        self._networks: dict[Hashable, Any] = {}
        self._lock = Lock()

    def check(self, order: Order) -> Order:
        """The order as this server carries it out.

        Raises:
            ValueError: something it does not do, or not as large.
            PictureError: a file that is no picture.
        """
        limits, options = self.limits, order.options
        if not order.styles:
            raise ValueError("choose a style, or give a painting of your own")
        if len(order.styles) > limits.styles:
            raise ValueError(f"there are {len(order.styles)} styles; at most {limits.styles} can be blended here")
        if options.size is None or options.size > limits.size:
            raise ValueError(f"the size is {options.size or 'original'}; at most {limits.size} px are painted here")
        check_most(options)
        if isinstance(options, StylizeOptions):
            _check_slow(options)
        elif options.model is not None:
            raise ValueError("models of one's own are not taken here")
        if options.content_mask or options.style_mask:
            raise ValueError("masks are given as pictures of their own here, not as files among the options")
        if max(options.style_scale) > 4:
            raise ValueError(f"style_scale is {max(options.style_scale):g}; at most 4 is done here")
        for path in order.pictures:
            if path not in self._public and Path(path).exists():
                height, width = images.size_of(path)
                if height * width > limits.pixels:
                    raise ValueError(
                        f"{Path(path).name} has {width}×{height} pixels, {height * width / 1e6:.0f} million; "
                        f"at most {limits.pixels / 1e6:.0f} million are taken here"
                    )
        memory = None if limits.memory is None else limits.memory // limits.running
        return dataclasses.replace(order, options=dataclasses.replace(options, memory=memory, device="auto"))

    @contextmanager
    def at_work(self, order: Order) -> Iterator[Order]:
        """The order as this server carries it out; meanwhile one more job runs, and errors name no path of its.

        Raises:
            ValueError, ImpastoError: see `check`.
        """
        try:
            order = self.check(order)
            with self._lock:
                self.running += 1
            try:
                yield order
            finally:
                with self._lock:
                    self.running -= 1
        except (ValueError, ImpastoError) as error:
            text = str(error)
            for path in order.pictures:
                text = text.replace(path, Path(path).name)
            raise type(error)(text) from error

    def paint(self, order: Order, visitor: Visitor, stop: Event) -> Iterator[Progress | Result]:
        """Where the job stands, from time to time, and at the end its result.

        It ends before its time where `stop` is set, with the best so far; and without a result
        where the visitor left.

        Raises:
            ValueError: what was asked for cannot be done; no path of the server is named.
            ImpastoError: likewise.
        """
        # In one thread from the first step to the last, wherever the page asks from: PyTorch keeps a pool of threads
        # for each.
        with self.at_work(order) as accepted, ThreadPoolExecutor(1) as apart:
            yield from self._paint(accepted, visitor, stop, apart)

    def _paint(
        self, order: Order, visitor: Visitor, stop: Event, apart: ThreadPoolExecutor
    ) -> Iterator[Progress | Result]:
        place = visitor.folder / secrets.token_hex(16)
        place.mkdir()
        masks = {}
        for key, mask in order.masks.items():
            masks[key] = place / f"mask-{key}.png"
            images.write(masks[key], images.read(mask))
        options = dataclasses.replace(
            order.options,
            content_mask={key: str(path) for key, path in masks.items()},
            style_mask={str(number): path for number, path in enumerate(order.style_masks, start=1)},
        )
        with self._lock:
            memo: Memo = dict(self._networks)
        if isinstance(options, StylizeOptions):
            options = dataclasses.replace(options, init=order.start or options.init)
        steps = apart.submit(_steps, order, options, memo).result()
        with self._lock:  # of what the job remembers, other jobs share the networks only
            self._networks = {
                key: value for key, value in memo.items() if isinstance(key, tuple) and key[0] in ("encoder", "model")
            }
        curve: list[tuple[int, int, float, Mapping[str, float]]] = []
        previews: list[Path] = []
        shown, step, note = 0.0, None, ""
        try:
            while (now := apart.submit(next, steps, None).result()) is not None:
                step = now
                if step.losses:
                    curve.append((step.evaluations, step.scale, step.loss, step.losses))
                sketch = isinstance(options, StylizeOptions) and not curve and options.color != "palette"
                if visitor.absent > LEAVING:
                    return
                if stop.is_set() and not sketch:
                    note = "stopped"
                    break
                if step.seconds > self.limits.seconds:
                    note = f"stopped after {self.limits.seconds:.0f} seconds, which is all there are here"
                    break
                if time.monotonic() - shown >= PACE:
                    shown = time.monotonic()
                    previews.append(_preview(step, visitor.folder))
                    yield Progress(step, previews[-1], list(curve), sketch=sketch)
                    for old in previews[:-3]:  # the page may still be fetching the last ones
                        old.unlink(missing_ok=True)
                    del previews[:-3]
            assert step is not None  # there is one at least
            previews.append(_preview(step, visitor.folder))
            yield Progress(step, previews[-1], list(curve), True, note)
            yield self._result(order, options, step, place, list(masks.values()))
        finally:
            if isinstance(steps, Generator):
                apart.submit(steps.close).result()
            for path in previews[:-1]:
                path.unlink(missing_ok=True)

    def _result(
        self,
        order: Order,
        options: StylizeOptions | FastOptions,
        step: Step,
        place: Path,
        masks: Sequence[Path],
    ) -> Result:
        picture = step.picture
        pictures = [Path(path).name for path in (order.photo, *order.styles)]
        # As on a machine of the visitor's own: files by their names alone, and its own memory.
        plain = dataclasses.replace(
            options,
            content_mask={key: Path(path).name for key, path in options.content_mask.items()},
            style_mask={key: Path(path).name for key, path in options.style_mask.items()},
            memory=None,
        )
        if isinstance(plain, StylizeOptions):
            plain = dataclasses.replace(plain, init=Path(plain.init).name)
        settings = record.settings(plain.operation, pictures, plain)
        stem = f"{Path(order.photo).stem}-impasto"
        files = [place / f"{stem}.png", place / f"{stem}.jpg"]
        for path in files:
            images.write(path, picture, 8, settings)
        before = place / "before.jpg"
        images.write(before, images.read(order.photo).resized(*step.size))
        return Result([*files, *masks], before, settings, record.command(settings, f"{stem}.png"))


def _preview(step: Step, folder: Path) -> Path:
    path = folder / f"{secrets.token_hex(16)}.jpg"
    images.write(path, step.picture)
    return path


def _steps(order: Order, options: StylizeOptions | FastOptions, memo: Memo) -> Iterator[Step]:
    """The steps of a job; of the slow way, after a sketch of the fast one. What is wrong with it is said at once."""
    given = (order.photo, list(order.styles))
    if isinstance(options, FastOptions):
        return fast.iterate(*given, options, memo)
    steps = impasto.iterate(*given, options, memo)
    sketch: Iterator[Step] = iter(())
    if options.color != "palette":
        with suppress(ImpastoError, ValueError):  # the slow way may do all the same
            sketch = fast.iterate(*given, options.fast_options, memo)
    return _one_after_another(sketch, steps)


def _one_after_another(sketch: Iterator[Step], steps: Iterator[Step]) -> Iterator[Step]:
    """The last step of the sketch, then all others."""
    with suppress(ImpastoError):
        yield from deque(sketch, maxlen=1)
    yield from steps


def _check_slow(options: StylizeOptions) -> None:
    """Raise a ValueError if a start or weights are none of those that a visitor may name."""
    if options.init not in STARTS:
        raise ValueError(f"unknown init {options.init!r}; choose from {', '.join(STARTS)}")
    if options.weights not in ready_weights():
        raise ValueError(f"unknown weights {options.weights!r}; choose from {', '.join(ready_weights())}")


def check_most(options: StylizeOptions | FastOptions) -> None:
    """Raise a ValueError if an option is larger than any visitor may ask for; it is named."""
    for name, most in MOST.items():
        value = getattr(options, name, None)
        if value is not None and value > most:
            raise ValueError(f"{name} is {value}; at most {most} here")


def ready_weights() -> list[str]:
    """The names of the weights that are on this machine."""
    return [name for name, source in weights.CATALOGUE.items() if weights.locate(source)]
