"""Checkpoints: what a run needs to go on as though it had never stopped, in a file written whole or not at all.

The file is NumPy's .npz: the optimiser's pictures as they are, and one JSON text for everything else. Reading it
executes nothing, and its checksums tell when it was damaged. Randomness needs no state of its own: all of it is drawn
from the seed before the first step.
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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import impasto
from impasto.errors import CheckpointError, ImpastoError
from impasto.files import check_writable, draft_of
from impasto.losses.objective import Evaluation
from impasto.optim.memory import Plan
from impasto.optim.solvers import State, is_finite
from impasto.settings.fields import fields_of
from impasto.settings.options import Options

log = logging.getLogger(__name__)

#: A step, for curves: evaluations in all, scale from 1, loss, its terms.
Row = tuple[int, int, float, Mapping[str, float]]

#: Of the layout of the file.
FORMAT = 2
#: One that takes more than a second is written no more often than every so many times what it takes.
WORTH = 20
#: Options that say where and for how long, not what: a run may go on with others.
FREE = ("memory", "device", "time_budget")


@dataclass(frozen=True)
class Checkpoints:
    """Where an operation keeps its checkpoints, and how often.

    Attributes:
        path: of the file; each one takes the place of the one before.
        every: seconds between two, of the run's own time.
        resume: go on from the file, if it is there.
    """

    path: Path
    every: float = 60.0
    resume: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))  # for who gives its name

    def discard(self) -> None:
        """Remove the file: when the picture is safe."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A run at one of its steps.

    Attributes:
        plans: how each scale is computed.
        scale: which one it is at, from 0.
        before: evaluations at the scales before.
        seconds, entered: when this was, and when the scale began, since the run began.
        state: the optimiser's.
        curve: of all steps so far: evaluations, scale from 1, loss, terms.
    """

    plans: Sequence[Plan]
    scale: int
    before: int
    seconds: float
    entered: float
    state: State
    curve: Sequence[Row] = ()

    @property
    def evaluations(self) -> int:
        """In all."""
        return self.before + self.state.evaluations


class Keeper:
    """Writes the checkpoints of one run, and finds the one that it goes on from.

    Raises:
        PictureError: nothing can be written there.
    """

    def __init__(self, where: Checkpoints | None, options: Options, pictures: Mapping[str, str]) -> None:
        self._where, self._saved, self._evaluations = where, 0.0, -1
        self._cost = 0.0  # seconds that it takes
        if where is not None:
            self._settings = settings_of(options, pictures)
            check_writable(where.path)

    def resume(self, device: torch.device) -> Checkpoint | None:
        """What to go on from, its pictures on this device; None for a run from the beginning.

        Raises:
            CheckpointError: it is damaged, or does not fit.
        """
        if self._where is None:
            return None
        path, exists = self._where.path, self._where.path.exists()
        if self._where.resume and exists:
            resumed = load(path, self._settings, device)
            self._saved, self._evaluations = resumed.seconds, resumed.evaluations
            return resumed
        if self._where.resume:
            log.warning("there is no %s to resume: beginning anew", path)
        elif exists:
            log.warning("%s is of an interrupted run; it will be replaced, unless you --resume", path)
        return None

    def keep(self, checkpoint: Checkpoint, at_once: bool = False) -> None:
        """Write the checkpoint if it is time; where that fails, say so: the run goes on without."""
        if self._where is None:
            return
        every = max(self._where.every, WORTH * self._cost if self._cost > 1 else 0)
        if not (at_once or checkpoint.seconds - self._saved >= every):
            return
        if checkpoint.evaluations in (self._evaluations, 0) or not checkpoint.state.settled:
            return  # it is there already, or there is nothing, or no more than half of it
        if at_once and checkpoint.evaluations == 1:
            return  # nothing but the start
        self._saved, begun = checkpoint.seconds, time.monotonic()
        try:
            save(self._where.path, checkpoint, self._settings)
            self._evaluations, self._cost = checkpoint.evaluations, time.monotonic() - begun
        except ImpastoError as error:
            log.warning("no checkpoint: %s", error)


def hashes(pictures: Mapping[str, Tensor | None]) -> dict[str, str]:
    """What tells pictures and masks, of any shape, from others: name -> SHA-256."""
    return {
        name: hashlib.sha256(picture.cpu().contiguous().numpy().data).hexdigest()
        for name, picture in pictures.items()
        if picture is not None
    }


def settings_of(options: Options, pictures: Mapping[str, str]) -> dict[str, Any]:
    """What a run is made of, ready for JSON: its options, and the hashes of what it was given."""
    values: dict[str, Any] = {}
    for name, field in fields_of(options).items():
        if name not in FREE:
            value = getattr(options, name)
            # Of masks, only whose they are: what they show is among the pictures.
            values[name] = sorted(value) if field.metadata.get("many") else value
    made_by = {"impasto": impasto.__version__, "torch": str(torch.__version__), "threads": torch.get_num_threads()}
    settings = {"operation": options.operation, "options": values, "pictures": dict(pictures), "made by": made_by}
    return dict(json.loads(json.dumps(settings)))


def save(path: Path, checkpoint: Checkpoint, settings: Mapping[str, Any]) -> None:
    """Write a checkpoint; one that was there before stays until this is whole.

    Raises:
        PictureError: what the system has against it, the disk full say.
    """
    state = checkpoint.state
    evaluation = state.evaluation
    if evaluation is None or not is_finite(evaluation):
        return  # there is nothing to go on from
    pictures = {"image": state.image, "gradient": evaluation.gradient}
    for index, (moved, change, _) in enumerate(state.pairs):
        pictures |= {f"moved {index}": moved, f"change {index}": change}
    if state.moments is not None:
        pictures |= {"first": state.moments[0], "second": state.moments[1]}
    about = {
        "format": FORMAT,
        "settings": settings,
        "plans": [dataclasses.asdict(plan) for plan in checkpoint.plans],
        "scale": checkpoint.scale,
        "before": checkpoint.before,
        "seconds": checkpoint.seconds,
        "entered": checkpoint.entered,
        "loss": evaluation.loss,
        "terms": list(evaluation.terms.items()),
        "evaluations": state.evaluations,
        "products": [product for _, _, product in state.pairs],
        "age": state.age,
        "falls": state.falls,
        "names": list(pictures),
        "curve": checkpoint.curve,
    }
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    with draft_of(path) as draft, zipfile.ZipFile(draft, "w") as file:

        def add(name: str, array: np.ndarray[Any, Any]) -> None:
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)

        add("about", text)
        for name, picture in pictures.items():  # one after another: they may lie elsewhere
            add(name, picture.cpu().numpy())


def load(path: Path, settings: Mapping[str, Any], device: torch.device) -> Checkpoint:
    """The checkpoint in a file, its pictures on this device.

    Raises:
        CheckpointError: it is damaged, or was made with other settings; names the field.
    """
    checkpoint, stored = read(path, device)
    _compare(path, stored, settings)
    return checkpoint


def read(path: Path, device: torch.device) -> tuple[Checkpoint, dict[str, Any]]:
    """The checkpoint in a file, whatever its settings, and these.

    Raises:
        CheckpointError: it is damaged, or of another version.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            # Copied, to be aligned as the optimiser's own: products are rounded alike only then.
            if about["format"] != FORMAT:
                raise CheckpointError(
                    f"{path} is of impasto {about['settings']['made by']['impasto']}, whose checkpoints this version "
                    "does not read; leave --resume away to begin anew"
                )
            pictures = {
                name: torch.from_numpy(file[name]).to(device, copy=True) for name in file.files if name != "about"
            }
        if len({picture.shape for picture in pictures.values() if picture.numel()}) != 1:
            raise ValueError("its pictures differ in size")
        if sorted(about["names"]) != sorted(pictures):
            raise ValueError("some of its pictures are missing")
        state = State(
            image=pictures["image"],
            evaluation=Evaluation(about["loss"], dict(about["terms"]), pictures["gradient"]),
            evaluations=about["evaluations"],
            pairs=[
                (pictures[f"moved {index}"], pictures[f"change {index}"], product)
                for index, product in enumerate(about["products"])
            ],
            moments=(pictures["first"], pictures["second"]) if "first" in pictures else None,
            age=about["age"],
            falls=about["falls"],
        )
        checkpoint = Checkpoint(
            [Plan(**plan) for plan in about["plans"]],
            about["scale"],
            about["before"],
            about["seconds"],
            about["entered"],
            state,
            [(evaluations, scale, loss, dict(terms)) for evaluations, scale, loss, terms in about["curve"]],
        )
        stored: dict[str, Any] = about["settings"]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        EOFError,
        zipfile.BadZipFile,
        RuntimeError,
        MemoryError,
    ) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise CheckpointError(
            f"{os.fspath(path)} is damaged ({reason}); remove it, or leave --resume away to begin anew"
        ) from None
    return checkpoint, stored


def _compare(path: Path, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise an error that names the first setting that is not the stored one."""
    again = "give the same, or leave --resume away to begin anew"
    if stored["operation"] != now["operation"]:
        raise CheckpointError(f"{path} is of 'impasto {stored['operation']}', not of {now['operation']}; {again}")
    for name, value in now["options"].items():
        if stored["options"].get(name) != value:
            raise CheckpointError(
                f"{path} was made with {name} {stored['options'].get(name)!r}, and now it is {value!r}; {again}"
            )
    for name in {**now["pictures"], **stored["pictures"]}:
        if stored["pictures"].get(name) != now["pictures"].get(name):
            raise CheckpointError(f"{path} was made with another {name}; {again}")
    if stored["made by"] != now["made by"]:
        log.warning("%s was made with %s; the last digits may differ", path, stored["made by"])
