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

pytestmark = WARNINGS


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


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals to send")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda value: ""
)
def test_signals_end_the_server(tmp_path, number, code):
    """And its files are deleted."""
    server = Server(tmp_path)
    try:
        server.process.send_signal(number)
        assert server.process.wait(60) == code
    finally:
        server.process.kill()
    assert "Traceback" not in server.log.read_text()
    assert not list(server.temporary.glob("impasto-web-*"))


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
