"""`impasto web`."""

import signal
import socket
import sys

import pytest
import requests
from serving import WARNINGS, Server

pytest.importorskip("gradio")
from gradio_client import Client

from impasto import cli
from impasto.cli.web import has_display
from impasto.web import _listener
from impasto.web.front import is_built

pytestmark = WARNINGS


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The address of a server with a password, which a signal ends. (SIGINT ends those of the other tests.)"""
    server = Server(tmp_path_factory.mktemp("server"), "--auth", "ada:secret")
    yield server.address
    server.close(signal.SIGINT if sys.platform == "win32" else signal.SIGTERM)


def test_a_password(guarded):
    assert requests.get(f"{guarded}/config", timeout=20).status_code == 401
    assert requests.get(f"{guarded}/health", timeout=20).json()["status"] == "ok"
    with pytest.raises(Exception, match=r"401|[Aa]uth|login"):
        Client(guarded, verbose=False)
    Client(guarded, verbose=False, auth=("ada", "secret"))


def test_the_http_interface_needs_the_password_too(guarded):
    assert requests.get(f"{guarded}/api/styles", timeout=20).status_code == 401
    assert requests.get(f"{guarded}/api/styles", timeout=20, auth=("ada", "wrong")).status_code == 401
    assert requests.get(f"{guarded}/api/styles", timeout=20, auth=("ada", "secret")).status_code == 200


def test_so_does_the_page_that_paints_in_the_browser(guarded):
    if not is_built():
        pytest.skip("the page is not built")
    assert requests.get(f"{guarded}/paint/", timeout=20).status_code == 401
    page = requests.get(f"{guarded}/paint/", auth=("ada", "secret"), timeout=20)
    assert page.ok
    assert 'href="manifest.webmanifest" crossorigin="use-credentials"' in page.text  # or it is asked for without


def test_the_next_free_port_is_taken_if_none_was_asked_for():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with _listener("127.0.0.1", range(port, min(port + 20, 65536))) as listener:
            assert port < listener.getsockname()[1] < port + 20
        with pytest.raises(ValueError, match=f"cannot listen on port {port} "):
            _listener("127.0.0.1", [port])


@pytest.mark.parametrize(
    ("platform", "variables", "opens"),
    [
        ("darwin", {}, True),
        ("win32", {}, True),
        ("darwin", {"SSH_CONNECTION": "a"}, False),
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
    ],
)
def test_a_browser_is_opened_where_it_is_seen(monkeypatch, platform, variables, opens):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("impasto.cli.web.sys.platform", platform)
    assert has_display() == opens


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


def test_a_port_that_is_taken(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert cli.run(["web", "--no-browser", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another port" in capsys.readouterr().err


def test_without_the_extra(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("impasto.web")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.run(["web"]) == 2
    assert 'needs gradio, which is not installed: pip install "gradio>=6,<7"' in capsys.readouterr().err
