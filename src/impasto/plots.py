"""Plots of losses and spectrograms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from impasto.files import StrPath, atomic_write, check_writable

if TYPE_CHECKING:
    from impasto.audio.sounds import Sound
    from impasto.optim.checkpoints import LossRecord

SUFFIXES = (".png", ".svg", ".pdf")


def check_plot(path: StrPath) -> Path:
    """The path, if a plot can be written there; call it before long work.

    Raises:
        ValueError: the suffix is not one of `SUFFIXES`.
        FileError: the folder does not exist, or there is no permission.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"cannot plot to {path.name!r}: its suffix must be one of {', '.join(SUFFIXES)}")
    check_writable(path)
    return path


def plot_losses(path: StrPath, records: Sequence[LossRecord]) -> None:
    """Plot the loss and its terms over evaluations, with a line where a new scale begins, to a PNG, SVG or PDF file.

    Raises:
        ValueError, FileError: see `check_plot`.
    """
    path = check_plot(path)
    figure = loss_figure(records)
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=120)


def loss_figure(records: Sequence[LossRecord], width: float = 9) -> Figure:
    """The figure of `plot_losses`, `width` inches wide."""
    figure = Figure(figsize=(width, width * 5 / 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="evaluations", ylabel="loss", yscale="log")
    evaluations = [record[0] for record in records]
    axes.plot(evaluations, [record[2] for record in records], color="black", linewidth=2, label="loss")
    for name in records[-1][3] if records else ():
        values = [record[3].get(name, float("nan")) for record in records]
        axes.plot(evaluations, values, linewidth=1, label=name)
    for before, after in pairwise(records):
        if after[1] != before[1]:
            axes.axvline(after[0], color="grey", linestyle=":", linewidth=1)
    figure.legend(fontsize="small", loc="outside right upper", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_spectrograms(path: StrPath, sounds: Sequence[tuple[str, Sound]]) -> None:
    """Plot the spectrograms of (title, sound) pairs in two columns, each over 70 dB, to a PNG, SVG or PDF file."""
    import numpy as np
    import scipy.signal

    path = check_plot(path)
    columns = 2 if len(sounds) > 1 else 1
    rows = -(-len(sounds) // columns)
    figure = Figure(figsize=(11, 2.4 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (title, sound) in zip(grid, sounds, strict=False):
        frequencies, times, power = scipy.signal.spectrogram(
            sound.samples.mean(0).numpy(), sound.rate, nperseg=1024, noverlap=768
        )
        decibels = 10 * np.log10(power + 1e-12)
        top = decibels.max()
        axes.pcolormesh(
            times,
            frequencies / 1000,
            decibels,
            vmin=top - 70,
            vmax=top,
            cmap="magma",
            shading="auto",
            rasterized=True,
        )
        axes.set(title=title, xlabel="s", ylabel="kHz")
    for axes in list(grid):
        axes.set_visible(False)
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=110)
