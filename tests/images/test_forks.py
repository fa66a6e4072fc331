"""Processes that are forked after pictures were read."""

import multiprocessing
import sys

import pytest
from torch.utils.data import DataLoader, Dataset

from impasto import images
from impasto.errors import PictureError
from impasto.images import Picture

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no forks")


class Photos(Dataset):
    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return images.read(self.path).rgb


@pytest.fixture
def path(photo, tmp_path):
    images.write(tmp_path / "a.png", images.read(photo))
    return tmp_path / "a.png"


@pytest.mark.parametrize("method", ["read", "write"])
def test_say_what_to_do(path, method):
    """They neither hang nor die."""
    picture = images.read(path)
    function, arguments = {"read": (images.read, (path,)), "write": (_write, (path, picture))}[method]
    with multiprocessing.get_context("fork").Pool(1) as pool, pytest.raises(PictureError, match="'spawn'"):
        pool.apply_async(function, arguments).get(timeout=60)


def _write(path, picture: Picture):
    images.write(path, Picture(picture.rgb))


def test_read_headers_and_arrays(path, photo):
    images.read(path)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(images.size_of, (path,)).get(timeout=60) == (64, 96)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_data_loader(path, method):
    expected = images.read(path).rgb
    loader = DataLoader(Photos(path), batch_size=2, num_workers=1, multiprocessing_context=method, timeout=60)
    if method == "fork":
        with pytest.raises(Exception, match="multiprocessing_context='forkserver'"):
            next(iter(loader))
    else:
        assert (next(iter(loader)) == expected).all()
