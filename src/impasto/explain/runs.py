"""A run as it went: its loss and terms, and the picture on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from impasto import images
from impasto.explain import figures
from impasto.explain.report import Report, Section, Table, Tell, quiet
from impasto.files import StrPath
from impasto.optim import checkpoints
from impasto.optim.checkpoints import LossRecord
from impasto.optim.steps import Step


def run_report(steps: Iterator[Step], snapshots: int = 6, tell: Tell = quiet) -> Report:
    """A run as it goes: its terms over time and scale, each layer's share, snapshots.

    Args:
        steps: of any operation that optimises a picture.
    """
    curve: list[LossRecord] = []
    kept: list[tuple[str, Tensor]] = []
    last: Step | None = None
    for last in steps:
        curve.append((last.evaluations, last.scale, last.loss, dict(last.losses)))
        tell(round(last.seconds), max(1, round(last.seconds + last.eta)), f"scale {last.scale}/{last.scales}")
        kept.append((f"{last.evaluations}", images.resize(last.picture.rgb, *images.fit(last.size, 224))))
        if len(kept) > 2 * snapshots:  # every other one: in the end they lie evenly
            kept = kept[::2]
    if last is None:
        raise ValueError("there was no step to explain")
    marks = torch.linspace(0, len(kept) - 1, min(snapshots, len(kept))).round().int().tolist()
    return _run("A run, explained", curve, [kept[mark] for mark in marks])


def checkpoint_report(path: StrPath) -> Report:
    """A run that was put away, as far as it has come: its terms over time and scale, shares, where it stands.

    Raises:
        CheckpointError: the file is damaged.
    """
    checkpoint, settings = checkpoints.read(Path(path), torch.device("cpu"))
    height, width = checkpoint.state.canvas.gather().shape[-2:]
    if height == 1:
        raise ValueError(f"{path} is of a sound; runs of pictures are explained")
    report = _run(
        f"A run after {checkpoint.evaluations} evaluations",
        list(checkpoint.curve),
        [(f"{checkpoint.evaluations}, {width}×{height} px", checkpoint.state.canvas.gather()[0])],
    )
    options = [(name, repr(value)) for name, value in settings["options"].items()]
    return dataclasses.replace(
        report,
        sections=[
            *report.sections,
            Section("Its settings", tables=[Table("settings", ["option", "value"], options)]),
        ],
    )


def _run(title: str, curve: Sequence[LossRecord], snapshots: list[tuple[str, Tensor]]) -> Report:
    names = list(dict.fromkeys(name for row in curve for name in row[3]))
    rows = [(float(row[0]), float(row[1]), row[2], *(row[3].get(name, 0.0) for name in names)) for row in curve]
    return Report(
        title,
        [
            Section(
                "The loss and its terms",
                [
                    "Above, every term's weighted value, with a dotted line where a larger scale begins; "
                    "below, its share."
                ],
                [("losses", figures.run(curve))],
                [],
            ),
            Section(
                "On the way",
                ["The picture after so many evaluations."],
                [("snapshots", figures.grid([("", snapshots)], 2.0))],
            ),
            Section(
                "The numbers",
                [],
                [],
                [Table("run", ["evaluations", "scale", "loss", *names], rows)],
            ),
        ],
    )
