"""Downloads that resume after an interruption."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import requests

from impasto.errors import WeightsError

#: Seconds to wait before each retry; attempts that receive data reset the count.
PAUSES = (0.5, 1.0, 2.0, 4.0)

#: Called with the bytes received so far and the bytes in total.
DownloadProgress = Callable[[int, int], None]


def download(url: str, part: Path, progress: DownloadProgress) -> None:
    """Download a file to `part`, appending to what an earlier attempt left there, with retries.

    Raises:
        WeightsError: the server or the network failed; `part` is kept.
        OSError: `part` cannot be written.
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
                    f"cannot fetch {url}: {_reason(error)}; the part received is kept, so try again later"
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
        return "the connection broke off repeatedly"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)


def _continue(url: str, part: Path, progress: DownloadProgress) -> None:
    received = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={received}-"} if received else {})
    with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # the part is complete or wrong, which its hash tells
        if response.status_code >= 500:
            response.raise_for_status()  # may be temporary, so it is retried
        if not response.ok:
            raise WeightsError(f"cannot fetch {url}: the server answers {response.status_code} {response.reason}")
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise WeightsError(f"cannot fetch {url}: the server sent a web page instead of the file")
        if response.status_code != requests.codes.partial_content:
            received = 0  # the server ignored the range and sends the whole file
        total = received + int(response.headers.get("Content-Length", 0))
        with open(part, "r+b" if received else "wb") as file:
            file.seek(received)
            for chunk in response.iter_content(1 << 15):
                file.write(chunk)
                received += len(chunk)
                progress(received, total)
