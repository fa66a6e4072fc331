"""The first page, which paints in the visitor's browser: static files, built by `npm run build` in `browser/`.

An installation without them serves the form at `/`. Otherwise this page is at `/paint/`, to which `/` leads, and the
form at `/form`.
"""

from __future__ import annotations

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The files of the page; in a clone, they are built.
FOLDER = Path(__file__).with_name("front")
#: What tells the page where the HTTP interface is, relative to its own address.
API = '<meta name="impasto-api" content="../api" />'
#: Isolate the page from other origins, which threads in WebAssembly require.
_ISOLATION = [
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
]


def is_built(folder: Path = FOLDER) -> bool:
    """Whether this installation has the page."""
    return (folder / "index.html").is_file()


class FrontMiddleware:
    """ASGI middleware that serves the page, if it is there, before the form."""

    def __init__(self, app: ASGIApp, folder: Path = FOLDER) -> None:
        self.app = app
        self._files = StaticFiles(directory=folder) if is_built(folder) else None
        if self._files:
            page = (folder / "index.html").read_text(encoding="utf-8")
            self._page = page.replace("</head>", f"{API}</head>", 1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" and scope["method"] in ("GET", "HEAD") else ""
        if path in ("/form", "/form/"):
            scope = {**scope, "path": "/", "raw_path": b"/"}
        elif self._files and path in ("/", "/paint") and not scope["query_string"]:
            return await RedirectResponse("/paint/")(scope, receive, send)
        elif self._files and path.startswith("/paint/"):
            return await self._serve(path.removeprefix("/paint/"), scope, receive, send)
        await self.app(scope, receive, send)

    async def _serve(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_isolated(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_ISOLATION]
            await send(message)

        if path in ("", "index.html"):
            headers = {"cache-control": "no-cache"}
            return await HTMLResponse(self._page, headers=headers)(scope, receive, send_isolated)
        assert self._files is not None
        try:
            await self._files({**scope, "path": f"/{path}", "root_path": ""}, receive, send_isolated)
        except HTTPException as error:
            await PlainTextResponse(error.detail, error.status_code)(scope, receive, send)
