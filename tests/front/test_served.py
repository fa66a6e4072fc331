"""The page as `impasto web` serves it: the server's optimiser is one button away, and the form one link."""

import signal
import sys

import pytest
import requests
from serving import WARNINGS, Server

pytest.importorskip("gradio")
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from impasto.web.front import FrontMiddleware, is_built

pytestmark = WARNINGS


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if not is_built():
        pytest.skip("the page is not built: npm ci && npm run build in browser/")
    folder = tmp_path_factory.mktemp("server")
    server = Server(folder, "--max-size", "128")
    yield server
    server.close(signal.SIGINT if sys.platform == "win32" else signal.SIGHUP)


@pytest.fixture
def folder(tmp_path):
    """Of a page that was built."""
    (tmp_path / "index.html").write_text("<head></head>page")
    (tmp_path / "a.js").write_text("script")
    return tmp_path


@pytest.fixture
def visitor():
    """A client of an app with this folder of files, whose form answers `form`."""

    def visitor(folder):
        app = Starlette(routes=[Route("/{path:path}", lambda request: PlainTextResponse(f"form {request.url.path}"))])
        return TestClient(FrontMiddleware(app, folder))

    return visitor


def test_without_the_page_the_form_comes_first(visitor, tmp_path):
    client = visitor(tmp_path / "nothing")
    assert client.get("/").text == client.get("/form").text == "form /"
    assert client.get("/paint/").text == "form /paint/"


def test_with_the_page(visitor, folder):
    client = visitor(folder)
    answer = client.get("/")
    assert answer.url.path == "/paint/"
    assert answer.text == '<head><meta name="impasto-api" content="../api" /></head>page'
    assert answer.headers["cross-origin-embedder-policy"] == "require-corp"
    assert client.get("/form").text == "form /"
    assert client.get("/?__theme=dark").text == "form /"
    assert client.get("/api/jobs").text == "form /api/jobs"
    assert client.get("/paint/a.js").text == "script"
    assert client.get("/paint/none.js").status_code == 404


def test_files_beside_the_page_are_not_served(visitor, folder):
    (folder.parent / "secret").write_text("secret")
    for path in ("/paint/%2e%2e/secret", "/paint/..%2fsecret", f"/paint/{folder.parent}/secret"):
        assert visitor(folder).get(path).status_code == 404


def test_painting_finely(visit, server, photo):
    page = visit(server.address + "/")
    assert page.url == f"{server.address}/paint/"
    page.upload(photo)
    page.choose("mosaic")
    page.locator("#fine").wait_for()
    page.click("#fine")
    page.get_by_text("left").first.wait_for(timeout=60_000)
    assert page.inner_text("#fine") == "Stop"
    page.click("#fine")
    page.wait("finely mosaic")
    assert page.pixels().shape == (85, 128, 4)
    assert page.inner_text("#fine") == "Paint finely"
    page.click("#save")
    assert page.inner_text("#save-shown") == "As shown, 128 × 85"
    assert page.is_hidden("#save-full")
    with page.expect_download() as event:
        page.click("#save-shown")
    assert event.value.suggested_filename == "my cat-impasto.png"  # the server's file, settings and all
    page.choose("udnie")  # at once again, in the browser
    assert page.pixels().shape == (341, 512, 4)
    assert not page.errors


def test_a_job_is_found_again(visit, server, photo):
    page = visit(server.address + "/")
    page.upload(photo)
    page.locator("#fine").wait_for()
    page.click("#fine")
    page.get_by_text("left").first.wait_for(timeout=60_000)
    page.reload()
    page.wait()
    page.get_by_text("left").first.wait_for(timeout=60_000)
    page.click("#fine")
    page.wait("finely")
    assert not page.errors


def test_the_form_is_one_link_away(visit, server):
    page = visit(server.address + "/")
    page.locator("#form").wait_for()
    page.click("#form")
    page.wait_for_selector("#paint")
    assert page.url == f"{server.address}/form"
    assert requests.get(f"{server.address}/form", timeout=20).ok
