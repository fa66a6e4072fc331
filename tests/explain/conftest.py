"""A deep encoder of few channels, a folder of pictures, and a reader of CSV files."""

import csv

import numpy as np
import PIL.Image
import pytest

from impasto.vgg.encoder import Encoder, random_encoder


@pytest.fixture(scope="module")
def deep() -> Encoder:
    """All of VGG-19's layers, with 2 to 4 channels; float64."""
    return random_encoder(((2, 2), (2, 2), (4, 2), (4, 3), (4, 3)), seed=1, pooling="average")


@pytest.fixture
def folder(tmp_path, photo):
    path = tmp_path / "pictures"
    path.mkdir()
    for number in range(4):
        PIL.Image.fromarray(np.roll(photo, 11 * number, 1)[:, : 80 + number]).save(path / f"{number}.png")
    (path / "bad.jpg").write_bytes(b"nothing")
    return path


@pytest.fixture
def rows_of():
    def rows_of(path):
        with open(path, newline="") as file:
            return list(csv.reader(file))

    return rows_of
