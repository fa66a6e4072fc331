"""Standard output and error of the process: whatever becomes of them, the work is done and its exit code is its own."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO

from impasto.cli.display import err


def guard() -> None:
    """Make the standard streams of this process safe to write to.

    Characters that their encoding lacks are replaced, and what cannot be written is dropped: the reader of a pipe may
    have closed it, the disk may be full, the terminal gone.
    """
    # A file that is opened later would get the number of a closed stream, and what libraries print.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout, sys.stderr = _guarded(sys.stdout), _guarded(sys.stderr)


def _guarded(stream: TextIO | None) -> Any:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # None if it is closed
    stream.flush()
    raw = getattr(stream.buffer, "raw", stream.buffer)
    return io.TextIOWrapper(
        io.BufferedWriter(_Guarded(raw)),
        stream.encoding,
        "replace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Guarded(io.RawIOBase):
    """A raw stream whose `failure` is kept instead of raised."""

    def __init__(self, raw: Any) -> None:
        self._raw, self.name, self.mode = raw, raw.name, "wb"
        self.failure: OSError | None = None

    def write(self, data: Any) -> Any:
        try:
            return self._raw.write(data)
        except OSError as error:
            self.failure = error
            return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        number: int = self._raw.fileno()
        return number

    def isatty(self) -> bool:
        found: bool = self._raw.isatty()
        return found


def report_failure() -> None:
    """Say on standard error if what was printed is incomplete, unless its reader did not want more."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    failure = getattr(raw, "failure", None)
    if failure is not None and not isinstance(failure, BrokenPipeError):
        err.print(f"impasto: standard output is incomplete: {failure.strerror}", markup=False)
