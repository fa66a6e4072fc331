"""Whose pictures are whose: what a visitor gave or was given is for that visitor alone, and goes when they do.

A visitor is a cookie with a random value. Files lie in one folder of the server's:

    public/    what the page itself shows to everyone
    uploads/   what visitors gave, each under the hash of its content; who gave it is remembered here
    painted/   a folder for each visitor: what was painted for them

`Guard` stands before the page and looks at every request that names a file, whether to read it or to paint from it.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any

COOKIE = "impasto_visitor"
#: The header by which the page learns of the visitor's name; one that a visitor sends is dropped.
HEADER = "x-impasto-visitor"
#: Seconds without any request open after which a visitor's jobs end, and after which their files go.
LEAVING, KEPT = 5.0, 600.0
#: Requests that would make the server fetch other hosts' pages, or that nothing on the page needs.
_CLOSED = re.compile(
    r"/(gradio_api/)?(proxy=|stream/|process_recording|vibe|undo-vibe|deep_link|runs|run-history|monitoring)"
)
_FILE = re.compile(r"/(?:gradio_api/)?file[=/](.*)", re.DOTALL)
_JSON = re.compile(r"/(gradio_api/)?(queue/join|call/|run/|api/|component_server)")
#: What the page may load: itself. Gradio needs scripts and styles within the page.
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
#: Bytes of a request that is no upload.
LARGEST_REQUEST = 32 << 20

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


@dataclass
class Visitor:
    """One visitor.

    Attributes:
        folder: what was painted for them.
        uploads: the files they gave -> their sizes in bytes.
        requests: how many of theirs are open; the page holds one as long as it is shown.
        seen: when the last one ended, in seconds of `time.monotonic`.
    """

    folder: Path
    uploads: dict[Path, int] = field(default_factory=dict)
    requests: int = 0
    seen: float = field(default_factory=time.monotonic)

    @property
    def absent(self) -> float:
        """For how many seconds they have been away."""
        return 0.0 if self.requests else time.monotonic() - self.seen


class Visitors:
    """Everyone who is here, and their files under `home`."""

    def __init__(self, home: Path, quota: int) -> None:
        """`quota`: the bytes that one visitor may upload."""
        self.home, self.quota = home.resolve(), quota
        self.public, self.uploads, self.painted = (self.home / part for part in ("public", "uploads", "painted"))
        for folder in (self.public, self.uploads, self.painted):
            folder.mkdir(parents=True, exist_ok=True)
        self._all: dict[str, Visitor] = {}
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Visitor:
        """The visitor of that name; a new one, if nobody had it."""
        with self._lock:
            if name not in self._all:
                folder = self.painted / name
                folder.mkdir(exist_ok=True)
                self._all[name] = Visitor(folder)
            return self._all[name]

    def may_read(self, name: str, path: str) -> bool:
        """Whether a visitor may see, or use, the file at this path."""
        try:
            file = Path(path).resolve()
        except (OSError, ValueError, RuntimeError):
            return False
        visitor = self[name]
        return file in visitor.uploads or any(file.is_relative_to(place) for place in (visitor.folder, self.public))

    def keep(self, name: str, paths: list[str]) -> None:
        """Remember what a visitor uploaded."""
        for path in paths:
            file = Path(path).resolve()
            if file.is_relative_to(self.uploads):
                self[name].uploads[file] = file.stat().st_size if file.exists() else 0

    def sweep(self, longest: float = KEPT) -> None:
        """Remove the files of everyone who has been away for longer than so many seconds."""
        with self._lock:
            for name in [name for name, visitor in self._all.items() if visitor.absent > longest]:
                gone = self._all.pop(name)
                shutil.rmtree(gone.folder, ignore_errors=True)
                for file in gone.uploads:
                    if not any(file in visitor.uploads for visitor in self._all.values()):
                        shutil.rmtree(file.parent, ignore_errors=True)


class Guard:
    """ASGI middleware: names the visitor, and refuses what is not theirs."""

    def __init__(self, app: App, visitors: Visitors) -> None:
        self.app, self.visitors = app, visitors

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        token = _token(scope)
        fresh = token is None
        token = token or secrets.token_urlsafe(32)
        name = hashlib.sha256(token.encode()).hexdigest()[:32]
        headers = [(key, value) for key, value in scope["headers"] if key.lower() != HEADER.encode()]
        scope = {**scope, "headers": [*headers, (HEADER.encode(), name.encode())]}

        async def introduced(message: Message) -> None:
            if message["type"] == "http.response.start":
                cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax".encode()
                more = [*_HEADERS, *([(b"set-cookie", cookie)] if fresh else [])]
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        visitor = self.visitors[name]
        visitor.requests += 1
        try:
            await self._answer(name, scope, receive, introduced)
        finally:
            visitor.requests -= 1
            visitor.seen = time.monotonic()

    async def _answer(self, name: str, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        path = scope["path"]
        if (found := _FILE.fullmatch(path)) and not self.visitors.may_read(name, found[1]):
            return await _refuse(send, 403, "there is no such file of yours")
        if _CLOSED.match(path):
            return await _refuse(send, 404, "there is nothing here")
        if scope["method"] == "POST" and path.rstrip("/").endswith("/upload"):
            return await self._upload(name, scope, receive, send)
        if scope["method"] == "POST" and _JSON.match(path):
            body = await _body(receive)
            if body is None:
                return await _refuse(send, 413, f"a request holds at most {LARGEST_REQUEST >> 20} MB")
            for file in _files(body, dict(scope["headers"])):
                if not self.visitors.may_read(name, file):
                    return await _refuse(send, 403, "there is no such file of yours; upload it first")
            receive = _again(body, receive)
        await self.app(scope, receive, send)

    async def _upload(self, name: str, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        visitor = self.visitors[name]
        length = dict(scope["headers"]).get(b"content-length", b"0")
        size = int(length) if length.isdigit() else 0
        if sum(visitor.uploads.values()) + size > self.visitors.quota:
            limit = f"{self.visitors.quota / 1e6:.0f} MB of pictures"
            return await _refuse(send, 413, f"you have uploaded {limit}, which is all there is room for; reload later")
        answer = bytearray()

        async def listening(message: Message) -> None:
            if message["type"] == "http.response.body":
                answer.extend(message.get("body", b""))
                if not message.get("more_body"):
                    try:
                        given = json.loads(bytes(answer))
                    except ValueError:
                        given = None  # it was refused
                    if isinstance(given, list):
                        self.visitors.keep(name, given)
            await send(message)

        await self.app(scope, receive, listening)


def _token(scope: MutableMapping[str, Any]) -> str | None:
    """The value of the visitor's cookie."""
    cookies = b"; ".join(value for key, value in scope["headers"] if key.lower() == b"cookie")
    try:
        found = SimpleCookie(cookies.decode("latin-1")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found and re.fullmatch(r"[\w-]{43}", found.value) else None


async def _refuse(send: Send, status: int, why: str) -> None:
    body = json.dumps({"detail": why, "error": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes | None:
    """The whole request; None if it is too large."""
    body, more = bytearray(), True
    while more:
        message = await receive()
        body.extend(message.get("body", b""))
        more = message.get("more_body", False)
        if len(body) > LARGEST_REQUEST:
            return None
    return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """A request that was read, to be read once more."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _files(body: bytes, headers: dict[bytes, bytes]) -> Iterator[str]:
    """The paths of all files that a request names."""
    if not headers.get(b"content-type", b"").startswith(b"application/json"):
        return
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return  # what reads it will say so
    rest = [given]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            if isinstance(value.get("path"), str):
                yield value["path"]
            url = value.get("url")
            if isinstance(url, str) and (found := _FILE.search(url)) is None and not url.startswith(("data:", "blob:")):
                yield url
            elif isinstance(url, str) and found is not None and "path" not in value:
                yield found[1]
            rest += value.values()
        elif isinstance(value, list):
            rest += value
