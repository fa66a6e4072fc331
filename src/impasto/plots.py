"""Plots of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from impasto.files import StrPath, atomic_write, check_writable

if TYPE_CHECKING:
    from impasto.audio.sounds import Sound

SUFFIXES = (".png", ".svg", ".pdf")


def check_plot(path: StrPath) -> Path:
    """The path, if a plot can be written there.

    Raises:
        ValueError: a suffix that names no format for plots.
        PictureError: no such folder, or no permission.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"cannot plot to {path.name!r}: its suffix must be one of {', '.join(SUFFIXES)}")
    check_writable(path)
    return path


def plot_losses(path: StrPath, curve: Sequence[tuple[int, int, float, Mapping[str, float]]]) -> None:
    """Draw how the loss and its terms fell, with a line where a new scale begins.

    Args:
        path: of a PNG, SVG or PDF, written whole or not at all.
        curve: (evaluations in all, scale, loss, terms) of every step.
    """
    path = check_plot(path)
    figure = loss_figure(curve)
    with atomic_write(path) as draft:
        figure.savefig(draft, dpi=120)


def loss_figure(curve: Sequence[tuple[int, int, float, Mapping[str, float]]], width: float = 9) -> Figure:
    """What `plot_losses` draws, so many inches wide."""
    figure = Figure(figsize=(width, width * 5 / 9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="evaluations", ylabel="loss", yscale="log")
    evaluations = [row[0] for row in curve]
    axes.plot(evaluations, [row[2] for row in curve], color="black", linewidth=2, label="loss")
    for name in curve[-1][3] if curve else ():
        axes.plot(evaluations, [row[3].get(name, float("nan")) for row in curve], linewidth=1, label=name)
    for before, after in pairwise(curve):
        if after[1] != before[1]:
            axes.axvline(after[0], color="grey", linestyle=":", linewidth=1)
    figure.legend(fontsize="small", loc="outside right upper", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def plot_spectrograms(path: StrPath, sounds: Sequence[tuple[str, Sound]]) -> None:
    """Draw the spectrograms of sounds below each other: frequency up, time across, on one scale of decibels.

    Args:
        path: of a PNG, SVG or PDF, written whole or not at all.
        sounds: (title, sound) pairs.
    """
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
