"""Small folders of photos and paintings."""

import pytest

from impasto import images


@pytest.fixture
def folders(tmp_path, photo):
    """Three photos, one of them no picture, and two paintings."""
    picture = images.read(photo)
    for name, size in (("photos/a.png", (32, 48)), ("photos/b.jpg", (48, 32)), ("paintings/x.png", (40, 40))):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        images.write(tmp_path / name, picture.resized(*size))
    images.write(tmp_path / "paintings/y.png", images.Picture(1 - picture.resized(40, 40).rgb))
    (tmp_path / "photos/broken.jpg").write_bytes(b"no picture")
    return tmp_path
