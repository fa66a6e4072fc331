"""Built-in styles: the same picture at every size, and different from each other."""

import numpy as np
import pytest

from impasto import images
from impasto.inputs.styles import LEAST_SIDE, STYLES, paint


@pytest.mark.parametrize("name", list(STYLES))
def test_painting(name):
    painted = paint(name, 120, 160)
    assert painted.shape == (120, 160, 3)
    assert painted.dtype == np.float32
    assert painted.min() >= 0
    assert painted.max() <= 1
    assert painted.std() > 0.08
    assert np.array_equal(painted, paint(name, 120, 160))
    assert not np.array_equal(painted, paint(name, 120, 160, seed=1))


@pytest.mark.parametrize("name", list(STYLES))
def test_a_larger_one_shows_the_same_picture(name):
    small = images.read(paint(name, 128, 128)).resized(32, 32).rgb
    large = images.read(paint(name, 256, 256)).resized(32, 32).rgb
    other = images.read(paint(name, 256, 256, seed=3)).resized(32, 32).rgb
    same, different = ((small - picture).abs().mean().item() for picture in (large, other))
    assert same < 0.08
    assert same < 0.6 * different


def test_they_differ():
    means = {name: paint(name, LEAST_SIDE, LEAST_SIDE).mean((0, 1)) for name in STYLES}
    assert len(means) >= 6
    names = list(means)
    for i, a in enumerate(names):
        for b in names[:i]:
            assert np.abs(means[a] - means[b]).max() > 0.02


def test_mistakes():
    with pytest.raises(ValueError, match="swirls, mosaic"):
        paint("oil", 100, 100)
    with pytest.raises(ValueError, match="at least 64"):
        paint("mosaic", 63, 100)
