"""Visitors of the page and their files: each can read only their own, which are deleted once they have left.

A cookie with a random value identifies a visitor. The server keeps all files in one folder:

    public/    what the page shows to everyone
    uploads/   uploaded files, each in a folder named by its hash; `Visitors` remembers who uploaded it
    results/   one folder per visitor

`VisitorMiddleware` checks every request that names a file, whether to download it or to use it as an input, and limits
what a request may hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from impasto.errors import ImpastoError
from impasto.images import Picture

if TYPE_CHECKING:
    from impasto.web.gallery import GalleryStyle
    from impasto.web.jobs import JobResult
    from impasto.web.tasks import Task

COOKIE = "impasto_visitor"
#: The header that tells the page who the visitor is; the middleware sets it, and drops one that a visitor sends.
HEADER = "x-impasto-visitor"
#: Seconds without an open request after which a visitor's jobs are stopped, and after which their files are deleted
#: once no job of theirs runs or waits.
ABANDONED_AFTER, FILES_KEPT = 300.0, 600.0
#: Results that are kept for each visitor.
RESULTS_KEPT = 12
#: Paths that would make the server fetch pages of other hosts, or that the page does not need.
_BLOCKED = re.compile(
    r"/(gradio_api/)?(proxy=|stream/|process_recording|vibe|undo-vibe|deep_link|runs|run-history|monitoring)"
)
_FILE = re.compile(r"/(?:gradio_api/)?file[=/](.*)", re.DOTALL)
_CANCEL = re.compile(r"/(gradio_api/)?cancel/?")
#: Paths to which files are uploaded, and the one to which the form for the password is sent. Others take JSON, or, for
#: the strokes in the mask editor, `multipart/form-data`, which Gradio and FastAPI never read as JSON.
_UPLOAD = re.compile(r"/(gradio_api/upload|upload|api/jobs)/?")
_LOGIN = re.compile(r"/login/?")
#: The page loads nothing from other hosts. Gradio needs inline scripts and styles.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; frame-ancestors 'self'; base-uri 'self'; object-src 'none'"
)
_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
]
#: Bytes of a request other than an upload.
MAX_REQUEST = 32 << 20


class QuotaError(ImpastoError):
    """A visitor may not upload more."""


@dataclass
class Visitor:
    """One visitor.

    Attributes:
        folder: holds the results of their jobs.
        uploads: the files they uploaded -> sizes in bytes.
        uploading: bytes of the uploads that have not ended.
        open_requests: the page holds one open while it is shown.
        last_request: when the last one ended, as `time.monotonic` tells it.
        photo: (path, long side) -> the photo last painted, at that size, so that it need not be decoded again.
        tasks: their jobs, see `tasks.Tasks`, the newest last; of those that are over, some.
        results: their finished pictures, the newest last.
        paintings: of their own, which they can choose, the newest first.
    """

    folder: Path
    uploads: dict[Path, int] = field(default_factory=dict)
    uploading: int = 0
    open_requests: int = 0
    last_request: float = field(default_factory=time.monotonic)
    photo: dict[tuple[str, int], Picture] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    results: list[JobResult] = field(default_factory=list)
    paintings: list[GalleryStyle] = field(default_factory=list)

    def new_folder(self) -> Path:
        """A new folder among their files, whose name cannot be guessed."""
        folder = self.folder / secrets.token_hex(16)
        folder.mkdir()
        return folder

    @property
    def is_busy(self) -> bool:
        """Whether a job of theirs waits or runs."""
        return any(not task.is_over for task in self.tasks)

    def add_result(self, result: JobResult) -> None:
        """Keep a finished picture; the files of the oldest ones are deleted."""
        self.results.append(result)
        for old in self.results[:-RESULTS_KEPT]:
            shutil.rmtree(old.folder, ignore_errors=True)
        del self.results[:-RESULTS_KEPT]

    @property
    def idle_seconds(self) -> float:
        """Seconds since the last request ended; 0 while one is open."""
        return 0.0 if self.open_requests else time.monotonic() - self.last_request


class Visitors:
    """All visitors, and their files under `home`; each may upload `quota` bytes."""

    def __init__(self, home: Path, quota: int) -> None:
        self.home, self.quota = home.resolve(), quota
        self.public, self.uploads, self.results = (self.home / name for name in ("public", "uploads", "results"))
        for folder in (self.public, self.uploads, self.results):
            folder.mkdir(parents=True, exist_ok=True)
        self._visitors: dict[str, Visitor] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Visitor:
        """The visitor with this name, created on first use."""
        with self._lock:
            if name not in self._visitors:
                folder = self.results / name
                folder.mkdir(exist_ok=True)
                self._visitors[name] = Visitor(folder)
            return self._visitors[name]

    def of(self, headers: Mapping[str, str]) -> Visitor:
        """The visitor who sent a request with these headers."""
        return self[headers[HEADER]]

    def may_read(self, name: str, path: str) -> bool:
        """Whether a visitor may download, or use as an input, the file at this path; of a URL, they may not."""
        if not Path(path).is_absolute():
            return False
        try:
            file = Path(path).resolve()
        except (OSError, ValueError, RuntimeError):
            return False
        visitor = self[name]
        return file in visitor.uploads or any(file.is_relative_to(folder) for folder in (visitor.folder, self.public))

    def add_uploads(self, name: str, paths: list[str]) -> None:
        """Record that a visitor uploaded these files."""
        for path in paths:
            file = Path(path).resolve()
            if file.is_relative_to(self.uploads):
                self[name].uploads[file] = file.stat().st_size if file.exists() else 0

    def check_quota(self, visitor: Visitor, size: int) -> None:
        """Whether a visitor may upload so many bytes more.

        Raises:
            QuotaError: no.
        """
        if sum(visitor.uploads.values()) + visitor.uploading + size > self.quota:
            quota, minutes = f"{self.quota / 1e6:.0f} MB", f"{FILES_KEPT / 60:.0f} minutes"
            raise QuotaError(f"your uploads would exceed {quota}; they are deleted {minutes} after you have left")

    def sweep(self, max_idle: float = FILES_KEPT) -> None:
        """Forget the visitors who have been idle for more than `max_idle` seconds, and delete their files.

        Of the uploads, files that are nobody's are deleted at that age: those of visitors who have left, the rest of
        uploads that broke off, and copies that Gradio made. Those of other visitors stay, however old they are.
        """
        with self._lock:
            here = self._visitors.items()
            gone = [name for name, visitor in here if visitor.idle_seconds > max_idle and not visitor.is_busy]
            for name in gone:
                shutil.rmtree(self._visitors.pop(name).folder, ignore_errors=True)
            kept = {file for visitor in self._visitors.values() for file in list(visitor.uploads)}
        for file in [*self.uploads.glob("*"), *self.uploads.glob("*/*")]:
            with contextlib.suppress(OSError):  # it was deleted meanwhile, or its folder holds others
                if file.is_file() and file not in kept and time.time() - file.stat().st_ctime > max_idle:
                    file.unlink()
                    if file.parent != self.uploads:
                        file.parent.rmdir()


class VisitorMiddleware:
    """ASGI middleware: identifies the visitor, and refuses requests that name files of others."""

    def __init__(self, app: ASGIApp, visitors: Visitors) -> None:
        self.app, self.visitors = app, visitors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        token = _token(scope)
        is_new = token is None
        token = token or secrets.token_urlsafe(32)
        name = hashlib.sha256(token.encode()).hexdigest()[:32]
        headers = [(key, value) for key, value in scope["headers"] if key.lower() != HEADER.encode()]
        scope = {**scope, "headers": [*headers, (HEADER.encode(), name.encode())]}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax".encode()
                added = [*_HEADERS, *([(b"set-cookie", cookie)] if is_new else [])]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        visitor = self.visitors[name]
        visitor.open_requests += 1
        try:
            await self._handle(name, scope, receive, send_with_headers)
        finally:
            visitor.open_requests -= 1
            visitor.last_request = time.monotonic()

    async def _handle(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if (match := _FILE.fullmatch(path)) and not self.visitors.may_read(name, match[1]):
            return await _refuse(send, 403, "you have no such file")
        if _BLOCKED.match(path):
            return await _refuse(send, 404, "not found")
        if scope["method"] == "POST":
            handle = self._upload if _UPLOAD.fullmatch(path) else self._post
            return await handle(name, scope, receive, send)
        await self.app(scope, receive, send)

    async def _post(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            return await _refuse(send, 413, f"the request is larger than {MAX_REQUEST >> 20} MB")
        kinds = Headers(scope=scope).getlist("content-type")
        kind = kinds[0] if len(kinds) == 1 else ""
        if kind.partition(";")[0].strip().lower() == "application/json":
            try:
                files = list(_files_in(body))
            except (ValueError, RecursionError):
                return await _refuse(send, 400, "the request is no JSON")
            if not all(self.visitors.may_read(name, file) for file in files):
                return await _refuse(send, 403, "you have no such file; upload it first")
        elif not (kind.startswith("multipart/form-data") or _LOGIN.fullmatch(scope["path"])):
            return await _refuse(send, 415, "the request must have one header content-type: application/json")
        if _CANCEL.fullmatch(scope["path"]):
            for task in self.visitors[name].tasks:
                if task.kind == "api":  # Gradio itself does not end what it runs
                    task.stop.set()
        await self.app(scope, _replay(body, receive), send)

    async def _upload(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        headers, visitor = Headers(scope=scope), self.visitors[name]
        length = headers.get("content-length", "")
        if not length.isdecimal() or "transfer-encoding" in headers:
            return await _refuse(send, 411, "an upload must say how large it is, by the header content-length")
        try:
            self.visitors.check_quota(visitor, int(length))
        except QuotaError as error:
            return await _refuse(send, 413, str(error))
        answer = bytearray()

        async def send_and_record(message: Message) -> None:
            if message["type"] == "http.response.body":
                answer.extend(message.get("body", b""))
                if not message.get("more_body"):
                    try:
                        paths = json.loads(bytes(answer))
                    except ValueError:
                        paths = None  # Gradio refused the upload
                    if isinstance(paths, list):
                        self.visitors.add_uploads(name, paths)
            await send(message)

        visitor.uploading += int(length)
        try:
            await self.app(scope, receive, send_and_record)
        finally:
            visitor.uploading -= int(length)


def _token(scope: Scope) -> str | None:
    """The value of the visitor's cookie; None without a valid one."""
    cookies = b"; ".join(value for key, value in scope["headers"] if key.lower() == b"cookie")
    token = cookie_parser(cookies.decode("latin-1")).get(COOKIE, "")
    return token if re.fullmatch(r"[\w-]{43}", token) else None


async def _refuse(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail, "error": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _read_body(receive: Receive) -> bytes | None:
    """The body of a request; None if it is larger than `MAX_REQUEST`."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body.extend(message.get("body", b""))
        more = message.get("more_body", False)
        if len(body) > MAX_REQUEST:
            return None
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Receives a body that was already read, then what follows."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _files_in(body: bytes) -> Iterator[str]:
    """The paths and URLs of all files that a JSON request names.

    Raises:
        ValueError, RecursionError: it is no JSON, or nested too deeply.
    """
    pending: list[Any] = [json.loads(body)]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if isinstance(value.get("path"), str):
                yield value["path"]
            url = value.get("url")
            if isinstance(url, str) and (match := _FILE.search(url)) is None and not url.startswith(("data:", "blob:")):
                yield url
            elif isinstance(url, str) and match is not None and not isinstance(value.get("path"), str):
                yield match[1]
            pending += value.values()
        elif isinstance(value, list):
            pending += value
