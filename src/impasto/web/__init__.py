"""The app: a page on this machine where a person drops a photo, picks a style, and watches the picture appear.

    app = impasto.web.create(Limits())          # an ASGI application
    impasto.web.serve(Limits(), port=7860)      # and a server for it

Needs the extra `[web]`, which brings Gradio. The page makes no request to any other host.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from impasto.extras import require_extra

require_extra("web", "the app")
# Read by Gradio when it is imported: no message home, and no run history in browsers.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import fastapi
import gradio as gr
import PIL.Image
import uvicorn

from impasto.web.gallery import collect
from impasto.web.jobs import Limits, Studio
from impasto.web.page import STYLE, build
from impasto.web.visitors import Guard, Visitors

__all__ = ["Limits", "create", "serve"]

#: Uploads that one visitor may have here, in files of the largest size.
QUOTA = 12


@contextlib.contextmanager
def create(
    limits: Limits,
    styles: Path | None = None,
    auth: tuple[str, str] | None = None,
) -> Iterator[fastapi.FastAPI]:
    """The application, for as long as the block lasts; its folder of temporary files goes with it.

    Args:
        limits: what visitors are given.
        styles: a folder of paintings to offer first.
        auth: a user's name and password that are asked for.

    Raises:
        ValueError: a folder of styles that is none, or empty.
    """
    home = Path(tempfile.mkdtemp(prefix="impasto-web-"))
    closing = threading.Event()
    try:
        visitors = Visitors(home, QUOTA * limits.upload)
        os.environ["GRADIO_TEMP_DIR"] = str(visitors.uploads)
        gr.routes.DEFAULT_TEMP_DIR = str(visitors.uploads)  # it was read when Gradio was imported
        offered = collect(visitors.public, styles)
        studio = Studio(limits, frozenset(style.given for style in offered))
        gr.set_static_paths([visitors.public, visitors.painted])
        page = build(offered, studio, visitors)
        page.queue(max_size=limits.waiting, default_concurrency_limit=None)
        app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.get("/health")
        def health() -> dict[str, Any]:
            """Whether the server answers, and how much it has to do."""
            return {"status": "ok", "running": studio.running, "waiting": len(page._queue)}

        gr.mount_gradio_app(
            app,
            page,
            path="/",
            auth=auth,
            max_file_size=limits.upload,
            show_error=True,
            ssr_mode=False,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            theme=_theme(),
            css_paths=[STYLE],
        )
        mounted = [getattr(route, "app", None) for route in app.routes]
        app.state.gradio = next(part for part in mounted if isinstance(part, gr.routes.App))
        app.add_middleware(Guard, visitors=visitors)

        def sweep() -> None:
            while not closing.wait(10):
                visitors.sweep()

        threading.Thread(target=sweep, daemon=True).start()
        yield app
    finally:
        closing.set()
        shutil.rmtree(home, ignore_errors=True)


def _theme() -> gr.themes.Base:
    """Fonts of the machine's own, and text dark enough to read."""
    theme = gr.themes.Soft(
        primary_hue="red", neutral_hue="stone", font=["system-ui", "sans-serif"], font_mono=["monospace"]
    )
    return theme.set(
        body_text_color_subdued="#57534e",
        block_info_text_color="#57534e",
        block_info_text_color_dark="#d6d3d1",
        block_title_text_color="#7f1d1d",
        block_label_text_color="#7f1d1d",
        button_primary_background_fill="#a4262c",
        button_primary_background_fill_hover="#7f1d1d",
        slider_color="#a4262c",
    )


def serve(
    limits: Limits,
    host: str = "127.0.0.1",
    port: int = 7860,
    styles: Path | None = None,
    auth: tuple[str, str] | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        ready: called with the address, once the server answers.

    Raises:
        ValueError: a port that is taken or not allowed, a folder of styles that is none.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise ValueError(f"cannot listen on port {port} of {host}: {error.strerror}; choose another port") from error
    PIL.Image.MAX_IMAGE_PIXELS = limits.pixels  # of what is drawn, which Gradio reads
    with listening, create(limits, styles, auth) as app:
        server = _Server(uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=3))
        server.ready = lambda: ready(f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}")
        server.closing = app.state.gradio.stop_event.set
        server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says when it is ready, and tells pages that are still open when it ends: they hold a connection each."""

    ready: Callable[[], None]
    closing: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.closing()
        await super().shutdown(sockets)
