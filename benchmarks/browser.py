"""The page that paints in the browser: first picture, from tap to picture, live frames, a large photo.

    npm --prefix browser ci && npm --prefix browser run build
    python -m benchmarks.browser [--large]

Needs Chromium and the package playwright. Each row is measured with one thread, on a host without the headers that
isolate the page, and with several. `--large` also saves a photo of 12 megapixels at full size.
"""

from __future__ import annotations

import argparse
import http.server
import statistics
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import skimage.data
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from impasto.web.front import FOLDER, is_built

ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
STYLES = ("udnie", "mosaic", "the-kiss", "great-wave", "swirls", "woodcut", "starry-night")


class Files(http.server.SimpleHTTPRequestHandler):
    """A host of static files."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}
    isolating = False

    def end_headers(self) -> None:
        for name, value in ISOLATION.items() if self.isolating else ():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *arguments: Any) -> None:
        pass


class IsolatingFiles(Files):
    """The same, with the headers that threads require."""

    isolating = True


def painted(page: Page) -> None:
    """Wait until the page has painted."""
    page.wait_for_selector("body[data-painted]", timeout=120_000)


def again(page: Page) -> float:
    """Forget what was painted; the time."""
    page.evaluate("() => { delete document.body.dataset.painted; }")
    return time.perf_counter()


def measure(browser: Browser, address: str, large: Path | None) -> None:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, permissions=["camera"])
    page, started = context.new_page(), time.perf_counter()
    page.goto(address)
    painted(page)
    print(f"{page.get_attribute('body', 'data-backend')}: first picture after {time.perf_counter() - started:.2f} s")
    print("  first paint", page.evaluate("performance.getEntriesByName('first-paint')[0].startTime | 0"), "ms")
    times = []
    for name in STYLES:
        started = again(page)
        page.check(f'input[value="{name}"]', force=True)
        painted(page)
        times.append(time.perf_counter() - started)
    print(
        f"  512×512 from tap to picture: median {statistics.median(times):.2f} s, {min(times):.2f} to {max(times):.2f}"
    )
    page.click("#camera")
    time.sleep(10)
    print("  live:", page.inner_text("#rate"))
    page.click("#close")
    if large:
        again(page)
        page.set_input_files("#file", large)
        painted(page)
        page.click("#save")
        started = time.perf_counter()
        with page.expect_download(timeout=900_000):
            page.click("#save-full")
        print(f"  4000×3000 at full size: {time.perf_counter() - started:.1f} s")
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="also save a large photo")
    arguments = parser.parse_args()
    if not is_built():
        parser.error("the page is not built")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.jpg" if arguments.large else None
        if large:
            Image.fromarray(skimage.data.astronaut()).resize((4000, 3000)).save(large)
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", "--no-sandbox"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=camera)
        for handler in (Files, IsolatingFiles):
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(FOLDER)))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            measure(browser, f"http://127.0.0.1:{server.server_port}/", large)
            server.shutdown()
        browser.close()


if __name__ == "__main__":
    main()
