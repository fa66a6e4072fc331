"""The web app: choose a photo and a style on a page, and watch the picture appear.

    with impasto.web.create(Limits()) as app:   # an ASGI application
        ...
    impasto.web.serve(Limits(), port=7860)      # a server that runs it

Needs the extra `[web]`, which installs Gradio. The page makes no request to any other host.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from impasto.extras import require_extra
from impasto.isolation import environment

require_extra("web", "the app")
#: Gradio sends no analytics.
NO_ANALYTICS = {"GRADIO_ANALYTICS_ENABLED": "False"}

import fastapi
import PIL.Image
import uvicorn

with environment(**NO_ANALYTICS):
    import gradio as gr

from impasto.web import http
from impasto.web.front import FrontMiddleware
from impasto.web.gallery import collect
from impasto.web.jobs import Limits
from impasto.web.page import STYLESHEET, build
from impasto.web.runner import JobRunner
from impasto.web.tasks import Tasks
from impasto.web.visitors import VisitorMiddleware, Visitors

__all__ = ["Limits", "create", "serve"]

ICON = Path(__file__).with_name("icon.svg")
#: Files of the largest size that one visitor may upload.
UPLOADS_PER_VISITOR = 12
#: Signals that end the server.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]


@contextlib.contextmanager
def create(
    limits: Limits,
    styles: Path | None = None,
    auth: tuple[str, str] | None = None,
) -> Iterator[fastapi.FastAPI]:
    """A context manager for the application; on exit, all its files are deleted.

    Args:
        styles: a folder of paintings to offer before the built-in styles.
        auth: the user name and password that the page requires; None to let everyone in.

    Raises:
        ValueError: a folder of styles that does not exist or holds no picture.
    """
    home = Path(tempfile.mkdtemp(prefix="impasto-web-"))
    closing = threading.Event()
    variables = contextlib.ExitStack()
    try:
        visitors = Visitors(home, UPLOADS_PER_VISITOR * limits.upload)
        variables.enter_context(environment(GRADIO_TEMP_DIR=str(visitors.uploads), **NO_ANALYTICS))
        gr.routes.DEFAULT_TEMP_DIR = str(visitors.uploads)  # Gradio read the variable when it was imported
        gallery = collect(visitors.public, styles)
        runner = JobRunner(limits, frozenset(style.source for style in gallery))
        gr.set_static_paths([visitors.public, visitors.results])
        tasks = Tasks(limits.running, limits.waiting)
        page = build(gallery, runner, visitors, tasks)
        page.queue(default_concurrency_limit=None)
        app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

        @app.get("/health")
        def health() -> dict[str, Any]:
            return {"status": "ok", "running": runner.running, "waiting": tasks.waiting}

        http.add_routes(app, gallery, runner, visitors, tasks)
        app.add_middleware(FrontMiddleware)
        if auth:
            http.require_password(app, auth)
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
            mcp_server=False,
            theme=_theme(),
            css_paths=[STYLESHEET],
            favicon_path=str(ICON),
        )
        mounted = [getattr(route, "app", None) for route in app.routes]
        app.state.gradio = next(mount for mount in mounted if isinstance(mount, gr.routes.App))
        app.add_middleware(VisitorMiddleware, visitors=visitors)

        def sweep() -> None:
            while not closing.wait(10):
                visitors.sweep()

        threading.Thread(target=sweep, daemon=True).start()
        yield app
    finally:
        variables.close()
        closing.set()
        shutil.rmtree(home, ignore_errors=True)


def _theme() -> gr.themes.Base:
    """System fonts, and text with enough contrast."""
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
    port: int | range = 7860,
    styles: Path | None = None,
    auth: tuple[str, str] | None = None,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        port: to listen on; of several, the first that is free.
        styles, auth: see `create`.
        ready: called with the address once the server accepts connections.

    Raises:
        ValueError: a port that is in use or not allowed, or a folder of styles without pictures.
    """
    listener = _listener(host, [port] if isinstance(port, int) else port)
    number = listener.getsockname()[1]
    PIL.Image.MAX_IMAGE_PIXELS = limits.pixels  # Gradio itself decodes the masks that are drawn
    with listener, create(limits, styles, auth) as app:
        server = _Server(uvicorn.Config(app, host=host, port=number, log_level="warning", timeout_graceful_shutdown=3))
        server.ready = lambda: ready(f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{number}")
        server.closing = app.state.gradio.stop_event.set
        server.run(sockets=[listener])


def _listener(host: str, ports: Sequence[int]) -> socket.socket:
    """A socket that listens on the first of the ports that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in ports:
        try:
            return socket.create_server((host, port), family=family)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or port == ports[-1]:
                reason = f"cannot listen on port {port} of {host}: {error.strerror}; choose another port"
                raise ValueError(reason) from error
    raise ValueError("no port was given")


class _Server(uvicorn.Server):
    """Calls `ready` after startup, and `closing` before shutdown, to end the event streams that open pages hold."""

    ready: Callable[[], None]
    closing: Callable[[], None]

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Also a closed terminal ends the server; signals that the parent process ignores stay ignored."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        with super().capture_signals():
            for number, handler in before.items():
                signal.signal(number, signal.SIG_IGN if handler == signal.SIG_IGN else self.handle_exit)
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.closing()
        await super().shutdown(sockets)
