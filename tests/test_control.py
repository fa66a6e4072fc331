"""Creative controls (docs/control.md), with VGG-19 and small pictures."""

import numpy as np
import pytest
import skimage.color
import torch
from torch.testing import assert_close

import impasto
from impasto import images
from impasto.images import color
from impasto.inputs.memo import Memo
from impasto.inputs.styles import paint
from impasto.losses.statistics import gram
from impasto.presets import preset
from impasto.vgg import weights

SMALL = {"size": 96, "iterations": 12}
LEFT = np.zeros((64, 96), np.uint8)
LEFT[:, :48] = 255


@pytest.fixture(scope="module")
def encoder():
    return weights.load("vgg19", padding="replicate")


@pytest.fixture(scope="module")
def styles():
    return {name: paint(name, 96, 96) for name in ("swirls", "mosaic")}


def statistic(encoder, picture, layer="relu2_1"):
    rgb = picture if isinstance(picture, torch.Tensor) else images.read(picture).rgb
    return gram(encoder(rgb[None], [layer])[layer][0].flatten(1)).mean


def distance(encoder, one, other, layer="relu2_1"):
    target = statistic(encoder, other, layer)
    return ((statistic(encoder, one, layer) - target).norm() / target.norm()).item()


def stylized(photo, styles, **changes):
    return impasto.stylize(photo, styles, preset(**(SMALL | changes)))


# -- several styles ----------------------------------------------------------------------------------------


def test_a_style_of_weight_0_has_no_effect(photo, styles):
    both = [styles["swirls"], styles["mosaic"]]
    for style_weights, alone in (((1, 0), "swirls"), ((0, 2.5), "mosaic")):
        found = stylized(photo, both, style_weights=style_weights, iterations=3)
        assert torch.equal(found.rgb, stylized(photo, styles[alone], iterations=3).rgb)


def test_weights_interpolate_between_styles(photo, styles, encoder):
    pictures = [
        stylized(photo, [styles["swirls"], styles["mosaic"]], style_weights=style_weights).rgb
        for style_weights in ((1, 0), (0.7, 0.3), (0.3, 0.7), (0, 1))
    ]
    to_swirls = [distance(encoder, picture, styles["swirls"]) for picture in pictures]
    to_mosaic = [distance(encoder, picture, styles["mosaic"]) for picture in pictures]
    assert to_swirls == sorted(to_swirls)
    assert to_mosaic == sorted(to_mosaic, reverse=True)


@pytest.mark.parametrize("statistic", ["wasserstein", "nearest", "gaussian"])
def test_several_styles_by_any_statistic(photo, styles, statistic):
    options = preset(**SMALL | {"statistic": statistic, "iterations": 5, "style_weights": (0.7, 0.3)})
    steps = list(impasto.iterate(photo, list(styles.values()), options))
    assert steps[-1].loss < steps[0].loss


# -- regions -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("statistic", "ratio"), [("gram", 0.7), ("nearest", 0.9)])
def test_each_region_is_nearer_to_its_own_style(photo, styles, encoder, statistic, ratio):
    picture = stylized(
        photo,
        [styles["swirls"], styles["mosaic"]],
        content_mask={"1": LEFT, "2": 255 - LEFT},
        statistic=statistic,
        style_weight=20,
    ).rgb
    # Away from the border, whose receptive fields cover both regions.
    for part, own, other in ((picture[..., :44], "swirls", "mosaic"), (picture[..., 52:], "mosaic", "swirls")):
        for layer in ("relu1_1", "relu2_1", "relu3_1"):
            own_distance, other_distance = (distance(encoder, part, styles[name], layer) for name in (own, other))
            assert own_distance < ratio * other_distance


def test_style_masks_select_parts_of_a_painting(photo, styles, encoder):
    painting = np.concatenate([styles["swirls"], styles["mosaic"]], 1)
    half = np.zeros(painting.shape[:2], np.uint8)
    half[:, :96] = 255
    picture = stylized(
        photo,
        [painting, painting],
        content_mask={"1": LEFT, "2": 255 - LEFT},
        style_mask={"1": 255 - half, "2": half},
    ).rgb
    for part, own, other in ((picture[..., :44], "mosaic", "swirls"), (picture[..., 52:], "swirls", "mosaic")):
        assert distance(encoder, part, styles[own]) < 0.8 * distance(encoder, part, styles[other])


@pytest.mark.parametrize("mode", ["style", "luminance", "palette"])
def test_kept_pixels_equal_the_photo(photo, styles, mode):
    picture = stylized(photo, styles["swirls"], content_mask={"keep": LEFT}, color=mode)
    kept, painted = (abs(np.asarray(picture.to_pil(), float) - photo)[:, part] for part in (slice(47), slice(49, 96)))
    assert kept.max() == 0
    assert painted.mean() > 5


def test_soft_masks_blend(photo, styles):
    ramp = np.linspace(0, 1, 96)[None].repeat(64, 0)
    picture = stylized(photo, styles["swirls"], content_mask={"1": ramp})
    change = abs(picture.to_numpy() - photo / 255).mean((0, 2))
    thirds = [change[i : i + 24].mean() for i in range(0, 96, 24)]
    assert thirds == sorted(thirds)
    assert thirds[0] < 0.3 * thirds[-1]


def test_transparent_pixels_of_the_photo_do_not_count(photo, styles):
    """Their colours do not affect the style of the opaque pixels."""
    alpha = np.where(LEFT, 255, 0).astype(np.uint8)
    other = photo.copy()
    other[:, 80:] = 255 - other[:, 80:]
    pictures = [
        stylized(np.dstack([p, alpha]), styles["swirls"], content_weight=0.0, match_colors=False, iterations=3)
        for p in (photo, other)
    ]
    near, far = ((pictures[0].rgb - pictures[1].rgb)[..., part].abs().mean() for part in (slice(16), slice(80, 96)))
    assert near < 0.02
    assert far > 0.1


def test_transparent_pixels_of_a_style_do_not_count(photo, styles):
    hidden = np.ones((96, 192, 4), np.float32)
    hidden[..., :3] = np.concatenate([styles["swirls"], 1 - styles["mosaic"]], 1)
    hidden[:, 96:, 3] = 0
    changed = hidden.copy()
    changed[:, 120:, :3] = 0.03
    pictures = [stylized(photo, style, iterations=4, style_layers="relu1_1,relu2_1").rgb for style in (hidden, changed)]
    assert (pictures[0] - pictures[1]).abs().mean() < 1e-3


def test_masks_smaller_than_a_position(photo, styles):
    dot = np.zeros((64, 96), np.uint8)
    dot[20:26, 20:26] = 255
    with pytest.raises(ValueError, match=r"the style number 1 covers 36 pixels.*relu4_1"):
        stylized(photo, styles["swirls"], content_mask={"1": dot})
    with pytest.raises(ValueError, match=r"what is read of the style number 1 covers \d+ pixels.*relu4_1"):
        stylized(photo, styles["swirls"], style_mask={"1": dot})
    stylized(photo, styles["swirls"], content_mask={"1": dot}, style_layers="relu1_1,relu2_1", iterations=1)


def test_scales_at_which_all_masks_vanish_are_skipped(photo, styles):
    """The mask covers a position of the only layer at 192 px, but not at 128 px."""
    dot = np.zeros((128, 192), np.uint8)
    dot[20:31, 20:31] = 255
    options = preset(
        size=192, scales=2, iterations=2, content_mask={"1": dot}, style_layers="relu4_1", content_weight=0.0
    )
    steps = list(impasto.iterate(photo, styles["swirls"], options))
    assert {step.scale for step in steps} == {2}
    assert steps[-1].loss > 0


# -- colour ------------------------------------------------------------------------------------------------


def chroma_difference(picture, photo):
    """The mean distance in a* and b*; about 2 is just noticeable side by side."""
    labs = [skimage.color.rgb2lab(np.asarray(p.to_pil())) for p in (picture, images.read(photo))]
    return np.hypot(*np.moveaxis(labs[0][..., 1:] - labs[1][..., 1:], -1, 0)).mean()


@pytest.mark.parametrize("mode", ["luminance", "both"])
def test_luminance_keeps_the_photos_colours(photo, styles, encoder, mode):
    picture = stylized(photo, styles["swirls"], color=mode)
    assert chroma_difference(picture, photo) < 3
    assert chroma_difference(stylized(photo, styles["swirls"]), photo) > 10
    style = images.read(styles["swirls"]).rgb
    if mode == "both":
        style = color.match(style, images.read(photo).rgb)
    grey, target, before = (color.luminance(p) for p in (picture.rgb, style, images.read(photo).rgb))
    for layer in ("relu2_1", "relu3_1"):
        assert distance(encoder, grey, target, layer) < 0.6 * distance(encoder, before, target, layer)


@pytest.mark.parametrize("method", ["covariance", "histogram"])
def test_match_keeps_the_photos_color_distribution(photo, styles, method):
    matched = stylized(photo, styles["swirls"], color="match", color_match=method).rgb.flatten(1)
    plain = stylized(photo, styles["swirls"]).rgb.flatten(1)
    own = images.read(photo).rgb.flatten(1)
    for measure in (lambda p: p.mean(1), torch.cov):
        assert (measure(matched) - measure(own)).norm() < 0.35 * (measure(plain) - measure(own)).norm()


def test_palette_changes_colours_only(photo, styles, encoder):
    style = images.read(styles["mosaic"]).rgb
    steps = list(impasto.iterate(photo, styles["mosaic"], preset(size=None, color="palette")))
    assert len(steps) == 1
    picture = steps[0].picture.rgb
    assert (picture.flatten(1).mean(1) - style.flatten(1).mean(1)).abs().max() < 0.03
    # A function of the colour alone, which adds no texture.
    expected = color.match(images.read(photo).rgb, style)
    assert_close(picture, expected, rtol=0, atol=2e-3)
    halfway = impasto.stylize(photo, styles["mosaic"], preset(size=None, color="palette", strength=0.5)).rgb
    assert_close(halfway, (picture + images.read(photo).rgb) / 2, rtol=0, atol=1e-6)


def test_every_region_has_its_own_palette(photo, styles):
    options = preset(size=None, color="palette", content_mask={"1": LEFT, "2": 255 - LEFT})
    picture = impasto.stylize(photo, list(styles.values()), options).rgb
    for part, style in ((picture[..., :48], styles["swirls"]), (picture[..., 48:], styles["mosaic"])):
        assert (part.mean((1, 2)) - images.read(style).rgb.mean((1, 2))).abs().max() < 0.05


# -- the scale of the style --------------------------------------------------------------------------------


def test_style_scale_sets_the_size_of_strokes(photo, encoder):
    """Each result is nearest to the painting at its own scale."""
    painting = images.read(paint("swirls", 192, 192))
    sizes = {0.5: 39, 1.0: 78, 2.0: 157}  # as many pixels as the result at scale 1
    targets = {scale: painting.resized(side, side).rgb for scale, side in sizes.items()}
    for scale in sizes:
        picture = stylized(photo, painting, style_scale=scale, iterations=20, strength=1.5).rgb
        found = {other: distance(encoder, picture, targets[other], "relu1_1") for other in sizes}
        assert min(found, key=found.get) == scale


def test_a_blend_of_two_scales_lies_between_them(photo, encoder):
    painting = images.read(paint("swirls", 192, 192))
    large = painting.resized(157, 157).rgb
    found = [
        distance(encoder, stylized(photo, painting, style_scale=scales, strength=1.5).rgb, large, "relu1_1")
        for scales in ((2,), (0.5, 2), (0.5,))
    ]
    assert found == sorted(found)


# -- shared inputs -----------------------------------------------------------------------------------------


def test_read_pictures_are_accepted(photo, styles):
    photo = images.read(photo)
    assert images.read(photo) is photo
    assert stylized(photo, images.read(styles["swirls"]), iterations=1).shape == (64, 96)


def test_runs_that_share_a_memo_give_the_same_pictures(photo, styles):
    memo = Memo()
    variants = [{}, {"strength": 0.5}, {"statistic": "mean"}, {"color": "luminance"}, {"style_layers": "relu2_1"}]
    variants += [{"style_scale": 0.7}, {"content_layers": "relu3_2"}, {"pooling": "average"}, {"style_norm": "gatys"}]
    for changes in variants:
        options = preset(**SMALL | {"size": 64, "iterations": 2} | changes)
        *_, shared = impasto.iterate(photo, styles["mosaic"], options, memo=memo)
        *_, alone = impasto.iterate(photo, styles["mosaic"], options)
        assert torch.equal(shared.image, alone.image), changes
