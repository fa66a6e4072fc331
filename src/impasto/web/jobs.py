"""Jobs: what a visitor may request, and what a job reports. `runner` runs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from impasto import images
from impasto.fast.models import ANY
from impasto.optim.checkpoints import LossRecord
from impasto.optim.clock import fraction_done
from impasto.settings.choices import Init
from impasto.settings.fields import unknown
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.vgg import weights

#: `init` of a job: never a path, which would name a file of the server.
INIT_CHOICES = get_args(Init)
#: Field -> the largest value that a visitor may set.
OPTION_MAXIMA = {"iterations": 2000, "scales": 8, "history": 50}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server allows.

    Attributes:
        running: jobs that run at the same time; an instant picture may be painted beside them.
        waiting: jobs in the queue.
        size: long side of a result, in pixels.
        upload: bytes of an uploaded file.
        pixels: pixels of an uploaded picture.
        seconds: seconds that a job may take; it then returns the picture so far.
        memory: bytes for all jobs together; None for most of the free memory.
        styles: paintings in one job.
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
class JobRequest:
    """What a visitor requests.

    Attributes:
        photo: path of a file.
        styles: names of built-in styles and of paintings of the gallery, and paths of files.
        options: for optimisation or for a feed-forward network; masks and the picture to start from are given below.
        masks: number of a style, or `keep` -> mask, `(h, w)` in 0–255, white where it applies.
        style_masks: paths of masks over the styles, in the order of the styles.
        init_image: path of a picture to start from; None for what `options.init` says.
    """

    photo: str
    styles: Sequence[str]
    options: StylizeOptions | FastOptions
    masks: Mapping[str, np.ndarray[Any, np.dtype[np.uint8]]] = field(default_factory=dict)
    style_masks: Sequence[str] = ()
    init_image: str | None = None

    @property
    def pictures(self) -> list[str]:
        """The names and paths of all pictures."""
        return [self.photo, *self.styles, *self.style_masks, *([self.init_image] if self.init_image else [])]


@dataclass(frozen=True)
class JobProgress:
    """The state of a running job.

    Attributes:
        seconds, eta: since the beginning, and left.
        scale, iteration: which of how many.
        evaluations: in all.
        size: width and height of the final picture.
        preview: path of a JPEG of the picture so far.
        losses: of all steps, as `plots.loss_figure` takes them.
        done: whether this is the last report.
        note: why the job ended early; empty if it did not.
    """

    seconds: float
    eta: float
    scale: tuple[int, int]
    iteration: tuple[int, int]
    evaluations: int
    size: tuple[int, int]
    preview: Path
    losses: Sequence[LossRecord]
    done: bool = False
    note: str = ""

    @property
    def fraction(self) -> float:
        """The part of the time that is over, estimated, in [0, 1]."""
        return fraction_done(self.seconds, self.eta)


@dataclass(frozen=True)
class JobResult:
    """A finished picture.

    Attributes:
        files: the result as PNG and as JPEG, both with the settings inside; then the masks that were drawn.
        before: path of the photo at the size of the result.
        thumbnail: path of a small copy, a JPEG.
        settings: what made the picture, as stored in the files.
        command: the command line that makes it again.
    """

    files: Sequence[Path]
    before: Path
    thumbnail: Path
    settings: Mapping[str, Any]
    command: str

    @property
    def folder(self) -> Path:
        """Holds all files but the previews."""
        return self.before.parent


def check_request(request: JobRequest, limits: Limits, public_styles: frozenset[str]) -> None:
    """Check a request against what the server allows.

    Args:
        public_styles: sources of the server's own styles, whose sizes are not limited.

    Raises:
        ValueError: something that this server does not allow; the message names it.
        PictureError: a file that is not a picture.
    """
    options = request.options
    if not request.styles:
        raise ValueError("choose a style, or add a painting of your own")
    if len(request.styles) > limits.styles:
        raise ValueError(f"{len(request.styles)} styles were given; at most {limits.styles} are allowed here")
    if options.size is None or options.size > limits.size:
        raise ValueError(f"the size is {options.size or 'original'}; at most {limits.size} px is allowed here")
    check_maxima(options)
    if isinstance(options, StylizeOptions):
        _check_choice("init", options.init, INIT_CHOICES)
        _check_choice("weights", options.weights, available_weights())
    elif options.model not in (None, ANY):
        raise ValueError("no models other than the bundled one are allowed here")
    if options.content_mask or options.style_mask:
        raise ValueError("masks must be uploaded; they cannot be named in the options")
    if max(options.style_scale) > 4:
        raise ValueError(f"style_scale is {max(options.style_scale):g}; at most 4 is allowed here")
    for path in request.pictures:
        if path not in public_styles and Path(path).exists():
            check_pixels(path, limits)


def check_pixels(path: str, limits: Limits) -> None:
    """Raise a ValueError if a picture has more pixels than the server allows; a PictureError if it is none."""
    height, width = images.size_of(path)
    if height * width > limits.pixels:
        raise ValueError(
            f"{Path(path).name} has {width}×{height} pixels, {height * width / 1e6:.0f} million; "
            f"at most {limits.pixels / 1e6:.0f} million are allowed here"
        )


def check_maxima(options: StylizeOptions | FastOptions) -> None:
    """Raise a ValueError if an option is larger than `OPTION_MAXIMA` allows."""
    for name, maximum in OPTION_MAXIMA.items():
        value = getattr(options, name, None)
        if value is not None and value > maximum:
            raise ValueError(f"{name} is {value}; at most {maximum} is allowed here")


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise unknown(name, value, choices)


def available_weights() -> list[str]:
    """The names of the VGG weights that are on this machine."""
    return [name for name, source in weights.CATALOGUE.items() if weights.locate(source)]
