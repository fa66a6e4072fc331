"""Fixtures: a host of static files that has the page, and visits to it in a real browser."""

import base64
import http.server
import threading
from functools import partial

import numpy as np
import PIL.Image
import pytest
import skimage.data
from browsing import chromium

from impasto.web.front import FOLDER, is_built

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}


class Files(http.server.SimpleHTTPRequestHandler):
    """A host as plain as can be, which sends some headers or none."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def end_headers(self):
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *arguments):
        pass


def host(headers, folder):
    handler = partial(type("Handler", (Files,), {"headers_sent": headers}), directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def served(headers, folder=FOLDER):
    if not is_built():
        pytest.skip("the page is not built: npm ci && npm run build in browser/")
    server = host(headers, folder)
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def isolated_address():
    """Of a host that sends the headers which threads require."""
    yield from served(ISOLATION)


@pytest.fixture(scope="session")
def plain_address():
    """Of one that does not."""
    yield from served({})


@pytest.fixture
def copy(tmp_path):
    """The address and the folder of a host whose files a test may replace."""
    for path in FOLDER.iterdir() if is_built() else ():
        (tmp_path / path.name).symlink_to(path)
    for address in served({}, tmp_path):
        yield address, tmp_path


@pytest.fixture(scope="module")
def browser():
    with chromium("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream") as browser:
        yield browser


#: Keeps the messages of this kind from the page's worker, until `release()`.
HOLD = """
    const send = Worker.prototype.postMessage, held = [];
    let isHeld = true;
    window.release = () => { isHeld = false; for (const go of held) go(); };
    Worker.prototype.postMessage = function (message, ...more) {
        const go = () => send.call(this, message, ...more);
        if (isHeld && message.kind === "KIND") held.push(go);
        else go();
    };
"""


class Page:
    """The page as a new visitor sees it, once it has painted the sample photo.

    Args:
        script: runs before those of the page.
        loads: otherwise the page is as it is while the network loads, until `release()`.
        api: stands for the server's interface.
    """

    def __init__(self, browser, address, script="", loads=True, api=None, **context):
        self.context = browser.new_context(accept_downloads=True, **context)
        self.context.add_init_script(script if loads else HOLD.replace("KIND", "load") + script)
        self.tab = self.context.new_page()
        self.address = address
        self.requests, self.errors = [], []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self._open(api)
        if loads:
            self.wait()
        else:
            self.tab.get_by_text("Loading the network").wait_for()

    def _open(self, api):
        if api:
            api.answer(self.context, self.address)
        self.requests.clear()
        self.errors.clear()
        self.tab.goto(self.address)

    def renew(self, api=None):
        """Forget the visitor, and open the page again: the browser knows its compiled code, which saves seconds."""
        self.context.set_offline(False)
        self.tab.unroute_all()
        self.usual()
        clear = {"origin": self.address.rstrip("/"), "storageTypes": "all"}
        self.context.new_cdp_session(self.tab).send("Storage.clearDataForOrigin", clear)
        self._open(api)
        self.wait()

    def usual(self):
        """The size and the colours that the window had at first."""
        self.tab.set_viewport_size({"width": 1280, "height": 720})
        self.tab.emulate_media(color_scheme="light")

    def __getattr__(self, name):
        return getattr(self.tab, name)

    def wait(self, text=""):
        """Until something is painted whose description contains a text."""
        what = f'[data-painted*="{text}"]' if text else "[data-painted]"
        self.tab.wait_for_selector(f"body{what}", timeout=90_000)

    def forget(self):
        """What was painted, so that `wait` waits for the next picture."""
        self.tab.evaluate("() => { delete document.body.dataset.painted; }")

    def upload(self, path):
        self.forget()
        self.tab.set_input_files("#file", path)
        self.wait()

    def check_style(self, name):
        self.tab.check(f'input[name="style"][value="{name}"]', force=True)

    def choose(self, name):
        self.forget()
        self.check_style(name)
        self.wait(name)

    def dial(self, name, value):
        self.forget()
        self.tab.locator(name).fill(str(value))
        self.tab.locator(name).dispatch_event("change")
        self.wait(" 512 ")  # not a draft

    def pixels(self, canvas="#picture"):
        """`(h, w, 4)` of a canvas, in 0–255."""
        width, height, values = self.tab.evaluate(
            """(name) => {
                const canvas = document.querySelector(name), { width, height } = canvas;
                const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
                let text = "";
                for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
                return [width, height, btoa(text)];
            }""",
            canvas,
        )
        return np.frombuffer(base64.b64decode(values), np.uint8).reshape(height, width, 4)


@pytest.fixture(scope="module")
def pages(browser):
    """Host and kind of context -> the page that the tests of a module use one after the other."""
    pages = {}
    yield pages
    for page in pages.values():
        page.context.close()


@pytest.fixture
def visit(browser, pages):
    """Opens the page for a new visitor; arguments as those of `Page`. No later test uses a page of its `own`."""
    owned = []

    def visit(address, api=None, own=False, **options):
        if own or {"script", "loads"} & {*options}:
            owned.append(Page(browser, address, api=api, **options))
            return owned[-1]
        kind = (address, repr(options))
        if kind in pages:
            pages[kind].renew(api)
        else:
            pages[kind] = Page(browser, address, api=api, **options)
        return pages[kind]

    yield visit
    for page in owned:
        page.context.close()


@pytest.fixture(scope="module")
def opened(browser, isolated_address):
    page = Page(browser, isolated_address)
    yield page
    page.context.close()


@pytest.fixture
def shared(opened):
    """A page for tests of what does not depend on what it showed before, and that change no setting of the picture."""
    opened.errors.clear()
    yield opened
    opened.keyboard.press("Escape")  # dialogs
    opened.usual()


@pytest.fixture(scope="session")
def photo(tmp_path_factory):
    """Path of a photo, 451 × 300 pixels."""
    path = tmp_path_factory.mktemp("photos") / "my cat.png"
    PIL.Image.fromarray(skimage.data.chelsea()).save(path)
    return path
