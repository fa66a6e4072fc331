"""Training of feed-forward networks, by the losses of the optimisation, on crops of photos and paintings.

For one painting this is the method of Johnson et al. (arXiv 1603.08155), for any painting that of Huang and Belongie
(arXiv 1703.06868), with the statistics and losses of this package.

All random numbers are drawn from the seed and the number of the step, so that a resumed run equals one that was never
interrupted.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.errors import CheckpointError
from impasto.fast import models, perceptual
from impasto.fast.crops import Dataset, center_crop, jitter_colors, random_crops, random_motion
from impasto.fast.models import Model
from impasto.fast.networks import Code, Network, VggNetwork
from impasto.fast.perceptual import LAYERS, PerceptualLoss, StyleStatistics
from impasto.fast.transform import GaussianFit
from impasto.files import atomic_write
from impasto.images import Picture
from impasto.images.sheets import contact_sheet
from impasto.isolation import isolated
from impasto.settings.fields import first_difference, result_settings
from impasto.settings.options import TrainOptions
from impasto.vgg import weights

log = logging.getLogger(__name__)

#: Loss term -> the option that holds its weight.
WEIGHT_OPTIONS = {
    "content": "content_weight",
    "style": "style_weight",
    "moments": "moments_weight",
    "identity": "identity_weight",
    "total_variation": "total_variation",
    "range": "range_weight",
    "steady": "steady_weight",
}
#: Steps whose mean losses make one line of the log.
LOG_EVERY = 25
#: Time constant of the moving average of the parameters, in steps.
AVERAGE_STEPS = 500
#: The probability that a photo is its own style, and the share of the steps in which it falls to that from 1.
IDENTITY_RATE, IDENTITY_WARMUP = 0.1, 0.15
#: The probability that a style is a mixture of two.
MIXTURE_RATE = 0.2
#: The share of the steps, at the end, that have the loss `steady`.
STEADY_SHARE = 0.3


@dataclass(frozen=True, eq=False)
class TrainingProgress:
    """A step of a training run.

    Attributes:
        step, steps: done, and planned.
        losses: the terms' values, unweighted, and the weighted `total`.
        seconds: since this run was started or resumed.
        eta: seconds left.
        held_out: the losses on held-out pictures, if they were evaluated after this step.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    seconds: float
    eta: float
    held_out: Mapping[str, float] = field(default_factory=dict)


class TrainingRun:
    """The state of a training run.

    Args:
        paintings: a dataset, or a single painting, `(1, 3, h, w)`, sRGB in [0, 1].

    Attributes:
        network: the trained network.
        average: the moving average of its parameters, which is what is saved as the model.
        step: the number of steps done.
    """

    @isolated
    def __init__(
        self, options: TrainOptions, photos: Dataset, paintings: Dataset | Tensor, device: torch.device
    ) -> None:
        self.options, self.device, self.step = options, device, 0
        self.painting = paintings if isinstance(paintings, Tensor) else None
        self.photos, self.held_photos = photos.split()
        self.paintings, self.held_paintings = (photos, photos) if isinstance(paintings, Tensor) else paintings.split()
        dtype = models.compute_dtype(options.precision, device)
        self.network: Network = models.untrained(options.network, device, dtype, options.seed).train()
        self.network.dtype = dtype
        encoder = weights.load("vgg19", padding="replicate").up_to(LAYERS).to(device, dtype)
        self.perceptual_loss = PerceptualLoss(encoder)
        if isinstance(self.network, VggNetwork):
            self.network.vgg_stage.calibrate(random_crops(self.photos, 16, options.crop, self._generator(-1)))
        self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=options.rate, betas=(0.9, 0.99))

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.options.seed << 32) + step + 1)

    def advance(self) -> Iterator[TrainingProgress]:
        """Do the remaining steps."""
        started, first = time.monotonic(), self.step
        while self.step < self.options.steps:
            losses = self._optimizer_step()
            self.step += 1
            seconds = time.monotonic() - started
            eta = seconds / (self.step - first) * (self.options.steps - self.step)
            yield TrainingProgress(self.step, self.options.steps, losses, seconds, eta)

    def _optimizer_step(self) -> dict[str, float]:
        done = self.step / self.options.steps
        for group in self.optimizer.param_groups:
            warmup = min(1.0, (self.step + 1) / 50)
            group["lr"] = self.options.rate * warmup * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)
        losses = self.losses(self.network, self._generator(self.step), done)
        weighted = [getattr(self.options, WEIGHT_OPTIONS[name]) * value for name, value in losses.items()]
        total = torch.stack(weighted).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        # A plain mean at first, so that the initial parameters do not linger.
        share = max(1 / AVERAGE_STEPS, 1 / (self.step + 1))
        with torch.no_grad():
            for average, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                average.lerp_(new, share)
        return {name: value.item() for name, value in losses.items()} | {"total": total.item()}

    # -- losses ----------------------------------------------------------------------------------------------

    def losses(self, network: Network, generator: torch.Generator, done: float) -> dict[str, Tensor]:
        """The loss terms on a random batch, unweighted; `done` is the share of the steps that are done."""
        options = self.options
        photos = random_crops(self.photos, options.batch, options.crop, generator)
        identity_rate = max(IDENTITY_RATE, 1 - done / IDENTITY_WARMUP)
        is_identity = (torch.rand(options.batch, generator=generator, **CPU_FLOAT) < identity_rate).to(self.device)
        if self.painting is None:
            code, target = self._random_styles(network, photos, is_identity, generator)
        else:
            is_identity = torch.zeros_like(is_identity)
            code, target = self._repeated_style(network, self.painting)
        painted = network.painted(photos, code)
        # Clipped but for a hundredth, with the gradient of the unclipped values.
        clipped = painted + 0.99 * (painted.clamp(0, 1) - painted).detach()
        features = self.perceptual_loss.features(clipped)
        style = self.perceptual_loss.style(features)
        losses = {
            "content": self.perceptual_loss.content_loss(features, self._target_features(photos)),
            "style": self.perceptual_loss.gram_loss(style, target),
            "moments": self.perceptual_loss.moments_loss(style, target),
            "identity": ((clipped - photos).abs().mean((1, 2, 3)) * is_identity).mean(),
            "total_variation": perceptual.total_variation(clipped),
            "range": (painted - painted.clamp(0, 1)).square().mean(),
        }
        if options.steady_weight and done >= 1 - STEADY_SHARE:
            losses["steady"] = self._steady_loss(network, photos, code, painted, generator)
        return losses

    def _random_styles(
        self, network: Network, photos: Tensor, is_identity: Tensor, generator: torch.Generator
    ) -> tuple[Code, StyleStatistics]:
        """The codes and target statistics of random paintings, some mixed with the one before in the batch."""
        count = len(photos)
        styles = jitter_colors(random_crops(self.paintings, count, self.options.crop, generator), generator)
        mixed = torch.rand(count, generator=generator, **CPU_FLOAT) * (
            torch.rand(count, generator=generator, **CPU_FLOAT) < MIXTURE_RATE
        )
        styles = torch.where(is_identity[:, None, None, None], photos, styles)
        code = network.code(styles)
        target = self.perceptual_loss.style(self._target_features(styles))
        share = (mixed.to(self.device) * ~is_identity * ~is_identity.roll(1)).float()
        target = {layer: value.lerp(value.roll(1, 0), share[:, None, None]) for layer, value in target.items()}
        return code.mixed(share), target

    def _repeated_style(self, network: Network, painting: Tensor) -> tuple[Code, StyleStatistics]:
        """The code and target statistics of the only painting, repeated over a batch."""
        count, code = self.options.batch, network.code(painting)
        fits = tuple(
            GaussianFit(fit.mean.expand(count, -1), fit.spread.expand(count, *fit.spread.shape[1:]))
            for fit in code.fits
        )
        target = self.perceptual_loss.style(self._target_features(painting))
        repeated = {layer: value.expand(count, -1, -1) for layer, value in target.items()}
        return Code(fits, code.vector.expand(count, -1)), repeated

    def _target_features(self, pictures: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return self.perceptual_loss.features(pictures)

    def _steady_loss(
        self, network: Network, photos: Tensor, code: Code, painted: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Mean squared difference between stylising moved, noisy photos and moving the stylised ones."""
        move = random_motion(photos.shape, self.device, generator)
        noise = 0.02 * torch.randn(photos.shape, generator=generator, **CPU_FLOAT).to(self.device)
        again = network.painted((move(photos) + noise).clamp(0, 1), code)
        edge = max(1, self.options.crop // 10)
        inner = (..., slice(edge, -edge), slice(edge, -edge))
        return (again - move(painted))[inner].square().mean()

    # -- evaluation ------------------------------------------------------------------------------------------

    def evaluate(self, count: int = 16) -> dict[str, float]:
        """The losses of the average network on `count` held-out crops, the same ones every time."""
        photos, paintings = self.photos, self.paintings
        self.photos, self.paintings = self.held_photos, self.held_paintings
        try:
            with torch.no_grad():
                found = [
                    self.losses(self.average, self._generator(-2 - index), 1 - STEADY_SHARE)
                    for index in range(-(-count // self.options.batch))
                ]
        finally:
            self.photos, self.paintings = photos, paintings
        return {name: sum(losses[name].item() for losses in found) / len(found) for name in found[0]}

    def sample_sheet(self, side: int = 192) -> Picture:
        """A contact sheet: a row for each held-out photo, a column for each held-out painting."""
        photos = [center_crop(self.held_photos.pictures[i % len(self.held_photos)], side) for i in range(4)]
        paintings = [center_crop(self.held_paintings.pictures[i % len(self.held_paintings)], side) for i in range(5)]
        if self.painting is not None:
            paintings = [self.painting]
        cells = [photos[0].new_ones(1, 3, side, side), *paintings]
        with torch.no_grad():
            codes = [self.average.code(painting) for painting in paintings]
            for photo in photos:
                cells += [photo, *(self.average.painted(photo, code).clamp(0, 1) for code in codes)]
        return contact_sheet([("", Picture(cell[0].cpu())) for cell in cells], 1 + len(paintings), side)

    # -- files -----------------------------------------------------------------------------------------------

    def model(self, card: Mapping[str, Any]) -> Model:
        """The average network as a model; `card` says how it was trained."""
        code = None
        if self.painting is not None:
            with torch.no_grad():
                code = self.average.code(self.painting)
        return Model(self.average, code, {**card, "steps": self.step, "samples": self.step * self.options.batch})

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that was saved."""
        return result_settings(self.options) | {"photos": len(self.photos), "paintings": len(self.paintings)}

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            CheckpointError: the file cannot be written.
        """
        state = {
            "options": json.dumps(self._settings()),
            "step": self.step,
            "network": self.network.state_dict(),
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
            self.network.load_state_dict(state["network"])
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
    (`log.jsonl`) and contact sheets of held-out pictures (`samples/`). Model and checkpoint are saved every
    `checkpoint_every` seconds, and when the iterator ends or is closed.

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
    try:
        for progress in run.advance():
            held_out: Mapping[str, float] = {}
            sums.update(progress.losses)
            if progress.step % LOG_EVERY == 0:
                means = {name: round(value / LOG_EVERY, 6) for name, value in sums.items()}
                _append(log_file, {"step": progress.step, "seconds": round(progress.seconds, 1), **means})
                sums.clear()
            if progress.step % run.options.sample_every == 0 or progress.step == progress.steps:
                held_out = run.evaluate()
                _append(log_file, {"step": progress.step, "held_out": held_out})
                (folder / "samples").mkdir(exist_ok=True)
                images.write(folder / "samples" / f"{progress.step:06}.jpg", run.sample_sheet())
            if time.monotonic() - saved >= checkpoint_every:
                _save(run, folder, checkpoint)
                saved, saved_step = time.monotonic(), run.step
            yield dataclasses.replace(progress, held_out=held_out)
    finally:  # also on Ctrl-C, and when the iterator is closed
        if run.step > saved_step:
            _save(run, folder, checkpoint)


def _save(run: TrainingRun, folder: Path, checkpoint: Path) -> None:
    run.save(checkpoint)
    models.save(folder / "model.safetensors", run.model({"options": asdict(run.options)}))


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
