"""A VGG in two: its first blocks, whose activations are the largest, in tiles of their own, and the others whole.

Gradient checkpointing (Chen et al., arXiv 1604.06174) at one pooling layer: of the layers before it nothing is retained
but its output, and the backward pass computes them again, tile by tile. A short receptive field makes that cheap: half
of the memory for a few per cent of the time, where tiles of the whole network overlap by 80 pixels on each side.
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

#: Pixels of the tiles of the first blocks: few enough that they are small beside the rest, and with little overlap.
TILE = 1 << 18


@dataclass(frozen=True, eq=False)
class SplitEncoder:
    """An encoder of pictures whose first blocks are computed in tiles; see `losses.objective.FeatureNetwork`.

    Attributes:
        pool: the last of the layers that are computed in tiles.
        tile: pixels of their windows.
    """

    encoder: Encoder
    pool: str
    tile: int = TILE

    @cached_property
    def head(self) -> Encoder:
        """The layers that are computed in tiles."""
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
        """(layer, features, the tile whose positions they include), tile by tile at the first layers; then the others,
        without a tile, as `Encoder.walk` gives them.

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
        for layer, features, tile in self._read(image, first, pooled, workspace):
            accumulate(layer, features, None, tile)
            del features  # its memory is needed
        grad_pooled = None if pooled is None else self.tail.backward(pooled, others, accumulate, workspace)
        read = first if pooled is None else [*first, self.pool]
        del pooled
        gradient = torch.zeros(image.shape, dtype=image.dtype, device=image.device)
        for tile in self._bands(image):

            def accumulate_in_tile(
                layer: str, features: Tensor, grad: Tensor | None, _: Tile | None = None, tile: Tile = tile
            ) -> None:
                if layer == self.pool and grad_pooled is not None and grad is not None:
                    tile.inside(grad, self.stride(layer)).add_(tile.owned(grad_pooled, self.stride(layer)))
                if layer in first:
                    accumulate(layer, features, grad, tile)

            tile.add(gradient, self.head.backward(tile.window(image), read, accumulate_in_tile, workspace))
        return gradient

    def _prepared(self, image: Tensor, taps: Collection[str]) -> tuple[list[str], list[str], Tensor | None]:
        """The layers that are computed in tiles, the others, and memory for what these are computed from, if any."""
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
        """Tiles as wide as the image: what they own of features lies in one piece of memory."""
        height, width = image.shape[-2:]
        stride, radius = self.stride(self.pool), tiling.halo(self.encoder, [self.pool])
        rows = max(self.tile // width - 2 * radius, 2 * radius)
        return bands(height, width, -(-height // rows), stride, radius, self.encoder.padding == "circular")

    def _read(
        self, image: Tensor, first: Collection[str], pooled: Tensor | None, workspace: Workspace | None
    ) -> Iterator[tuple[str, Tensor, Tile]]:
        """The activations of the first layers, tile by tile; fills `pooled`."""
        read = first if pooled is None else [*first, self.pool]
        for tile in self._bands(image):
            for layer, features, _ in self.head.walk(tile.window(image), read, workspace):
                if layer == self.pool and pooled is not None:
                    tile.owned(pooled, self.stride(layer)).copy_(tile.inside(features, self.stride(layer)))
                if layer in first:
                    yield layer, features, tile
