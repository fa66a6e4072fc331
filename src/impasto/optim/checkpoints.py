"""Checkpoints: what a run needs to resume as though it had never stopped, in a file written whole or not at all.

The file is NumPy's .npz: the optimiser's images as they are, and one JSON text for everything else. Reading it
executes nothing, and its checksums detect damage. Random numbers need no state: all of them are drawn from the seed
before the first step.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto._version import __version__
from impasto.errors import CheckpointError, ImpastoError
from impasto.files import atomic_write, check_writable, remove_leftovers
from impasto.optim.canvas import LocalCanvas
from impasto.optim.memory import Plan
from impasto.optim.solvers import State
from impasto.settings.fields import first_difference, result_settings
from impasto.settings.options import Options

log = logging.getLogger(__name__)

#: A step, for curves: evaluations in all, scale from 1, loss, its terms.
LossRecord = tuple[int, int, float, Mapping[str, float]]

#: Version of the file's layout.
LAYOUT = 3
#: What reading a damaged file raises.
DAMAGES = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, RuntimeError, MemoryError)
#: A checkpoint that takes more than a second is written no more often than every so many times as long.
MIN_INTERVAL_FACTOR = 20


@dataclass(frozen=True)
class Checkpoints:
    """Where an operation keeps its checkpoint, and how often it writes one.

    Attributes:
        path: of the file; each checkpoint replaces the one before.
        every: seconds between two, of the run's own time.
        resume: resume from the file, if it exists.
    """

    path: Path
    every: float = 60.0
    resume: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # may be given as text

    def found(self) -> Mapping[str, float]:
        """What the run to be resumed had found for its inputs, see `Checkpoint`; nothing without a readable file."""
        try:
            if self.resume and self.path.exists():
                with open(self.path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                    return dict(json.loads(file["about"].tobytes())["found"])
        except DAMAGES:
            pass  # reported when the run is resumed
        return {}

    def discard(self) -> None:
        """Remove the file, and what killed processes left of it, once the picture is written."""
        self.path.unlink(missing_ok=True)
        remove_leftovers(self.path)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A run at one of its steps.

    Attributes:
        plans: how each scale is computed.
        scale: which one it is at, from 0.
        before: evaluations at earlier scales.
        seconds, entered: when this was, and when the scale began, since the run began.
        state: the optimiser's.
        curve: the losses of all steps so far.
        found: what the problem has found for its inputs; see `optim.problem.Problem`.
    """

    plans: Sequence[Plan]
    scale: int
    before: int
    seconds: float
    entered: float
    state: State
    curve: Sequence[LossRecord] = ()
    found: Mapping[str, float] = field(default_factory=dict)

    @property
    def evaluations(self) -> int:
        """In all."""
        return self.before + self.state.evaluations


class CheckpointWriter:
    """Writes the checkpoints of one run, and finds the one to resume from.

    Args:
        where: None to write none.
        options: of the run.
        inputs: name -> hash of each input.

    Raises:
        CheckpointError: the file cannot be written.
    """

    def __init__(self, where: Checkpoints | None, options: Options, inputs: Mapping[str, str]) -> None:
        self._where, self._saved_at, self._evaluations = where, 0.0, -1
        self._cost = 0.0  # seconds to write one
        if where is not None:
            self._settings = settings_of(options, inputs)
            check_writable(where.path, CheckpointError)

    def resume(self, device: torch.device) -> Checkpoint | None:
        """The checkpoint to resume from, its images on this device; None for a run from the beginning.

        Raises:
            CheckpointError: the file is damaged, or of another run.
        """
        if self._where is None:
            return None
        path, exists = self._where.path, self._where.path.exists()
        if self._where.resume and exists:
            resumed = load(path, self._settings, device)
            self._saved_at, self._evaluations = resumed.seconds, resumed.evaluations
            return resumed
        if self._where.resume:
            log.warning("there is no %s to resume from: starting from the beginning", path)
        elif exists:
            log.warning("%s is from an interrupted run; it will be replaced, unless you --resume", path)
        return None

    def update(self, checkpoint: Checkpoint, now: bool = False) -> None:
        """Write the checkpoint if it is due, or `now`; a failure is logged, and the run continues."""
        if self._where is None:
            return
        every = max(self._where.every, MIN_INTERVAL_FACTOR * self._cost if self._cost > 1 else 0)
        if not (now or checkpoint.seconds - self._saved_at >= every):
            return
        if checkpoint.evaluations in (self._evaluations, 0) or not checkpoint.state.consistent:
            return  # it is written already, or there is nothing, or only half of it
        if now and checkpoint.evaluations == 1:
            return  # nothing but the start
        self._saved_at, started = checkpoint.seconds, time.monotonic()
        try:
            save(self._where.path, checkpoint, self._settings)
            self._evaluations, self._cost = checkpoint.evaluations, time.monotonic() - started
        except ImpastoError as error:
            log.warning("no checkpoint was written: %s", error)


def hashes(inputs: Mapping[str, Tensor | None]) -> dict[str, str]:
    """Name -> SHA-256 of a picture's or mask's numbers; None is left out."""
    return {
        name: hashlib.sha256(picture.cpu().contiguous().numpy().data).hexdigest()
        for name, picture in inputs.items()
        if picture is not None
    }


def settings_of(options: Options, inputs: Mapping[str, str]) -> dict[str, Any]:
    """What a result depends on, as JSON stores it: the options, and the hashes of the inputs."""
    made_by = {"impasto": __version__, "torch": str(torch.__version__), "threads": torch.get_num_threads()}
    values = result_settings(options)
    return {"operation": options.operation, "options": values, "pictures": dict(inputs), "made by": made_by}


def save(path: Path, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
    """Write a checkpoint; the one before stays until the new one is complete.

    Raises:
        CheckpointError: it cannot be written, because the disk is full say.
    """
    state = checkpoint.state
    if state.loss is None or not state.is_finite:
        return  # there is nothing to resume from
    images = {"image": state.canvas, "gradient": state.gradient}
    for index, (s, y, _) in enumerate(state.pairs):
        images |= {f"s {index}": s, f"y {index}": y}
    if state.moments is not None:
        images |= {"first": state.moments[0], "second": state.moments[1]}
    about = {
        "format": LAYOUT,
        "settings": settings,
        "plans": [dataclasses.asdict(plan) for plan in checkpoint.plans],
        "scale": checkpoint.scale,
        "before": checkpoint.before,
        "seconds": checkpoint.seconds,
        "entered": checkpoint.entered,
        "loss": state.loss,
        "terms": list(state.terms.items()),
        "evaluations": state.evaluations,
        "products": [product for _, _, product in state.pairs],
        "step": state.step,
        "resets": state.resets,
        "names": list(images),
        "curve": checkpoint.curve,
        "found": dict(checkpoint.found),
    }
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with atomic_write(path, CheckpointError) as draft, zipfile.ZipFile(draft, "w") as file:

        def add(name: str, array: np.ndarray[Any, Any]) -> None:
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)

        add("about", text)
        for name, image in images.items():  # one after another: they may be on other machines
            add(name, np.zeros(0, np.float32) if image is None else image.gather().cpu().numpy())


def load(path: Path, settings: Mapping[str, Any], device: torch.device) -> Checkpoint:
    """The checkpoint in a file, its images on this device.

    Raises:
        CheckpointError: the file is damaged, or was made with other settings; the first one is named.
    """
    checkpoint, stored = read(path, device)
    _compare(path, stored, settings)
    return checkpoint


def read(path: Path, device: torch.device) -> tuple[Checkpoint, dict[str, Any]]:
    """The checkpoint in a file, whatever its settings, and these settings.

    Raises:
        CheckpointError: the file is damaged, or of another version.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if about["format"] != LAYOUT:
                raise CheckpointError(
                    f"{path} is from impasto {about['settings']['made by']['impasto']}, whose checkpoints this version "
                    "does not read; leave --resume away to start from the beginning"
                )
            # Copied, to be aligned as the optimiser's own: products are rounded alike only then.
            images = {
                name: torch.from_numpy(file[name]).to(device, copy=True) for name in file.files if name != "about"
            }
        if len({image.shape for image in images.values() if image.numel()}) != 1:
            raise ValueError("its images differ in size")
        if sorted(about["names"]) != sorted(images):
            raise ValueError("some of its images are missing")
        canvases = {name: LocalCanvas(image) for name, image in images.items()}
        state = State(
            canvas=canvases["image"],
            loss=about["loss"],
            terms=dict(about["terms"]),
            gradient=canvases["gradient"] if images["gradient"].numel() else None,
            evaluations=about["evaluations"],
            pairs=[
                (canvases[f"s {index}"], canvases[f"y {index}"], product)
                for index, product in enumerate(about["products"])
            ],
            moments=(canvases["first"], canvases["second"]) if "first" in canvases else None,
            step=about["step"],
            resets=about["resets"],
        )
        plans = [Plan(**plan) for plan in about["plans"]]
        checkpoint = Checkpoint(
            plans,
            about["scale"],
            about["before"],
            about["seconds"],
            about["entered"],
            state,
            [(evaluations, scale, loss, dict(terms)) for evaluations, scale, loss, terms in about["curve"]],
            dict(about["found"]),
        )
        stored: dict[str, Any] = about["settings"]
    except DAMAGES as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(
            f"{os.fspath(path)} is damaged ({reason}); remove it, or leave --resume away to start from the beginning"
        ) from error
    return checkpoint, stored


def _compare(path: Path, stored: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Raise an error that names the first setting that is not the stored one."""
    advice = "give the same, or leave --resume away to start from the beginning"
    if stored["operation"] != current["operation"]:
        raise CheckpointError(
            f"{path} is from 'impasto {stored['operation']}', not from {current['operation']}; {advice}"
        )
    known = {name: stored["options"].get(name) for name in current["options"]}  # others were of another version
    if name := first_difference(known, current["options"]):
        raise CheckpointError(
            f"{path} was made with {name} {known[name]!r}, and now it is {current['options'][name]!r}; {advice}"
        )
    if name := first_difference(stored["pictures"], current["pictures"]):
        raise CheckpointError(f"{path} was made with another {name}; {advice}")
    if stored["made by"] != current["made by"]:
        log.warning("%s was made with %s; the last digits may differ", path, stored["made by"])
