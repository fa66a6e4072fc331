"""Weights: the catalogue, loading without executing code, and downloads from a misbehaving server."""

import contextlib
import dataclasses
import hashlib
import os
import pickle
import socket
import ssl
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import safetensors.torch
import torch
from torch.testing import assert_close

from impasto.errors import WeightsError
from impasto.vgg import downloads, weights
from impasto.vgg import encoder as vgg


@pytest.fixture(autouse=True)
def uncached(weights_once, monkeypatch):
    """Without the cache of `conftest`, since these tests are about loading."""
    monkeypatch.setattr(weights, "load", weights.load.__wrapped__)


DATA = os.urandom(3_000_000)
DIGEST = hashlib.sha256(DATA).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves DATA at paths that name a misbehaviour, and records the ranges requested."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []

    def source(self, path, sha256=DIGEST, scheme="http"):
        url = f"{scheme}://127.0.0.1:{self.server_port}/{path}"
        return weights.WeightsSource("test", "", "vgg19", "caffe-bgr", "", "test.pth", sha256, len(DATA), url)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def respond(self, status, body, length=None, kind="application/octet-stream", **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            self.wfile.write(body)

    def do_GET(self):
        requested = self.headers.get("Range")
        self.server.ranges.append(requested)
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested else 0
        match self.path:
            case "/good":
                if start >= len(DATA):
                    self.respond(416, b"")
                elif start:
                    span = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
                    self.respond(206, DATA[start:], Content_Range=span)
                else:
                    self.respond(200, DATA)
            case "/no-ranges":
                self.respond(200, DATA)
            case "/truncated":
                self.respond(200, DATA[:1_000_000])
            case "/wrong":
                self.respond(200, bytes(len(DATA)))
            case "/page":
                self.respond(200, b"<html>please log in</html>", kind="text/html; charset=utf-8")
            case "/missing":
                self.respond(404, b"no")
            case "/tired":
                if len(self.server.ranges) < 3:
                    self.respond(503, b"later")
                else:
                    self.respond(200, DATA)
            case "/breaks":  # every response breaks off after a megabyte
                self.respond(206 if start else 200, DATA[start : start + 1_000_000], len(DATA) - start)
                self.close_connection = True
            case "/always-breaks":
                self.respond(200, DATA[:10_000], len(DATA))
                self.close_connection = True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSES", (0.01, 0.01, 0.01))
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def cached_files():
    folder = weights.cache_folder()
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_good_file(server):
    calls = []
    path = weights.fetch(server.source("good"), lambda done, total: calls.append((done, total)))
    assert path.read_bytes() == DATA
    assert calls[-1] == (len(DATA), len(DATA))
    assert cached_files() == ["test.pth"]
    weights.fetch(server.source("good"))
    assert len(server.ranges) == 1  # the second time nothing is downloaded


def test_resumes_within_a_call(server):
    assert weights.fetch(server.source("breaks")).read_bytes() == DATA
    starts = [int(requested.removeprefix("bytes=").removesuffix("-")) for requested in server.ranges[1:]]
    assert server.ranges[0] is None
    assert 900_000 < starts[0] < starts[1] < len(DATA)  # each resumed where the one before broke off


def test_resumes_across_calls(server):
    part = weights.cache_folder() / "test.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA[:1_234_567])
    calls = []
    path = weights.fetch(server.source("good"), lambda done, total: calls.append((done, total)))
    assert path.read_bytes() == DATA
    assert server.ranges == ["bytes=1234567-"]
    assert calls[-1] == (len(DATA), len(DATA))
    assert cached_files() == ["test.pth"]


def test_a_server_that_cannot_resume(server):
    part = weights.cache_folder() / "test.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 1000)
    assert weights.fetch(server.source("no-ranges")).read_bytes() == DATA


def test_a_part_that_is_already_complete(server):
    part = weights.cache_folder() / "test.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(DATA)
    assert weights.fetch(server.source("good")).read_bytes() == DATA


def test_a_server_that_recovers(server):
    assert weights.fetch(server.source("tired")).read_bytes() == DATA


@pytest.mark.parametrize(
    ("path", "message", "remains"),
    [
        ("truncated", r"1,000,000 bytes.*expected 3,000,000", []),
        ("wrong", "SHA-256", []),
        ("page", "web page", []),
        ("missing", "404", []),
        ("always-breaks", "broke off.*kept", ["test.pth.part"]),
    ],
)
def test_failures_are_reported_and_leave_no_wrong_file(server, path, message, remains):
    with pytest.raises(WeightsError, match=message) as error:
        weights.fetch(server.source(path))
    assert f"/{path}" in str(error.value)
    assert cached_files() == remains


def test_a_wrong_file_is_discarded_and_downloaded_again(server):
    with pytest.raises(WeightsError):
        weights.fetch(server.source("wrong"))
    assert weights.fetch(server.source("good")).read_bytes() == DATA
    assert server.ranges == [None, None]


def test_no_connection(monkeypatch):
    monkeypatch.setattr(downloads, "PAUSES", (0.01,))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    source = weights.WeightsSource("test", "", "vgg19", "", "", "t.pth", DIGEST, 1, f"http://127.0.0.1:{port}/good")
    with pytest.raises(WeightsError, match="no connection"):
        weights.fetch(source)
    assert cached_files() == []


def test_tls_is_verified(server, tmp_path):
    """A self-signed certificate is refused."""
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("no openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with pytest.raises(WeightsError, match="certificate"):
        weights.fetch(server.source("good", scheme="https"))
    assert server.ranges == []


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("IMPASTO_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match="cannot store"):
        weights.fetch(server.source("good"))


def test_every_source_is_complete():
    for name, source in weights.CATALOGUE.items():
        assert source.name == name
        assert source.architecture in vgg.ARCHITECTURES
        assert source.preprocessing in weights.PREPROCESSING
        assert len(source.sha256) in (8, 64)
        assert source.licence
        assert source.about
        assert source.size > 1e7
        assert source.url is None or source.url.startswith("https://")
        # If only the first digits of the hash are published, they are in the file's name.
        assert len(source.sha256) == 64 or source.sha256 in source.file


def test_default_weights_are_intact():
    source = weights.CATALOGUE["vgg19"]
    path = weights.locate(source)
    weights.verify(source, path)
    encoder = weights.load("vgg19")
    assert len(encoder.kernels) == 16
    assert all(kernel.weight.dtype == torch.float32 for kernel in encoder.kernels.values())


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    source = weights.CATALOGUE["vgg19"]
    damaged = bytearray(weights.locate(source).read_bytes())
    damaged[1_000_000] ^= 1
    (tmp_path / source.file).write_bytes(damaged)
    monkeypatch.setattr(weights, "locate", lambda source: tmp_path / source.file)
    with pytest.raises(WeightsError, match="damaged"):
        weights.load("vgg19")


def state_dict(architecture="vgg16", prefix="features.", seed=0):
    """Small random weights of a whole VGG under torchvision's names."""
    generator = torch.Generator().manual_seed(seed)
    tensors, row = {}, 0
    for layer in vgg.layers(architecture):
        if layer.kind == "conv":
            shape = (layer.channels, layer.inputs, 3, 3)
            tensors[f"{prefix}{row}.weight"] = torch.randn(shape, generator=generator) * 0.01
            tensors[f"{prefix}{row}.bias"] = torch.zeros(layer.channels)
        row += 1
    return tensors


@pytest.mark.parametrize("architecture", ["vgg16", "vgg19"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_files(tmp_path, architecture, suffix):
    tensors, path = state_dict(architecture), tmp_path / f"mine{suffix}"
    if suffix == ".pth":
        torch.save(tensors | {"classifier.0.weight": torch.zeros(3, 3)}, path)
    else:
        safetensors.torch.save_file(tensors, path)
    encoder = weights.load(str(path), preprocessing="torchvision")
    assert len(encoder.layers) == len(vgg.layers(architecture))
    assert_close(
        encoder.kernels["conv5_1"].weight,
        tensors[f"features.{'24' if architecture == 'vgg16' else '28'}.weight"],
    )
    first = tensors["features.0.weight"] / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    assert_close(encoder.kernels["conv1_1"].weight, first)
    bgr = weights.load(str(path), preprocessing="caffe-bgr")
    assert_close(bgr.kernels["conv1_1"].weight, tensors["features.0.weight"].flip(1) * 255)


def test_a_file_of_the_catalogue_is_recognised_by_its_hash(tmp_path, monkeypatch):
    path = tmp_path / "renamed.pth"
    torch.save(state_dict("vgg19"), path)
    known = dataclasses.replace(weights.CATALOGUE["vgg19-torchvision"], sha256=weights.sha256(path))
    monkeypatch.setitem(weights.CATALOGUE, known.name, known)
    assert_close(weights.load(str(path)).mean, torch.tensor([0.485, 0.456, 0.406]))


class Trap:
    def __reduce__(self):
        return (os.system, (f"touch {os.environ['IMPASTO_CACHE']}-sprung",))


def test_no_code_is_executed(tmp_path):
    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"features.0.weight": Trap()}))
    torch.save({"features.0.weight": Trap()}, tmp_path / "trap2.pth")
    for name in ("trap.pth", "trap2.pth"):
        with pytest.raises(WeightsError, match="nothing of it was executed"):
            weights.load(str(tmp_path / name), preprocessing="torchvision")
    assert not os.path.exists(f"{os.environ['IMPASTO_CACHE']}-sprung")


def test_wrong_files(tmp_path):
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    torch.save([1, 2], tmp_path / "list.pth")
    torch.save(state_dict() | {"features.0.weight": torch.zeros(64, 4, 3, 3)}, tmp_path / "shape.pth")
    torch.save(state_dict() | {"features.0.bias": torch.zeros(3)}, tmp_path / "bias.pth")
    torch.save(state_dict() | {"features.1.running_mean": torch.zeros(64)}, tmp_path / "normalised.pth")
    incomplete = state_dict()
    del incomplete["features.24.weight"]
    torch.save(incomplete, tmp_path / "incomplete.pth")
    for path in tmp_path.glob("*.*"):
        with pytest.raises(WeightsError, match=path.name):
            weights.load(str(path), preprocessing="torchvision")
    for name, message in (("shape", "the weight of conv1_1 has shape"), ("bias", "the bias of conv1_1 has shape")):
        with pytest.raises(WeightsError, match=message):
            weights.load(str(tmp_path / f"{name}.pth"), preprocessing="torchvision")
    with pytest.raises(WeightsError, match="batch normalisation"):
        weights.load(str(tmp_path / "normalised.pth"), preprocessing="torchvision")
    with pytest.raises(WeightsError, match="caffe-bgr|torchvision"):
        weights.load(str(tmp_path / "shape.pth"))
    with pytest.raises(ValueError, match="vgg19-original"):
        weights.load("vgg91")
    with pytest.raises(ValueError, match="caffe-rgb"):
        weights.load("vgg19", preprocessing="bgr")
    with pytest.raises(WeightsError, match="weights fetch vgg19-original"):
        weights.load("vgg19-original")


def test_requests_would_verify_by_default():
    assert requests.Session().verify is True


def test_only_the_kernels_that_are_needed_are_made(monkeypatch):
    """Each once: those of all sixteen layers take 80 MB."""
    made = []
    kernel = weights.kernel
    monkeypatch.setattr(weights, "kernel", lambda *given: made.append(given) or kernel(*given))
    encoder = weights.load("vgg19")
    assert not made
    for _ in range(2):
        encoder.up_to(["relu2_1"])
        assert len(made) == 3


def test_threads_share_one_set_of_kernels():
    kernels = weights.load("vgg19").kernels
    barrier = threading.Barrier(4)

    def take(_):
        barrier.wait()
        return {name: kernels[name] for name in kernels}

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(take, range(4))
    assert all(other[name] is first[name] for other in others for name in kernels)
