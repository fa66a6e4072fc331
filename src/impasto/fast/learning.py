"""The vectors of paintings: those of the gallery, learnt ones, and predictions.

A painting that is not in the gallery is learnt once: its vector alone is optimised, by the objective of the
optimisation, while the network stays as it is. Learnt vectors are kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.errors import WeightsError
from impasto.fast import models
from impasto.fast.crops import Dataset, random_crops
from impasto.fast.models import Model
from impasto.fast.objective import (
    CROP_MARGIN,
    PAINTING_AREA,
    CropObjective,
    StyleTargets,
    decay,
    encoder_for,
    paint_crops,
    painted_losses,
    summary,
)
from impasto.files import StrPath, atomic_write
from impasto.images import Picture
from impasto.images.regions import Region, StyleSource
from impasto.inputs import masks, photos
from impasto.inputs.memo import Memo
from impasto.inputs.read import is_named
from impasto.isolation import isolated
from impasto.optim.clock import fraction_done
from impasto.settings.options import FastOptions, LearnOptions
from impasto.vgg.weights import cache_folder as weights_folder

log = logging.getLogger(__name__)

#: Styles of the gallery that are tried as a start, the nearest ones to the prediction.
CANDIDATES = 3
#: Time constant of the moving average of the vector, in steps.
AVERAGE_STEPS = 30
#: Of Adam (Kingma & Ba, arXiv 1412.6980), written out: `torch.optim` imports PyTorch's compiler, which takes seconds
#: and leaves files behind.
BETAS = (0.9, 0.99)
#: The side of the small copies of paintings that are kept with their vectors, in pixels.
THUMBNAIL = 128


@dataclass(frozen=True, eq=False)
class LearningProgress:
    """A step of learning a painting.

    Attributes:
        name: of the painting.
        step: the number of steps done.
        seconds, eta: done, and left.
        losses: the means of the weighted terms over the crops of this step.
        vector: so far, `(length,)`.
    """

    name: str
    step: int
    seconds: float
    eta: float
    losses: dict[str, float]
    vector: Tensor

    @property
    def fraction(self) -> float:
        """The part of the time that is done, in [0, 1]."""
        return fraction_done(self.seconds, self.eta)


@dataclass(frozen=True)
class LearntStyle:
    """A painting in the user's cache.

    Attributes:
        key: its file's name.
        name: of the painting.
        seconds: for which it was learnt.
        left: seconds that it was to be learnt for, when that was interrupted; otherwise 0.
        path: of the file.
    """

    key: str
    name: str
    seconds: float
    left: float
    path: Path


class Learner:
    """Optimises the vector of a painting on crops of photos, for `options.seconds`.

    Args:
        dataset: photos to paint; the bundled ones by default.

    Attributes:
        vector: the moving average so far, `(length,)`; None before the first step.
        step, seconds, left: done, and the seconds left.
    """

    def __init__(
        self,
        model: Model,
        painting: StyleSource,
        options: LearnOptions,
        device: torch.device,
        dataset: Dataset | None = None,
    ) -> None:
        self.model, self.painting, self.options, self.device = model, painting, options, device
        self.step, self.seconds, self.left = 0, 0.0, options.seconds
        self._seconds_before = 0.0  # of the vector in the cache
        self.vector: Tensor | None = None
        self._dataset = dataset

    @cached_property
    def key(self) -> str:
        """By what the learnt style is known: the model, the painting's pixels and mask, and the style scale.

        Other options only say how it is learnt.
        """
        scale = self.options.style_scale
        source = self.painting.resized(*self.painting.size_for(PAINTING_AREA, scale))
        digest = hashlib.sha256(f"{self.model.digest} {scale:g} {source.size}".encode())
        for part in (source.image, source.mask):
            if part is not None:
                digest.update((part * 255).round().to("cpu", torch.uint8).contiguous().numpy().tobytes())
        return digest.hexdigest()[:24]

    @property
    def path(self) -> Path | None:
        """Where the style is kept; None if there is no home folder."""
        folder = cache_folder()
        return None if folder is None else folder / f"{self.key}.safetensors"

    def kept(self) -> tuple[Tensor, LearntStyle] | None:
        """The vector in the user's cache, and what is known of it, if there is one."""
        path = self.path
        if path is None or not path.is_file():
            return None
        try:
            return load_style(path, self.model), read_style(path)
        except WeightsError as error:
            log.warning("%s; it is learnt again", error)
            return None

    @isolated
    def steps(self) -> Iterator[LearningProgress]:
        """Optimise, a step at a time.

        The start is the vector in the user's cache if there is one, otherwise the best of the prediction and the
        gallery's nearest styles.
        """
        options, device = self.options, self.device
        dataset = bundled_photos(device) if self._dataset is None else self._dataset
        objective = CropObjective(encoder_for(options, device), options)
        targets = objective.targets(self.painting)
        dtype = models.compute_dtype(options.precision, device)
        generator = torch.Generator().manual_seed(options.seed)

        def random_batch() -> Tensor:
            return random_crops(dataset, options.batch, options.crop + 2 * CROP_MARGIN, generator)

        def evaluate(vector: Tensor, crops: Tensor) -> dict[str, float]:
            """The losses on a batch; their gradient goes to the vector, if it requires one."""
            painted = paint_crops(self.model.network, crops, vector.expand(len(crops), -1), dtype)
            losses, grad = painted_losses(
                objective, crops, painted.detach(), [targets] * len(crops), [1.0] * len(crops)
            )
            if painted.requires_grad:
                painted.backward(grad / len(crops))
            return {name: value / len(crops) for name, value in losses.items()}

        if (kept := self.kept()) is None:
            start = _best_start(self.model, targets, partial(evaluate, crops=random_batch()))
        else:
            start, self._seconds_before = kept[0].to(device), kept[1].seconds
        vector = start.clone().requires_grad_()
        average = start.clone()
        first, second = torch.zeros_like(average), torch.zeros_like(average)  # Adam's moments
        started = time.monotonic()
        while self.left > 0:
            done = 1 - self.left / options.seconds
            rate = options.rate * decay(self.step, done)
            vector.grad = None
            losses = evaluate(vector, random_batch())
            self.step += 1
            assert vector.grad is not None
            first.lerp_(vector.grad, 1 - BETAS[0])
            second.lerp_(vector.grad.square(), 1 - BETAS[1])
            mean, square = first / (1 - BETAS[0] ** self.step), second / (1 - BETAS[1] ** self.step)
            with torch.no_grad():
                vector.sub_(rate * mean / (square.sqrt() + 1e-8))
            average.lerp_(vector.detach(), max(1 / AVERAGE_STEPS, 1 / self.step))
            self.vector = average.clone()
            self.seconds = time.monotonic() - started
            self.left = max(0.0, options.seconds - self.seconds)
            yield LearningProgress(self.painting.name, self.step, self.seconds, self.left, losses, self.vector)

    def save(self, output: Path | None = None, interrupted: bool = False) -> Path | None:
        """Keep what was learnt so far in the user's cache, and write it to another file, too, if one is given.

        Args:
            interrupted: whether the time that is left is to be learnt before anything is painted.

        Returns:
            The path in the cache; None if nothing was learnt, or it cannot be kept, which is logged.

        Raises:
            WeightsError: the other file cannot be written.
        """
        if self.vector is None:
            return None
        path = self._keep(self.vector, self.left if interrupted else 0.0)
        if output is not None:
            save_style(output, self.vector, self.painting, self.model, self._seconds_before + self.seconds)
        return path

    def _keep(self, vector: Tensor, left: float) -> Path | None:
        path = self.path
        if path is None:
            log.warning("%s is not kept: there is no home folder; set IMPASTO_CACHE to a folder", self.painting.name)
            return None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_style(path, vector, self.painting, self.model, self._seconds_before + self.seconds, left)
        except (OSError, WeightsError) as error:
            log.warning("%s is not kept: %s", self.painting.name, error)
            return None
        return path


def source_of(name: str, picture: Picture) -> StyleSource:
    """A painting as styles are read: transparent parts do not count."""
    blank = Picture(torch.zeros(3, 1, 1, **CPU_FLOAT))
    ((region,), _) = masks.assign(blank, [(name, picture)], ())
    return region.sources[0]


def _best_start(model: Model, targets: StyleTargets, evaluate: Callable[[Tensor], dict[str, float]]) -> Tensor:
    """The vector with the lowest loss on one batch, of the prediction and the styles of the gallery near it."""
    with torch.no_grad():
        found = list(model.styles.values())
        if model.reader is not None:
            predicted = model.reader(targets.summary[None])[0]
            nearest = sorted(found, key=lambda vector: (vector - predicted).square().sum().item())
            found = [predicted, *nearest[:CANDIDATES]]
        return min(found, key=lambda vector: sum(evaluate(vector).values())).clone()


def bundled_photos(device: torch.device) -> Dataset:
    """The sample photos that come with the program."""
    found = [images.read(photos.load(name)).rgb for name in photos.PHOTOS]
    return Dataset([(rgb * 255).round().to(device, torch.uint8) for rgb in found], photos.PHOTOS)


# -- the cache -----------------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """The folder of learnt styles: `styles` in `$IMPASTO_CACHE`, by default in the platform's cache folder.

    None if the user has no home folder, as in containers.
    """
    folder = weights_folder()
    return None if folder is None else folder.with_name("styles")


def save_style(
    path: StrPath, vector: Tensor, painting: StyleSource, model: Model, seconds: float, left: float = 0.0
) -> None:
    """Write a learnt style, whole or not at all; `seconds` and `left` are those of `LearntStyle`.

    Raises:
        WeightsError: the file cannot be written.
    """
    height, width = images.fit(painting.size, THUMBNAIL)
    small = (painting.resized(height, width).image * 255).round().to("cpu", torch.uint8).contiguous()
    header = {"impasto-style": models.FORMAT, "name": painting.name, "model": model.digest}
    header |= {"seconds": f"{seconds:.0f}", "left": f"{left:.2f}"}
    with atomic_write(Path(path), WeightsError) as draft:
        draft.write_bytes(safetensors.torch.save({"vector": vector.cpu().contiguous(), "thumbnail": small}, header))


def load_style(path: StrPath, model: Model) -> Tensor:
    """The vector of a learnt style, on the CPU.

    Raises:
        WeightsError: the file is damaged, or was learnt for another model.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            header, vector = file.metadata() or {}, file.get_tensor("vector").float()
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"cannot read the style {path}: damaged, or not a style of 'impasto learn'") from error
    if header.get("model") != model.digest or vector.shape != (model.network.length,):
        raise WeightsError(f"{path} was learnt for another model; learn the painting again")
    return vector


def read_style(path: Path) -> LearntStyle:
    """What is known of a learnt style.

    Raises:
        WeightsError: the file is damaged.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = file.metadata() or {}
        return LearntStyle(path.stem, header["name"], float(header["seconds"]), float(header.get("left", 0)), path)
    except (safetensors.SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} is damaged; it can be deleted") from error


def learnt_styles() -> list[LearntStyle]:
    """The styles in the user's cache, by name; damaged files are left out."""
    folder, found = cache_folder(), []
    for path in sorted(folder.glob("*.safetensors")) if folder is not None and folder.is_dir() else ():
        try:
            found.append(read_style(path))
        except WeightsError as error:
            log.warning("%s", error)
    return sorted(found, key=lambda style: (style.name, style.key))


# -- looking up ----------------------------------------------------------------------------------------------


class Vectors:
    """The vectors of the paintings of one run.

    Args:
        memo: vectors and the model are shared with other runs.
    """

    def __init__(self, model: Model, options: FastOptions, device: torch.device, memo: Memo) -> None:
        self._model, self._options, self._device, self._memo = model, options, device, memo
        self._predicts = options.model == models.ANY

    def check(self, regions: Sequence[Region]) -> None:
        """Raise a ValueError if the options do not fit the styles.

        A style of the gallery has one size of strokes, and is the whole painting.
        """
        for source in (source for region in regions for source in region.sources):
            if not self._in_gallery(source):
                if self._predicts and self._model.reader is None:
                    raise ValueError(f"{source.name} is not in the gallery of the model, which predicts no other")
                continue
            if self._options.style_scale != (1.0,):
                raise ValueError(
                    f"{source.name} is a style of the gallery, whose strokes have one size; style_scale needs the "
                    "painting's file"
                )
            if source.mask is not None:
                raise ValueError(f"{source.name} is a style of the gallery; style_mask needs the painting's file")

    def learn(self, regions: Sequence[Region]) -> Iterator[LearningProgress]:
        """Learn the paintings whose vectors are not known yet, and keep them; what was interrupted is continued."""
        for learner in () if self._predicts else self.learners(regions):
            if self._known(learner) is None:
                yield from self._learn(learner)

    def learners(self, regions: Sequence[Region]) -> list[Learner]:
        """One for each painting and scale that the model does not have in its gallery."""
        sources = [source for region in regions for source in region.sources if not self._in_gallery(source)]
        return [self._learner(source, scale) for source in sources for scale in self._options.style_scale]

    def _learn(self, learner: Learner) -> Iterator[LearningProgress]:
        """Learn a painting; what is learnt so far is kept if the iterator is closed, to be continued."""
        if (kept := learner.kept()) is not None and (left := kept[1].left):
            seconds = min(left, self._options.learn_seconds)
            learner = self._learner(learner.painting, learner.options.style_scale, seconds)
        try:
            yield from learner.steps()
        finally:
            if learner.vector is not None and not learner.left:
                self._memo.put(("learnt", learner.key), learner.vector)
            learner.save(interrupted=True)

    def of(self, region: Region) -> Tensor:
        """The vector of a region's styles, blended by their weights, `(length,)`.

        Raises:
            LookupError: a painting was not learnt.
        """
        scales = self._options.style_scale
        parts = [source.weight / len(scales) * self._of(source, scale) for source in region.sources for scale in scales]
        return torch.stack(parts).sum(0)

    def _of(self, source: StyleSource, scale: float) -> Tensor:
        if self._in_gallery(source):
            return self._model.styles[source.name]
        if not self._predicts:
            found = self._known(self._learner(source, scale))
            if found is None:
                raise LookupError(f"{source.name} was not learnt")
            return found.to(self._device)
        return self._predicted(source, scale)

    def _predicted(self, source: StyleSource, scale: float) -> Tensor:
        assert self._model.reader is not None
        reader = self._model.reader

        def predict() -> Tensor:
            encoder = self._memo.get(
                ("encoder", "fast", self._device), lambda: encoder_for(LearnOptions(), self._device)
            )
            painting = source.resized(*source.size_for(PAINTING_AREA, scale)).to(self._device)
            with torch.no_grad():
                predicted: Tensor = reader(summary(encoder, painting)[None])[0]
            return predicted

        key = ("predicted", *self._identity(source, scale))
        return self._memo.get(key, lambda: (predict(), source))[0]

    def _identity(self, source: StyleSource, scale: float) -> tuple[Hashable, ...]:
        """What tells a vector from those of other models and paintings.

        The source is to be kept with it, so that no other object can have its identity.
        """
        return self._model.digest, self._device, id(source.image), id(source.mask), scale

    def _known(self, learner: Learner) -> Tensor | None:
        """The learnt vector, if there is one."""
        source = learner.painting
        identity = ("key", *self._identity(source, learner.options.style_scale))
        key = ("learnt", self._memo.get(identity, lambda: (learner.key, source))[0])
        found: Tensor | None = self._memo.find(key)
        if found is None and (kept := learner.kept()) is not None and not kept[1].left:
            found = kept[0]
            self._memo.put(key, found)
        return found

    def _in_gallery(self, source: StyleSource) -> bool:
        return is_named(source.name, self._model.styles)

    def _learner(self, source: StyleSource, scale: float, seconds: float | None = None) -> Learner:
        seconds = self._options.learn_seconds if seconds is None else seconds
        options = LearnOptions(style_scale=scale, seconds=seconds, device=self._options.device)
        return Learner(self._model, source, options, self._device)
