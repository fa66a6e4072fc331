"""Training of a feed-forward network: a gallery of styles that share its layers, and a reader for other paintings.

Each step paints random crops of photos, some in styles of the gallery, some after random paintings, and descends the
objective of the optimisation (`objective`). All random numbers are drawn from the seed and the number of the step, so
that a resumed run equals one that was never interrupted.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from impasto import images
from impasto.devices import CPU_FLOAT, CPU_INDEX
from impasto.errors import CheckpointError
from impasto.fast import models
from impasto.fast.crops import Dataset, center_crop, random_crops, random_motion
from impasto.fast.models import Model
from impasto.fast.network import initialized
from impasto.fast.objective import (
    CROP_MARGIN,
    INNER,
    CropObjective,
    StyleTargets,
    decay,
    encoder_for,
    paint_crops,
    painted_losses,
)
from impasto.files import atomic_write
from impasto.images import Picture
from impasto.images.regions import StyleSource
from impasto.images.sheets import contact_sheet
from impasto.isolation import isolated
from impasto.settings.fields import first_difference, result_settings
from impasto.settings.options import TrainOptions

log = logging.getLogger(__name__)

#: Steps whose mean losses make one line of the log.
LOG_EVERY = 25
#: Time constant of the moving average of the parameters, in steps.
AVERAGE_STEPS = 200
#: The learning rate of the styles' own vectors, each of which is used in few of the steps, relative to the network's.
VECTOR_RATE = 3.0
#: The share of the steps, at the end, that have the loss `steady`.
STEADY_SHARE = 0.3
#: Paintings whose targets are kept in memory: about 3 MB each.
KEPT_TARGETS = 800


@dataclass(frozen=True, eq=False)
class TrainingProgress:
    """A step of a training run.

    Attributes:
        step, steps: done, and planned.
        losses: the means of the weighted terms over the crops, and their `total`.
        seconds: since this run was started or resumed.
        eta: seconds left.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    seconds: float
    eta: float


class Painter(nn.Module):
    """What is trained: the network, the gallery's vectors `(styles, length)`, and the reader of other paintings.

    The vector of a style of the gallery is what the reader predicts, and a correction of its own.
    """

    def __init__(self, styles: int, seed: int) -> None:
        super().__init__()
        self.network, self.reader = initialized(seed)
        self.corrections = nn.Parameter(torch.zeros(styles, self.network.length, **CPU_FLOAT))

    def vectors(self, summaries: Tensor, styles: Sequence[int | None]) -> Tensor:
        """The vectors of a batch, given the summaries of their paintings and the indices of those in the gallery."""
        found = zip(self.reader(summaries), styles, strict=True)
        return torch.stack([vector if k is None else vector + self.corrections[k] for vector, k in found])


class TrainingRun:
    """The state of a training run.

    Args:
        photos: to paint.
        styles: the gallery.
        paintings: any, for the reader; None to train the gallery only.

    Attributes:
        painter: what is trained.
        average: the moving average of its parameters, which is what is saved as the model.
        step: the number of steps done.
        whole: whether the state is that after a step; False while one changes it.
    """

    @isolated
    def __init__(
        self,
        options: TrainOptions,
        photos: Dataset,
        styles: Sequence[StyleSource],
        paintings: Dataset | None,
        device: torch.device,
    ) -> None:
        self.options, self.device, self.step, self.whole = options, device, 0, True
        self.photos, self.held_photos = photos.split()
        self.styles, self.paintings = styles, paintings
        self.dtype = models.compute_dtype(options.precision, device)
        self.painter = Painter(len(styles), options.seed).to(device).train()
        self.objective = CropObjective(encoder_for(options, device), options)
        self._gallery = [self.objective.targets(style) for style in styles]
        if options.model is not None:
            self._start_from(models.load(None if options.model == models.THE_BUNDLED else options.model, device))
        self.average = copy.deepcopy(self.painter)
        self._targets: dict[int, StyleTargets] = {}
        corrections = [self.painter.corrections]
        shared = [*self.painter.network.parameters(), *self.painter.reader.parameters()]
        groups = [{"params": shared, "rate": options.rate}, {"params": corrections, "rate": VECTOR_RATE * options.rate}]
        self.optimizer = torch.optim.Adam(groups, lr=options.rate, betas=(0.9, 0.99))

    def _start_from(self, model: Model) -> None:
        """Take over the parameters of a model, and the vectors of the styles that it has in its gallery."""
        self.painter.network.load_state_dict(model.network.state_dict())
        if model.reader is not None:
            self.painter.reader.load_state_dict(model.reader.state_dict())
        with torch.no_grad():
            predicted = self.painter.reader(torch.stack([target.summary for target in self._gallery]))
            for number, style in enumerate(self.styles):
                if style.name in model.styles:
                    self.painter.corrections[number] = model.styles[style.name] - predicted[number]

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.options.seed << 32) + step + 1)

    def advance(self) -> Iterator[TrainingProgress]:
        """Do the remaining steps."""
        started, first = time.monotonic(), self.step
        while self.step < self.options.steps:
            losses = self._optimizer_step()
            seconds = time.monotonic() - started
            eta = seconds / (self.step - first) * (self.options.steps - self.step)
            yield TrainingProgress(self.step, self.options.steps, losses, seconds, eta)

    def _optimizer_step(self) -> dict[str, float]:
        done = self.step / self.options.steps
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * decay(self.step, done, warmup=20)
        self.optimizer.zero_grad(set_to_none=True)
        losses = self._backward(self._generator(self.step), done)
        nn.utils.clip_grad_norm_(self.painter.parameters(), 1.0)
        self.whole = False
        self.optimizer.step()
        # A plain mean at first, so that the initial parameters do not linger.
        share = max(1 / AVERAGE_STEPS, 1 / (self.step + 1))
        with torch.no_grad():
            for average, new in zip(self.average.parameters(), self.painter.parameters(), strict=True):
                average.lerp_(new, share)
        self.step += 1
        self.whole = True
        return losses | {"total": sum(losses.values())}

    # -- losses ----------------------------------------------------------------------------------------------

    def _backward(self, generator: torch.Generator, done: float) -> dict[str, float]:
        """The mean weighted losses on a random batch, whose gradients are added to those of the parameters."""
        options = self.options
        photos = random_crops(self.photos, options.batch, options.crop + 2 * CROP_MARGIN, generator)
        styles, strengths, targets = self._random_styles(generator)
        summaries = torch.stack([target.summary for target in targets])
        vectors = (
            self.painter.vectors(summaries, styles) * torch.tensor(strengths, **CPU_FLOAT).to(self.device)[:, None]
        )
        painted = self._paint(photos, vectors)
        losses, grad = painted_losses(self.objective, photos, painted.detach(), targets, strengths)
        losses = {name: value / options.batch for name, value in losses.items()}
        total = (painted * (grad / options.batch)).sum()
        if options.steady_weight and done >= 1 - STEADY_SHARE:
            steady = options.steady_weight * self._steady_loss(photos, vectors, painted, generator)
            losses["steady"], total = steady.item(), total + steady
        total.backward()
        return losses

    def _paint(self, photos: Tensor, vectors: Tensor) -> Tensor:
        return paint_crops(self.painter.network, photos, vectors, self.dtype)

    def _random_styles(self, generator: torch.Generator) -> tuple[list[int | None], list[float], list[StyleTargets]]:
        """For each crop of a batch: its style's index in the gallery, the strength, and the targets."""
        options = self.options
        styles: list[int | None] = []
        strengths: list[float] = []
        targets: list[StyleTargets] = []
        any_share = 0.0 if self.paintings is None else options.any_share
        for _ in range(options.batch):
            kind, strength = torch.rand(2, generator=generator, **CPU_FLOAT).tolist()
            bound = len(self.styles) if kind >= any_share or self.paintings is None else len(self.paintings)
            index = int(torch.randint(bound, (), generator=generator, **CPU_INDEX))
            if kind < any_share:
                styles.append(None)
                targets.append(self._random_targets(index))
            else:
                styles.append(index)
                targets.append(self._gallery[index])
            if kind < 1 - options.identity_share - options.strength_share:
                strength = 1.0
            elif kind >= 1 - options.identity_share:
                strength = 0.0
            strengths.append(strength)
        return styles, strengths, targets

    def _random_targets(self, index: int) -> StyleTargets:
        """Those of a random painting; as many as fit are kept."""
        if index not in self._targets:
            assert self.paintings is not None
            painting = self.paintings.pictures[index].float() / 255
            found = self.objective.targets(StyleSource(self.paintings.names[index], painting))
            if len(self._targets) >= KEPT_TARGETS:
                return found
            self._targets[index] = found
        return self._targets[index]

    def _steady_loss(self, photos: Tensor, vectors: Tensor, painted: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared difference between painting a moved photo and moving the painted one."""
        move = random_motion(photos.shape, self.device, generator)
        again = self._paint(move(photos).clamp(0, 1), vectors)
        return (again - move(painted))[INNER].square().mean()

    # -- evaluation ------------------------------------------------------------------------------------------

    def sample_sheet(self, side: int = 192) -> Picture:
        """A contact sheet of held-out photos: a row for each, a column for each style of the gallery."""
        photos = [center_crop(self.held_photos.pictures[i % len(self.held_photos)], side) for i in range(4)]
        cells = [photos[0].new_ones(1, 3, side, side)]
        cells += [Picture(style.image).resized(side, side).rgb[None] for style in self.styles]
        with torch.no_grad():
            model = self.model({})
            for photo in photos:
                cells += [photo, *(paint_crops(model.network, photo, style[None]) for style in model.styles.values())]
        return contact_sheet([("", Picture(cell[0].cpu())) for cell in cells], 1 + len(self.styles), side)

    # -- files -----------------------------------------------------------------------------------------------

    def model(self, card: Mapping[str, Any]) -> Model:
        """The average network as a model; `card` says how it was trained."""
        with torch.no_grad():
            summaries = torch.stack([target.summary for target in self._gallery])
            vectors = self.average.vectors(summaries, range(len(self.styles)))
        names = [style.name for style in self.styles]
        reader = None if self.paintings is None else self.average.reader
        samples = {"steps": self.step, "samples": self.step * self.options.batch}
        return Model(self.average.network, dict(zip(names, vectors, strict=True)), reader, {**card, **samples})

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that was saved."""
        return result_settings(self.options) | {
            "photos": len(self.photos),
            "styles": [style.name for style in self.styles],
            "paintings": 0 if self.paintings is None else len(self.paintings),
        }

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            CheckpointError: the file cannot be written.
        """
        state = {
            "options": json.dumps(self._settings()),
            "step": self.step,
            "painter": self.painter.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic_write(path, CheckpointError) as draft:
            torch.save(state, draft)

    def load(self, path: Path) -> None:
        """Resume from a checkpoint. Nothing in the file is executed.

        Raises:
            CheckpointError: the file is damaged, or from a run with other settings.
        """
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            if name := first_difference(json.loads(state["options"]), self._settings()):
                raise CheckpointError(f"{path} was made with another {name}; give the same, or another folder")
            self.painter.load_state_dict(state["painter"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        except CheckpointError:
            raise
        except Exception as error:  # whatever a damaged file makes a reader raise
            reason = str(error).partition("\n")[0]
            raise CheckpointError(f"cannot read {path}: damaged ({reason})") from error


@isolated
def train(
    run: TrainingRun, folder: Path, resume: bool = False, checkpoint_every: float = 300
) -> Iterator[TrainingProgress]:
    """Do the remaining steps of a run, and save its results in `folder`.

    These are the model so far (`model.safetensors`), a checkpoint to resume from (`checkpoint.pt`), the losses
    (`log.jsonl`) and contact sheets of held-out photos (`samples/`). Model and checkpoint are saved every
    `checkpoint_every` seconds, and when the iterator ends or is closed. After a KeyboardInterrupt while a step changes
    the parameters, those saved before stay.

    Raises:
        CheckpointError: the folder cannot be created; its checkpoint is damaged, from a run with other settings, or not
            to be resumed from; a checkpoint cannot be written.
        WeightsError, PictureError: the model, or a contact sheet, cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot create the folder {folder}: {error.strerror}") from error
    checkpoint, log_file = folder / "checkpoint.pt", folder / "log.jsonl"
    if checkpoint.exists() and not resume:
        raise CheckpointError(f"{folder} holds a run already: continue it with --resume, or give another folder")
    if resume and checkpoint.exists():
        run.load(checkpoint)
    elif resume:
        log.warning("there is no %s to resume from: starting from the beginning", checkpoint)
    return _train(run, folder, checkpoint, log_file, checkpoint_every)


def _train(
    run: TrainingRun, folder: Path, checkpoint: Path, log_file: Path, checkpoint_every: float
) -> Iterator[TrainingProgress]:
    saved, saved_step = time.monotonic(), run.step
    sums: Counter[str] = Counter()
    summed = 0
    try:
        for progress in run.advance():
            sums.update(progress.losses)
            summed += 1
            if progress.step % LOG_EVERY == 0:
                means = {name: round(value / summed, 6) for name, value in sums.items()}
                _append(log_file, {"step": progress.step, "seconds": round(progress.seconds, 1), **means})
                sums.clear()
                summed = 0
            if progress.step % run.options.sample_every == 0 or progress.step == progress.steps:
                (folder / "samples").mkdir(exist_ok=True)
                images.write(folder / "samples" / f"{progress.step:06}.jpg", run.sample_sheet())
            if time.monotonic() - saved >= checkpoint_every:
                _save(run, folder, checkpoint)
                saved, saved_step = time.monotonic(), run.step
            yield progress
    finally:  # also on Ctrl-C, and when the iterator is closed
        if run.step > saved_step and run.whole:
            _save(run, folder, checkpoint)


def _save(run: TrainingRun, folder: Path, checkpoint: Path) -> None:
    run.save(checkpoint)
    models.save(folder / "model.safetensors", run.model({"options": asdict(run.options)}))


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
