"""Training a network: by the slow way's losses, on crops of photos and paintings.

For one painting this is Johnson et al.'s method (arXiv 1603.08155), for any painting Huang and Belongie's (arXiv
1703.06868), with the statistics and losses of this program.

Randomness is drawn from the seed and the number of the step: a run that goes on from its checkpoint is the run that
never stopped.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import logging
import math
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto import images
from impasto.errors import CheckpointError
from impasto.fast import models, perceptual
from impasto.fast.crops import Folder, batch, recolored
from impasto.fast.models import Model
from impasto.fast.networks import Code, Network, VggNetwork
from impasto.fast.perceptual import LAYERS, PerceptualLoss
from impasto.fast.transform import GaussianFit
from impasto.files import atomic_write
from impasto.images import Picture
from impasto.images.sheets import contact_sheet
from impasto.settings.choices import Precision
from impasto.settings.fields import first_difference, result_settings
from impasto.settings.options import TrainOptions
from impasto.vgg import weights

log = logging.getLogger(__name__)

#: Term -> the option that weighs it.
WEIGHTS = {
    "content": "content_weight",
    "style": "style_weight",
    "moments": "moments_weight",
    "identity": "identity_weight",
    "total_variation": "total_variation",
    "range": "range_weight",
    "steady": "steady_weight",
}
#: Losses are logged as means over so many steps.
LOGGED = 25
#: How long the average that is kept remembers, in steps.
MEMORY = 500
#: The part of the steps in which every photo is its own style, less and less often.
FIRST = 0.15
#: How often a photo is its own style from then on, and how often a style is a blend of two.
OWN, BLENDED = 0.1, 0.2
#: The part of the steps, at the end, in which moved copies of the photos count.
LAST = 0.3


@dataclass(frozen=True, eq=False)
class Progress:
    """A step of a training run.

    Attributes:
        step, steps: done, and planned.
        losses: the terms' values, unweighted, and `total`.
        held_out: the same on held-out pictures, where they were just looked at.
        seconds: since this session began.
        eta: seconds left.
    """

    step: int
    steps: int
    losses: Mapping[str, float]
    seconds: float
    eta: float
    held_out: Mapping[str, float] = field(default_factory=dict)


class Run:
    """A training run, its network and its way through the steps.

    Attributes:
        options: see `TrainOptions`.
        photos, paintings: to train on; `held_photos`, `held_paintings`: to look at on the way.
        painting: `(1, 3, h, w)`, sRGB in [0, 1], if there is only one.
        network: that is trained; `average`: the mean of its last parameters, which is what is kept.
        step: how many are done.
    """

    def __init__(self, options: TrainOptions, photos: Folder, paintings: Folder | Tensor, device: torch.device) -> None:
        self.options, self.device, self.step = options, device, 0
        self.painting = paintings if isinstance(paintings, Tensor) else None
        self.photos, self.held_photos = photos.split()
        self.paintings, self.held_paintings = (photos, photos) if isinstance(paintings, Tensor) else paintings.split()
        dtype = precision(options.precision, device)
        torch.manual_seed(options.seed)
        self.network: Network = models.empty(options.network, device, dtype).train()
        self.network.dtype = dtype
        self.perceptual_loss = PerceptualLoss(
            weights.load("vgg19", padding="replicate").up_to(LAYERS).to(device, dtype)
        )
        if isinstance(self.network, VggNetwork):
            self.network.vgg_stage.calibrate(batch(self.photos, 16, options.crop, self._generator(-1)))
        self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=options.rate, betas=(0.9, 0.99))

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.options.seed << 32) + step + 1)

    def advance(self) -> Iterator[Progress]:
        """The steps that are left."""
        started, first = time.monotonic(), self.step
        while self.step < self.options.steps:
            losses = self._improve()
            self.step += 1
            seconds = time.monotonic() - started
            eta = seconds / (self.step - first) * (self.options.steps - self.step)
            yield Progress(self.step, self.options.steps, losses, seconds, eta)

    def _improve(self) -> dict[str, float]:
        """One step of the optimiser."""
        part = self.step / self.options.steps
        for group in self.optimizer.param_groups:
            warm = min(1.0, (self.step + 1) / 50)
            group["lr"] = self.options.rate * warm * (0.01 + 0.99 * (1 + math.cos(math.pi * part)) / 2)
        generator = self._generator(self.step)
        losses = self.losses(self.network, generator, part)
        total = self.weighed(losses)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        # Shorter at first, when the beginning is not worth remembering.
        share = max(1 / MEMORY, 1 / (self.step + 1))
        with torch.no_grad():
            for kept, new in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(new, share)
        return {name: value.item() for name, value in losses.items()} | {"total": total.item()}

    def weighed(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The sum of the terms by their weights."""
        parts = [getattr(self.options, WEIGHTS[name]) * value for name, value in losses.items()]
        return torch.stack(parts).sum()

    def losses(self, network: Network, generator: torch.Generator, part: float) -> dict[str, Tensor]:
        """The terms on a random batch, `part` of the way through the training."""
        options, count = self.options, self.options.batch
        photos = batch(self.photos, count, options.crop, generator)
        share = max(OWN, 1 - part / FIRST)
        own = (torch.rand(count, generator=generator) < share).to(self.device)
        if self.painting is None:
            styles = recolored(batch(self.paintings, count, options.crop, generator), generator)
            mixed = torch.rand(count, generator=generator) * (torch.rand(count, generator=generator) < BLENDED)
            styles = torch.where(own[:, None, None, None], photos, styles)
            code = network.code(styles)
            target = self.perceptual_loss.style(self._looked(styles))
            mix = (mixed.to(self.device) * ~own * ~own.roll(1)).float()
            code = mixed_codes(code, mix)
            target = {layer: value.lerp(value.roll(1, 0), mix[:, None, None]) for layer, value in target.items()}
        else:
            own = torch.zeros_like(own)
            once = network.code(self.painting)
            fits = (
                GaussianFit(fit.mean.expand(count, -1), fit.spread.expand(count, *fit.spread.shape[1:]))
                for fit in once.fits
            )
            code = Code(tuple(fits), once.vector.expand(count, -1))
            target = {
                layer: value.expand(count, -1, -1)
                for layer, value in self.perceptual_loss.style(self._looked(self.painting)).items()
            }
        painted = network.painted(photos, code)
        shown = painted + 0.99 * (painted.clamp(0, 1) - painted).detach()
        seen = self.perceptual_loss.features(shown)
        style = self.perceptual_loss.style(seen)
        losses = {
            "content": self.perceptual_loss.content_loss(seen, self._looked(photos)),
            "style": self.perceptual_loss.gram_loss(style, target),
            "moments": self.perceptual_loss.moments_loss(style, target),
            "identity": ((shown - photos).abs().mean((1, 2, 3)) * own).mean(),
            "total_variation": perceptual.total_variation(shown),
            "range": (painted - painted.clamp(0, 1)).square().mean(),
        }
        if options.steady_weight and part >= 1 - LAST:
            losses["steady"] = self._unsteadiness(network, photos, code, painted, generator)
        return losses

    def _looked(self, pictures: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return self.perceptual_loss.features(pictures)

    def _unsteadiness(
        self, network: Network, photos: Tensor, code: Code, painted: Tensor, generator: torch.Generator
    ) -> Tensor:
        """How much painting a copy of the photo, moved, zoomed and noisy, differs from moving the painted one."""
        count = len(photos)
        shift = (torch.rand(count, 2, generator=generator) - 0.5) * (16 / self.options.crop)
        zoom = 1 + 0.06 * (torch.rand(count, generator=generator) - 0.5)
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = zoom
        theta[:, :, 2] = shift
        grid = F.affine_grid(theta.to(self.device), list(photos.shape), align_corners=False)

        def moved(pictures: Tensor) -> Tensor:
            return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="border", align_corners=False)

        noise = 0.02 * torch.randn(photos.shape, generator=generator).to(self.device)
        again = network.painted((moved(photos) + noise).clamp(0, 1), code)
        edge = max(1, self.options.crop // 10)
        inner = (..., slice(edge, -edge), slice(edge, -edge))
        return (again - moved(painted))[inner].square().mean()

    # -- looking at it ---------------------------------------------------------------------------------------

    def evaluate(self, count: int = 16) -> dict[str, float]:
        """The average network's terms on held-out pictures, always the same."""
        photos, paintings = self.photos, self.paintings
        self.photos, self.paintings = self.held_photos, self.held_paintings
        try:
            with torch.no_grad():
                found = [
                    self.losses(self.average, self._generator(-2 - index), 1 - LAST)
                    for index in range(-(-count // self.options.batch))
                ]
        finally:
            self.photos, self.paintings = photos, paintings
        return {name: sum(losses[name].item() for losses in found) / len(found) for name in found[0]}

    def sample(self, side: int = 192) -> Picture:
        """A sheet: held-out photos down, held-out paintings across, painted by the average network."""
        photos = [self._square(self.held_photos.pictures[i % len(self.held_photos)], side) for i in range(4)]
        paintings = [self._square(self.held_paintings.pictures[i % len(self.held_paintings)], side) for i in range(5)]
        if self.painting is not None:
            paintings = [self.painting]
        cells = [("", photos[0].new_ones(1, 3, side, side)), *(("", painting) for painting in paintings)]
        with torch.no_grad():
            codes = [self.average.code(painting) for painting in paintings]
            for photo in photos:
                cells.append(("", photo))
                cells += [("", self.average.painted(photo, code).clamp(0, 1)) for code in codes]
        entries = [(label, Picture(cell[0].cpu())) for label, cell in cells]
        return contact_sheet(entries, 1 + len(paintings), side)

    @staticmethod
    def _square(picture: Tensor, side: int) -> Tensor:
        length = min(picture.shape[-2:])
        top, left = (picture.shape[-2] - length) // 2, (picture.shape[-1] - length) // 2
        square = picture[None, :, top : top + length, left : left + length].float() / 255
        return F.interpolate(square, (side, side), mode="bilinear", antialias=True)

    # -- putting it away -------------------------------------------------------------------------------------

    def model(self, card: Mapping[str, Any]) -> Model:
        """What has been learnt so far."""
        code = None
        if self.painting is not None:
            with torch.no_grad():
                code = self.average.code(self.painting)
        return Model(self.average, code, {**card, "steps": self.step, "samples": self.step * self.options.batch})

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that was saved."""
        return result_settings(self.options) | {"photos": len(self.photos), "paintings": len(self.paintings)}

    def save(self, path: Path) -> None:
        """Put the run away: whole, or not at all."""
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
        """Go on from what `save` wrote. Nothing in the file is executed.

        Raises:
            CheckpointError: it is damaged, or of another run.
        """
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            if name := first_difference(json.loads(state["options"]), self._settings()):
                raise CheckpointError(f"{path} is from a run with another {name}; give the same, or another folder")
            self.network.load_state_dict(state["network"])
            self.average.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step = state["step"]
        except CheckpointError:
            raise
        except Exception as error:  # whatever a damaged file makes a reader raise
            reason = str(error).partition("\n")[0]
            raise CheckpointError(f"cannot read {os.fspath(path)}: damaged ({reason})") from error


def mixed_codes(code: Code, share: Tensor) -> Code:
    """The codes of a batch, each with a `share` `(b,)` of the next one's: statistics blend as their means do."""
    other = code.rolled()

    def mix(one: Tensor, two: Tensor) -> Tensor:
        return one.lerp(two, share.view(-1, *[1] * (one.ndim - 1)))

    pairs = zip(code.fits, other.fits, strict=True)
    fits = tuple(GaussianFit(mix(a.mean, b.mean), mix(a.spread, b.spread)) for a, b in pairs)
    return Code(fits, mix(code.vector, other.vector))


def precision(name: Precision, device: torch.device) -> torch.dtype:
    """The type that convolutions compute in."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    multiplies = {
        "cuda": torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        "cpu": "avx512_bf16" in _features(),
    }
    return torch.bfloat16 if multiplies.get(device.type) else torch.float32


def _features() -> set[str]:
    """What this processor can do, as far as PyTorch tells."""
    tell = getattr(torch.cpu, "get_capabilities", None)
    return set() if tell is None else {name for name, there in tell().items() if there is True}


def train(run: Run, folder: Path, resume: bool = False, checkpoint_every: float = 300) -> Iterator[Progress]:
    """Train, and put what comes of it into `folder`.

    `model.safetensors` is what has been learnt so far, `checkpoint.pt` what a run goes on from, `log.jsonl` the
    losses, and `samples/` holds sheets of held-out pictures. Whoever stops asking finds all of them up to date.

    Raises:
        CheckpointError: there is a checkpoint that does not fit, or one that nobody asked to go on from.
        PictureError: nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log_file = folder / "checkpoint.pt", folder / "log.jsonl"
    if checkpoint.exists() and not resume:
        raise CheckpointError(f"{folder} holds a run already: go on with --resume, or give another folder")
    if resume and checkpoint.exists():
        run.load(checkpoint)
    elif resume:
        log.warning("there is no %s to resume: beginning anew", checkpoint)
    return _train(run, folder, checkpoint, log_file, checkpoint_every)


def _train(run: Run, folder: Path, checkpoint: Path, log_file: Path, every: float) -> Iterator[Progress]:
    saved, at = time.monotonic(), run.step
    sums: Counter[str] = Counter()
    try:
        for progress in run.advance():
            held_out: Mapping[str, float] = {}
            sums.update(progress.losses)
            if progress.step % LOGGED == 0:
                means = {name: round(value / LOGGED, 6) for name, value in sums.items()}
                _append(log_file, {"step": progress.step, "seconds": round(progress.seconds, 1), **means})
                sums.clear()
            if progress.step % run.options.sample_every == 0 or progress.step == progress.steps:
                held_out = run.evaluate()
                _append(log_file, {"step": progress.step, "held_out": held_out})
                (folder / "samples").mkdir(exist_ok=True)
                images.write(folder / "samples" / f"{progress.step:06}.jpg", run.sample())
            if time.monotonic() - saved >= every:
                _keep(run, folder, checkpoint)
                saved, at = time.monotonic(), run.step
            yield dataclasses.replace(progress, held_out=held_out)
    finally:  # Ctrl-C too, or that nobody asks for more
        if run.step > at:
            _keep(run, folder, checkpoint)


def _keep(run: Run, folder: Path, checkpoint: Path) -> None:
    run.save(checkpoint)
    models.save(folder / "model.safetensors", run.model({"options": asdict(run.options)}))


def _append(path: Path, entry: Mapping[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")
