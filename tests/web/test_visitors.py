"""Access to files: what one visitor may read and use, and another may not, over real requests."""

import http.client
import json
import os
import re
import socket
import threading
import time
import types

import pytest
import requests
from serving import QUICK, WARNINGS

pytest.importorskip("gradio")
from impasto.web import page, visitors
from impasto.web.gallery import collect
from impasto.web.jobs import Limits
from impasto.web.runner import JobRunner
from impasto.web.tasks import Tasks

pytestmark = WARNINGS


def test_visitors_read_only_their_own_files(server, portrait):
    mine, theirs = requests.Session(), requests.Session()
    for session in (mine, theirs):
        session.get(server.address + "/", timeout=20)
    upload = f"{server.address}/gradio_api/upload"
    (path,) = mine.post(upload, files={"files": (portrait.name, portrait.read_bytes())}, timeout=20).json()
    file = f"{server.address}/gradio_api/file="
    assert mine.get(file + path, timeout=20).content == portrait.read_bytes()
    assert theirs.get(file + path, timeout=20).status_code == 403
    assert requests.get(file + path, timeout=20).status_code == 403  # without a cookie
    # Nor as the input of a job.
    call = f"{server.address}/gradio_api/call/stylize"
    data = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, ["mosaic"], None, QUICK, False]}
    assert theirs.post(call, json=data, timeout=20).status_code == 403
    assert mine.post(call, json=data, timeout=20).status_code == 200
    # Whatever the request calls itself, and whichever route takes it.
    for kind in ("application/x+json", "Application/JSON", "text/plain", "", "multipart/form-data;application/json"):
        answer = theirs.post(call, data=json.dumps(data), headers={"content-type": kind}, timeout=20)
        assert answer.status_code in (403, 415, 422), (kind, answer.text)
    for route in ("queue/join", "run/stylize", "run/upload", "run/cancel", "api/stylize", "call/v2/stylize"):
        data |= {"fn_index": 0, "session_hash": "x"}
        assert theirs.post(f"{server.address}/gradio_api/{route}", json=data, timeout=20).status_code == 403
    # Thumbnails are public, but not as the end of a URL that the server would request.
    (style,) = server.temporary.rglob("public/styles/0000.jpg")
    assert theirs.get(file + str(style), timeout=20).status_code == 200
    data["data"][0]["path"] = f"http://127.0.0.1:9{'/..' * 99}{style}"
    assert theirs.post(call, json=data, timeout=20).status_code == 403


def test_a_request_has_one_type(server):
    """Of two headers, this program and Gradio might read different ones."""
    data = {"data": [{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}, ["mosaic"], None, QUICK, False]}
    body = json.dumps(data).encode()
    for kinds in (("application/json", "text/plain"), ("application/json", "application/json")):
        connection = http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=20)
        connection.putrequest("POST", "/gradio_api/call/stylize")
        for kind in kinds:
            connection.putheader("content-type", kind)
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body)
        assert connection.getresponse().status == 415
        connection.close()


@pytest.mark.parametrize("other", [b'theme="dark', b"user=Ada Lovelace", "user=Zo\xeb".encode(), b"list=[1, {2}]"])
def test_the_cookie_is_found_beside_those_of_other_programs(other):
    token = "t" * 43
    cookies = other + f"; {visitors.COOKIE}={token}; last=1".encode()
    assert visitors._token({"headers": [(b"cookie", cookies)]}) == token


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
def test_files_of_the_server_are_not_served(server, prefix, path):
    (home,) = server.temporary.glob("impasto-web-*")
    path = path.replace("TEMPORARY", str(home)).replace("\x00", "%00")
    with socket.create_connection(server.address.removeprefix("http://").split(":"), 20) as connection:
        request = f"GET {prefix}{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        connection.sendall(request.encode())  # a client library would normalise the path
        answer = b""
        while part := connection.recv(65536):
            answer += part
    assert re.match(rb"HTTP/1.1 (403|404|400)", answer), answer[:200]
    assert b"root:" not in answer


def test_the_server_requests_nothing_from_other_hosts(server, portrait):
    connections = []
    trap = socket.create_server(("127.0.0.1", 0))
    trap.settimeout(0.2)

    def listen():
        while not done.is_set():
            try:
                connections.append(trap.accept())
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
    assert not connections


def test_forged_headers_and_cookies_are_ignored(server):
    answer = requests.get(server.address + "/form", headers={visitors.HEADER: "0" * 32}, timeout=20)
    assert visitors.COOKIE in answer.cookies
    for cookie in ("short", "../../../../etc/passwd", "x" * 5000):
        answer = requests.get(server.address + "/form", headers={"Cookie": f"{visitors.COOKIE}={cookie}"}, timeout=20)
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
    large = {"data": ["x" * (visitors.MAX_REQUEST + 1)]}
    for route in ("call/stylize", "cancel"):
        assert session.post(f"{server.address}/gradio_api/{route}", json=large, timeout=60).status_code == 413
    for address in (upload, f"{server.address}/api/jobs"):  # in chunks, whose size is not known before
        assert requests.post(address, data=iter([b"x"]), timeout=20).status_code == 411


def test_uploads_count_while_they_last(tmp_path):
    everyone = visitors.Visitors(tmp_path, 100)
    visitor = visitors.Visitor(tmp_path, {tmp_path / "a": 40}, uploading=50)
    everyone.check_quota(visitor, 10)
    with pytest.raises(visitors.QuotaError, match="exceed"):
        everyone.check_quota(visitor, 11)


def test_files_are_deleted_after_their_visitor_has_left(tmp_path):
    everyone = visitors.Visitors(tmp_path / "home", 100)
    shared = everyone.uploads / "hash" / "a.png"
    shared.parent.mkdir()
    shared.write_bytes(b"x")
    for name in ("a" * 32, "b" * 32):
        everyone.add_uploads(name, [str(shared), "/etc/passwd"])
        (everyone[name].folder / "result.png").write_bytes(b"x")
    assert not everyone.may_read("a" * 32, "/etc/passwd")
    everyone["b" * 32].open_requests = 1
    everyone.sweep(max_idle=0)
    assert not (everyone.results / ("a" * 32)).exists()
    assert (everyone.results / ("b" * 32) / "result.png").exists()
    assert shared.exists()  # b uploaded it too
    everyone["b" * 32].open_requests = 0
    everyone["b" * 32].tasks = [types.SimpleNamespace(is_over=False)]
    everyone.sweep(max_idle=0)
    assert everyone["b" * 32].tasks  # not while a job of theirs runs
    everyone["b" * 32].tasks[0].is_over = True
    everyone.sweep(max_idle=0)
    assert not shared.exists()


def test_uploads_stay_while_their_visitor_is_here(tmp_path, monkeypatch):
    """However long ago: a job may still wait for them. What is nobody's is deleted."""
    everyone = visitors.Visitors(tmp_path / "home", 100)
    mine, copy, part = (everyone.uploads / name for name in ("hash/mine.png", "other/copy.png", "part"))
    for path in (mine, copy, part):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    everyone.add_uploads("a" * 32, [str(mine)])
    everyone["a" * 32].open_requests = 1
    later = time.time() + 7200
    monkeypatch.setattr(visitors.time, "time", lambda: later)
    everyone.sweep()
    assert sorted(everyone.uploads.rglob("*")) == [mine.parent, mine]


def test_the_same_file_under_two_names(tmp_path):
    """Gradio keeps both in the folder that is named by their content."""
    everyone = visitors.Visitors(tmp_path / "home", 100)
    first, second = (everyone.uploads / "hash" / name for name in ("a.png", "b.png"))
    first.parent.mkdir()
    for name, path in (("a" * 32, first), ("b" * 32, second)):
        path.write_bytes(b"x")
        everyone.add_uploads(name, [str(path)])
    everyone["b" * 32].open_requests = 1
    everyone.sweep(max_idle=0)
    assert list(first.parent.iterdir()) == [second]


def test_gradio_deletes_no_files_and_has_threads_of_its_own(tmp_path):
    everyone = visitors.Visitors(tmp_path, 100)
    built = page.build(collect(everyone.public, None), JobRunner(Limits()), everyone, Tasks(1, 1))
    assert built.delete_cache is None
    built.create_limiter()  # as when the app starts
    assert built.limiter.total_tokens == page.THREADS


def test_the_page_has_an_icon_of_its_own(server):
    response = requests.get(f"{server.address}/favicon.ico", timeout=20)
    assert response.headers["content-type"].startswith("image/svg")
    assert b"<svg" in response.content
