"""A VGG in two: its first blocks, whose activations are the largest, in bands of rows, and the others whole.

Gradient checkpointing (Chen et al., arXiv 1604.06174) at one pooling layer: of the layers before it nothing is retained
but its output, and the backward pass computes them again, band by band. Their receptive field is short, so that bands
overlap little: less than half of the memory for a quarter more time, where tiles of the whole network, which overlap by
80 pixels on each side, take twice as long.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from impasto.vgg import tiling
from impasto.vgg.encoder import AccumulateGrad, Encoder
from impasto.vgg.tiles import Tile, bands
from impasto.vgg.workspace import Workspace

#: Pixels of a band, with its overlap: many enough that it overlaps little.
TILE = 1 << 18


@dataclass(frozen=True, eq=False)
class SplitEncoder:
    """An encoder of pictures whose first blocks are computed in bands; see `losses.objective.FeatureNetwork`.

    Attributes:
        pool: the last of the layers that are computed in bands.
        tile: pixels of a band, with what it overlaps others.
    """

    encoder: Encoder
    pool: str
    tile: int = TILE

    @cached_property
    def head(self) -> Encoder:
        """The layers that are computed in bands."""
        return self.encoder.up_to([self.pool])

    @cached_property
    def tail(self) -> Encoder:
        """The layers that are computed whole."""
        return self.encoder.after(self.pool)

    def stride(self, tap: str) -> int:
        """Input pixels per position of this layer."""
        return self.encoder.stride(tap)

    def walk(
        self, image: Tensor, taps: Collection[str], workspace: Workspace | None = None
    ) -> Iterator[tuple[str, Tensor, Tile | None]]:
        """(layer, features, the band whose positions they include), band by band at the first layers; then the others,
        without a band, as `Encoder.walk` gives them.

        In a `workspace` features are valid only until the next ones are computed.
        """
        first, others, pooled = self._prepared(image, taps)
        yield from self._read(image, first, pooled, workspace)
        if pooled is not None:
            yield from self.tail.walk(pooled, others, workspace)

    def backward(
        self, image: Tensor, taps: Collection[str], accumulate: AccumulateGrad, workspace: Workspace | None = None
    ) -> Tensor:
        """The vector-Jacobian product, as `Encoder.backward` gives it; the first layers' activations in parts."""
        workspace = workspace or Workspace()
        first, others, pooled = self._prepared(image, taps)
        for layer, features, band in self._read(image, first, pooled, workspace):
            accumulate(layer, features, None, band)
            del features  # its memory is needed
        grad_pooled = None if pooled is None else self.tail.backward(pooled, others, accumulate, workspace)
        read = first if pooled is None else [*first, self.pool]
        del pooled
        gradient = torch.zeros(image.shape, dtype=image.dtype, device=image.device)
        for band in self._bands(image):

            def accumulate_in_band(
                layer: str, features: Tensor, grad: Tensor | None, _: Tile | None = None, band: Tile = band
            ) -> None:
                if layer == self.pool and grad_pooled is not None and grad is not None:
                    band.inside(grad, self.stride(layer)).add_(band.owned(grad_pooled, self.stride(layer)))
                if layer in first:
                    accumulate(layer, features, grad, band)

            band.add(gradient, self.head.backward(band.window(image), read, accumulate_in_band, workspace))
        return gradient

    def _prepared(self, image: Tensor, taps: Collection[str]) -> tuple[list[str], list[str], Tensor | None]:
        """The layers that are computed in bands, the others, and memory for what these are computed from, if any."""
        height, width = image.shape[-2:]
        self.encoder.check_size(height, width, taps, "the picture")
        first = [tap for tap in taps if self.encoder.depth(tap) <= self.encoder.depth(self.pool)]
        others, pool = [tap for tap in taps if tap not in first], self.head.layers[-1]
        if not others:
            return first, others, None
        shape = (1, pool.channels, height // pool.stride, width // pool.stride)
        layout = torch.channels_last
        return first, others, torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=layout)

    def _bands(self, image: Tensor) -> tuple[Tile, ...]:
        """Tiles as wide as the image: what each owns of features lies in one piece of memory."""
        height, width = image.shape[-2:]
        stride, radius = self.stride(self.pool), tiling.halo(self.encoder, [self.pool])
        rows = max(self.tile // width - 2 * radius, 2 * radius)
        return bands(height, width, -(-height // rows), stride, radius, self.encoder.padding == "circular")

    def _read(
        self, image: Tensor, first: Collection[str], pooled: Tensor | None, workspace: Workspace | None
    ) -> Iterator[tuple[str, Tensor, Tile]]:
        """The activations of the first layers, band by band; fills `pooled`."""
        read = first if pooled is None else [*first, self.pool]
        for band in self._bands(image):
            for layer, features, _ in self.head.walk(band.window(image), read, workspace):
                if layer == self.pool and pooled is not None:
                    band.owned(pooled, self.stride(layer)).copy_(band.inside(features, self.stride(layer)))
                if layer in first:
                    yield layer, features, band
