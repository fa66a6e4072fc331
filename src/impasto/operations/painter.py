"""A painter to keep: what pictures have in common is read and computed once, for any number of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Unpack

from impasto.fast import stylizer as feed_forward
from impasto.images import Picture, PictureLike
from impasto.inputs.memo import Memo
from impasto.operations import stylize as optimization
from impasto.optim.checkpoints import Checkpoints
from impasto.optim.steps import Step
from impasto.progress import ProgressOption, last_step
from impasto.settings.keywords import FastKeywords, StylizeKeywords
from impasto.settings.options import FastOptions, StylizeOptions

#: Bytes of pictures, features and targets that a painter keeps by default.
CAPACITY = 1 << 30


class Painter:
    """Paints any number of pictures; keeps networks, styles, and what losses compare with between them.

    A second picture starts at once. Several threads may use one painter at the same time. Results are those of
    `impasto.stylize` and `impasto.fast.stylize`, bit for bit.

        with impasto.Painter() as painter:
            for photo in photos:
                painter.stylize(photo, "painting.jpg", size=512).save(f"painted/{photo.name}")

    Args:
        capacity: bytes of pictures, features and targets that are kept, besides networks; what was not used for
            longest is dropped first.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._kept: Memo | None = Memo(capacity)

    def stylize(
        self,
        content: PictureLike,
        styles: PictureLike | Sequence[PictureLike],
        options: StylizeOptions | None = None,
        *,
        progress: ProgressOption = False,
        **changes: Unpack[StylizeKeywords],
    ) -> Picture:
        """As `impasto.stylize`."""
        memo = self._memo
        return last_step(
            lambda notify: optimization.iterate(content, styles, options, memo=memo.notifying(notify), **changes),
            progress,
        ).picture

    def iterate(
        self,
        content: PictureLike,
        styles: PictureLike | Sequence[PictureLike],
        options: StylizeOptions | None = None,
        *,
        checkpoints: Checkpoints | None = None,
        **changes: Unpack[StylizeKeywords],
    ) -> Iterator[Step]:
        """As `impasto.iterate`."""
        return optimization.iterate(content, styles, options, checkpoints=checkpoints, memo=self._memo, **changes)

    def fast(
        self,
        content: PictureLike,
        styles: PictureLike | Sequence[PictureLike],
        options: FastOptions | None = None,
        *,
        progress: ProgressOption = False,
        **changes: Unpack[FastKeywords],
    ) -> Picture:
        """As `impasto.fast.stylize`."""
        memo = self._memo
        return last_step(
            lambda notify: feed_forward.iterate(content, styles, options, memo=memo.notifying(notify), **changes),
            progress,
        ).picture

    def iterate_fast(
        self,
        content: PictureLike,
        styles: PictureLike | Sequence[PictureLike],
        options: FastOptions | None = None,
        **changes: Unpack[FastKeywords],
    ) -> Iterator[Step]:
        """As `impasto.fast.iterate`."""
        return feed_forward.iterate(content, styles, options, memo=self._memo, **changes)

    @property
    def _memo(self) -> Memo:
        if self._kept is None:
            raise ValueError("this painter is closed; make another")
        return self._kept

    def close(self) -> None:
        """Release what is kept. Runs that have begun continue."""
        self._kept = None

    def __enter__(self) -> Painter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
