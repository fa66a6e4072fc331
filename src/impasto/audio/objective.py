"""What a sound is judged by: the terms of pictures, over frames in the place of positions, chunk by chunk in time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor

from impasto.audio.encoder import HOP, WINDOW, Encoder
from impasto.losses.objective import Evaluation, Style
from impasto.losses.statistics import Sums

#: The canvas that is optimised is 0.5 + samples / 2, so that its bounds are those of a sound that does not clip.
GAIN = 0.5


def canvas_of(samples: Tensor) -> Tensor:
    """`(c, t)` in [-1, 1] as what is optimised, `(1, c, 1, t)` in [0, 1]."""
    return (0.5 + GAIN * samples)[None, :, None].clamp(0, 1)


def samples_of(canvas: Tensor) -> Tensor:
    """The inverse of `canvas_of`, of `(1, c, 1, t)` or `(c, 1, t)`."""
    return (canvas.reshape(canvas.shape[-3], canvas.shape[-1]) - 0.5) / GAIN


@dataclass(frozen=True)
class Chunk:
    """Positions that are computed at once: those that begin at frames from `start` up to `stop`."""

    start: int
    stop: int

    def samples(self, frames: int, reach: int) -> slice:
        """Those of the padded sound that they depend on."""
        last = min(self.stop + reach, frames) - 1
        return slice(self.start * HOP, last * HOP + WINDOW)

    def owned(self, features: Tensor, pool: int) -> Tensor:
        """`(c, n, positions)` as `(n, m)`, the chunk's own positions of all channels side by side."""
        own = features[..., : -(-(self.stop - self.start) // pool)]
        return own.transpose(0, 1).flatten(1)


def chunks(frames: int, most: int, stride: int = 1) -> list[Chunk]:
    """Chunks of so many frames at most, which begin at multiples of `stride`."""
    squares = -(-frames // stride)
    count = -(-squares // max(1, most // stride))
    marks = [round(index * squares / count) * stride for index in range(count)]
    return [Chunk(start, stop) for start, stop in pairwise([*marks, frames])]


def listen(encoder: Encoder, samples: Tensor, parts: Sequence[Chunk]) -> Iterator[tuple[int, str, Tensor]]:
    """(chunk's number, layer, features `(n, m)`) of samples `(c, t)`."""
    padded, frames = encoder.pad(samples), encoder.frames(samples.shape[1])
    for number, part in enumerate(parts):
        found = encoder(padded[:, part.samples(frames, encoder.reach)])
        for layer in encoder.layers:
            own = part.owned(found[layer.name], layer.pool) if layer.name in found else samples[:, :0]
            if own.shape[1]:
                yield number, layer.name, own


@dataclass(frozen=True, eq=False)
class Objective:
    """Content and style of a sound, and the gradient by its samples.

    Sums over positions add over chunks: in chunks, value and gradient are those of the whole but for rounding.

    Attributes:
        styles: style terms.
        content: `(c, t)`, the sound whose features are to be kept; None for none.
        content_weights: layer -> what the sum of squared differences is multiplied by.
        chunks: of the sound.
        targets: the content's features, `(n, m)`, by chunk and layer; those that are missing are computed anew.
    """

    encoder: Encoder
    styles: Sequence[Style]
    content: Tensor | None
    content_weights: Mapping[str, float]
    chunks: Sequence[Chunk]
    targets: Mapping[tuple[Chunk, str], Tensor] = field(default_factory=dict)

    @property
    def parts(self) -> Sequence[object]:
        """All terms."""
        return [*self.styles, *self.content_weights]

    def value_and_grad(self, canvas: Tensor) -> Evaluation:
        """At `(1, c, 1, t)`, see `canvas_of`."""
        samples = samples_of(canvas).detach()
        values: dict[str, float] = {}
        slopes: dict[str, Tensor] = {}
        if len(self.chunks) > 1 and self.styles:
            with torch.no_grad():
                sums: dict[str, Sums] = {}
                for _, layer, features in listen(self.encoder, samples, self.chunks):
                    for term in self._terms(layer):
                        part = term.phi.sums(features, None)
                        sums[layer] = sums[layer] + part if layer in sums else part
            for term in self.styles:
                values[term.name], slopes[term.layer] = term.slope(sums[term.layer])
        given = samples.requires_grad_()
        padded = self.encoder.pad(given)
        gradient = torch.zeros_like(padded)
        kept = None if self.content is None else self.encoder.pad(self.content)
        for chunk in self.chunks:
            self._pull(chunk, padded.detach(), kept, gradient, values, slopes)
        (back,) = torch.autograd.grad(padded, given, gradient)
        return Evaluation(sum(values.values()), values, (back / GAIN).reshape(canvas.shape))

    def _terms(self, layer: str) -> list[Style]:
        return [term for term in self.styles if term.layer == layer]

    def _pull(
        self,
        chunk: Chunk,
        padded: Tensor,
        kept: Tensor | None,
        gradient: Tensor,
        values: dict[str, float],
        slopes: Mapping[str, Tensor],
    ) -> None:
        """Add a chunk's part of values and gradient; of style terms that have a slope already, only of the latter."""
        frames = (padded.shape[1] - WINDOW) // HOP + 1
        where = chunk.samples(frames, self.encoder.reach)
        piece = padded[:, where].clone().requires_grad_()
        pools = {layer.name: layer.pool for layer in self.encoder.layers}
        with torch.enable_grad():
            features = {name: chunk.owned(found, pools[name]) for name, found in self.encoder(piece).items()}
            pulled = piece.new_zeros(())
            if kept is not None:
                targets = {layer: self.targets[chunk, layer] for layer in features if (chunk, layer) in self.targets}
                if not targets:
                    with torch.no_grad():
                        seen = self.encoder(kept[:, where])
                        targets = {name: chunk.owned(found, pools[name]) for name, found in seen.items()}
                for layer, weight in self.content_weights.items():
                    if layer in features:
                        error = weight * (features[layer] - targets[layer]).square().sum()
                        name = f"content {layer}"
                        values[name] = values.get(name, 0.0) + error.item()
                        pulled = pulled + error
            for term in self.styles:
                if term.layer not in features or not features[term.layer].shape[1]:
                    continue
                sums = term.phi.sums(features[term.layer], None)
                if (slope := slopes.get(term.layer)) is None:
                    values[term.name], slope = term.slope(Sums(sums.total.detach(), sums.mass))
                pulled = pulled + (slope * sums.total).sum()
            if pulled.requires_grad:
                (own,) = torch.autograd.grad(pulled, piece)
                gradient[:, where] += own
