"""Checks of masks, regions and paintings against the layers that read them, before anything is optimised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from impasto.images.regions import Region, StyleSource, covers, resize_mask
from impasto.optim import memory
from impasto.optim.schedule import Scale
from impasto.settings.options import StyleLossOptions
from impasto.vgg.encoder import Encoder


def check_filled(mask: Tensor, what: str) -> None:
    """Raise a ValueError if a mask `(h, w)`, called `what`, is black all over."""
    if mask.max() < 1 / 255:
        raise ValueError(f"{what} is empty: masks, and what is transparent, leave nothing of it")


def check_mask(mask: Tensor, encoder: Encoder, layers: Iterable[str], what: str) -> None:
    """Raise a ValueError if a mask `(h, w)`, called `what`, is empty or vanishes at one of these layers."""
    check_filled(mask, what)
    for layer in layers:
        stride = encoder.stride(layer)
        if not covers(mask, stride):
            raise ValueError(
                f"{what} covers {mask.sum().item():.0f} pixels of {mask.shape[1]}×{mask.shape[0]}, less than one "
                f"position of {layer}, which stands for {stride}×{stride}: make it larger, or the picture, or "
                "leave that layer out"
            )


def check_regions(
    regions: Sequence[Region],
    encoder: Encoder,
    layers: Mapping[str, float],
    scales: Sequence[Scale],
    options: StyleLossOptions,
) -> None:
    """Raise a ValueError if a region, or a painting's part, has too few pixels for one of `layers`.

    And a BudgetError if a painting would have more pixels than there is memory for. Masks are checked at the last
    scale; at smaller scales a layer at which a mask vanishes is left out.
    """
    read = [layer for layer, weight in layers.items() if weight]
    for region in regions:
        if region.mask is not None and layers:
            check_mask(region.mask, encoder, read, region.called)
        for source in region.sources:
            for factor in options.style_scale:
                encoder.check_size(*source.size_for(scales[0].pixels, factor), read, _called(source, factor))
                largest = source.size_for(scales[-1].pixels, factor)
                memory.check_possible(largest, torch.device("cpu"), options.memory, _called(source, factor))
                mask = resize_mask(source.mask, *largest)
                if mask is not None:
                    check_mask(mask, encoder, read, f"what is read of {_called(source, factor)}")


def _called(source: StyleSource, factor: float) -> str:
    return f"the style {source.name}" + (f" at scale {factor:g}" if factor != 1 else "")
