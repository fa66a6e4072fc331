"""What libvips shares within a process: its threads, in processes that are forked; its cache."""

import multiprocessing
import sys

import PIL.Image
import pytest
import pyvips
from torch.utils.data import DataLoader, Dataset

from impasto import images
from impasto.errors import PictureError
from impasto.images import Picture

FORKS = pytest.mark.skipif(sys.platform == "win32", reason="there are no forks")


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


@FORKS
@pytest.mark.parametrize("method", ["read", "write"])
def test_say_what_to_do(path, method):
    """They neither hang nor die."""
    picture = images.read(path)
    function, arguments = {"read": (images.read, (path,)), "write": (_write, (path, picture))}[method]
    with multiprocessing.get_context("fork").Pool(1) as pool, pytest.raises(PictureError, match="'spawn'"):
        pool.apply_async(function, arguments).get(timeout=60)


def _write(path, picture: Picture):
    images.write(path, Picture(picture.rgb))


@FORKS
def test_read_headers_and_arrays(path, photo):
    images.read(path)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(images.size_of, (path,)).get(timeout=60) == (64, 96)


@FORKS
@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_a_data_loader(path, method):
    expected = images.read(path).rgb
    loader = DataLoader(Photos(path), batch_size=2, num_workers=1, multiprocessing_context=method, timeout=60)
    if method == "fork":
        with pytest.raises(Exception, match="multiprocessing_context='forkserver'"):
            next(iter(loader))
    else:
        assert (next(iter(loader)) == expected).all()


def _read_damaged(path, picture):
    damaged = path.with_name("damaged.png")
    damaged.write_bytes(path.read_bytes()[:200])
    with pytest.raises(PictureError):
        images.read(damaged)


@pytest.mark.parametrize(
    "use",
    [
        lambda path, picture: images.read(path),
        lambda path, picture: images.read(path.read_bytes()),
        lambda path, picture: images.read(PIL.Image.open(path)),
        _read_damaged,
        lambda path, picture: images.size_of(path),
        lambda path, picture: images.read_settings(path),
        *(
            lambda path, picture, suffix=suffix: images.write(path.with_suffix(suffix), picture)
            for suffix in images.FORMATS
        ),
    ],
)
def test_no_pictures_are_kept_in_the_cache(path, use):
    """It would hold hundreds of megabytes of them; its limit, which is the host's, is as before."""
    picture = images.read(path)
    limit = pyvips.cache_get_max()
    black = pyvips.Image.black(1, 1)  # an operation of the host's
    before = pyvips.cache_get_size()
    assert before > 0
    use(path, picture)
    assert pyvips.cache_get_size() <= before
    assert pyvips.cache_get_max() == limit > 0
    assert black.avg() == 0
