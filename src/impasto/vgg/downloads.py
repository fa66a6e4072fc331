"""Downloads that go on where they broke off."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import requests

from impasto.errors import WeightsError

#: Seconds to wait before each new try of a download that brings nothing; what brings something is not counted.
PAUSES = (0.5, 1.0, 2.0, 4.0)

Progress = Callable[[int, int], None]


def download(url: str, part: Path, progress: Progress) -> None:
    """Write what is at this address to `part`, after what is there already; try again while something comes.

    Args:
        progress: called with the bytes that are here and the bytes in all.

    Raises:
        WeightsError: what the server or the network had against it; what came is kept.
        OSError: what the disk had.
    """
    failures = 0
    while True:
        before = _size(part)
        try:
            _continue(url, part, progress)
            return
        except requests.RequestException as error:
            failures = 0 if _size(part) > before else failures
            if failures == len(PAUSES):
                raise WeightsError(
                    f"cannot fetch {url}: {_reason(error)}; what came so far is kept, try again later"
                ) from error
            time.sleep(PAUSES[failures])
            failures += 1


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's TLS certificate could not be verified"
    if isinstance(error, requests.Timeout):
        return "the server does not answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off again and again"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)


def _continue(url: str, part: Path, progress: Progress) -> None:
    have = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # all of it is here, or it is wrong: the hash will tell
        if answer.status_code >= 500:
            answer.raise_for_status()  # perhaps for a moment only: tried again
        if not answer.ok:
            raise WeightsError(f"cannot fetch {url}: the server answers {answer.status_code} {answer.reason}")
        if answer.headers.get("Content-Type", "").startswith("text/html"):
            raise WeightsError(f"cannot fetch {url}: the server sent a web page instead of the file")
        if answer.status_code != requests.codes.partial_content:
            have = 0  # the server sends it all from the start
        total = have + int(answer.headers.get("Content-Length", 0))
        with open(part, "r+b" if have else "wb") as file:
            file.seek(have)
            for chunk in answer.iter_content(1 << 15):
                file.write(chunk)
                have += len(chunk)
                progress(have, total)
