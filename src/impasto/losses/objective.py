"""The objective: content, style and total variation as one value and its gradient, whole or tile by tile."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import torch
from torch import Tensor

from impasto.isolation import isolated
from impasto.losses.statistics import Sums
from impasto.losses.terms import LossTerm, Positions, TemporalLoss, TotalVariation
from impasto.optim.solvers import Evaluation
from impasto.vgg.encoder import AccumulateGrad
from impasto.vgg.tiles import Tile, whole
from impasto.vgg.workspace import Workspace


class FeatureNetwork(Protocol):
    """A network whose layers can be read and differentiated: `vgg.encoder.Encoder`, `vgg.split.SplitEncoder`,
    `audio.encoder.SoundEncoder`.

    With features comes the tile of the network's input whose positions they include, or None for all of them.
    """

    def stride(self, tap: str, /) -> int: ...

    def walk(
        self, image: Tensor, taps: Collection[str], workspace: Workspace | None = None, /
    ) -> Iterator[tuple[str, Tensor, Tile | None]]: ...

    def backward(
        self, image: Tensor, taps: Collection[str], accumulate: AccumulateGrad, workspace: Workspace | None = None, /
    ) -> Tensor: ...


class InputTile(Protocol):
    """A part of the input: `vgg.tiles.Tile` of a picture, `audio.encoder.Chunk` of a sound."""

    def window(self, image: Tensor, /) -> Tensor: ...

    def add(self, whole: Tensor, part: Tensor, /) -> None: ...

    def inside(self, features: Tensor, stride: int, /) -> Tensor: ...

    def owned_slices(self, stride: int, /) -> tuple[slice, slice]: ...


class ImageView(Protocol):
    """From the canvas that is optimised to the network's input, and the gradient back: `View`, `SoundView`."""

    def __call__(self, canvas: Tensor, /) -> Tensor: ...

    def backward(self, grad: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class View:
    """The image that the losses compare, as a function of the canvas that is optimised; by default the canvas itself.

    Attributes:
        luminance_only: the mean of the three channels.
        photo, keep: `(1, 3, h, w)` and `(h, w)`: the photo is shown where `keep` is 1.
    """

    luminance_only: bool = False
    photo: Tensor | None = None
    keep: Tensor | None = None

    def __call__(self, canvas: Tensor) -> Tensor:
        """The image, `(1, 3, h, w)`."""
        if self.luminance_only:
            canvas = canvas.mean(1, keepdim=True).expand(-1, 3, -1, -1)
        if self.keep is None or self.photo is None:
            return canvas
        return canvas.lerp(self.photo, self.keep)

    def backward(self, grad: Tensor) -> Tensor:
        """The gradient by the canvas, given that by the image."""
        if self.keep is not None:
            grad = grad * (1 - self.keep)
        if self.luminance_only:
            grad = grad.mean(1, keepdim=True).expand(-1, 3, -1, -1).contiguous()
        return grad


@dataclass(frozen=True, eq=False)
class Objective:
    """alpha * content + beta * style + total variation, as a function of the image.

    Evaluated whole, or tile by tile in memory that depends on the tiles alone: sums over positions add, so value and
    gradient are the same but for rounding. With several tiles every position is computed twice: first without a
    gradient, for the sums over the whole picture; then, with d loss / d sums known, once more for the gradient.

    Attributes:
        terms: weighted losses; their names differ.
        view: from the canvas to the image.
        tiles: the parts of the picture; none for the whole picture at once.
        photo: `(1, 3, h, w)`, for terms that read the photo's features.
        temporal: holds the canvas near an image.
        workspace: memory for activations and gradients.
    """

    network: FeatureNetwork
    terms: Sequence[LossTerm]
    total_variation: TotalVariation | None = None
    view: ImageView = View()
    tiles: Sequence[InputTile] = ()
    photo: Tensor | None = None
    temporal: TemporalLoss | None = None
    workspace: Workspace = field(default_factory=Workspace)

    @property
    def taps(self) -> frozenset[str]:
        """The layers that are read."""
        return frozenset(term.layer for term in self.terms)

    @isolated
    @torch.no_grad()
    def value_and_grad(self, canvas: Tensor) -> Evaluation[Tensor]:
        """The objective and its gradient at a canvas `(1, 3, h, w)`, sRGB in [0, 1]."""
        image = self.view(canvas)
        values, grad_sums = self.finish(self.reduce(image)) if len(self.tiles) > 1 else ({}, {})
        gradient, found = self.backward(image, grad_sums)
        values |= found
        if self.total_variation is not None:
            values[self.total_variation.name] = self.total_variation.accumulate_grad(image, gradient)
        gradient = self.view.backward(gradient)
        if self.temporal is not None:
            values[self.temporal.name] = self.temporal.accumulate_grad(canvas, gradient)
        values = self.in_order(values)
        return Evaluation(sum(values.values()), values, gradient)

    def in_order(self, values: Mapping[str, float]) -> dict[str, float]:
        """Values by name in the order of the terms, whichever pass they came from."""
        order = [term.name for term in self.terms if term.name in values]
        return {name: values[name] for name in [*order, *values]}

    def reduce(self, image: Tensor) -> dict[str, Sums]:
        """The first pass: sums over all tiles, by the terms' names."""
        terms = [term for term in self.terms if not term.is_local]
        sums: dict[str, Sums] = {}
        for tile in self.tiles:
            layers = {term.layer for term in terms}
            for layer, features, part in self.network.walk(tile.window(image), layers, self.workspace):
                self._reduce(_owned(tile, part), layer, features, terms, sums)
        return sums

    def _reduce(
        self, tile: InputTile, layer: str, features: Tensor, terms: Sequence[LossTerm], sums: dict[str, Sums]
    ) -> None:
        """Add the terms' sums over the positions that a tile owns to `sums`."""
        stride = self.network.stride(layer)
        positions, own = Positions(*tile.owned_slices(stride)), tile.inside(features, stride)
        for term in terms if own.numel() else ():
            if term.layer == layer:
                part = term.restricted_to(positions).reduce(own)
                sums[term.name] = sums[term.name] + part if term.name in sums else part

    def finish(self, sums: Mapping[str, Sums]) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Values and d value / d sums, by the names of the terms that have sums."""
        found = {term.name: term.finish(sums[term.name]) for term in self.terms if term.name in sums}
        return {name: value for name, (value, _) in found.items()}, {name: grad for name, (_, grad) in found.items()}

    def backward(self, image: Tensor, grad_sums: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """The second pass: the gradient of all terms by the image, and the values of those not in `grad_sums`.

        A term that is not local and whose d value / d sums is not given is finished on the way, with the sums over
        the only tile.
        """
        known = dict(grad_sums)
        values: dict[str, float] = {}
        gradient = torch.zeros(image.shape, dtype=image.dtype, device=image.device)
        for tile in self.tiles or (whole(image.shape[-2], image.shape[-1]),) if self.terms else ():
            accumulate = self._accumulate(tile, known, values)
            tile.add(gradient, self.network.backward(tile.window(image), self.taps, accumulate, self.workspace))
        if len(self.tiles) > 1:  # what works on the whole picture may need the memory more
            self.workspace.free()
        return gradient, values

    def _accumulate(self, tile: InputTile, known: dict[str, Tensor], values: dict[str, float]) -> AccumulateGrad:
        """Adds up the gradients of the terms of a layer, and the values and d value / d sums not `known` yet."""
        photo, sums = self._photo_features(tile), dict[str, Sums]()

        def accumulate(layer: str, features: Tensor, grad: Tensor | None, part: Tile | None = None) -> None:
            stride, own_tile = self.network.stride(layer), _owned(tile, part)
            terms = [term for term in self.terms if term.layer == layer]
            unknown = [term for term in terms if not term.is_local and term.name not in known]
            if grad is None or part is None:
                self._reduce(own_tile, layer, features, unknown, sums)
            if grad is None:
                return
            finished = self.finish({term.name: sums.pop(term.name) for term in unknown if term.name in sums})
            values.update(finished[0])
            known.update(finished[1])
            own, own_grad = own_tile.inside(features, stride), own_tile.inside(grad, stride)
            read = _part(photo[layer], tile, own_tile, stride) if layer in photo else None
            positions = Positions(*own_tile.owned_slices(stride), read)
            for term in terms if own.numel() else ():
                value = term.restricted_to(positions).accumulate_grad(own, known.get(term.name), own_grad)
                if term.is_local:
                    values[term.name] = values.get(term.name, 0.0) + value

        return accumulate

    def _photo_features(self, tile: InputTile) -> dict[str, Tensor]:
        """The photo's features at the positions that a tile owns, of the layers of terms that read them."""
        layers = {term.layer for term in self.terms if term.reads_photo}
        if not layers:
            return {}
        if self.photo is None:
            raise ValueError("content losses without a target need the photo")
        found: dict[str, Tensor] = {}
        for layer, features, part in self.network.walk(tile.window(self.photo), layers, self.workspace):
            stride, own_tile = self.network.stride(layer), _owned(tile, part)
            own = own_tile.inside(features, stride)
            if part is None:
                found[layer] = own.clone()
                continue
            if layer not in found:
                rows, columns = tile.owned_slices(stride)
                shape = (*features.shape[:2], rows.stop - rows.start, columns.stop - columns.start)
                found[layer] = features.new_empty(shape).contiguous(memory_format=torch.channels_last)
            _part(found[layer], tile, own_tile, stride).copy_(own)
        return found


def _owned(tile: InputTile, part: Tile | None) -> InputTile:
    """What a part of a tile's window owns of what the tile owns; all of it where there are no parts."""
    return tile if part is None else part.within(cast(Tile, tile))  # sounds have none


def _part(features: Tensor, tile: InputTile, own: InputTile, stride: int) -> Tensor:
    """Of the features at the positions that `tile` owns, those that `own` owns."""
    if tile is own:
        return features
    (top, left), (rows, columns) = (side.start for side in tile.owned_slices(stride)), own.owned_slices(stride)
    return features[..., rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
