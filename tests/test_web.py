"""The app, as its visitors meet it: a real server, real requests, and a real browser where one is installed."""

import gc
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import requests

pytest.importorskip("gradio")

from gradio_client import Client, handle_file

import impasto
from impasto import cli, images, record
from impasto.fields import fields_of, text_of
from impasto.options import FastOptions, StylizeOptions
from impasto.presets import PRESETS, options_of
from impasto.web import form, gallery, sight, visitors
from impasto.web.jobs import Limits, Order, Result, Studio
from impasto.web.page import masks_of

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: So small that a picture takes a second or two.
QUICK = {"size": 128, "iterations": 12, "scales": 1, "style_layers": "relu1_1,relu2_1", "content_layers": "relu2_2"}


#: Gradio and the test client leave loops and sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()


# -- a server ----------------------------------------------------------------------------------------------


class Server:
    """`impasto web` in a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.log = folder / "log.txt"
        code = "import sys; from impasto import cli; sys.exit(cli.run())"
        command = [sys.executable, "-c", code, "web", "--port", str(port), "--no-browser", *arguments]
        environment = os.environ | {"TMPDIR": str(self.temporary)}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        for _ in range(1200):
            if self.process.poll() is not None:
                raise RuntimeError(self.log.read_text())
            try:
                requests.get(f"{self.address}/health", timeout=5).raise_for_status()
                return
            except requests.ConnectionError:
                time.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def health(self):
        return requests.get(f"{self.address}/health", timeout=20).json()

    def wait_until(self, what, seconds=60):
        end = time.monotonic() + seconds
        while not what(self.health()):
            assert time.monotonic() < end, self.health()
            time.sleep(0.1)

    def close(self):
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    paintings = folder / "paintings"
    paintings.mkdir()
    PIL.Image.effect_noise((96, 96), 80).convert("RGB").save(paintings / "my_noise.png")
    (paintings / "no picture.jpg").write_text("text")
    limits = ["--max-size", "256", "--max-upload", "2MB", "--max-pixels", "4", "--waiting", "2"]
    server = Server(folder, "--styles", str(paintings), *limits)
    yield server
    server.close()
    assert server.process.returncode == 0, server.log.read_text()
    assert not list(server.temporary.iterdir())  # nothing is left behind
    assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    """A photo's file, 96 × 64."""
    rows, columns = np.mgrid[:64, :96]
    pixels = np.stack([rows * 4, columns * 2, 128 + 60 * np.sin(rows / 5)], -1).astype(np.uint8)
    path = tmp_path_factory.mktemp("photos") / "me & you.jpg"
    PIL.Image.fromarray(pixels).save(path, quality=95)
    return path


# -- the form ----------------------------------------------------------------------------------------------


def components():
    import gradio as gr

    with gr.Blocks():
        return form.build({"weights": lambda: ["vgg19"], "init": lambda: ["content", "noise"]})


def test_every_option_is_on_the_page():
    assert {*components(), *form.OWN, *form.OWNED} == set(fields_of(StylizeOptions))


@pytest.mark.parametrize("name", PRESETS)
def test_what_the_form_shows_makes_the_options_again(name):
    options = options_of(StylizeOptions, name)
    names = components()
    shown = dict(zip(names, form.show(options, names), strict=True))
    again = form.read({**shown, "size": options.size, "strength": options.strength})
    assert again == options


def test_the_form_starts_with_the_defaults():
    shown = {name: component.value for name, component in components().items()}
    assert form.read(shown) == StylizeOptions()


def test_the_form_names_what_will_not_do():
    with pytest.raises(ValueError, match="style_layers"):
        form.read({"style_layers": "relu1_1=x"})
    with pytest.raises(ValueError, match="time_budget is 'soon'"):
        form.read({"time_budget": "soon"})
    with pytest.raises(ValueError, match="scales is 900; at most 8"):
        form.read({"scales": "900"})
    assert form.read({"time_budget": "2.5", "scales": " 3 "}) == StylizeOptions(time_budget=2.5, scales=3)


def test_masks_by_colour():
    layer = np.zeros((8, 8, 4), np.uint8)
    layer[:4] = (230, 57, 70, 255)
    layer[4:, :4] = (42, 157, 143, 255)
    masks = masks_of({"layers": [layer]})
    assert masks.keys() == {"keep", "1"}
    assert (masks["keep"][:4] == 255).all()
    assert not masks["keep"][4:].any()
    assert masks["1"].sum() == 16 * 255
    assert masks_of(None) == masks_of({"layers": []}) == {}


# -- jobs --------------------------------------------------------------------------------------------------


def test_a_job_with_everything(tmp_path, portrait):
    """Masks, several styles, a start of one's own: the command that is told makes the same picture."""
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :48] = 255
    other = tmp_path / "other.png"
    PIL.Image.effect_noise((128, 96), 60).convert("RGB").save(other)
    options = StylizeOptions(**QUICK, style_weights=(0.5, 0.5), color="luminance")
    order = Order(str(portrait), ["mosaic", str(other)], options, {"keep": mask}, (), str(other))
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    *seen, result = Studio(Limits(), frozenset(["mosaic"])).paint(order, visitor, threading.Event())
    assert isinstance(result, Result)
    assert seen[-1].done
    made, jpeg, drawn = result.files
    assert images.read(jpeg).size == (85, 128)
    words = result.command.split(" -o ")[1]
    assert str(tmp_path) not in result.command
    work = tmp_path / "elsewhere"
    work.mkdir()
    for path in (portrait, other, drawn):
        shutil.copy(path, work)
    again = subprocess.run(
        [sys.executable, "-m", "impasto", *shlex.split(result.command)[1:], "-q"],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr + words
    np.testing.assert_array_equal(PIL.Image.open(work / made.name), PIL.Image.open(made))
    assert record.command(images.read_settings(made), "x.png") == record.command(
        images.read_settings(work / made.name), "x.png"
    )


def test_at_once(tmp_path, portrait):
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    order = Order(str(portrait), ["mosaic"], FastOptions(size=128))
    *seen, result = Studio(Limits(), frozenset(["mosaic"])).paint(order, visitor, threading.Event())
    assert not any(told.sketch for told in seen)
    assert seen[-1].done
    assert images.read(result.files[0]).size == (85, 128)
    assert result.command.startswith("impasto fast ")
    assert result.settings["operation"] == "fast"


@pytest.mark.parametrize("question", list(sight.QUESTIONS))
def test_what_the_network_sees(tmp_path, portrait, question, monkeypatch):
    monkeypatch.setattr(sight, "SIZE", 64)
    monkeypatch.setattr(sight, "ITERATIONS", 4)
    monkeypatch.setattr("impasto.explain.units.STEPS", 2)
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    studio = Studio(Limits(), frozenset(["mosaic"]))
    asked = (studio, question, str(portrait), "mosaic", ["swirls"], "relu2_1", visitor)
    *told, page = sight.answer(*asked, threading.Event())
    assert all(0 <= share <= 1 for _, share in told)
    text = page.read_text()
    assert "data:image/png;base64" in text
    assert page.is_relative_to(visitor.folder)
    stop = threading.Event()
    stop.set()
    assert list(sight.answer(*asked, stop)) == [("stopped", 0.0)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": "why?"}, "unknown question"),
        ({"layer": "relu9_9"}, "unknown layer"),
        ({"photo": "x"}, "no such"),
    ],
)
def test_what_cannot_be_asked(tmp_path, portrait, changes, said):
    given = {"question": next(iter(sight.QUESTIONS)), "photo": str(portrait), "layer": "relu1_1"} | changes
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    with pytest.raises((ValueError, impasto.ImpastoError), match=said):
        list(
            sight.answer(
                Studio(Limits()),
                given["question"],
                given["photo"],
                "mosaic",
                [],
                given["layer"],
                visitor,
                threading.Event(),
            )
        )


def test_the_slow_way_begins_with_a_sketch(tmp_path, portrait):
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    order = Order(str(portrait), ["mosaic"], StylizeOptions(**QUICK))
    stop = threading.Event()
    stop.set()  # before anything is painted: the picture is of the slow way all the same
    first, *rest, result = Studio(Limits(), frozenset(["mosaic"])).paint(order, visitor, stop)
    assert first.sketch
    assert not first.curve
    assert not any(told.sketch for told in rest)
    assert rest[-1].done
    assert rest[-1].step.losses
    assert result.settings["operation"] == "stylize"


def refused(order, limits=None):
    with pytest.raises(ValueError, match=".+") as caught:
        Studio(limits or Limits(), frozenset(["mosaic"])).check(order)
    return str(caught.value)


def test_what_a_server_does_not_do(portrait):
    photo = str(portrait)
    assert "choose a style" in refused(Order(photo, [], StylizeOptions()))
    assert "at most 4" in refused(Order(photo, ["mosaic"] * 5, StylizeOptions()))
    assert "at most 1024 px" in refused(Order(photo, ["mosaic"], StylizeOptions(size=2048)))
    assert "at most 1024 px" in refused(Order(photo, ["mosaic"], StylizeOptions(size=None)))
    assert "million" in refused(Order(photo, ["mosaic"], StylizeOptions()), Limits(pixels=1000))
    assert "init" in refused(Order(photo, ["mosaic"], StylizeOptions(init="/etc/passwd")))
    assert "weights" in refused(Order(photo, ["mosaic"], StylizeOptions(weights="/etc/passwd")))
    assert "masks" in refused(Order(photo, ["mosaic"], StylizeOptions(content_mask={"1": "/etc/passwd"})))
    assert "models" in refused(Order(photo, ["mosaic"], FastOptions(model="/etc/passwd")))
    assert "at most 1024 px" in refused(Order(photo, ["mosaic"], FastOptions(size=2048)))
    assert "style_scale" in refused(Order(photo, ["mosaic"], StylizeOptions(style_scale=(50.0,))))


def test_a_job_ends_when_its_time_is_over_or_its_visitor_left(tmp_path, portrait):
    order = Order(str(portrait), ["mosaic"], StylizeOptions(**QUICK | {"iterations": 2000}))
    visitor = visitors.Visitor(tmp_path, requests=1)
    *_, end, result = Studio(Limits(seconds=0.5), frozenset(["mosaic"])).paint(order, visitor, threading.Event())
    assert "stopped after" in end.note
    assert result.files[0].exists()
    visitor.requests, visitor.seen = 0, time.monotonic() - 60
    studio = Studio(Limits())
    seen = list(studio.paint(order, visitor, threading.Event()))
    assert not any(isinstance(told, Result) for told in seen)
    assert studio.running == 0


def test_a_folder_of_styles(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        gallery.collect(tmp_path, tmp_path / "none")
    with pytest.raises(ValueError, match="no picture"):
        gallery.collect(tmp_path, tmp_path)


# -- one visitor and another -------------------------------------------------------------------------------


def test_nobody_reads_what_is_not_theirs(server, portrait):
    mine, theirs = requests.Session(), requests.Session()
    for session in (mine, theirs):
        session.get(server.address + "/", timeout=20)
    upload = f"{server.address}/gradio_api/upload"
    (path,) = mine.post(upload, files={"files": (portrait.name, portrait.read_bytes())}, timeout=20).json()
    file = f"{server.address}/gradio_api/file="
    assert mine.get(file + path, timeout=20).content == portrait.read_bytes()
    assert theirs.get(file + path, timeout=20).status_code == 403
    assert requests.get(file + path, timeout=20).status_code == 403  # without a cookie
    # Nor by way of a job.
    call = f"{server.address}/gradio_api/call/stylize"
    data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, ["mosaic"], None, QUICK, False]}
    assert theirs.post(call, json=data, timeout=20).status_code == 403
    assert mine.post(call, json=data, timeout=20).status_code == 200
    # What everyone sees.
    (style,) = server.temporary.rglob("public/styles/0000.jpg")
    assert theirs.get(file + str(style), timeout=20).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/etc/../etc/passwd",
        "%2Fetc%2Fpasswd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/proc/self/environ",
        "pyproject.toml",
        "TEMPORARY/public/../../log.txt",
        "TEMPORARY/uploads",
        "TEMPORARY/public/%2e%2e/%2e%2e/%2e%2e/log.txt",
        "http://127.0.0.1:9/x",
        "file:///etc/passwd",
        "\x00",
    ],
)
@pytest.mark.parametrize("prefix", ["/gradio_api/file=", "/file=", "/gradio_api/file/"])
def test_no_file_of_the_server(server, prefix, path):
    (home,) = server.temporary.glob("impasto-web-*")
    path = path.replace("TEMPORARY", str(home)).replace("\x00", "%00")
    with socket.create_connection(server.address.removeprefix("http://").split(":"), 20) as connection:
        request = f"GET {prefix}{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())  # as it is: nothing tidies the path on the way
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert re.match(rb"HTTP/1.1 (403|404|400)", answer), answer[:200]
    assert b"root:" not in answer


def test_no_request_makes_the_server_ask_others(server, portrait):
    asked = []
    trap = socket.create_server(("127.0.0.1", 0))
    trap.settimeout(0.2)

    def listen():
        while not done.is_set():
            try:
                asked.append(trap.accept())
            except TimeoutError:
                continue

    done = threading.Event()
    listener = threading.Thread(target=listen)
    listener.start()
    elsewhere = f"http://127.0.0.1:{trap.getsockname()[1]}/x.png"
    session = requests.Session()
    try:
        for address in (f"/gradio_api/proxy={elsewhere}", f"/gradio_api/file={elsewhere}"):
            assert session.get(server.address + address, timeout=20).status_code in (403, 404)
        for file in ({"path": elsewhere}, {"path": None, "url": elsewhere}, {"url": elsewhere}):
            data = {"data": [file | {"meta": {"_type": "gradio.FileData"}}, ["mosaic"], None, QUICK, False]}
            answer = session.post(f"{server.address}/gradio_api/call/stylize", json=data, timeout=20)
            assert answer.status_code == 403
    finally:
        done.set()
        listener.join()
        trap.close()
    assert not asked


def test_a_header_does_not_make_one_someone_else(server):
    answer = requests.get(server.address + "/", headers={visitors.HEADER: "0" * 32}, timeout=20)
    assert visitors.COOKIE in answer.cookies
    for cookie in ("short", "../../../../etc/passwd", "x" * 5000):
        answer = requests.get(server.address + "/", headers={"Cookie": f"{visitors.COOKIE}={cookie}"}, timeout=20)
        assert visitors.COOKIE in answer.cookies


def test_uploads_have_limits(server):
    upload = f"{server.address}/gradio_api/upload"
    session = requests.Session()
    session.get(server.address + "/", timeout=20)
    answer = session.post(upload, files={"files": ("big.png", os.urandom(2_100_000))}, timeout=60)
    assert answer.status_code == 413
    codes = [
        session.post(upload, files={"files": (f"{n}.png", os.urandom(1_900_000))}, timeout=60).status_code
        for n in range(14)
    ]
    assert codes[0] == 200
    assert codes[-1] == 413
    large = {"data": ["x" * (visitors.LARGEST_REQUEST + 1)]}
    assert session.post(f"{server.address}/gradio_api/call/stylize", json=large, timeout=60).status_code == 413


def test_files_go_when_their_visitor_does(tmp_path):
    everyone = visitors.Visitors(tmp_path / "home", 100)
    shared = everyone.uploads / "hash" / "a.png"
    shared.parent.mkdir()
    shared.write_bytes(b"x")
    for name in ("a" * 32, "b" * 32):
        everyone.keep(name, [str(shared), "/etc/passwd"])
        (everyone[name].folder / "result.png").write_bytes(b"x")
    assert not everyone.may_read("a" * 32, "/etc/passwd")
    everyone["b" * 32].requests = 1
    everyone.sweep(longest=0)
    assert not (everyone.painted / ("a" * 32)).exists()
    assert (everyone.painted / ("b" * 32) / "result.png").exists()
    assert shared.exists()  # b has it still
    everyone["b" * 32].requests = 0
    everyone.sweep(longest=0)
    assert not shared.exists()


# -- programs ----------------------------------------------------------------------------------------------


@pytest.fixture
def client(server):
    return Client(server.address, verbose=False)


def test_a_program_asks(client, portrait, tmp_path):
    picture, settings = client.predict(
        photo=handle_file(portrait), styles=["mosaic", "my noise"], options=QUICK, api_name="/stylize"
    )
    assert images.read(picture).size == (85, 128)
    assert images.read_settings(picture) == settings
    assert settings["pictures"] == [portrait.name, "mosaic", "my_noise.png"]
    fields = fields_of(StylizeOptions)
    assert settings["options"]["iterations"] == 12
    assert text_of(fields["style_layers"], settings["options"]["style_layers"]) == QUICK["style_layers"]
    own, _ = client.predict(
        photo=handle_file(portrait), paintings=[handle_file(picture)], options=QUICK, api_name="/stylize"
    )
    assert images.read(own).size == (85, 128)


def test_a_program_asks_for_it_at_once(client, portrait):
    picture, settings = client.predict(
        photo=handle_file(portrait), styles=["mosaic"], options={"size": 96}, fast=True, api_name="/stylize"
    )
    assert images.read(picture).size == (64, 96)
    assert settings["operation"] == "fast"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"fast": True}, "unknown option 'iterations'"),
        ({"fast": True, "options": {"model": "/etc/passwd"}}, "models"),
        ({"styles": []}, "choose a style"),
        ({"styles": ["nothing"]}, "unknown style 'nothing'"),
        ({"options": {"size": 4000}}, "at most 256 px"),
        ({"options": {"iteration": 5}}, "unknown option 'iteration'"),
        ({"options": {"iterations": -1}}, "iterations"),
        ({"options": {"scales": 10**9}}, "scales is 1000000000; at most 8"),
        ({"options": {"weights": "/etc/passwd"}}, "unknown weights"),
        ({"options": {"init": "/etc/passwd"}}, "unknown init"),
        ({"options": {"style_mask": {"1": "/etc/passwd"}}}, "masks"),
        ({"options": 5}, "options"),
        ({"photo": "text"}, "cannot read"),
        ({"photo": "empty"}, "cannot read"),
        ({"photo": "large"}, "at most 4 million"),
    ],
)
def test_a_program_is_told_what_is_wrong(client, portrait, tmp_path, asked, said):
    files = {"text": b"no picture", "empty": b""}
    photo = portrait
    if kind := asked.get("photo"):
        photo = tmp_path / f"{kind}.jpg"
        photo.write_bytes(files.get(kind, b""))
        if kind == "large":
            PIL.Image.new("1", (4000, 2000)).save(photo)
    given = {"photo": handle_file(photo), "styles": ["mosaic"], "options": QUICK} | {
        key: value for key, value in asked.items() if key != "photo"
    }
    with pytest.raises(Exception, match=said) as caught:
        client.predict(**given, api_name="/stylize")
    assert "/tmp" not in str(caught.value)


def test_more_than_may_wait_are_turned_away(server, portrait):
    clients = [Client(server.address, verbose=False) for _ in range(6)]
    asked = QUICK | {"iterations": 120}
    jobs = [
        c.submit(photo=handle_file(portrait), styles=["mosaic"], options=asked, api_name="/stylize") for c in clients
    ]
    messages = []
    for job in jobs:
        try:
            assert images.read(job.result(timeout=120)[0]).size == (85, 128)
        except Exception as error:
            messages.append(str(error))
    assert 0 < len(messages) < 6
    assert all("full" in message for message in messages), messages


# -- people ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no Chromium here")
    sync_api = pytest.importorskip("playwright.sync_api")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
    quiet += ["--disable-component-update", "--disable-sync", "--no-first-run"]
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=quiet)
        yield chromium
        chromium.close()


class Page:
    """The page in a tab of a browser of a visitor's own."""

    def __init__(self, browser, server, **context):
        self.context = browser.new_context(accept_downloads=True, **context)
        self.tab = self.context.new_page()
        self.requests, self.errors = [], []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.goto(server.address)
        self.tab.wait_for_selector("#paint")

    def __getattr__(self, name):
        return getattr(self.tab, name)

    def give(self, path):
        self.tab.set_input_files("#photo input[type=file]", path)
        self.tab.wait_for_selector("#photo img")

    def fill(self, **options):
        if not self.tab.locator("#group-time").is_visible():
            self.tab.click("#advanced > button")
            self.tab.wait_for_selector("#group-time")
        for name, value in options.items():
            field = self.tab.get_by_label(name, exact=False).first
            if not field.is_visible():
                group = fields_of(StylizeOptions)[name.lower().replace(" ", "_")].metadata["group"]
                self.tab.click(f"#group-{group.lower()} > button")
            field.fill(str(value))
            field.press("Tab")

    def status(self):
        return self.tab.inner_text("#status")

    def preview(self):
        image = self.tab.query_selector("#live img")
        return image and image.get_attribute("src")


def quickly(page, iterations):
    """Fill in what makes an evaluation quick; many of them are there to be watched."""
    page.fill(**{"Scales": 1, "Iterations": iterations})
    page.fill(**{"Style layers": "relu1_1,relu2_1", "Content layers": "relu2_2"})


def downloaded(page, button, folder):
    with page.expect_download() as download:
        page.click(button)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_a_person_paints(server, browser, portrait, tmp_path):
    page = Page(browser, server, viewport={"width": 1280, "height": 900})
    page.give(portrait)
    page.get_by_role("button", name="Thumbnail 3").click()
    page.wait_for_function("document.querySelector('#chosen').innerText.includes('mosaic')")
    quickly(page, 2000)
    page.get_by_role("button", name="Masks over the photo").click()
    page.wait_for_selector("#masks canvas")
    page.wait_for_timeout(1500)
    box = page.locator("#masks canvas").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.5, steps=10)
    page.mouse.up()
    page.wait_for_timeout(500)
    page.click("#paint")
    seen = set()
    end = time.monotonic() + 60
    while len(seen) < 3:
        assert time.monotonic() < end, page.status()
        page.wait_for_timeout(100)
        seen |= {page.preview()} - {None}
    assert re.search(r"\d+ of 2000 · about .* left", page.status())
    pixels = page.evaluate("document.querySelector('#live img').naturalWidth")
    assert pixels == 256
    page.click("#stop")
    page.wait_for_selector("#compare img")
    page.wait_for_function("document.querySelector('#status').innerText.includes('stopped')")
    png, jpeg = (downloaded(page, button, tmp_path) for button in ("#png", "#jpeg"))
    assert png.name == f"{portrait.stem}-impasto.png"
    shown = page.evaluate(
        """async () => {
            const images = [...document.querySelectorAll('#compare img')];
            const after = images.find(image => image.src.endsWith('.png'));
            const bytes = new Uint8Array(await (await fetch(after.src)).arrayBuffer());
            return Array.from(bytes);
        }"""
    )
    assert bytes(shown) == png.read_bytes()  # the file is what the page shows
    settings = images.read_settings(png)
    assert settings == images.read_settings(jpeg)
    assert settings["pictures"] == [portrait.name, "mosaic"]
    assert settings["options"]["iterations"] == 2000
    assert settings["options"]["content_mask"] == {"keep": "mask-keep.png"}
    page.wait_for_selector("#command")
    assert (
        page.inner_text("#command").replace("\n", "").lstrip("1").startswith("impasto stylize 'me & you.jpg' mosaic")
    )
    page.wait_for_function("!document.querySelector('#paint').disabled")
    # Nothing but this machine was asked for anything.
    assert all(url.startswith((server.address, "data:", "blob:")) for url in page.requests)
    assert not page.errors
    page.context.close()


def test_a_person_looks_inside(server, browser, portrait):
    page = Page(browser, server, viewport={"width": 1280, "height": 900})
    page.get_by_role("tab", name="See what the network sees").click()
    page.set_input_files("#seen-photo input[type=file]", portrait)
    page.wait_for_selector("#seen-photo img")
    page.get_by_label("What does a Gram matrix say?").check()
    page.click("#look")
    page.wait_for_selector("#report iframe", timeout=60_000)
    frame = page.frame_locator("#report iframe")
    frame.locator("h1").wait_for()
    assert frame.locator("h1").inner_text() == "What a Gram matrix says"
    assert all(frame.locator("img").evaluate_all("images => images.map(image => image.naturalWidth > 50)"))
    assert not page.errors
    page.context.close()


def test_bad_uploads_are_said_to_be_bad(server, browser, tmp_path, portrait):
    page = Page(browser, server)
    bomb = tmp_path / "bomb.png"
    PIL.Image.new("1", (30000, 30000)).save(bomb)
    files = {"text.jpg": b"not a picture", "empty.jpg": b"", "bomb.png": bomb.read_bytes()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#photo input[type=file]", tmp_path / name)
        page.wait_for_timeout(700)
        page.click("#paint")
        page.wait_for_selector("#status .bad", timeout=20000)
        assert name in page.status() or "Give a photo" in page.status()
        assert str(server.temporary) not in page.inner_text("body")
        page.reload()
        page.wait_for_selector("#paint")
    page.context.close()


def test_two_people_at_once(server, browser, portrait):
    pages = [Page(browser, server) for _ in range(2)]
    for page in pages:
        page.give(portrait)
        quickly(page, 60)
        page.click("#paint")
    for page in pages:
        page.wait_for_selector("#png a, #png:visible", timeout=60000)
        page.wait_for_selector("#compare img", timeout=60000)
    results = [page.evaluate("document.querySelectorAll('#compare img')[1].src") for page in pages]
    assert results[0] != results[1]
    other = pages[0].evaluate("async (url) => (await fetch(url)).status", results[1])
    own = pages[1].evaluate("async (url) => (await fetch(url)).status", results[1])
    assert (own, other) == (200, 403)
    for page in pages:
        page.context.close()


def test_a_job_ends_when_its_visitor_leaves(server, browser, portrait):
    page = Page(browser, server)
    page.give(portrait)
    quickly(page, 2000)
    page.click("#paint")
    server.wait_until(lambda health: health["running"] == 1)
    page.context.close()
    server.wait_until(lambda health: health["running"] == 0, 40)


def test_a_phone_and_a_keyboard(server, browser, portrait):
    page = Page(browser, server, viewport={"width": 375, "height": 800}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea')]
            .filter(e => e.offsetParent && e.type !== 'file')
            .filter(e => !(e.innerText || e.title || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
                           || (e.labels && e.labels.length)))
            .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert not unnamed
    page.give(portrait)
    page.focus("#paint")
    reached = page.evaluate("document.activeElement.id")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#status').innerText.includes('Size 1')", timeout=60000)
    page.focus("#stop")
    page.keyboard.press("Enter")
    page.wait_for_selector("#compare img", timeout=60000)
    assert reached == "paint"
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    page.context.close()


# -- the command -------------------------------------------------------------------------------------------


def test_a_password(tmp_path):
    server = Server(tmp_path, "--auth", "ada:secret")
    try:
        assert requests.get(f"{server.address}/config", timeout=20).status_code == 401
        assert server.health()["status"] == "ok"
        with pytest.raises(Exception, match=r"401|[Aa]uth|login"):
            Client(server.address, verbose=False)
        Client(server.address, verbose=False, auth=("ada", "secret"))
    finally:
        server.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--auth", "nobody"], "NAME:PASSWORD"),
        (["--memory", "much"], "--memory"),
        (["--max-upload", "big"], "--max-upload"),
        (["--styles", "nowhere"], "no folder"),
    ],
)
def test_mistakes_on_the_command_line(arguments, said, capsys):
    assert cli.run(["web", "--no-browser", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_port_that_is_taken(server, capsys):
    assert cli.run(["web", "--no-browser", "--port", server.address.rpartition(":")[2]]) == 2
    assert "choose another port" in capsys.readouterr().err


def test_without_the_extra(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("impasto.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.run(["web"]) == 2
    assert "pip install 'impasto[web]'" in capsys.readouterr().err
