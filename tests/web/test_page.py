"""The page, in a real browser where one is installed."""

import itertools
import re
import tempfile
import time
import types
from pathlib import Path

import PIL.Image
import pytest
from browsing import FAINT, SMALL
from serving import WARNINGS

pytest.importorskip("gradio")
from impasto import images
from impasto.settings.fields import fields_of
from impasto.settings.options import StylizeOptions
from impasto.web.jobs import JobResult
from impasto.web.sections import EarlierSection
from impasto.web.visitors import Visitor

#: The address of the instant picture that the page shows.
INSTANT = "[...document.querySelectorAll('#instant-compare img')].find(image => image.src.endsWith('.png'))?.src"

#: The visitor's jobs, as programs see them.
JOBS = "async () => (await fetch('/api/jobs')).json()"

#: Stops all jobs of the visitor.
STOP_ALL = """async () => {
    for (const job of await (await fetch('/api/jobs')).json()) await fetch('/api/jobs/' + job.id, {method: 'DELETE'});
}"""

pytestmark = WARNINGS


class Page:
    """The page as a new visitor sees it."""

    def __init__(self, browser, server, **context):
        self.context = browser.new_context(accept_downloads=True, **context)
        self.address = server.address
        self.requests, self.errors = [], []
        self.open_tab()
        self.open()

    def open_tab(self):
        self.tab = self.context.new_page()
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))

    def open(self):
        self.requests.clear()
        self.errors.clear()
        self.tab.goto(f"{self.address}/form")
        self.tab.wait_for_selector("#paint")

    def leave(self):
        """Stop the visitor's jobs, since one left running would keep others waiting, and forget the visitor."""
        self.tab.evaluate(STOP_ALL)
        self.tab.goto("about:blank")
        clear = {"origin": self.address, "storageTypes": "all"}
        self.context.new_cdp_session(self.tab).send("Storage.clearDataForOrigin", clear)

    def click_until(self, button, seen):
        """Click until `seen` says that the click did something: none does while Gradio mounts its components."""
        for _ in range(60):
            self.tab.click(button)
            for _ in range(10):
                if seen():
                    return
                self.tab.wait_for_timeout(200)
        raise AssertionError(f"clicks on {button} do nothing")

    def __getattr__(self, name):
        return getattr(self.tab, name)

    def upload(self, path):
        self.tab.set_input_files("#photo input[type=file]", path)
        self.tab.wait_for_selector("#photo img")

    def fill(self, **options):
        if not self.tab.locator("#group-time").is_visible():
            self.click_until("#advanced > button", self.tab.locator("#group-time").is_visible)
        for name, value in options.items():
            field = self.tab.get_by_label(re.compile(rf"^\s*{name}")).first  # followed by its help
            if not field.is_visible():
                group = fields_of(StylizeOptions)[name.lower().replace(" ", "_")].metadata["group"]
                self.tab.click(f"#group-{group.lower()} > button")
            field.fill(str(value))
            field.press("Tab")

    def status(self):
        return self.tab.inner_text("#fine-status")

    def choose(self, style):
        # A click is lost when a picture that arrives moves the tile under it.
        chosen = self.tab.locator("#chosen", has_text=style)
        self.click_until(f"#styles button:has-text('{style}')", chosen.is_visible)

    def upload_painting(self, path):
        with self.tab.expect_file_chooser() as chooser:
            self.tab.click("#own")
        chooser.value.set_files(path)

    def press(self, dial, key):
        self.tab.locator(f"{dial} input[type=range]").focus()
        self.tab.keyboard.press(key)

    def instant(self, before=None):
        """The address of the instant picture, once there is another than `before`."""
        end = time.monotonic() + 60
        while self.tab.evaluate(INSTANT) in (None, before):
            assert time.monotonic() < end, (self.tab.inner_text("#chosen"), self.tab.inner_text("#status"), self.errors)
            self.tab.wait_for_timeout(50)
        return self.tab.evaluate(INSTANT)

    def settings(self):
        """Those in the file of the instant picture."""
        with tempfile.TemporaryDirectory() as folder:
            return images.read_settings(download(self, "#instant-png", Path(folder)))

    def preview(self):
        image = self.tab.query_selector("#live img")
        return image and image.get_attribute("src")


@pytest.fixture(scope="module")
def pages(browser):
    """Kind of context -> the pages that tests use one after the other: the browser knows their compiled code."""
    pages = {}
    yield pages
    for page in itertools.chain(*pages.values()):
        page.context.close()


@pytest.fixture
def visit(browser, server, pages):
    """Opens the page for a new visitor, in a context of this kind."""
    used = []

    def visit(**context):
        known = pages.setdefault(repr(context), [])
        page = next((page for page in known if page not in used), None)
        if page:
            page.open()
        else:
            page = Page(browser, server, **context)
            known.append(page)
        used.append(page)
        return page

    yield visit
    for page in used:
        page.leave()


def fill_quick_options(page, iterations):
    """Fill in options with which an evaluation is quick, so that there can be many."""
    page.fill(**{"Scales": 1, "Iterations": iterations})
    page.fill(**{"Style layers": "relu1_1,relu2_1", "Content layers": "relu2_2", "Style weight": 20})


def download(page, button, folder):
    with page.expect_download() as event:
        page.click(button)
    path = folder / event.value.suggested_filename
    event.value.save_as(path)
    return path


def test_painting_with_a_mask(visit, server, portrait, tmp_path):
    page = visit(viewport={"width": 1280, "height": 900})
    page.upload(portrait)
    page.choose("mosaic")
    page.wait_for_function("document.querySelector('#chosen').innerText.includes('mosaic')")
    fill_quick_options(page, 2000)
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
    previews = set()
    end = time.monotonic() + 60
    while len(previews) < 3:
        assert time.monotonic() < end, page.status()
        page.wait_for_timeout(100)
        previews |= {page.preview()} - {None}
    assert re.search(r"\d+ of 2000 · about .* left", page.status())
    page.wait_for_function("document.querySelector('#live img')?.naturalWidth == 256")
    page.click("#stop")
    page.wait_for_selector("#compare img")
    page.wait_for_function("document.querySelector('#fine-status').innerText.includes('stopped')")
    png, jpeg = (download(page, button, tmp_path) for button in ("#png", "#jpeg"))
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
    page.locator("button", has_text="The same on the command line").locator("visible=true").click()
    page.wait_for_selector("#command", state="visible")
    assert page.inner_text("#command").replace("\n", "").lstrip("1").startswith("impasto stylize 'me & you.jpg' mosaic")
    page.wait_for_function("!document.querySelector('#paint').disabled")
    # The page requested nothing from other hosts.
    assert all(url.startswith((server.address, "data:", "blob:")) for url in page.requests)
    assert not page.errors


def test_an_explanation(visit, portrait):
    page = visit(viewport={"width": 1280, "height": 900})
    page.click_until("role=tab[name='Look inside the network']", page.locator("#seen-photo").is_visible)
    page.set_input_files("#seen-photo input[type=file]", portrait)
    page.wait_for_selector("#seen-photo img")
    page.get_by_label("What does a Gram matrix say?").check()
    page.click("#look")
    page.wait_for_selector("#report iframe", timeout=60_000)
    frame = page.frame_locator("#report iframe")
    frame.locator("h1").wait_for()
    assert frame.locator("h1").inner_text() == "What a Gram matrix measures"
    assert all(frame.locator("img").evaluate_all("images => images.map(image => image.naturalWidth > 50)"))
    assert not page.errors


def test_bad_uploads_are_reported(visit, server, tmp_path, portrait):
    page = visit()
    bomb = tmp_path / "bomb.png"
    PIL.Image.new("1", (30000, 30000)).save(bomb)
    files = {"text.jpg": b"not a picture", "bomb.png": bomb.read_bytes()}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        page.set_input_files("#photo input[type=file]", tmp_path / name)
        page.locator(".toast-body", has_text=name).wait_for()
        assert str(server.temporary) not in page.inner_text("body")
        page.click_until("#paint", page.get_by_text("Add a photo first.").first.is_visible)
        page.wait_for_function("!document.querySelector('#paint').disabled")
        # The page stays usable.
        page.upload(portrait)
        page.instant()
        page.wait_for_function("document.querySelector('#status').innerText.includes('256×171 px')")
        page.reload()
        page.wait_for_selector("#paint")


def test_an_option_that_does_not_fit_is_reported(visit, portrait):
    page = visit()
    page.upload(portrait)
    shown = page.instant()
    page.choose("The Scream")
    shown = page.instant(shown)
    page.fill(**{"Style scale": "2"})
    page.wait_for_selector("#status .bad")
    assert "the-scream is a style of the gallery" in page.inner_text("#status")
    page.fill(**{"Style scale": "1"})
    page.instant(shown)
    page.wait_for_selector("#status .bad", state="detached")


def test_a_picture_is_painted_at_once(visit, portrait):
    page = visit(viewport={"width": 1280, "height": 900})
    assert "Add a photo" in page.inner_text("#status")
    page.upload(portrait)
    first = page.instant()
    assert "256×171 px in" in page.inner_text("#status")
    page.wait_for_selector("#learn-start")  # the painting of the server, which is not in the gallery
    assert page.settings()["pictures"] == [portrait.name, "my_noise.png"]
    page.choose("The Great Wave")
    second = page.instant(first)
    page.wait_for_selector("#learn-start", state="hidden")
    assert "Katsushika Hokusai" in page.inner_text("#chosen")
    settings = page.settings()
    assert settings["operation"] == "fast"
    assert settings["pictures"] == [portrait.name, "great-wave"]
    for _ in range(5):
        page.press("#strength", "ArrowLeft")
    page.instant(second)
    page.wait_for_timeout(1500)
    assert page.settings()["options"]["strength"] == 0.75  # the last of the changes
    last = page.instant()
    page.press("#size", "ArrowLeft")
    page.instant(last)
    page.wait_for_function("document.querySelector('#status').innerText.includes('240×160 px')")
    page.get_by_role("button", name="Remove Image").first.click()
    page.wait_for_function("document.querySelector('#status').innerText.includes('Add a photo')")
    assert not page.errors


def test_uploads_that_cannot_be_read_are_refused_kindly(visit, portrait, tmp_path):
    damaged = tmp_path / "damaged.jpg"
    damaged.write_bytes(portrait.read_bytes()[:300])
    page = visit()
    page.tab.set_input_files("#photo input[type=file]", damaged)
    page.wait_for_selector(".toast-body")
    assert "This picture cannot be used: cannot read damaged.jpg" in page.inner_text(".toast-body")
    assert "Vips" not in page.inner_text(".toast-body")
    page.wait_for_selector("#photo input[type=file]", state="attached")  # the input is empty again
    assert page.locator("#photo img").count() == 0
    with page.expect_file_chooser() as chooser:
        page.click("#own")
    chooser.value.set_files(damaged.rename(tmp_path / "another.jpg"))
    page.get_by_text("cannot read another.jpg").wait_for()
    assert not page.errors


def test_a_photo_of_an_iphone_is_shown_and_painted(visit, portrait, tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    heic = tmp_path / "IMG_0001.heic"
    pillow_heif.from_pillow(PIL.Image.open(portrait)).save(heic)
    page = visit()
    page.tab.set_input_files("#photo input[type=file]", heic)
    page.wait_for_function("document.querySelector('#photo img')?.naturalWidth == 96")
    page.instant()
    assert not page.errors


def test_paintings_of_ones_own_become_tiles_that_stay(visit, portrait, tmp_path):
    painting = tmp_path / "my_noise.png"  # as one of the server's is called
    PIL.Image.effect_noise((80, 80), 60).convert("RGB").save(painting)
    page = visit()
    count = page.locator("#styles button.thumbnail-item").count()
    page.upload_painting(painting)
    page.wait_for_function("document.querySelector('#chosen').innerText.includes('my noise (2)')")
    assert page.locator("#styles button.thumbnail-item").count() == count + 1
    page.reload()
    page.locator("#styles button", has_text="my noise (2)").wait_for()
    page.upload(portrait)
    shown = page.instant()  # in the first style, which is still chosen
    page.choose("my noise (2)")
    page.instant(shown)
    assert not page.errors


def test_a_painting_of_ones_own_is_previewed_and_learnt(visit, portrait, tmp_path):
    painting = tmp_path / "mine.png"
    PIL.Image.effect_noise((80, 80), 60).convert("RGB").save(painting)
    page = visit(viewport={"width": 1280, "height": 900})
    page.upload(portrait)
    page.choose("mosaic")
    page.wait_for_function("document.querySelector('#chosen').innerText.includes('mosaic')")
    page.upload_painting(painting)
    page.wait_for_function("document.querySelector('#offer')?.innerText.includes('mine.png')")
    assert "This is a preview" in page.inner_text("#offer")
    assert "mine.png has not been learnt yet" in page.inner_text("#offer")
    preview = page.instant()
    assert page.settings()["options"]["model"] == "any"
    page.locator("#learn-seconds input").fill("8")
    page.click("#learn-start")
    page.wait_for_selector("#learn-live img", timeout=60_000)
    assert "Learning mine.png · about" in page.inner_text("#learn-status")
    page.wait_for_selector("#learn-start", state="hidden", timeout=60_000)
    learnt = page.instant(preview)
    assert page.settings()["options"].get("model") is None
    page.press("#strength", "ArrowLeft")
    page.instant(learnt)
    # Another visitor has it at once, too, but may want to learn it for longer.
    other = visit()
    other.upload(portrait)
    other.instant()
    other.upload_painting(painting)
    other.wait_for_function("document.querySelector('#offer')?.innerText.includes('mine.png')")
    assert re.search(r"mine.png was learnt for \d+ s only", other.inner_text("#offer"))
    other.click("#learn-start")
    other.wait_for_function("document.querySelector('#learn-status').innerText.includes('about')", timeout=60_000)
    other.click("#learn-stop")
    other.wait_for_function("!document.querySelector('#learn-start').disabled", timeout=60_000)
    assert not page.errors + other.errors


def test_painting_finely_goes_on_while_a_dial_is_turned(visit, server, portrait):
    page = visit(viewport={"width": 1280, "height": 900})
    page.upload(portrait)
    page.choose("mosaic")
    page.instant()
    page.wait_for_function("document.querySelector('#chosen').innerText.includes('mosaic')")
    fill_quick_options(page, 2000)
    before = page.instant()
    page.click("#paint")
    assert page.locator("#instant-compare").is_visible()  # until there are strokes
    page.wait_for_selector("#live img", state="visible", timeout=60_000)
    page.wait_for_function("document.querySelector('#fine-status').innerText.includes('of 2000')")
    page.press("#strength", "ArrowLeft")
    page.instant(before)
    page.wait_for_selector("#instant-compare", state="visible")
    assert "of 2000" in page.status()
    assert server.health()["running"] == 1
    page.get_by_role("tab", name="Fine").click()
    page.wait_for_selector("#live img", state="visible")
    page.click("#stop")
    page.wait_for_selector("#compare img", state="visible")
    assert not page.errors


def test_an_instant_picture_does_not_wait_for_the_job_of_another_visitor(visit, server, portrait):
    busy, page = visit(), visit()
    busy.upload(portrait)
    fill_quick_options(busy, 2000)
    busy.click("#paint")
    busy.wait_for_function("document.querySelector('#fine-status').innerText.includes('of 2000')", timeout=60_000)
    page.upload(portrait)
    page.instant()
    assert "of 2000" in busy.status()


def test_two_visitors_cannot_see_each_others_results(visit, portrait):
    pages = [visit() for _ in range(2)]
    for page in pages:
        page.upload(portrait)
        fill_quick_options(page, 20)
        page.click("#paint")
    for page in pages:
        page.wait_for_selector("#png a, #png:visible", timeout=60000)
        page.wait_for_selector("#compare img", timeout=60000)
    results = [page.evaluate("document.querySelectorAll('#compare img')[1].src") for page in pages]
    assert results[0] != results[1]
    other = pages[0].evaluate("async (url) => (await fetch(url)).status", results[1])
    own = pages[1].evaluate("async (url) => (await fetch(url)).status", results[1])
    assert (own, other) == (200, 403)


def test_a_job_outlives_its_page(visit, server, portrait):
    """The page is closed; when it is opened again, the job is shown, can be stopped, and its picture is kept."""
    page = visit()
    page.upload(portrait)
    fill_quick_options(page, 2000)
    page.click("#paint")
    page.wait_for_function("document.querySelector('#fine-status').innerText.includes('of 2000')", timeout=60_000)
    page.tab.close()
    page.open_tab()
    page.goto(f"{server.address}/form")
    page.wait_for_selector("#live img", state="visible", timeout=60_000)
    page.wait_for_function("document.querySelector('#fine-status').innerText.includes('of 2000')")
    assert server.health()["running"] == 1
    (job,) = page.evaluate(JOBS)
    assert job["status"] == "running"
    assert job.keys() >= {"eta", "fraction", "preview"}
    page.click("#stop")
    page.wait_for_function("document.querySelector('#fine-status').innerText.includes('stopped')", timeout=60_000)
    page.wait_for_selector("#earlier img", state="visible")
    page.wait_for_function("!document.querySelector('#paint').disabled")
    page.reload()  # the picture is there, too, after the job is over
    page.wait_for_selector("#earlier img", state="visible")
    page.click("#earlier button.thumbnail-item, #earlier .thumbnail-item")
    page.wait_for_selector("#compare img", state="visible")
    page.wait_for_selector("#png", state="visible")
    (job,) = page.evaluate(JOBS)
    assert job["status"] == "done"
    for name in ("picture", "before"):
        assert page.evaluate("async (url) => (await fetch(url)).status", job[name]) == 200


def test_a_picture_is_found_from_a_strip_that_is_older_than_the_pictures(tmp_path):
    results = [JobResult([], tmp_path / name, tmp_path / name / "thumbnail.jpg", {}, "") for name in "abc"]
    visitor = Visitor(tmp_path, results=results)
    for path, found in ((results[1].thumbnail, results[1]), (tmp_path / "gone" / "thumbnail.jpg", None)):
        event = types.SimpleNamespace(index=0, value={"image": {"path": str(path)}, "caption": "a"})
        assert EarlierSection().chosen(event, visitor) is found


def test_a_line_of_jobs(visit, server, portrait):
    """Who waits is told so, and can give up waiting."""
    busy, page, other = visit(), visit(), visit()
    for each in (busy, page, other):
        each.upload(portrait)
        each.choose("mosaic")
        fill_quick_options(each, 2000)
    busy.click("#paint")
    busy.wait_for_function("document.querySelector('#fine-status').innerText.includes('of 2000')", timeout=60_000)
    page.click("#paint")
    page.wait_for_function("document.querySelector('#fine-status').innerText.includes('Next in line')")
    other.click("#paint")
    other.wait_for_function("document.querySelector('#fine-status').innerText.includes('2nd in line')")
    page.click("#stop")
    page.wait_for_function("document.querySelector('#fine-status').innerText.includes('Stopped before it began')")
    page.wait_for_function("!document.querySelector('#paint').disabled")
    other.wait_for_function("document.querySelector('#fine-status').innerText.includes('Next in line')")
    assert server.health() == {"status": "ok", "running": 1, "waiting": 1}


def test_what_is_downloaded_is_what_is_shown(visit, portrait, tmp_path):
    page = visit()
    page.upload(portrait)
    page.choose("mosaic")
    fill_quick_options(page, 12)
    page.click("#paint")
    page.wait_for_selector("#png", state="visible", timeout=60_000)
    page.fill(Iterations=2000)
    page.click("#paint")
    page.wait_for_selector("#live img", state="visible", timeout=60_000)
    page.wait_for_selector("#png", state="hidden")
    assert page.inner_text("#jpeg").strip() == "Save as it is now"
    page.click("#stop")
    page.wait_for_selector("#png", state="visible", timeout=60_000)
    assert page.inner_text("#jpeg").strip() == "Download JPEG"
    assert images.read_settings(download(page, "#png", tmp_path))["options"]["iterations"] == 2000


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (390, "dark")])
def test_all_fits_a_phone_can_be_read_and_hit(visit, portrait, width, scheme):
    page = visit(viewport={"width": width, "height": 800}, has_touch=True, is_mobile=True, color_scheme=scheme)
    page.upload(portrait)
    page.instant()
    page.fill()  # opens the options
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not page.evaluate(SMALL)
    assert not page.evaluate(FAINT)


def test_a_phone_and_a_keyboard(visit, portrait):
    page = visit(viewport={"width": 375, "height": 800}, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.get_by_role("button", name="Run").count() == 0  # Gradio's label of a button that has none
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, textarea')]
            .filter(e => e.offsetParent && e.type !== 'file')
            .filter(e => !(e.innerText || e.title || e.getAttribute('aria-label') || e.getAttribute('aria-labelledby')
                           || (e.labels && e.labels.length)))
            .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert not unnamed
    page.upload(portrait)
    page.focus("#paint")
    reached = page.evaluate("document.activeElement.id")
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('#fine-status').innerText.includes('Size 1')", timeout=60000)
    page.focus("#stop")
    page.keyboard.press("Enter")
    page.wait_for_selector("#compare img", timeout=60000)
    assert reached == "paint"
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
