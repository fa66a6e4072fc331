"""Checks before writing, and atomic writes."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import psutil

from impasto.errors import FileError

#: A file or folder, as callers name it.
StrPath = str | os.PathLike[str]


def local_path(given: StrPath, error: type[FileError] = FileError) -> Path:
    """The path of an input by its name, which may begin with ~, or by a file:// address.

    Raises:
        error: the name is empty, or an address elsewhere.
    """
    name = os.fsdecode(given)
    if not name:
        raise error("an empty name; expected that of a file")
    if not os.path.exists(name):
        name = os.path.expanduser(name)
    if not re.match(r"([a-z][a-z0-9+.-]+:/|data:)", name, re.IGNORECASE) or os.path.exists(name):
        return Path(name)
    if name.lower().startswith("file:"):
        return Path(url2pathname(urlsplit(name).path))
    address = re.sub("^([^:/]+):/+", r"\1://", name)  # a Path has lost a slash
    address = address if len(address) <= 100 else address[:99] + "…"
    raise error(f"{address} is an address, not a file: download it, and give the file's name")


def check_writable(path: Path, error: type[FileError] = FileError) -> None:
    """Raise `error` if a file cannot be written; call it before long work."""
    try:
        folder = Path(os.path.realpath(path)).parent if os.path.islink(path) else path.absolute().parent
        if path.is_dir():
            raise error(f"cannot write {path}: it is a folder")
        if not folder.is_dir():
            raise error(f"cannot write {path}: there is no folder {folder}")
        if not os.access(folder, os.W_OK | os.X_OK) or (path.exists() and not os.access(path, os.W_OK)):
            raise error(f"cannot write {path}: no permission")
    except (OSError, ValueError) as cause:  # a name that is too long, or that holds a zero byte
        raise error(f"cannot write {os.fspath(path)!r}: {_reason(cause)}") from cause


def check_space(path: Path, count: int, error: type[FileError] = FileError) -> None:
    """Raise `error` if the disk has less than `count` bytes of free space."""
    folder = path.absolute().parent
    free = shutil.disk_usage(folder).free
    if free < count:
        raise error(
            f"cannot write {path}: {folder} has {free / 1e6:.1f} MB left, and it may take {count / 1e6:.1f} MB; "
            "make room, or write elsewhere"
        )


def unused(path: Path) -> Path:
    """This path if nothing exists there, else one with a number added."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in range(2, 10000))
    return next(name for name in (path, *names) if not name.exists())


@contextmanager
def atomic_write(path: Path, error: type[FileError] = FileError) -> Iterator[Path]:
    """A temporary file beside `path`, with its suffix, that is renamed to `path` when the block ends without error.

    If the block fails, an existing file stays as it was. A symbolic link stays, and what it leads to is replaced.
    Temporary files left behind by killed processes are removed.

    Raises:
        error: the file cannot be written, for example because the disk is full.
    """
    suffix = path.suffix
    path = Path(os.path.realpath(path)) if os.path.islink(path) else path
    draft = path.with_name(f"{_mark(path)}{os.getpid()}-{secrets.token_hex(4)}.part{suffix}")
    try:
        remove_leftovers(path)
        yield draft
        with open(draft, "rb") as file:
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as cause:
        raise error(f"cannot write {path}: {_reason(cause)}") from cause
    finally:
        draft.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of `path` that killed processes left behind."""
    mark = _mark(path)
    for other in path.absolute().parent.glob(f"{mark}*.part*"):
        if not psutil.pid_exists(int(other.name.removeprefix(mark).partition("-")[0])):
            other.unlink(missing_ok=True)


def _mark(path: Path) -> str:
    """What the names of the temporary files of `path` begin with."""
    return f".impasto-{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}-"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
