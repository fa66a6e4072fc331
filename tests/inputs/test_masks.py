"""Masks: what they accept, whom they belong to, and what is wrong with them."""

import numpy as np
import PIL.Image
import pytest
import torch
from torch.testing import assert_close

from impasto import images
from impasto.images import Picture, regions
from impasto.inputs import masks
from impasto.vgg.encoder import random_encoder

SIZE = (40, 60)
HALF = np.zeros(SIZE, np.uint8)
HALF[:, :30] = 255


@pytest.fixture
def canvas():
    return Picture(torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(0)))


def paintings(*names):
    return [(name, Picture(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(1)))) for name in names]


def halves(mask):
    return mask[:, :28].mean().item(), mask[:, 32:].mean().item()


def grey(mode):
    return PIL.Image.fromarray(HALF).convert(mode)


def rgba(colours, alpha):
    return PIL.Image.fromarray(np.dstack([np.broadcast_to(colours, (*SIZE, 3)).astype(np.uint8), alpha]))


@pytest.mark.parametrize(
    "mask",
    [
        HALF,
        HALF / 255,
        HALF.astype(bool),
        HALF.astype(np.uint16) * 257,
        torch.from_numpy(HALF / 255),
        grey("L"),
        grey("1"),
        grey("RGB"),
        grey("P"),
        rgba(np.array([255, 255, 255]), HALF),  # white where it is opaque
        rgba(np.array([0, 0, 0]), HALF),  # painted in black on nothing
        rgba(HALF[..., None], np.full(SIZE, 255, np.uint8)),  # grey, and opaque all over
        rgba(np.where(HALF[..., None] > 0, [255, 0, 0], [0, 0, 0]), np.full(SIZE, 255, np.uint8)),  # red on black
        np.kron(HALF, np.ones((3, 3), np.uint8)),  # larger
        HALF[::4, ::4],  # smaller
        HALF[::2],  # of another shape
    ],
)
@pytest.mark.parametrize("as_file", [False, True])
def test_every_kind_of_mask(mask, as_file, tmp_path):
    if as_file:
        if not isinstance(mask, PIL.Image.Image):
            if isinstance(mask, torch.Tensor) or mask.dtype not in (np.uint8, np.uint16):
                pytest.skip("no file holds it")
            mask = PIL.Image.fromarray(mask)
        mask.save(tmp_path / "mask.png")
        mask = tmp_path / "mask.png"
    read = masks.mask_of(mask, "the mask", SIZE)
    assert read.shape == SIZE
    left, right = halves(read)
    assert left > 0.98
    assert right < 0.02


def test_soft_edges_stay_soft():
    ramp = np.linspace(0, 1, 60, dtype=np.float32)[None].repeat(40, 0)
    assert_close(masks.mask_of(ramp, "the mask", SIZE), torch.from_numpy(ramp))


def test_one_style_everywhere(canvas):
    (region,), keep = masks.assign(canvas, paintings("a"))
    assert region.where is None
    assert region.share == 1
    assert keep is None


def test_styles_share_what_no_mask_covers(canvas):
    parts, keep = masks.assign(canvas, paintings("a", "b", "c"), (1, 5, 3), {"b": HALF})
    assert [part.name for part in parts] == ["2 b", "the rest"]
    assert halves(parts[0].where) == pytest.approx((1, 0), abs=1e-6)
    assert halves(parts[1].where) == pytest.approx((0, 1), abs=1e-6)
    assert [(source.name, source.weight) for source in parts[1].sources] == [("a", 0.25), ("c", 0.75)]
    assert parts[0].sources[0].weight == 1
    assert keep is None


def test_what_no_style_is_left_for_stays(canvas):
    (part,), keep = masks.assign(canvas, paintings("a"), (), {"1": HALF})
    assert halves(part.where) == pytest.approx((1, 0), abs=1e-6)
    assert halves(keep) == pytest.approx((0, 1), abs=1e-6)


def test_keep(canvas):
    (part,), keep = masks.assign(canvas, paintings("a"), (), {"keep": HALF})
    assert halves(part.where) == pytest.approx((0, 1), abs=1e-6)
    assert halves(keep) == pytest.approx((1, 0), abs=1e-6)


def test_overlapping_masks_divide_a_pixel(canvas):
    full = np.ones(SIZE)
    parts, keep = masks.assign(canvas, paintings("a", "b"), (), {"1": full, "2": HALF, "keep": full * 0.5})
    total = sum(part.where for part in parts) + keep
    assert_close(total, torch.ones(SIZE))
    assert halves(parts[0].where) == pytest.approx((0.4, 2 / 3), abs=1e-6)
    assert halves(parts[1].where) == pytest.approx((0.4, 0), abs=1e-6)


def test_names():
    names = ["art/sky.jpg", "art/sea.png", "swirls", "old/sea.png"]
    assert masks._index("1", names) == masks._index("sky", names) == masks._index("sky.jpg", names) == 0
    assert masks._index("art/sea.png", names) == 1
    assert masks._index("swirls", names) == 2
    with pytest.raises(ValueError, match="given 2 times; give its number"):
        masks._index("sea", names)
    for key in ("0", "5", "moon"):
        with pytest.raises(ValueError, match=r"choose from 1 \(sky.jpg\), 2 \(sea.png\)"):
            masks._index(key, names)


def test_transparency(canvas):
    """What is transparent belongs to no region, unless the alpha is a mask itself."""
    alpha = torch.from_numpy(HALF / 255).float()
    photo = Picture(canvas.rgb, alpha)
    (part,), keep = masks.assign(photo, paintings("a"))
    assert_close(part.where, alpha)
    assert part.share == pytest.approx(0.5)
    parts, keep = masks.assign(photo, paintings("a", "b"), (), {"1": "alpha"})
    assert_close(parts[0].where, alpha)
    assert_close(parts[1].where, 1 - alpha)
    assert keep is None
    opaque = Picture(canvas.rgb, torch.ones(SIZE))
    assert masks.assign(opaque, paintings("a"))[0][0].where is None
    with pytest.raises(ValueError, match="no transparency"):
        masks.assign(canvas, paintings("a"), (), {"1": "alpha"})


def test_what_is_transparent_in_a_painting_is_not_read(canvas):
    alpha = torch.from_numpy(HALF / 255).float()
    painting = Picture(canvas.rgb, alpha)
    (part,), _ = masks.assign(canvas, [("a", painting)])
    assert_close(part.sources[0].where, alpha)
    (part,), _ = masks.assign(canvas, [("a", painting)], (), None, {"a": np.ones((9, 9))})
    assert_close(part.sources[0].where, alpha)
    (part,), _ = masks.assign(canvas, [("a", painting)], (), None, {"1": "alpha"})
    assert_close(part.sources[0].where, alpha)


@pytest.mark.parametrize(
    ("shares", "content", "style", "message"),
    [
        ((1,), {}, {}, "1 style weights for 2 styles"),
        ((), {"c": HALF}, {}, "choose from 1"),
        ((), {"keep": HALF * 0 + 255}, {}, "the style a and b is empty"),
        ((), {"1": HALF * 0}, {}, "the style a is empty"),
        ((), {"1": HALF * 0 + 255}, {}, "the style b is empty"),
        ((0, 1), {"2": HALF}, {}, "weigh 0"),
        ((), {}, {"keep": HALF}, "choose from 1"),
        ((), {"1": np.zeros((2, 2, 7))}, {}, "the content mask of 1 has shape"),
        ((), {"1": np.full((2, 2), np.nan)}, {}, "not finite"),
    ],
)
def test_mistakes(canvas, shares, content, style, message):
    with pytest.raises(ValueError, match=message):
        masks.assign(canvas, paintings("a", "b"), shares, content, style)


def test_missing_mask(canvas, tmp_path):
    with pytest.raises(images.PictureError, match=r"no such file.*the content mask of 1"):
        masks.assign(canvas, paintings("a"), (), {"1": tmp_path / "none.png"})


def test_masks_that_vanish_name_the_layer():
    encoder = random_encoder(((1, 2), (1, 2), (1, 2)))
    layers = ["relu1_1", "relu2_1", "relu3_1"]
    small = torch.zeros(SIZE)
    small[3:6, 3:8] = 1  # 15 pixels: less than 4×4
    with pytest.raises(ValueError, match=r"the sky covers 15 pixels of 60×40.*one position of relu3_1.*4×4"):
        regions.check(small, encoder, layers, "the sky")
    small[6, 3] = 1
    regions.check(small, encoder, layers, "the sky")
    with pytest.raises(ValueError, match="the sky is empty"):
        regions.check(torch.zeros(SIZE), encoder, layers, "the sky")


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (35, 18)])
def test_positions_are_those_of_the_layer(size):
    encoder = random_encoder(((1, 2), (1, 2), (1, 2)))
    mask = torch.rand(size)
    features = encoder(torch.rand(1, 3, *size, dtype=torch.float64), ["relu3_1"])["relu3_1"]
    there = regions.positions(mask, 4)
    assert there.shape == features.shape[-2:]
    assert_close(there[0, 0], mask[:4, :4].mean())
