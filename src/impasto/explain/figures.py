"""The figures of the reports, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from impasto.devices import CPU_FLOAT
from impasto.optim.checkpoints import LossRecord


def new_figure(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of this size in inches."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def to_array(image: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    """`(3, h, w)`, clipped to [0, 1], as `(h, w, 3)`."""
    return image.detach().clamp(0, 1).permute(1, 2, 0).cpu().numpy()


def gradient_image(gradient: Tensor) -> Tensor:
    """A gradient `(3, h, w)` as an image: 0 is grey, and the 99.5 % quantile of the absolute values is 0 or 1."""
    scale = gradient.abs().flatten().quantile(0.995).clamp_min(1e-12)
    return 0.5 + 0.5 * gradient / scale


def grid(rows: Sequence[tuple[str, Sequence[tuple[str, Tensor]]]], cell: float = 1.5) -> Figure:
    """Rows of pictures `(3, h, w)`, each row named at its left and each picture titled above it.

    Args:
        rows: (name, (title, picture) pairs).
        cell: the longer side of a picture, in inches.
    """
    # One pair of axes for all: laying out a pair for every picture takes longer than computing the pictures.
    name_width, title_height, gap = 0.35, 0.22, 0.08
    heights = [cell * max(_shape(picture)[0] for _, picture in pictures) for _, pictures in rows]
    width = name_width + (cell + gap) * max(len(pictures) for _, pictures in rows)
    height = sum(heights) + (title_height + gap) * len(rows)
    plot = new_figure(width, height, layout=None)
    axes = plot.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
    axes.axis("off")
    top = 0.0
    for (name, pictures), row_height in zip(rows, heights, strict=True):
        top += title_height
        axes.text(name_width / 2, top + row_height / 2, name, rotation=90, ha="center", va="center")
        for column, (title, picture) in enumerate(pictures):
            h, w = (cell * side for side in _shape(picture))
            middle = name_width + (cell + gap) * column + cell / 2
            extent = (middle - w / 2, middle + w / 2, top + h, top)
            interpolation = "nearest" if picture.shape[-1] < 32 else None
            axes.imshow(to_array(picture), extent=extent, interpolation=interpolation, aspect="auto")
            axes.text(middle, top - gap / 2, title, ha="center", va="bottom", fontsize="small")
        top += row_height + gap
    return plot


def _shape(picture: Tensor) -> tuple[float, float]:
    """Height and width, relative to the longer side."""
    height, width = picture.shape[-2:]
    return height / max(height, width), width / max(height, width)


def matrices(titled: Sequence[tuple[str, Tensor]], signed: bool = False, axis: str = "channel") -> Figure:
    """Square matrices side by side on one colour scale, which is centred on 0 if `signed`; `axis` labels both axes."""
    plot = new_figure(3.6 * len(titled), 3.4)
    top = max(matrix.abs().flatten().quantile(0.999).item() for _, matrix in titled)
    for axes, (title, matrix) in zip(plot.subplots(1, len(titled), squeeze=False)[0], titled, strict=True):
        low, colors = (-top, "RdBu_r") if signed else (0.0, "magma")
        image = axes.imshow(matrix.cpu().numpy(), vmin=low, vmax=top, cmap=colors, interpolation="nearest")
        axes.set(title=title, xlabel=axis, ylabel=axis)
    plot.colorbar(image, ax=plot.axes, shrink=0.8)
    return plot


def heat_map(values: Tensor, rows: Sequence[str], columns: Sequence[str], title: str = "") -> Figure:
    """A positive matrix as coloured cells, on a logarithmic scale, with the values written into them."""
    plot = new_figure(1.1 * len(columns) + 2, 0.5 * len(rows) + 1.4)
    axes = plot.subplots()
    logarithms = values.log10().cpu()
    darkness = (logarithms - logarithms.min()) / (logarithms.max() - logarithms.min()).clamp_min(1e-12)
    axes.imshow(logarithms.numpy(), cmap="viridis_r", aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=30, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    for i, j in np.ndindex(*values.shape):
        color = "white" if darkness[i, j] > 0.4 else "black"
        axes.text(j, i, f"{values[i, j]:.2g}", ha="center", va="center", color=color, fontsize="small")
    axes.set_title(title)
    return plot


def scatter(points: Tensor, thumbnails: Sequence[Tensor], names: Sequence[str]) -> Figure:
    """Thumbnails `(3, h, w)` at points `(n, 2)` of the plane."""
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    plot = new_figure(9, 7)
    axes = plot.subplots()
    xy = points.cpu().numpy()
    axes.scatter(xy[:, 0], xy[:, 1], s=1)
    for (x, y), picture, name in zip(xy, thumbnails, names, strict=True):
        axes.add_artist(AnnotationBbox(OffsetImage(to_array(picture), zoom=0.7), (x, y), frameon=False))
        axes.annotate(name, (x, y), xytext=(0, -30), textcoords="offset points", ha="center", fontsize="x-small")
    axes.margins(0.15)
    axes.set_xticks([])
    axes.set_yticks([])
    return plot


def loss_curves(curve: Sequence[LossRecord]) -> Figure:
    """Loss terms over evaluations, and each term's share, with a line where a scale begins."""
    plot = new_figure(9, 6)
    above, below = plot.subplots(2, 1, sharex=True)
    evaluations = [row[0] for row in curve]
    names = list(dict.fromkeys(name for row in curve for name in row[3]))
    values = torch.tensor([[row[3].get(name, 0.0) for name in names] for row in curve], **CPU_FLOAT).clamp_min(0)
    above.plot(evaluations, [row[2] for row in curve], color="black", linewidth=2, label="loss")
    for column, name in enumerate(names):
        above.plot(evaluations, values[:, column].numpy(), linewidth=1, label=name)
    above.set(yscale="log", ylabel="weighted value")
    shares = (values / values.sum(1, keepdim=True).clamp_min(1e-12)).T.numpy()
    below.stackplot(evaluations, shares, labels=names)
    below.set(xlabel="evaluations", ylabel="share", ylim=(0, 1))
    for before, after in pairwise(curve):
        if after[1] != before[1]:
            for axes in (above, below):
                axes.axvline(after[0], color="grey", linestyle=":", linewidth=1)
    above.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return plot
