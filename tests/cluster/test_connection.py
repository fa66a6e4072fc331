"""Clusters that are joined, begun and missing."""

import socket
import subprocess
import sys
import tempfile
from concurrent.futures import Future
from types import SimpleNamespace

import pytest
import ray

from impasto import cluster as many
from impasto.cluster import connection

ALONE = """
import os, psutil
from impasto import cluster
cluster.connect()
import ray
assert ray.get(ray.remote(lambda: 1).remote()) == 1
own = psutil.Process()
for process in [own, *own.children(recursive=True)]:
    try:
        connections = process.net_connections("inet")
    except psutil.NoSuchProcess:  # ended meanwhile
        continue
    for one in connections:
        if one.status == psutil.CONN_LISTEN:
            print(one.laddr.ip)
cluster.disconnect()
"""


def test_one_of_its_own_listens_on_the_loopback_address_only(monkeypatch):
    """Whatever Ray begins for us, other machines cannot speak to it."""
    with tempfile.TemporaryDirectory() as folder:  # a short name, where no cluster is noted
        _check_addresses(monkeypatch, folder)


def _check_addresses(monkeypatch, folder):
    monkeypatch.setenv("TMPDIR", folder)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    found = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stderr
    addresses = set(found.stdout.split())
    assert addresses
    assert addresses <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "nonsense"])
def test_nothing_there(address, monkeypatch):
    monkeypatch.setattr(connection.ray, "is_initialized", lambda: False)
    with pytest.raises(many.ClusterError, match="nothing answers at .*ray start --head"):
        many.connect(address)


def test_something_else_there(monkeypatch):
    monkeypatch.setattr(connection.ray, "is_initialized", lambda: False)

    def refuse(*arguments, **options):
        raise ConnectionError("who are you?")

    monkeypatch.setattr(connection.ray, "init", refuse)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(many.ClusterError, match=r"at .* \(who are you\?\)"):
            many.connect(address)


def test_errors_of_ray_itself(monkeypatch):
    def fail(*arguments):
        raise ray.exceptions.RaySystemError("nobody answers")

    pool = many.Workers(1)
    for name in ("cluster_resources", "put"):
        monkeypatch.setattr(connection.ray, name, fail)
    for use in (lambda: pool.capacity, lambda: pool.share(1), lambda: pool.submit(len, [])):
        with pytest.raises(many.ClusterError, match=r"the cluster failed \(.*nobody answers"):
            use()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ray.exceptions.RuntimeEnvSetupError("no impasto"), many.ClusterError),
        (ray.exceptions.NodeDiedError("gone"), ray.exceptions.NodeDiedError),
        (ray.exceptions.RayTaskError("paint", "", ValueError("wrong"), "", 1, "here"), ValueError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_errors_of_calls(monkeypatch, error, expected):
    class Call:
        def future(self):
            found = Future()
            found.set_exception(error)
            return found

    monkeypatch.setattr(connection.ray, "cluster_resources", dict)
    monkeypatch.setattr(
        connection.ray, "remote", lambda **options: lambda function: SimpleNamespace(remote=lambda *arguments: Call())
    )
    assert type(many.Workers(1).submit(len, []).exception()) is expected
