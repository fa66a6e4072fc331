"""Small clips."""

import pytest
from making_clips import scene, write


@pytest.fixture
def moving(tmp_path):
    """A clip of 6 frames, a second of 10 frames a second, with sound."""
    return write(tmp_path / "moving.mp4", scene(6), sound=True)


@pytest.fixture
def make_scene():
    return scene


@pytest.fixture
def write_clip():
    return write
