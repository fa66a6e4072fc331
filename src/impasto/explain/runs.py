"""Reports on a run: its loss and terms over the evaluations, and snapshots of the picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from impasto import images
from impasto.devices import CPU_FLOAT
from impasto.explain import figures
from impasto.explain.report import Report, Section, Table, counting
from impasto.files import StrPath
from impasto.isolation import isolated
from impasto.optim import checkpoints
from impasto.optim.checkpoints import LossRecord
from impasto.optim.steps import Step
from impasto.progress import ProgressOption, counted


@isolated
def run_report(steps: Iterator[Step], snapshots: int = 6, progress: ProgressOption = False) -> Report:
    """Runs an optimisation and reports its loss terms and their shares by evaluation and scale, with snapshots.

    Args:
        steps: of any operation that optimises a picture, such as `impasto.iterate`; all of them are consumed.
        snapshots: how many pictures to show.

    Raises:
        ValueError: there are no steps.
    """
    with counting(progress) as count:
        curve: list[LossRecord] = []
        kept: list[tuple[str, Tensor]] = []
        last: Step | None = None
        stride = 1
        for index, last in enumerate(steps):
            curve.append((last.evaluations, last.scale, last.loss, dict(last.losses)))
            count(round(last.seconds), max(1, round(last.seconds + last.eta)), f"scale {last.scale}/{last.scales}")
            if index % stride == 0:
                kept.append(_snapshot(last))
            if len(kept) > 4 * snapshots:  # how many steps there will be is unknown
                kept, stride = kept[::2], 2 * stride
        if last is None:
            raise ValueError("the run has no steps to report on")
        if index % stride:
            kept.append(_snapshot(last))
        # Backwards, since a single one is the last.
        chosen = torch.linspace(len(kept) - 1, 0, min(snapshots, len(kept)), **CPU_FLOAT).round().int().tolist()
    return _report("How a picture was optimised", curve, [kept[index] for index in reversed(chosen)])


def _snapshot(step: Step) -> tuple[str, Tensor]:
    """The title and picture of a step."""
    return f"{step.evaluations}", images.resize(step.picture.rgb, *images.fit(step.shape, 224))


@isolated
def checkpoint_report(path: StrPath) -> Report:
    """The same report up to a checkpoint, with its picture and its options.

    Raises:
        CheckpointError: the file is missing or damaged.
        ValueError: it is the checkpoint of a sound.
    """
    checkpoint, settings = checkpoints.read(Path(path), torch.device("cpu"))
    height, width = checkpoint.state.canvas.gather().shape[-2:]
    if height == 1:
        raise ValueError(f"{path} is the checkpoint of a sound; there are reports on pictures only")
    report = _report(
        f"A run after {counted(checkpoint.evaluations, 'evaluation')}",
        list(checkpoint.curve),
        [(f"{checkpoint.evaluations}, {width}×{height} px", checkpoint.state.canvas.gather()[0])],
    )
    options = [(name, repr(value)) for name, value in settings["options"].items()]
    return dataclasses.replace(
        report,
        sections=[
            *report.sections,
            Section("Options", tables=[Table("settings", ["option", "value"], options)]),
        ],
    )


def _report(title: str, curve: Sequence[LossRecord], snapshots: list[tuple[str, Tensor]]) -> Report:
    names = list(dict.fromkeys(name for row in curve for name in row[3]))
    rows = [(float(row[0]), float(row[1]), row[2], *(row[3].get(name, 0.0) for name in names)) for row in curve]
    return Report(
        title,
        [
            Section(
                "The loss and its terms",
                [
                    "Above, the weighted value of every term, with a dotted line where a larger scale begins; "
                    "below, each term's share of the loss."
                ],
                [("losses", figures.loss_curves(curve))],
            ),
            Section(
                "Snapshots",
                ["Each title is the number of evaluations so far."],
                [("snapshots", figures.grid([("", snapshots)], 2.0))],
            ),
            Section("Loss by evaluation", tables=[Table("run", ["evaluations", "scale", "loss", *names], rows)]),
        ],
    )
