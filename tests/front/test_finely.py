"""Jobs of the server, as the page shows them beside what it paints itself."""

import io
import json
from urllib.parse import urlsplit

import numpy as np
import PIL.Image
import pytest

from impasto.web.front import API

RED, GREEN, BLUE = (220, 30, 30), (30, 220, 30), (30, 30, 220)
PICTURES = {"preview": RED, "picture.png": GREEN, "before.jpg": BLUE}
RUNNING = {"id": "1", "status": "running", "eta": 100, "fraction": 0.5, "preview": "api/jobs/1/preview"}
DONE = RUNNING | {"status": "done", "picture": "api/jobs/1/picture.png", "before": "api/jobs/1/before.jpg"}
FAILED = RUNNING | {"status": "failed", "error": "the painting was too much"}
SERVER, DEVICE = "Painted by the server that this page is from.", "Painted on your device."
LOCAL = f"{DEVICE} Nothing is uploaded."


class Api:
    """Stands for the server's interface.

    Attributes:
        state: of the job, which a test may change: the page asks again all the time.
        jobs: of earlier visits.
        begun: the requests of the jobs that were.
        is_lost: whether nothing answers.
    """

    def __init__(self):
        self.state, self.jobs, self.begun, self.is_lost = RUNNING, [], [], False

    def answer(self, context, address):
        context.route(address, self._answer_page)
        context.route(f"{address}api/**", self._answer)

    def _answer_page(self, route):
        response = route.fetch()
        tag = API.replace("../api", "api")
        route.fulfill(response=response, body=response.text().replace("</head>", f"{tag}</head>"))

    def _answer(self, route):
        method, name = route.request.method, urlsplit(route.request.url).path.rpartition("/")[2]
        if self.is_lost:
            route.abort()
        elif name == "limits":
            route.fulfill(json={"size": 256, "upload": 1e7, "pixels": 1.8e7})
        elif name == "events":  # ends at once, and is asked for again at once
            body = f"retry: 20\ndata: {json.dumps(self.state)}\n\n"
            route.fulfill(body=body, headers={"content-type": "text/event-stream"})
        elif name in PICTURES:
            content = io.BytesIO()
            PIL.Image.new("RGB", (60, 40), PICTURES[name]).save(content, "png")
            route.fulfill(body=content.getvalue(), headers={"content-type": "image/png"})
        elif method == "GET":
            route.fulfill(json=self.jobs)
        else:
            if method == "POST":
                self.begun.append(route.request.post_data)
            route.fulfill(json={"id": "1", "status": "running"})


@pytest.fixture
def api():
    return Api()


@pytest.fixture
def page(visit, isolated_address, api):
    page = visit(isolated_address, api=api, service_workers="block", permissions=["camera"])
    page.wait_for_selector("#fine:enabled")
    return page


def wait_for_color(page, color):
    page.wait_for_function(
        """(color) => {
            const { data } = document.querySelector("#picture").getContext("2d").getImageData(0, 0, 1, 1);
            return color.every((value, band) => Math.abs(value - data[band]) < 8);
        }""",
        arg=color,
    )


def begin(page):
    page.click("#fine")
    page.get_by_text("About 2 min left").wait_for()
    wait_for_color(page, RED)


def test_the_chosen_style_is_seen_whole(page):
    tile, gallery = (page.locator(name).bounding_box() for name in (".tile:has(:checked)", "#gallery"))
    assert tile["y"] + tile["height"] < gallery["y"] + gallery["height"] + 1


def test_what_is_painted_here_meanwhile_is_seen(page, api, photo):
    begin(page)
    assert page.inner_text("#privacy") == SERVER
    page.choose("mosaic")
    assert page.pixels().shape == (512, 512, 4)
    assert page.inner_text("#status") == ""
    assert page.inner_text("#privacy") == DEVICE
    page.upload(photo)
    assert page.pixels().shape == (341, 512, 4)
    assert page.inner_text("#privacy") == LOCAL
    assert page.inner_text("#fine") == "Watch it"
    page.click("#fine")
    wait_for_color(page, RED)
    assert page.inner_text("#fine") == "Stop"
    page.forget()
    api.state = DONE
    page.wait("finely")
    wait_for_color(page, GREEN)
    assert page.pixels("#before").shape == (512, 512, 4)  # the photo of the job, again
    assert page.inner_text("#fine") == "Paint finely"
    assert not page.errors


def test_the_picture_waits_until_it_is_asked_for(page, api):
    begin(page)
    page.choose("mosaic")
    api.state = DONE
    page.get_by_text("The server has painted").wait_for()
    assert page.pixels().shape == (512, 512, 4)
    assert page.inner_text("#fine") == "Show it"
    page.click("#fine")
    wait_for_color(page, GREEN)
    assert page.inner_text("#fine") == "Paint finely"
    assert page.inner_text("#status") == ""


def test_the_picture_waits_longer_than_the_server_keeps_it(page, api, photo):
    begin(page)
    page.choose("mosaic")
    api.state = DONE
    page.get_by_text("The server has painted").wait_for()
    api.is_lost = True
    page.upload(photo)
    page.click("#fine")
    wait_for_color(page, GREEN)
    assert page.pixels("#before").shape == (512, 512, 4)  # the photo of the job, again


def test_a_job_that_fails(page, api):
    painted = page.pixels()
    begin(page)
    api.state = FAILED
    page.get_by_text("the painting was too much").wait_for()
    assert (page.pixels() == painted).all()
    assert page.inner_text("#fine") == "Paint finely"
    assert page.inner_text("#privacy") == DEVICE


def test_a_server_that_is_lost(page, api):
    painted = page.pixels()
    begin(page)
    api.is_lost = True
    page.get_by_text("The connection to the server is lost").wait_for()
    assert (page.pixels() == painted).all()
    assert page.inner_text("#fine") == "Paint finely"
    page.click("#fine")
    page.get_by_text("The server does not answer.").wait_for()
    assert page.is_enabled("#fine")


def test_a_job_that_cannot_be_stopped(page, api):
    begin(page)
    page.route("**/api/jobs/1", lambda route: route.abort())
    page.click("#fine")
    page.wait_for_selector("#fine:enabled")
    assert page.inner_text("#fine") == "Stop"


def test_clicking_twice_begins_one_job(page, api):
    page.evaluate("() => { for (let i = 0; i < 2; i++) document.querySelector('#fine').click(); }")
    wait_for_color(page, RED)
    assert len(api.begun) == 1


def test_a_job_of_an_earlier_visit(visit, isolated_address, api):
    api.jobs = [RUNNING]
    page = visit(isolated_address, api=api, service_workers="block")
    wait_for_color(page, RED)
    page.forget()
    api.state = DONE
    page.wait("finely")
    wait_for_color(page, GREEN)
    assert np.abs(page.pixels("#before")[0, 0, :3] - np.array(BLUE)).max() < 8
    page.click("#save")
    assert page.inner_text("#save-shown") == "As shown, 60 × 40"


def test_a_job_that_ended_between_two_visits_is_shown_once(visit, isolated_address, api):
    api.jobs, api.state = [FAILED | {"id": "0"}, DONE, FAILED | {"id": "2"}], DONE
    page = visit(isolated_address, api=api, service_workers="block")

    def assert_nothing_is_shown():
        page.wait_for_selector("#fine:enabled")
        assert page.inner_text("#fine") == "Paint finely"
        assert page.pixels().shape == (512, 512, 4)

    assert_nothing_is_shown()  # of what this page has not begun
    page.tab.evaluate("id => localStorage.setItem('impasto-begun', id)", DONE["id"])
    page.reload()
    page.wait("finely")
    wait_for_color(page, GREEN)
    page.reload()
    assert_nothing_is_shown()


def test_a_photo_of_more_pixels_than_the_server_takes_is_reduced(page, api, tmp_path):
    PIL.Image.new("RGB", (5000, 4000), "teal").save(tmp_path / "huge.png")
    page.upload(tmp_path / "huge.png")
    begin(page)
    assert 'filename="huge.jpg"' in api.begun[0]


def test_a_job_of_an_earlier_visit_that_fails(visit, isolated_address, api):
    api.jobs, api.state = [RUNNING], FAILED
    page = visit(isolated_address, api=api, service_workers="block")
    page.get_by_text("the painting was too much").wait_for()
    assert page.pixels().shape == (512, 512, 4)
    assert page.inner_text("#privacy") == LOCAL


def test_the_camera_meanwhile(page, api):
    begin(page)
    page.click("#camera")
    page.locator("#rate", has_text="frames/s").wait_for(timeout=60_000)
    assert page.inner_text("#privacy") == LOCAL
    assert page.is_hidden("#fine")
    api.state = DONE
    page.get_by_text("The server has painted").wait_for()
    assert page.pixels().shape[1] == 256  # a frame
    page.click("#close")
    page.click("#fine")
    wait_for_color(page, GREEN)
    assert page.inner_text("#privacy") == SERVER
    page.click("#camera")
    page.locator("#rate", has_text="frames/s").wait_for(timeout=60_000)
    assert page.inner_text("#privacy") == LOCAL
    page.click("#close")
    wait_for_color(page, GREEN)
    assert page.inner_text("#privacy") == SERVER
