"""The figures of the explanations: pictures and matrices in, matplotlib's figures out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from impasto.optim.checkpoints import LossRecord


def figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty one, in inches."""
    made = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(made)
    return made


def shown(image: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """`(3, h, w)` in [0, 1] as matplotlib has it."""
    return image.detach().clamp(0, 1).permute(1, 2, 0).cpu().numpy()


def contrasted(gradient: Tensor) -> Tensor:
    """A gradient `(3, h, w)` around grey, its largest parts at the ends of the range."""
    scale = gradient.abs().flatten().quantile(0.995).clamp_min(1e-12)
    return 0.5 + 0.5 * gradient / scale


def grid(rows: Sequence[tuple[str, Sequence[tuple[str, Tensor]]]], cell: float = 1.5) -> Figure:
    """Rows of pictures with titles above them, each row with its name at the left; `cell` inches each.

    All in one pair of axes: to lay out a pair for every picture takes longer than to make the pictures.
    """
    name_wide, title_high, gap = 0.35, 0.22, 0.08
    heights = [cell * max(_shape(picture)[0] for _, picture in pictures) for _, pictures in rows]
    width = name_wide + (cell + gap) * max(len(pictures) for _, pictures in rows)
    height = sum(heights) + (title_high + gap) * len(rows)
    made = figure(width, height, layout=None)
    axes = made.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    top = 0.0
    for (name, pictures), high in zip(rows, heights, strict=True):
        top += title_high
        axes.text(name_wide / 2, top + high / 2, name, rotation=90, ha="center", va="center")
        for column, (title, picture) in enumerate(pictures):
            tall, wide = (cell * side for side in _shape(picture))
            middle = name_wide + (cell + gap) * column + cell / 2
            where = (middle - wide / 2, middle + wide / 2, top + tall, top)
            smoothed = "nearest" if picture.shape[-1] < 32 else None
            axes.imshow(shown(picture), extent=where, interpolation=smoothed, aspect="auto")
            axes.text(middle, top - gap / 2, title, ha="center", va="bottom", fontsize="small")
        top += high + gap
    return made


def _shape(picture: Tensor) -> tuple[float, float]:
    """Height and width as parts of the longer side."""
    height, width = picture.shape[-2:]
    return height / max(height, width), width / max(height, width)


def matrices(named: Sequence[tuple[str, Tensor]], signed: bool = False, of: str = "channel") -> Figure:
    """Square matrices side by side, on one scale; around zero, if `signed`."""
    made = figure(3.6 * len(named), 3.4)
    top = max(matrix.abs().flatten().quantile(0.999).item() for _, matrix in named)
    for axes, (title, matrix) in zip(made.subplots(1, len(named), squeeze=False)[0], named, strict=True):
        low, colors = (-top, "RdBu_r") if signed else (0.0, "magma")
        image = axes.imshow(matrix.cpu().numpy(), vmin=low, vmax=top, cmap=colors, interpolation="nearest")
        axes.set(title=title, xlabel=of, ylabel=of)
    made.colorbar(image, ax=made.axes, shrink=0.8)
    return made


def table(values: Tensor, rows: Sequence[str], columns: Sequence[str], title: str = "") -> Figure:
    """A matrix with its numbers written in."""
    made = figure(1.1 * len(columns) + 2, 0.5 * len(rows) + 1.4)
    axes = made.subplots()
    axes.imshow(values.log10().cpu().numpy(), cmap="viridis_r", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    for i, j in np.ndindex(*values.shape):
        axes.text(j, i, f"{values[i, j]:.2g}", ha="center", va="center", color="white", fontsize="small")
    axes.set_title(title)
    return made


def scatter(points: Tensor, thumbnails: Sequence[Tensor], names: Sequence[str]) -> Figure:
    """Pictures at their places on a map, `(n, 2)`."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    made = figure(9, 7)
    axes = made.subplots()
    places = points.cpu().numpy()
    axes.scatter(places[:, 0], places[:, 1], s=1)
    for (x, y), picture, name in zip(places, thumbnails, names, strict=True):
        axes.add_artist(AnnotationBbox(OffsetImage(shown(picture), zoom=0.7), (x, y), frameon=False))
        axes.annotate(name, (x, y), xytext=(0, -30), textcoords="offset points", ha="center", fontsize="x-small")
    axes.margins(0.15)
    axes.set_xticks([])
    axes.set_yticks([])
    return made


def run(curve: Sequence[LossRecord]) -> Figure:
    """Loss terms over evaluations, and each term's share, with a line where a scale begins."""
    made = figure(9, 6)
    above, below = made.subplots(2, 1, sharex=True)
    at = [row[0] for row in curve]
    names = list(dict.fromkeys(name for row in curve for name in row[3]))
    values = torch.tensor([[row[3].get(name, 0.0) for name in names] for row in curve]).clamp_min(0)
    above.plot(at, [row[2] for row in curve], color="black", linewidth=2, label="loss")
    for column, name in enumerate(names):
        above.plot(at, values[:, column].numpy(), linewidth=1, label=name)
    above.set(yscale="log", ylabel="weighted value")
    shares = (values / values.sum(1, keepdim=True).clamp_min(1e-12)).T.numpy()
    below.stackplot(at, shares, labels=names)
    below.set(xlabel="evaluations", ylabel="share", ylim=(0, 1))
    for before, after in pairwise(curve):
        if after[1] != before[1]:
            for axes in (above, below):
                axes.axvline(after[0], color="grey", linestyle=":", linewidth=1)
    above.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return made
