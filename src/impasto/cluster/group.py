"""A canvas whose rows lie on many workers, for an optimiser that need not know.

`Spread` does for the optimisers of `impasto.optimize` what a tensor does: each operation is sent to all workers, and
each does it with its own rows. Only products of two canvases come back, as numbers, and what is fetched on purpose.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np
import ray
import ray.exceptions
import torch
from torch import Tensor

from impasto.cluster.worker import Band, Name
from impasto.errors import ClusterError
from impasto.vgg.tiling import Span

#: What is raised where a worker, or something that only it had, is lost.
LOST = (
    ray.exceptions.RayActorError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.WorkerCrashedError,
)
#: What a tensor's methods are called that work element by element.
MAPS = {
    *("add", "add_", "sub", "sub_", "mul_", "div", "div_", "neg_", "sqrt_", "reciprocal_", "lerp_", "addcmul_"),
    *("clamp_", "clone", "zero_", "masked_fill", "masked_fill_", "logical_and_"),
    *("__gt__", "__ge__", "__lt__", "__le__", "__sub__", "__ior__"),
}
#: Seconds to wait for a place on the cluster's own terms before one is taken beside others.
PATIENCE = 30.0


class Crew:
    """Workers, each with the rows of one part of a picture.

    Attributes:
        spans: the rows of each: those it owns, and those it sees.
    """

    def __init__(self, count: int, threads: int) -> None:
        self._threads = threads
        self._actor: Any = ray.remote(Band)
        self._numbers = itertools.count()
        self._set_up: list[dict[str, tuple[Any, ...]]] = [{} for _ in range(count)]
        self._secured: set[int] = set()
        self.spans: Sequence[Span] = ()
        self.bands = self._hire(count)
        self.ask("where")

    def _hire(self, count: int) -> list[Any]:
        """New workers, which begin all at once: on cores of their own if there are any, else beside others."""
        apart = self._actor.options(num_cpus=self._threads, scheduling_strategy="SPREAD")
        bands = [apart.remote(self._threads) for _ in range(count)]
        calls = [band.where.remote() for band in bands]
        there, missing = ray.wait(calls, num_returns=count, timeout=PATIENCE)
        ray.get(there)
        for call in missing:
            index = calls.index(call)
            ray.kill(bands[index])
            bands[index] = self._actor.options(num_cpus=0).remote(self._threads)
        return bands

    def dismiss(self) -> None:
        """End the workers."""
        for band in self.bands:
            with contextlib.suppress(Exception):
                ray.kill(band)

    # -- what workers are told ------------------------------------------------------------------------------------

    def tell(self, method: str, *arguments: Any) -> list[Any]:
        """Have all workers do something; references to the results."""
        return [getattr(band, method).remote(*arguments) for band in self.bands]

    def ask(self, method: str, *arguments: Any) -> list[Any]:
        """Have all workers do something, and wait for the results."""
        results: list[Any] = ray.get(self.tell(method, *arguments))
        return results

    def set_up(self, method: str, arguments: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Have each worker do something that one in its place would have to do as well."""
        calls = []
        for band, known, given in zip(self.bands, self._set_up, arguments, strict=True):
            known[method] = tuple(ray.put(argument) for argument in given)
            calls.append(getattr(band, method).remote(*known[method]))
        results: list[Any] = ray.get(calls)
        return results

    # -- canvases -------------------------------------------------------------------------------------------------

    def spread(self, canvas: Tensor) -> Spread:
        """A canvas `(1, c, h, w)`, its rows where they belong."""
        found = Spread(self, canvas.shape)
        calls = [
            band.put.remote(found.number, canvas[..., span.start : span.stop, :].numpy())
            for band, span in zip(self.bands, self.spans, strict=True)
        ]
        ray.get(calls)
        return found

    def gather(self, number: int) -> Tensor:
        """A canvas, here; the rows of a worker that was lost are had from who holds a copy."""
        parts = []
        for index, band in enumerate(self.bands):
            try:
                parts.append(ray.get(band.get.remote(number)))
            except LOST:
                parts.append(ray.get(self._holder(index).held.remote(index, number)))
        return torch.from_numpy(np.concatenate(parts, axis=-2))

    def next_number(self) -> int:
        """A name for a canvas."""
        return next(self._numbers)

    def forget(self, number: int) -> None:
        """Nobody needs this canvas any more."""
        if ray.is_initialized():
            self._secured.discard(number)
            self.tell("forget", number)

    # -- losses ---------------------------------------------------------------------------------------------------

    def _holder(self, index: int) -> Any:
        """Who holds copies of a worker's rows: the next one."""
        return self.bands[(index + 1) % len(self.bands)]

    def secure(self, canvases: Iterable[Spread]) -> None:
        """See that another worker holds a copy of each one's rows of these canvases."""
        if len(self.bands) == 1:
            return
        needed = {canvas.number for canvas in canvases}
        calls = [
            self._holder(index).hold.remote(index, number, band.get.remote(number))
            for number in needed - self._secured
            for index, band in enumerate(self.bands)
        ]
        ray.get(calls)
        self._secured |= needed

    def recover(self, canvases: Iterable[Spread]) -> None:
        """Put others in the place of workers that were lost, with what they had of these canvases.

        Raises:
            ClusterError: two that hold each other's copies were lost at once, or there was only one.
        """
        needed, lost = [canvas.number for canvas in canvases], set[int]()
        while True:
            lost |= {index for index, band in enumerate(self.bands) if not _lives(band)}
            if len(self.bands) == 1 or any((index + 1) % len(self.bands) in lost for index in lost):
                raise ClusterError(
                    "too many workers were lost at once, and what they had is gone; the same command with --resume "
                    "goes on from the checkpoint"
                )
            try:
                self._replace(lost, needed)
                return
            except LOST:  # another one meanwhile
                continue

    def _replace(self, lost: Collection[int], needed: Sequence[int]) -> None:
        count = len(self.bands)
        for index, band in zip(lost, self._hire(len(lost)), strict=True):
            self.bands[index] = band
            for method, arguments in self._set_up[index].items():
                getattr(band, method).remote(*arguments)
            for number in needed:
                band.put.remote(number, self._holder(index).held.remote(index, number))
        for index in lost:  # whose copies the lost ones had
            before = (index - 1) % count
            for number in needed:
                self.bands[index].hold.remote(before, number, self.bands[before].get.remote(number))
        self.ask("where")


def _lives(band: Any) -> bool:
    try:
        ray.get(band.where.remote())
    except LOST:
        return False
    return True


class Spread:
    """A canvas on the workers of a crew: what optimisers do with a tensor can be done with it.

    Attributes:
        shape: of the whole.
        number: its name on the workers.
    """

    def __init__(self, crew: Crew, shape: Sequence[int], like: Spread | None = None) -> None:
        self._crew, self.shape, self._like = crew, torch.Size(shape), like
        self._fetched: Tensor | None = None
        self.number: int = crew.next_number() if like is None else like.number

    def __del__(self) -> None:
        if self._like is None:
            with contextlib.suppress(Exception):  # at the end of the process nothing may be left
                self._crew.forget(self.number)

    def numel(self) -> int:
        """How many numbers it has."""
        return self.shape.numel()

    def flatten(self) -> Spread:
        """Itself: rows are taken as they lie."""
        return self

    def __getitem__(self, index: int) -> Spread:
        if index != 0 or self.shape[0] != 1:
            raise IndexError(f"{index} of a canvas of shape {tuple(self.shape)}; there is but the first")
        return Spread(self._crew, self.shape[1:], self)

    def cpu(self) -> Tensor:
        """All of it, here."""
        return self._crew.gather(self.number).reshape(self.shape) if self._fetched is None else self._fetched

    def fetch(self) -> None:
        """Have all of it here from now on: the workers may go."""
        self._fetched = self.cpu()

    def dot(self, other: Spread) -> Tensor:
        """Σ of the products."""
        parts = self._crew.ask("dot", self.number, other.number)
        return torch.tensor(sum(parts), dtype=torch.float64)

    def sum(self) -> Tensor:
        """Σ of its numbers: not finite if one of them is not."""
        return torch.tensor(sum(self._crew.ask("sum", self.number)), dtype=torch.float64)

    def __getattr__(self, name: str) -> Callable[..., Spread]:
        if name not in MAPS:
            raise AttributeError(f"a canvas on workers has no {name!r}")

        def call(*arguments: Any, **options: Any) -> Spread:
            own = name.endswith("_") and not name.startswith("__")
            result = self if own or name == "__ior__" else Spread(self._crew, self.shape)
            given = [Name(one.number) if isinstance(one, Spread) else one for one in arguments]
            self._crew.tell("apply", result.number, name, self.number, given, options)
            return result

        return call

    def __gt__(self, other: Any) -> Any:
        return self.__getattr__("__gt__")(other)

    def __ge__(self, other: Any) -> Any:
        return self.__getattr__("__ge__")(other)

    def __lt__(self, other: Any) -> Any:
        return self.__getattr__("__lt__")(other)

    def __le__(self, other: Any) -> Any:
        return self.__getattr__("__le__")(other)

    def __sub__(self, other: Any) -> Any:
        return self.__getattr__("__sub__")(other)

    def __ior__(self, other: Any) -> Any:
        return self.__getattr__("__ior__")(other)
