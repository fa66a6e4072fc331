"""Masks: the kinds that are accepted, the regions that they make, and mistakes."""

import numpy as np
import PIL.Image
import pytest
import torch
from torch.testing import assert_close

from impasto.errors import PictureError
from impasto.images import Picture, regions
from impasto.inputs import masks
from impasto.inputs.checks import check_mask
from impasto.vgg.encoder import random_encoder

SIZE = (40, 60)
HALF = np.zeros(SIZE, np.uint8)
HALF[:, :30] = 255


@pytest.fixture
def picture():
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
        rgba(np.array([0, 0, 0]), HALF),  # black on a transparent layer
        rgba(HALF[..., None], np.full(SIZE, 255, np.uint8)),  # grey and opaque
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
                pytest.skip("no file stores it")
            mask = PIL.Image.fromarray(mask)
        mask.save(tmp_path / "mask.png")
        mask = tmp_path / "mask.png"
    read = masks.read_mask(mask, "the mask", SIZE)
    assert read.shape == SIZE
    left, right = halves(read)
    assert left > 0.98
    assert right < 0.02


def test_soft_edges_stay_soft():
    ramp = np.linspace(0, 1, 60, dtype=np.float32)[None].repeat(40, 0)
    assert_close(masks.read_mask(ramp, "the mask", SIZE), torch.from_numpy(ramp))


def test_one_style_everywhere(picture):
    (region,), keep = masks.assign(picture, paintings("a"))
    assert region.mask is None
    assert region.share == 1
    assert keep is None


def test_styles_share_what_no_mask_covers(picture):
    parts, keep = masks.assign(picture, paintings("a", "b", "c"), (1, 5, 3), {"b": HALF})
    assert [part.name for part in parts] == ["2 b", "the rest"]
    assert halves(parts[0].mask) == pytest.approx((1, 0), abs=1e-6)
    assert halves(parts[1].mask) == pytest.approx((0, 1), abs=1e-6)
    assert [(source.name, source.weight) for source in parts[1].sources] == [("a", 0.25), ("c", 0.75)]
    assert parts[0].sources[0].weight == 1
    assert keep is None


def test_pixels_without_a_style_stay_untouched(picture):
    (part,), keep = masks.assign(picture, paintings("a"), (), {"1": HALF})
    assert halves(part.mask) == pytest.approx((1, 0), abs=1e-6)
    assert halves(keep) == pytest.approx((0, 1), abs=1e-6)


def test_keep(picture):
    (part,), keep = masks.assign(picture, paintings("a"), (), {"keep": HALF})
    assert halves(part.mask) == pytest.approx((0, 1), abs=1e-6)
    assert halves(keep) == pytest.approx((1, 0), abs=1e-6)


def test_overlapping_masks_divide_a_pixel(picture):
    full = np.ones(SIZE)
    parts, keep = masks.assign(picture, paintings("a", "b"), (), {"1": full, "2": HALF, "keep": full * 0.5})
    total = sum(part.mask for part in parts) + keep
    assert_close(total, torch.ones(SIZE))
    assert halves(parts[0].mask) == pytest.approx((0.4, 2 / 3), abs=1e-6)
    assert halves(parts[1].mask) == pytest.approx((0.4, 0), abs=1e-6)


def test_names_of_styles():
    names = ["art/sky.jpg", "art/sea.png", "swirls", "old/sea.png"]
    for key in ("1", "sky", "sky.jpg"):
        assert masks._style_index(key, names) == 0
    assert masks._style_index("art/sea.png", names) == 1
    assert masks._style_index("swirls", names) == 2
    with pytest.raises(ValueError, match="given 2 times; give its number"):
        masks._style_index("sea", names)
    for key in ("0", "5", "moon"):
        with pytest.raises(ValueError, match=r"choose from 1 \(sky.jpg\), 2 \(sea.png\)"):
            masks._style_index(key, names)


def test_transparency(picture):
    """Transparent pixels belong to no region, unless the alpha is one of the masks."""
    alpha = torch.from_numpy(HALF / 255).float()
    photo = Picture(picture.rgb, alpha)
    (part,), keep = masks.assign(photo, paintings("a"))
    assert_close(part.mask, alpha)
    assert part.share == pytest.approx(0.5)
    parts, keep = masks.assign(photo, paintings("a", "b"), (), {"1": "alpha"})
    assert_close(parts[0].mask, alpha)
    assert_close(parts[1].mask, 1 - alpha)
    assert keep is None
    opaque = Picture(picture.rgb, torch.ones(SIZE))
    assert masks.assign(opaque, paintings("a"))[0][0].mask is None
    with pytest.raises(ValueError, match="no transparency"):
        masks.assign(picture, paintings("a"), (), {"1": "alpha"})


def test_transparent_parts_of_a_painting_do_not_count(picture):
    alpha = torch.from_numpy(HALF / 255).float()
    painting = Picture(picture.rgb, alpha)
    (part,), _ = masks.assign(picture, [("a", painting)])
    assert_close(part.sources[0].mask, alpha)
    (part,), _ = masks.assign(picture, [("a", painting)], (), None, {"a": np.ones((9, 9))})
    assert_close(part.sources[0].mask, alpha)
    (part,), _ = masks.assign(picture, [("a", painting)], (), None, {"1": "alpha"})
    assert_close(part.sources[0].mask, alpha)


@pytest.mark.parametrize(
    ("weights", "content", "style", "message"),
    [
        ((1,), {}, {}, "1 style weights for 2 styles"),
        ((), {"c": HALF}, {}, "choose from 1"),
        ((), {"keep": HALF * 0 + 255}, {}, "the style a and b is empty"),
        ((), {"1": HALF * 0}, {}, "the style a is empty"),
        ((), {"1": HALF * 0 + 255}, {}, "the style b is empty"),
        ((), {}, {"1": HALF * 0}, "the style a is empty"),
        ((), {"1": HALF}, {"2": HALF * 0}, "the style b is empty"),
        ((0, 1), {"2": HALF}, {}, "weigh 0"),
        ((), {}, {"keep": HALF}, "choose from 1"),
        ((), {"1": np.zeros((2, 2, 7))}, {}, "the content mask of 1 has shape"),
        ((), {"1": np.full((2, 2), np.nan)}, {}, "not finite"),
    ],
)
def test_mistakes(picture, weights, content, style, message):
    with pytest.raises(ValueError, match=message):
        masks.assign(picture, paintings("a", "b"), weights, content, style)


def test_pictures_that_are_transparent_throughout(picture):
    clear = Picture(picture.rgb, torch.zeros(SIZE))
    with pytest.raises(ValueError, match="the style a is empty: masks, and what is transparent, leave nothing of it"):
        masks.assign(picture, [("a", clear)])
    with pytest.raises(ValueError, match="the region of the style a is empty"):
        masks.assign(clear, paintings("a"))


def test_missing_mask(picture, tmp_path):
    with pytest.raises(PictureError, match=r"no such file.*the content mask of 1"):
        masks.assign(picture, paintings("a"), (), {"1": tmp_path / "none.png"})


def test_masks_that_vanish_name_the_layer():
    encoder = random_encoder(((1, 2), (1, 2), (1, 2)))
    layers = ["relu1_1", "relu2_1", "relu3_1"]
    small = torch.zeros(SIZE)
    small[3:6, 3:8] = 1  # 15 pixels: less than 4×4
    with pytest.raises(ValueError, match=r"the sky covers 15 pixels of 60×40.*one position of relu3_1.*4×4"):
        check_mask(small, encoder, layers, "the sky")
    small[6, 3] = 1
    check_mask(small, encoder, layers, "the sky")
    with pytest.raises(ValueError, match="the sky is empty"):
        check_mask(torch.zeros(SIZE), encoder, layers, "the sky")


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (35, 18)])
def test_positions_are_those_of_the_layer(size):
    encoder = random_encoder(((1, 2), (1, 2), (1, 2)))
    mask = torch.rand(size)
    features = encoder(torch.rand(1, 3, *size, dtype=torch.float64), ["relu3_1"])["relu3_1"]
    there = regions.positions(mask, 4)
    assert there.shape == features.shape[-2:]
    assert_close(there[0, 0], mask[:4, :4].mean())
