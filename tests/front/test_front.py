"""The page that paints in the visitor's browser, on hosts of static files."""

import json
import re
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from browsing import FAINT, SMALL

from impasto import fast, images
from impasto.fast.learning import save_style
from impasto.fast.models import load
from impasto.images.regions import StyleSource
from impasto.web.front import FOLDER


def difference(pixels, picture):
    """The mean difference from a picture, in grey levels."""
    return np.abs(pixels[..., :3].astype(float) - np.asarray(picture)[..., :3]).mean()


#: Requests of these kinds fail, as long as pictures are large.
FAIL = """() => {
    window.send = Worker.prototype.postMessage;
    const errors = ERRORS;
    Worker.prototype.postMessage = function (message, ...more) {
        const { id, kind, request } = message, error = errors[kind];
        if (error && !(request.long <= 256)) this.onmessage({ data: { id, error } });
        else send.call(this, message, ...more);
    };
}"""


def save(page, button="#save-shown"):
    page.click("#save")
    with page.expect_download(timeout=180_000) as event:
        page.click(button)
    return event.value


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    path = tmp_path_factory.mktemp("learnt") / "mine.safetensors"
    model = load()
    painting = StyleSource("my painting.jpg", torch.rand(3, 90, 120, generator=torch.Generator().manual_seed(0)))
    save_style(path, model.styles["mosaic"], painting, model, 60)
    return path


class TestPainting:
    def test_a_sample_is_painted_already(self, visit, isolated_address):
        page = visit(isolated_address)
        assert page.get_attribute("body", "data-painted").startswith("stained-glass 512")
        assert page.get_attribute("body", "data-backend").startswith("wasm ")
        assert page.is_checked('input[name="style"][value="stained-glass"]')
        assert page.inner_text("#status") == ""
        assert not page.errors

    def test_the_picture_is_that_of_the_program(self, visit, isolated_address, photo):
        page = visit(isolated_address)
        page.upload(photo)
        page.choose("great-wave")
        assert difference(page.pixels(), fast.stylize(photo, "great-wave")) < 2
        page.dial("#strength", 0.5)
        assert difference(page.pixels(), fast.stylize(photo, "great-wave", strength=0.5)) < 2
        page.dial("#strength", 1)
        page.forget()
        page.select_option("#second", "udnie")
        page.wait("udnie")
        page.dial("#mix", 0.25)
        mixed = fast.stylize(photo, ["great-wave", "udnie"], style_weights=[0.75, 0.25])
        assert difference(page.pixels(), mixed) < 2
        assert not page.errors

    def test_the_dial_answers_while_it_moves(self, visit, isolated_address):
        page = visit(isolated_address)
        before = page.pixels()
        page.forget()
        page.evaluate(
            """() => {
                const dial = document.querySelector("#strength");
                for (const value of [0.9, 0.7, 0.5, 0.3]) {
                    dial.value = value;
                    dial.dispatchEvent(new Event("input"));
                }
            }"""
        )
        page.wait(" 0.3")  # the newest; those between may be left out
        assert page.inner_text('output[for="strength"]') == "30 %"
        assert page.pixels().shape != before.shape or difference(page.pixels(), before) > 2

    def test_another_style_while_one_is_painted(self, visit, isolated_address):
        page = visit(isolated_address)
        for name in ("udnie", "the-kiss", "mosaic"):
            page.check_style(name)
        page.wait("mosaic")
        assert not page.errors


class TestLoading:
    def test_the_controls_can_be_used_meanwhile(self, visit, isolated_address, photo):
        page = visit(isolated_address, loads=False)
        page.check_style("mosaic")
        page.locator("#strength").fill("0.5")
        page.set_input_files("#file", photo)
        page.evaluate("() => release()")
        page.wait("mosaic 512 0.5")
        assert page.pixels().shape == (341, 512, 4)
        assert page.inner_text("#status") == ""
        assert not page.errors

    def test_so_can_the_camera(self, visit, isolated_address):
        page = visit(isolated_address, loads=False, permissions=["camera"])
        page.click("#camera")
        page.evaluate("() => release()")
        page.locator("#rate", has_text="frames/s").wait_for(timeout=60_000)
        page.click("#close")
        page.wait("512")
        assert not page.errors

    def test_nothing_is_shared_or_saved_yet(self, visit, isolated_address):
        script = "navigator.canShare = () => true; navigator.share = () => { throw Error('shared'); };"
        page = visit(isolated_address, script=script, loads=False)
        page.click("#share")
        page.click("#save")
        assert page.is_hidden("#saving")
        assert not page.errors

    def test_the_page_is_kept_for_later_visits_after_the_first_picture(self, visit, isolated_address):
        page = visit(isolated_address, loads=False)
        assert page.evaluate("async () => (await navigator.serviceWorker.getRegistrations()).length") == 0
        page.evaluate("() => release()")
        page.wait()
        page.evaluate("() => navigator.serviceWorker.ready.then(() => undefined)")


class TestMessages:
    def test_an_error_outlives_the_picture_that_is_being_painted(self, visit, isolated_address, tmp_path):
        (tmp_path / "damaged.jpg").write_bytes(b"no picture")
        page = visit(isolated_address)
        page.forget()
        page.check_style("udnie")
        page.set_input_files("#file", tmp_path / "damaged.jpg")
        page.wait("udnie")
        page.get_by_text("damaged.jpg cannot be read").wait_for()

    def test_pictures_that_are_left_out_leave_no_message(self, visit, isolated_address):
        """As if painting took no time, and then as if a second had passed."""
        page = visit(isolated_address, own=True)
        page.evaluate(
            """() => {
                Worker.prototype.postMessage = function ({ id }) {
                    const answer = { width: 1, height: 1, data: new Uint8ClampedArray(4), milliseconds: 1 };
                    queueMicrotask(() => this.onmessage({ data: { id, answer } }));
                };
            }"""
        )
        page.clock.install()
        page.forget()
        page.evaluate(
            """() => {
                for (const name of ["udnie", "the-kiss", "mosaic"])
                    document.querySelector(`input[name="style"][value="${name}"]`).click();
            }"""
        )
        page.wait("mosaic")
        page.clock.run_for(1000)
        assert page.inner_text("#status") == ""

    def test_an_empty_message_is_not_seen_but_still_announced(self, shared):
        style = shared.evaluate(
            "() => { const { display, clipPath } = getComputedStyle(document.querySelector('#message')); "
            "return [display, clipPath]; }"
        )
        assert style == ["grid", "inset(50%)"]


class TestPhotos:
    def test_orientation_and_before(self, visit, isolated_address, photo, tmp_path):
        path = tmp_path / "turned.jpg"
        exif = PIL.Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter
        PIL.Image.open(photo).save(path, exif=exif, quality=95)
        page = visit(isolated_address)
        page.upload(path)
        assert page.pixels().shape == (512, 341, 4)
        before = page.pixels("#before")
        assert before.shape == (451, 300, 4)
        assert difference(before, images.read(path)) < 2
        page.hover("#stage")
        page.mouse.down()
        assert page.is_visible("#before")
        page.mouse.up()
        assert page.is_hidden("#before")
        page.focus("#compare")
        page.keyboard.press("Enter")
        assert page.is_visible("#before")
        assert page.get_attribute("#compare", "aria-pressed") == "true"

    def test_alpha_is_kept(self, shared, photo, tmp_path):
        cut = PIL.Image.open(photo).convert("RGBA")
        cut.putalpha(PIL.Image.linear_gradient("L").resize(cut.size))
        cut.save(tmp_path / "cut.png")
        shared.upload(tmp_path / "cut.png")
        saved = save(shared)
        assert saved.suggested_filename == "cut-impasto.png"
        found = images.read(saved.path())
        wanted = fast.stylize(tmp_path / "cut.png", "stained-glass")
        assert (found.alpha - wanted.alpha).abs().mean() < 0.01

    def test_transparent_parts_are_filled_with_the_mean_colour(self, shared, photo, tmp_path):
        pixels = np.asarray(PIL.Image.open(photo).resize((1353, 200)))
        seen = np.broadcast_to(np.arange(1353) // 40 % 2 == 0, (200, 1353))
        PIL.Image.fromarray(np.dstack([pixels, 255 * seen.astype(np.uint8)])).save(tmp_path / "cut.png")
        filled = np.where(seen[..., None], pixels, pixels[seen].mean(0)).astype(np.uint8)
        shared.upload(tmp_path / "cut.png")
        found, wanted = shared.pixels(), np.asarray(fast.stylize(filled, "stained-glass"))
        opaque = found[..., 3] == 255
        assert difference(found[opaque], wanted[opaque]) < 2
        large, wanted = images.read(save(shared, "#save-full").path()), fast.stylize(filled, "stained-glass", size=None)
        assert difference(np.asarray(large)[seen], np.asarray(wanted)[seen]) < 5

    def test_files_that_cannot_be_read(self, shared, photo, tmp_path):
        shown = shared.pixels()
        for name, content, message in (
            ("damaged.jpg", b"no picture", "damaged.jpg cannot be read"),
            ("IMG_1.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "Most compatible"),
        ):
            (tmp_path / name).write_bytes(content)
            shared.set_input_files("#file", tmp_path / name)
            shared.get_by_text(message).wait_for()
            assert shared.get_attribute("#status", "role") == "alert"
        assert (shared.pixels() == shown).all()
        shared.upload(photo)  # the page recovers
        assert shared.inner_text("#status") == ""

    def test_a_photo_of_twelve_megapixels(self, visit, isolated_address, photo, tmp_path):
        PIL.Image.open(photo).resize((4000, 3000)).save(tmp_path / "large.jpg")
        page = visit(isolated_address)
        page.upload(tmp_path / "large.jpg")
        assert page.pixels().shape == (384, 512, 4)
        page.click("#save")
        assert page.inner_text("#save-full") == "Full size, 4000 × 3000"
        page.click("#save-full")
        page.wait_for_selector("#full-bar[value]", timeout=60_000)
        page.click("#saving-close")
        page.choose("udnie")  # painting in tiles has ended
        assert not page.errors

    def test_a_photo_of_twenty_megapixels_is_reduced(self, shared, tmp_path):
        PIL.Image.new("RGB", (5000, 4000), "teal").save(tmp_path / "huge.png")
        shared.upload(tmp_path / "huge.png")
        shared.click("#save")
        width, height = map(int, re.findall(r"\d+", shared.inner_text("#save-full")))
        assert 15.9e6 < width * height <= 16e6

    def test_the_photo_chosen_last_counts(self, visit, isolated_address, photo, tmp_path):
        PIL.Image.new("RGB", (100, 100)).save(tmp_path / "slow.png")
        page = visit(isolated_address)
        page.evaluate(
            """() => {
                const decode = createImageBitmap, wait = new Promise((resolve) => { window.release = resolve; });
                window.createImageBitmap = async (source, ...more) => {
                    if (source.name === "slow.png") await wait;
                    return decode(source, ...more);
                };
            }"""
        )
        page.set_input_files("#file", tmp_path / "slow.png")
        page.upload(photo)
        page.evaluate("() => release()")
        page.evaluate("() => createImageBitmap(document.querySelector('#before')).then(() => undefined)")
        page.choose("mosaic")
        assert page.pixels().shape == (341, 512, 4)
        assert page.pixels("#before").shape == (300, 451, 4)

    @pytest.mark.parametrize("size", [(2600, 100), (120, 1400)], ids=str)
    def test_flat_and_slim_photos(self, shared, photo, tmp_path, size):
        PIL.Image.open(photo).resize(size).save(tmp_path / "flat.png")
        shared.upload(tmp_path / "flat.png")
        assert difference(shared.pixels(), fast.stylize(tmp_path / "flat.png", "stained-glass")) < 2
        found = images.read(save(shared, "#save-full").path())
        assert difference(np.asarray(found), fast.stylize(tmp_path / "flat.png", "stained-glass", size=None)) < 8
        assert not shared.errors

    def test_dropped_and_pasted(self, shared):
        """Both give the page files in a DataTransfer."""
        for event, key in (("drop", "dataTransfer"), ("paste", "clipboardData")):
            shared.forget()
            shared.evaluate(
                """async ([name, key]) => {
                    const file = new File([await (await fetch("sample.webp")).blob()], "a.webp", {type: "image/webp"});
                    const transfer = new DataTransfer();
                    transfer.items.add(file);
                    const event = new Event(name, {bubbles: true, cancelable: true});
                    Object.defineProperty(event, key, {value: transfer});
                    document.body.dispatchEvent(event);
                }""",
                [event, key],
            )
            shared.wait()
        assert not shared.errors


class TestSaving:
    def test_as_shown(self, shared, photo):
        shared.upload(photo)
        saved = save(shared)
        assert saved.suggested_filename == "my cat-impasto.jpg"
        assert difference(shared.pixels(), images.read(saved.path())) < 5  # JPEG

    def test_at_full_size_without_seams(self, shared, photo, tmp_path):
        path = tmp_path / "larger.png"
        PIL.Image.open(photo).resize((1353, 200), PIL.Image.Resampling.BICUBIC).save(path)
        shared.upload(path)
        found = np.asarray(images.read(save(shared, "#save-full").path())).astype(float)
        assert found.shape == (200, 1353, 3)
        assert difference(found, fast.stylize(path, "stained-glass", size=None)) < 5
        steps = np.abs(np.diff(found, axis=1)).mean((0, 2))  # from column to column
        assert steps[895] < 1.3 * np.median(steps[870:920])  # where two tiles meet

    def test_given_up_and_begun_again_in_another_style(self, visit, isolated_address, photo, tmp_path):
        path = tmp_path / "larger.png"
        PIL.Image.open(photo).resize((1353, 120), PIL.Image.Resampling.BICUBIC).save(path)
        page, saved = visit(isolated_address), []
        page.on("download", lambda download: saved.append(download.suggested_filename))
        page.upload(path)
        page.click("#save")
        page.click("#save-full")
        page.wait_for_selector("#full-bar[value]", timeout=60_000)
        page.click("#saving-close")
        page.check_style("mosaic")
        found = np.asarray(images.read(save(page, "#save-full").path()))
        assert difference(found, fast.stylize(path, "mosaic", size=None)) < 8
        assert page.is_hidden("#saving")
        assert saved == ["larger-impasto.jpg"]

    def test_given_up_the_dialog_can_be_opened_again(self, visit, isolated_address, photo, tmp_path):
        path = tmp_path / "larger.png"
        PIL.Image.open(photo).resize((1353, 120)).save(path)
        page = visit(isolated_address)
        page.upload(path)
        page.click("#save")
        page.click("#save-full")
        page.wait_for_selector("#full-bar[value]", timeout=60_000)
        page.click("#saving-close")
        page.click("#save")
        page.forget()
        page.dispatch_event("#strength", "change")  # painted after what was given up
        page.wait()
        assert page.is_visible("#saving")
        assert page.is_visible("#choices")


class TestLearntStyles:
    def test_joins_the_gallery_and_stays(self, visit, isolated_address, photo, learnt):
        page = visit(isolated_address)
        page.upload(photo)
        page.forget()
        page.set_input_files("#vector", learnt)
        page.wait("learnt my painting")
        assert page.inner_text(".tile >> nth=0") == "my painting"
        assert difference(page.pixels(), fast.stylize(photo, "mosaic")) < 2
        page.reload()
        page.wait()
        page.choose("learnt my painting")
        assert page.evaluate("() => Object.keys(localStorage)") == [f"impasto-learnt-{load().digest}"]
        assert not page.errors

    def test_other_files_are_refused(self, visit, isolated_address, learnt, tmp_path):
        page = visit(isolated_address)
        wrong = tmp_path / "wrong.safetensors"
        for content in (b"", b"no style at all", learnt.read_bytes()[:200]):
            wrong.write_bytes(content)
            page.set_input_files("#vector", wrong)
            page.get_by_text("wrong.safetensors is not a style").wait_for()
        model = load()
        digest = model.digest.encode()
        wrong.write_bytes(learnt.read_bytes().replace(digest, digest[::-1]))
        page.set_input_files("#vector", wrong)
        page.get_by_text("was learnt for another version").wait_for()
        assert not page.errors


class TestHosting:
    def test_no_other_host_is_asked(self, shared, photo):
        shared.upload(photo)
        assert all(url.startswith((shared.address, "blob:", "data:")) for url in shared.requests)
        policy = shared.get_attribute('meta[http-equiv="Content-Security-Policy"]', "content")
        assert "default-src 'self'" in policy
        assert "unsafe-inline" not in policy

    def test_without_a_network_and_with_threads_from_the_second_visit_on(self, visit, plain_address, photo):
        page = visit(plain_address)
        assert page.get_attribute("body", "data-backend") == "wasm 1"
        page.evaluate("() => navigator.serviceWorker.ready.then(() => undefined)")
        page.context.set_offline(True)
        page.reload()
        page.wait()
        assert page.get_attribute("body", "data-backend") != "wasm 1"
        page.upload(photo)
        page.choose("mosaic")
        page.context.set_offline(False)
        assert not [error for error in page.errors if "ERR_INTERNET_DISCONNECTED" not in error]

    def test_every_file_is_isolated_from_the_second_visit_on(self, visit, plain_address):
        page = visit(plain_address)
        page.evaluate("() => navigator.serviceWorker.ready.then(() => undefined)")
        page.reload()
        page.wait()
        (loader,) = FOLDER.glob("assets/*asyncify*.mjs")  # is not kept
        for name in ("index.html", f"assets/{loader.name}"):
            found = page.evaluate(
                "async (name) => (await fetch(name)).headers.get('cross-origin-embedder-policy')", name
            )
            assert found == "require-corp"
        assert page.evaluate("async () => (await fetch('none.js')).status") == 404

    def test_a_new_version_waits_for_the_pages_of_the_old_one(self, visit, copy):
        address, folder = copy
        page = visit(address)
        page.evaluate("() => navigator.serviceWorker.ready.then(() => undefined)")
        page.reload()  # now the old version answers
        page.wait()
        script = (FOLDER / "sw.js").read_text()
        (folder / "sw.js").unlink()
        (folder / "sw.js").write_text(script.replace('"impasto-" + "', '"impasto-" + "new-'))
        page.evaluate(
            """async () => {
                const registration = await (await navigator.serviceWorker.ready).update();
                const next = registration.installing ?? registration.waiting;
                while (next.state === "installing")
                    await new Promise((resolve) => next.addEventListener("statechange", resolve, { once: true }));
            }"""
        )
        page.reload()
        page.wait()  # by then it would have taken over
        found = page.evaluate(
            "async () => [(await navigator.serviceWorker.ready).waiting?.state, (await caches.keys()).length]"
        )
        assert found == ["installed", 2]

    def test_the_files_are_few_and_small(self):
        sizes = {path.name: path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()}
        assert sizes["gallery.onnx"] < 3e6
        own = sum(size for name, size in sizes.items() if name.startswith(("index", "worker")))
        assert own < 60e3

    def test_the_manifest_names_files_that_are_there(self):
        manifest = json.loads((FOLDER / "manifest.webmanifest").read_text())
        assert all((FOLDER / icon["src"]).is_file() for icon in manifest["icons"])
        listed = re.search(r"FILES = (\[.*?\]);", (FOLDER / "sw.js").read_text())[1]
        assert all((FOLDER / name).exists() for name in json.loads(listed))


class TestMemory:
    def test_when_it_runs_out_the_picture_is_smaller(self, visit, isolated_address, photo):
        """As if the first picture of the worker had not fitted."""
        page = visit(isolated_address)
        page.upload(photo)
        page.evaluate(FAIL.replace("ERRORS", '{ paint: "out of memory" }'))
        page.check_style("udnie")
        page.get_by_text("There is too little memory").wait_for(timeout=60_000)
        assert page.pixels().shape == (170, 256, 4)
        page.evaluate("() => { Worker.prototype.postMessage = send; }")
        page.upload(photo)  # may fit
        assert page.pixels().shape == (341, 512, 4)
        assert not page.errors

    def test_other_errors_are_shown_and_the_next_picture_is_as_large(self, visit, isolated_address):
        page = visit(isolated_address)
        page.evaluate(FAIL.replace("ERRORS", '{ paint: "no such operator" }'))
        page.check_style("udnie")
        page.get_by_text("no such operator").wait_for()
        page.evaluate("() => { Worker.prototype.postMessage = send; }")
        page.choose("mosaic")
        assert page.pixels().shape == (512, 512, 4)
        assert page.inner_text("#status") == ""

    def test_what_fails_when_it_begins_anew_is_shown(self, visit, isolated_address):
        page = visit(isolated_address)
        page.evaluate(FAIL.replace("ERRORS", '{ paint: "out of memory", load: "the network cannot be loaded" }'))
        page.check_style("udnie")
        page.get_by_text("the network cannot be loaded").wait_for()
        assert not page.errors


class TestCamera:
    def test_live_and_taken(self, visit, isolated_address):
        page = visit(isolated_address, permissions=["camera"])
        page.click("#camera")
        page.locator("#rate", has_text="frames/s").wait_for(timeout=60_000)
        assert page.pixels().shape[1] == 256
        assert "mirrored" in page.get_attribute("#picture", "class")
        page.forget()
        page.click("#take")
        page.wait("512")
        assert page.is_hidden("#rate")
        assert "mirrored" not in (page.get_attribute("#picture", "class") or "")
        page.click("#camera")
        page.locator("#rate", has_text="frames/s").wait_for(timeout=60_000)
        page.click("#close")
        assert page.pixels().shape[1] == 512
        assert not page.errors

    def test_no_camera(self, visit, isolated_address):
        page = visit(isolated_address)
        page.evaluate(
            """() => {
                navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotFoundError"));
            }"""
        )
        page.click("#camera")
        page.get_by_text("There is no camera.").wait_for()
        assert page.is_visible("#save")

    def test_closed_before_it_is_there(self, visit, isolated_address):
        page = visit(isolated_address, permissions=["camera"])
        page.evaluate(
            """() => {
                const devices = navigator.mediaDevices, open = devices.getUserMedia.bind(devices);
                const wait = new Promise((resolve) => { window.release = resolve; });
                devices.getUserMedia = async (wanted) => {
                    const stream = await open(wanted);
                    await wait;
                    window.tracks = stream.getTracks();
                    return stream;
                };
            }"""
        )
        page.click("#camera")
        assert page.is_disabled("#camera")
        page.evaluate("() => document.querySelector('#close').click()")
        page.evaluate("() => release()")
        page.wait_for_function("() => window.tracks?.every(({ readyState }) => readyState === 'ended')")
        assert page.is_visible("#save")
        assert page.is_enabled("#camera")
        assert not page.errors

    def test_it_does_not_play(self, visit, isolated_address):
        page = visit(isolated_address, permissions=["camera"])
        page.evaluate(
            """() => {
                HTMLMediaElement.prototype.play = function () {
                    window.tracks = this.srcObject.getTracks();
                    return Promise.reject(new DOMException("", "NotAllowedError"));
                };
            }"""
        )
        page.click("#camera")
        page.get_by_text("The camera does not start.").wait_for()
        assert page.evaluate("() => tracks.every(({ readyState }) => readyState === 'ended')")
        assert page.is_visible("#save")

    def test_there_is_no_other_one(self, visit, isolated_address):
        page = visit(isolated_address, permissions=["camera"])
        page.click("#camera")
        page.locator("#rate", has_text="frames/s").wait_for(timeout=60_000)
        page.evaluate(
            """() => {
                navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("", "NotFoundError"));
            }"""
        )
        page.click("#turn")
        page.get_by_text("There is no camera.").wait_for()
        assert page.pixels().shape == (512, 512, 4)
        assert page.is_visible("#save")

    def test_the_picture_is_in_the_style_chosen_meanwhile(self, visit, isolated_address):
        page = visit(isolated_address, permissions=["camera"])
        page.click("#camera")
        page.locator("#rate", has_text="frames/s").wait_for(timeout=60_000)
        page.check_style("mosaic")
        page.forget()
        page.click("#close")
        page.wait("mosaic 512")

    def test_the_photo_before_gives_way(self, visit, isolated_address, photo):
        page = visit(isolated_address, permissions=["camera"])
        page.click("#compare")
        page.hover("#stage")
        page.hover("#tools")
        assert page.is_visible("#before")  # only holding the picture ends with the pointer
        page.click("#camera")
        page.locator("#rate", has_text="frames/s").wait_for(timeout=60_000)
        assert page.is_hidden("#before")
        assert page.is_visible("#picture")
        page.click("#close")
        page.click("#compare")
        page.upload(photo)
        assert page.is_hidden("#before")


class TestEverybody:
    @pytest.mark.parametrize(
        ("width", "height", "scheme"),
        [(320, 640, "light"), (390, 844, "dark"), (820, 1180, "light"), (1440, 900, "dark"), (740, 360, "light")],
    )
    def test_fits_can_be_read_and_hit(self, shared, width, height, scheme):
        shared.set_viewport_size({"width": width, "height": height})
        shared.emulate_media(color_scheme=scheme)
        root = "document.documentElement"
        assert shared.evaluate(f"[{root}.scrollWidth, {root}.scrollHeight]") == [width, height]
        assert not shared.evaluate(SMALL)
        assert not shared.evaluate(FAINT)
        stage = shared.locator("#stage").bounding_box()
        assert stage["width"] * stage["height"] > 0.3 * width * height  # the picture is the interface

    def test_everything_has_a_name(self, shared):
        unnamed = shared.evaluate(
            """() => [...document.querySelectorAll("button, input, select, progress, canvas")]
                .filter(e => !(e.innerText || e.getAttribute("aria-label") || e.labels?.length))
                .map(e => e.outerHTML)"""
        )
        assert not [each for each in unnamed if "hidden" not in each and "save-" not in each]

    def test_by_keyboard(self, visit, isolated_address):
        page = visit(isolated_address)
        page.forget()
        page.focus('input[name="style"]:checked')
        page.keyboard.press("ArrowRight")
        page.wait("watercolour")
        page.forget()
        page.focus("#strength")
        page.keyboard.press("ArrowLeft")
        page.wait("0.95")
        page.focus("#save")
        page.keyboard.press("Enter")
        assert page.is_visible("#saving")
        page.keyboard.press("Escape")
        assert page.is_hidden("#saving")


def test_the_assets_are_those_of_the_bundled_model():
    """`browser/gallery.py` was run after the model was changed."""
    folder = Path(__file__).parents[2] / "browser" / "public"
    gallery = json.loads((folder / "gallery.json").read_text())
    model = load()
    assert gallery["model"] == model.digest
    assert [style["name"] for style in gallery["styles"]] == list(model.styles)
    assert all((folder / "styles" / f"{name}.webp").is_file() for name in model.styles)
