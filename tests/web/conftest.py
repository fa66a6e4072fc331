"""Fixtures: a running server, and a photo to upload."""

import gc

import numpy as np
import PIL.Image
import pytest
from browsing import chromium
from serving import Server


@pytest.fixture(autouse=True)
def collect_garbage():
    yield
    gc.collect()


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """It takes many seconds to start, so all files of tests share it."""
    folder = tmp_path_factory.mktemp("server")
    paintings = folder / "paintings"
    paintings.mkdir()
    PIL.Image.effect_noise((96, 96), 80).convert("RGB").save(paintings / "my_noise.png")
    (paintings / "no picture.jpg").write_text("text")
    limits = ["--max-size", "256", "--max-upload", "2MB", "--max-pixels", "4", "--waiting", "2"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMPASTO_CACHE", str(folder / "cache"))
        server = Server(folder, "--styles", str(paintings), *limits)
    yield server
    server.close()
    assert not list(server.temporary.iterdir())


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    """Path of a photo, 96 × 64."""
    rows, columns = np.mgrid[:64, :96]
    pixels = np.stack([rows * 4, columns * 2, 128 + 60 * np.sin(rows / 5)], -1).astype(np.uint8)
    path = tmp_path_factory.mktemp("photos") / "me & you.jpg"
    PIL.Image.fromarray(pixels).save(path, quality=95)
    return path
