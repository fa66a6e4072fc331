"""Results that runs on the same pictures share, so that they are computed once."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from threading import Condition
from types import FunctionType
from typing import Any, TypeVar, cast

from torch import Tensor

from impasto.files import StrPath
from impasto.images import Picture

Value = TypeVar("Value")
#: A kind, one of those that `Memo` names, then whatever the value depends on.
Key = tuple[Hashable, ...]

#: Kinds that are always kept: networks, of which there are few, and vectors, which are small.
ALWAYS_KEPT = ("encoder", "model", "learnt")


class Memo:
    """Values by key, computed when they are first needed; safe from several threads.

    The first part of a key names the kind of the value: `encoder` and `model` (networks), `content` and `style`
    (pictures that were read), `photo` and `styles` (what losses compare with, at one scale), `saliency` (of a photo),
    `calibrated` (the style weight of a pair), `learnt` and `predicted` (vectors of feed-forward networks), `key` (names
    of paintings in the cache of learnt styles).

    Args:
        capacity: bytes of tensors that are kept besides `ALWAYS_KEPT`; what was not used for longest is dropped first.
            None keeps everything.
    """

    def __init__(self, capacity: int | None = None) -> None:
        self._capacity = capacity
        self._values: OrderedDict[Key, Any] = OrderedDict()
        self._computing: set[Key] = set()
        self._changed = Condition()
        self._notify: Callable[[str], object] = lambda kind: None

    def notifying(self, notify: Callable[[str], object]) -> Memo:
        """The same memo, which calls `notify` with the kind of every value before computing it.

        An exception that `notify` raises ends the run, which can so be cancelled while it prepares.
        """
        view = Memo.__new__(Memo)
        view.__dict__ |= self.__dict__ | {"_notify": notify}
        return view

    def notify(self, kind: str) -> None:
        """Tell that a value of this kind is being computed: called meanwhile, where that takes seconds."""
        self._notify(kind)

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value for this key; if there is none, `make()`, which is kept.

        If several threads need the same value, one computes it, and the others wait.
        """
        with self._changed:
            self._changed.wait_for(lambda: key not in self._computing)
            if key in self._values:
                self._values.move_to_end(key)
                return cast(Value, self._values[key])
            self._computing.add(key)
        try:
            self.notify(str(key[0]))
            value = make()
            self.put(key, value)
            return value
        finally:
            with self._changed:
                self._computing.discard(key)
                self._changed.notify_all()

    def find(self, key: Key) -> Any:
        """The value for this key; None if there is none."""
        with self._changed:
            return self._values.get(key)

    def put(self, key: Key, value: Any) -> None:
        """Keep a value for this key."""
        with self._changed:
            self._values[key] = value
            self._values.move_to_end(key)
            if self._capacity is None:
                return
            sizes = {key: bytes_of(value) for key, value in self._values.items() if key[0] not in ALWAYS_KEPT}
            excess = sum(sizes.values()) - self._capacity
            for oldest, size in sizes.items():
                if excess <= 0:
                    break
                del self._values[oldest]
                excess -= size

    def keep_only(self, *kinds: str) -> None:
        """Drop all values but those of these kinds."""
        with self._changed:
            for key in [key for key in self._values if key[0] not in kinds]:
                del self._values[key]


def bytes_of(value: Any) -> int:
    """The bytes of all tensors in a value: a dataclass, a mapping, a sequence, a closure, or one of them alone."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, FunctionType):  # the distance from a target, say, which holds it
        return sum(bytes_of(cell.cell_contents) for cell in value.__closure__ or ())
    if dataclasses.is_dataclass(value):
        return sum(bytes_of(getattr(value, field.name)) for field in dataclasses.fields(value))
    if isinstance(value, Mapping):
        return sum(map(bytes_of, value.values()))
    return sum(map(bytes_of, value)) if isinstance(value, (list, tuple)) else 0


def identity(given: StrPath | bytes | Picture) -> Hashable:
    """A key for a picture: the path, time and size of a file, otherwise a hash of its contents."""
    if isinstance(given, (str, os.PathLike)):
        try:
            state = Path(given).stat()
        except (OSError, ValueError):
            return os.fspath(given)
        return os.fspath(given), state.st_mtime_ns, state.st_size
    return hashlib.sha256(given).hexdigest() if isinstance(given, bytes) else given.digest
