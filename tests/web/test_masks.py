"""Masks from what was drawn over the photo."""

import tracemalloc

import numpy as np

from impasto.web.masks import masks_of


def test_masks_by_colour():
    layer = np.zeros((8, 8, 4), np.uint8)
    layer[:4] = (230, 57, 70, 255)
    layer[4:, :4] = (42, 157, 143, 255)
    masks = masks_of({"layers": [layer]})
    assert masks.keys() == {"keep", "1"}
    assert (masks["keep"][:4] == 255).all()
    assert not masks["keep"][4:].any()
    assert masks["1"].sum() == 16 * 255
    assert masks["1"].dtype == np.uint8
    assert masks_of(None) == masks_of({"layers": []}) == {}


def test_masks_take_little_memory():
    """A photo of a phone has twelve million pixels."""
    layer = np.full((1000, 500, 4), (42, 157, 143, 255), np.uint8)
    tracemalloc.start()
    try:
        assert (masks_of({"layers": [layer]})["1"] == 255).all()
        assert tracemalloc.get_traced_memory()[1] < 20 * layer[..., 0].size
    finally:
        tracemalloc.stop()
