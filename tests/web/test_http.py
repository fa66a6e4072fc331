"""The HTTP interface: jobs that are begun, followed and stopped by programs."""

import io
import json

import anyio
import anyio.to_thread
import fastapi
import PIL.Image
import pytest
import requests
from serving import QUICK, WARNINGS

pytest.importorskip("gradio")
from starlette.testclient import TestClient

from impasto.web import http
from impasto.web.tasks import Tasks
from impasto.web.visitors import Visitor

pytestmark = WARNINGS


@pytest.fixture
def session(server):
    """A visitor of their own; `session.url(path)` is an address of the server. Their jobs are stopped afterwards."""
    with requests.Session() as session:
        session.url = lambda path: f"{server.address}/api/{path}"
        session.get(session.url("limits"), timeout=20)
        yield session
        for job in session.get(session.url("jobs"), timeout=20).json():
            session.delete(session.url(f"jobs/{job['id']}"), timeout=20)


def begin(session, portrait, paintings=(), **fields):
    files = [("photo", (portrait.name, portrait.read_bytes()))]
    files += [("paintings", (name, content)) for name, content in paintings]
    data = {"styles": '["mosaic"]', "options": json.dumps(QUICK)} | fields
    return session.post(session.url("jobs"), files=files, data=data, timeout=60)


def states(session, job):
    with session.get(session.url(f"jobs/{job['id']}/events"), stream=True, timeout=120) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith(b"data: "):
                yield json.loads(line[6:])


def test_a_job_from_beginning_to_end(session, portrait):
    response = begin(session, portrait)
    assert response.status_code == 202
    job = response.json()
    assert job["status"] in ("queued", "running")
    seen = list(states(session, job))
    assert any(0 < state.get("fraction", 0) < 1 for state in seen)
    end = seen[-1]
    assert (end["status"], end["fraction"], end["width"], end["height"]) == ("done", 1.0, 128, 85)
    assert end["settings"]["pictures"] == [portrait.name, "mosaic"]
    assert end["command"].startswith("impasto stylize")
    base = session.url("").removesuffix("/api/")
    for name, kind in (("picture", "PNG"), ("jpeg", "JPEG"), ("before", "JPEG"), ("preview", "JPEG")):
        content = session.get(base + end[name], timeout=20).content
        with PIL.Image.open(io.BytesIO(content)) as picture:
            assert picture.format == kind
    assert session.get(session.url(f"jobs/{job['id']}"), timeout=20).json() == end
    assert session.get(session.url("jobs"), timeout=20).json() == [end]
    assert session.get(session.url(f"jobs/{job['id']}/settings.txt"), timeout=20).status_code == 404


def test_in_one_pass(session, portrait):
    job = begin(session, portrait, styles='["starry-night"]', operation="fast", options='{"size": 96}').json()
    *_, end = states(session, job)
    assert (end["status"], end["settings"]["operation"], end["width"]) == ("done", "fast", 96)


def test_a_painting_as_a_file(session, portrait):
    memory = io.BytesIO()
    PIL.Image.effect_noise((80, 80), 60).convert("RGB").save(memory, "PNG")
    job = begin(session, portrait, [("../mine.png", memory.getvalue())], styles="[]").json()
    *_, end = states(session, job)
    assert end["settings"]["pictures"] == [portrait.name, "mine.png"]


def test_stopping(session, server, portrait):
    job = begin(session, portrait, options=json.dumps({**QUICK, "iterations": 2000})).json()
    following = states(session, job)
    while "preview" not in (state := next(following)):
        pass
    assert state["status"] == "running"
    assert session.delete(session.url(f"jobs/{job['id']}"), timeout=20).status_code == 200
    *_, end = following
    assert (end["status"], end["note"]) == ("done", "stopped")
    assert "picture" in end
    server.wait_until(lambda health: health["running"] == 0)


def test_nobody_sees_the_jobs_of_others(session, server, portrait):
    job = begin(session, portrait).json()
    *_, end = states(session, job)
    other = requests.Session()
    base = server.address
    for method, path in (
        ("GET", f"/api/jobs/{job['id']}"),
        ("GET", f"/api/jobs/{job['id']}/events"),
        ("GET", end["picture"]),
        ("DELETE", f"/api/jobs/{job['id']}"),
    ):
        response = other.request(method, base + path, timeout=20)
        assert (response.status_code, "error" in response.json()) == (404, True)
    assert other.get(f"{base}/api/jobs", timeout=20).json() == []


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"styles": '["nothing"]'}, 400, "unknown style 'nothing'"),
        ({"styles": "mosaic"}, 400, "styles is no JSON"),
        ({"styles": '{"a": 1}'}, 400, "expected a list"),
        ({"styles": "[]"}, 400, "choose a style"),
        ({"options": '{"size": 4000}'}, 400, "at most 256 px"),
        ({"options": '{"iteration": 4}'}, 400, "unknown option 'iteration'; did you mean 'iterations'"),
        ({"options": '{"color": "luminence"}'}, 400, "did you mean 'luminance'"),
        ({"operation": "paint"}, 400, "unknown operation"),
    ],
)
def test_mistakes(session, portrait, fields, status, message):
    response = begin(session, portrait, **fields)
    assert response.status_code == status
    assert message in response.json()["error"]
    assert "/tmp" not in response.text


def test_files_that_cannot_be_read(session, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    response = begin(session, tmp_path / "text.jpg")
    assert response.status_code == 400
    assert "cannot read text.jpg" in response.json()["error"]
    (tmp_path / "large.jpg").write_bytes(bytes(2_100_000))
    response = begin(session, tmp_path / "large.jpg")
    assert (response.status_code, response.json()["error"]) == (400, "large.jpg is larger than 2 MB, the limit here")


def test_pages_of_other_hosts_are_refused(session, server, portrait):
    session.headers["origin"] = "https://example.org"
    assert begin(session, portrait).status_code == 403
    assert session.delete(session.url("jobs/x"), timeout=20).status_code == 403
    session.headers["origin"] = server.address
    assert begin(session, portrait).status_code == 202


def test_a_page_behind_a_proxy_is_no_other_host(session):
    """The server sees the host that the proxy requests, and the browser says that the page is of its own."""
    session.headers.update({"origin": "https://example.org", "sec-fetch-site": "same-origin"})
    assert session.delete(session.url("jobs/x"), timeout=20).status_code == 404
    session.headers.update({"origin": session.url("").removesuffix("/api/"), "sec-fetch-site": "cross-site"})
    assert session.delete(session.url("jobs/x"), timeout=20).status_code == 403


def test_following_a_job_takes_no_thread(tmp_path):
    tasks = Tasks(1, 1)
    task = tasks.submit(Visitor(tmp_path), "http", lambda stop: iter([stop.wait(30)]))

    async def follow():
        states, seen = http._events(task, tasks, "/api"), []

        async def rest():
            seen.extend([state async for state in states])

        assert '"running"' in await anext(states)
        async with anyio.create_task_group() as group:
            group.start_soon(rest)
            await anyio.sleep(0.05)
            assert anyio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
            tasks.stop(task)
        return seen

    assert '"done"' in anyio.run(follow)[-1]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("me & you.jpg", "me & you.jpg"),
        ("C:\\fakepath\\a.jpg", "a.jpg"),
        ("../../a.jpg", "a.jpg"),
        ("D:anything.py", "D_anything.py"),
        ("photo.jpg:x", "photo.jpg_x"),
        ('a?<b>|"*\n.jpg', "a__b____.jpg"),
        ("a.jpg. ", "a.jpg"),
        ("..", "picture"),
        ("NUL.png", "_NUL.png"),
        ("com1", "_com1"),
        ("console.jpg", "console.jpg"),
        ("x" * 200 + ".jpg", "x" * 116 + ".jpg"),
    ],
)
def test_names_that_every_system_takes(given, name):
    assert http._file_name(given) == name


@pytest.mark.parametrize("host", ["testserver", "testserver/paint?", "testserver/x#"])
def test_the_password_is_required_whatever_host_is_named(host):
    app = fastapi.FastAPI()
    app.add_api_route("/api/limits", lambda: "limits")
    http.require_password(app, ("ada", "secret"))
    client = TestClient(app, headers={"host": host})
    assert client.get("/api/limits").status_code == 401
    assert client.get("/api/limits", auth=("ada", "secret")).json() == "limits"


def test_styles_and_limits(session, server):
    styles = session.get(session.url("styles"), timeout=20).json()
    assert {"The Starry Night", "mosaic", "my noise"} <= {style["name"] for style in styles}
    with PIL.Image.open(io.BytesIO(session.get(server.address + styles[3]["thumbnail"], timeout=20).content)) as small:
        assert max(small.size) == 240
    assert session.get(session.url("styles/1000.jpg"), timeout=20).status_code == 404
    limits = session.get(session.url("limits"), timeout=20).json()
    assert (limits["size"], limits["waiting"]) == (256, 2)


def test_too_many_jobs(session, server, portrait):
    options = json.dumps({**QUICK, "iterations": 2000})
    responses = [begin(session, portrait, options=options) for _ in range(4)]
    assert [response.status_code for response in responses] == [202, 202, 202, 429]
    assert "wait" in responses[-1].json()["error"]
    assert [response.json().get("position") for response in responses[1:3]] == [1, 2]
