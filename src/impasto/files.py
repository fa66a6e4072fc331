"""Files are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from impasto.errors import PictureError


def check_writable(path: Path) -> None:
    """Raise a PictureError if no file of this name can be written: ask before the long work."""
    folder = path.absolute().parent
    if path.is_dir():
        raise PictureError(f"cannot write {path}: it is a folder")
    if not folder.is_dir():
        raise PictureError(f"cannot write {path}: there is no folder {folder}")
    if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise PictureError(f"cannot write {path}: no permission")


@contextmanager
def draft_of(path: Path) -> Iterator[Path]:
    """A name beside `path`, with its suffix, to write to: the file takes its place when the block ends well.

    Until then, and where the block fails, a file that was there before is left as it was.

    Raises:
        PictureError: what the system had against it, the disk full say.
    """
    draft = path.with_name(f".{secrets.token_hex(8)}.part{path.suffix}")
    try:
        yield draft
        with open(draft, "rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise PictureError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)
