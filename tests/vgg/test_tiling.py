"""In tiles as in the whole: value and gradient, whatever the sizes, the terms and the tiles."""

import dataclasses
import itertools

import pytest
import torch
from torch.testing import assert_close

from impasto import images
from impasto.images import regions
from impasto.images.regions import Region, StyleSource
from impasto.inputs import photos, styles
from impasto.losses.objective import Objective, View
from impasto.losses.statistics import STATISTICS
from impasto.losses.targets import anchored, content_losses, extract_features, style_losses, weighted
from impasto.losses.terms import ContentLoss, TotalVariation
from impasto.vgg import tiling, weights
from impasto.vgg.encoder import random_encoder
from impasto.vgg.split import SplitEncoder
from impasto.vgg.tiles import Span, Tile, row_spans, whole

LAYERS = ("relu1_1", "relu2_1", "relu3_1")
BLOCKS = ((1, 3), (2, 4), (1, 5))


def noise(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def objective_of(encoder, size, statistic="gram", masked=False, keep=False, grey=False, window=1 << 20, kept=False):
    """Everything at once: content, style of two paintings, total variation; whole, or in tiles of `side`."""
    photo, mask = noise(1, 1, 3, *size), noise(2, *size)
    sources = (
        StyleSource("a", noise(3, 3, 30, 41), noise(4, 30, 41), 0.3),
        StyleSource("b", noise(5, 3, 37, 26), None, 0.7),
    )
    parts = [Region(mask if masked else None, sources, "all")]
    if masked:
        parts.append(Region(1 - mask, sources[:1], "rest"))
    tiles = tiling.divide(encoder, {*LAYERS, "relu2_2"}, *size, window)
    features = extract_features(encoder, photo, ["relu2_2"], tiles, kept)
    has_anchors, statistic = statistic == "anchored", statistic.replace("anchored", "nearest")
    styles = [
        style_losses(encoder, part, LAYERS, size, "relative", statistic, 0, ["relu2_2"], window // 2) for part in parts
    ]
    terms = [
        *weighted(content_losses(features, "relative", styles[0][1]), {"relu2_2": 1.0}, 2.0),
        *(term for terms, _ in styles for term in terms),
    ]
    terms = anchored(encoder, photo, terms, tiles) if has_anchors else terms
    view = View(grey, photo, noise(6, *size) if keep else None)
    return Objective(encoder, terms, TotalVariation(0.1, encoder.padding == "circular"), view, tiles, photo)


def assert_the_same(encoder, size, window, rtol=1e-10, split="", **kinds):
    """As a whole and in tiles; with `split`, in tiles and with the first blocks of each in tiles of their own."""
    image = noise(0, 1, 3, *size).to(encoder.mean.dtype)
    whole, tiled = (objective_of(encoder, size, window=w, **kinds) for w in (1 << 20, window))
    if split:
        tiled = dataclasses.replace(tiled, network=SplitEncoder(encoder, split, 600))
    expected, found = whole.value_and_grad(image), tiled.value_and_grad(image)
    assert list(found.terms) == list(expected.terms)
    for name, value in expected.terms.items():
        assert_close(found.terms[name], value, rtol=rtol, atol=0, msg=name)
    assert_close(found.loss, expected.loss, rtol=rtol, atol=0)
    error = (found.gradient - expected.gradient).norm() / expected.gradient.norm()
    assert error < rtol
    return tiled


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (50, 35), (16, 61), (4, 40)])
@pytest.mark.parametrize("window", [1, 600, 900, 1500])
@pytest.mark.parametrize("pooling", ["max", "average"])
def test_every_size(size, window, pooling):
    encoder = dataclasses.replace(random_encoder(BLOCKS), pooling=pooling, padding="replicate")
    assert_the_same(encoder, size, window)


@pytest.mark.parametrize("statistic", [*STATISTICS, "nearest", "anchored"])
@pytest.mark.parametrize("padding", ["zeros", "replicate"])
@pytest.mark.parametrize("masked", [False, True])
def test_every_statistic(statistic, padding, masked):
    encoder = dataclasses.replace(random_encoder(BLOCKS), padding=padding)
    # A root of eigenvalues magnifies what is rounded.
    rtol = 1e-7 if statistic == "wasserstein" else 1e-10
    tiled = assert_the_same(encoder, (41, 54), 900, rtol, statistic=statistic, masked=masked)
    assert len(tiled.tiles) > 4


@pytest.mark.parametrize("pool", ["pool1", "pool2"])
@pytest.mark.parametrize("window", [1200, 1 << 20], ids=["tiles", "whole"])
@pytest.mark.parametrize(
    ("padding", "kinds"),
    [
        ("replicate", {"statistic": "gram", "masked": True}),
        ("zeros", {"statistic": "anchored", "kept": True}),
        ("circular", {"statistic": "moments", "keep": True}),
    ],
    ids=["replicate", "zeros", "circular"],
)
def test_a_network_that_is_split(padding, kinds, window, pool):
    """Its first blocks in tiles, its others whole; the content's features, in the first blocks here, cached or not."""
    encoder = dataclasses.replace(random_encoder(BLOCKS), padding=padding)
    assert_the_same(encoder, (32, 56) if padding == "circular" else (41, 54), window, split=pool, **kinds)


def test_a_network_split_below_all_layers_that_are_read():
    encoder = dataclasses.replace(random_encoder(BLOCKS), padding="replicate")
    split, image, found = SplitEncoder(encoder, "pool2", 500), noise(0, 1, 3, 33, 47), []

    def accumulate(layer, features, grad, part=None):
        if grad is not None:
            part = part or whole(33, 47)
            part.inside(grad, 1).add_(part.inside(features, 1))

    for network in (encoder, split):
        found.append(network.backward(image, ["relu1_1"], accumulate))
    assert_close(found[1], found[0], rtol=1e-12, atol=1e-14)
    assert next(layer for layer, _, part in split.walk(image, ["relu1_1"]) if part.rows.start == 0) == "relu1_1"
    with pytest.raises(ValueError, match="relu3_1 needs at least 4×4"):
        next(split.walk(image[..., :3], ["relu1_1", "relu3_1"]))


@pytest.mark.parametrize(("keep", "grey"), [(True, False), (False, True), (True, True)])
def test_every_view(keep, grey):
    assert_the_same(random_encoder(BLOCKS), (41, 54), 900, keep=keep, grey=grey)


@pytest.mark.parametrize("size", [(32, 48), (16, 8), (4, 24)])
@pytest.mark.parametrize("window", [1, 1000, 2000])
def test_pictures_that_tile(size, window):
    """Also where a window goes around the picture more than once."""
    encoder = dataclasses.replace(random_encoder(BLOCKS), padding="circular")
    assert_the_same(encoder, size, window)
    with pytest.raises(ValueError, match=r"48×33 px and seamless.*multiples of 4, such as 48×32"):
        tiling.divide(encoder, LAYERS, 33, 48, 900)


@pytest.mark.parametrize("height", [4, 15, 33, 64])
@pytest.mark.parametrize("width", [5, 40])
@pytest.mark.parametrize("most", [1, 400, 900, 10_000])
def test_every_position_is_owned_once(height, width, most):
    encoder = random_encoder(BLOCKS)
    tiles = tiling.divide(encoder, LAYERS, height, width, most)
    for stride in (1, 2, 4):
        owned = torch.zeros(height // stride, width // stride)
        for tile in tiles:
            tile.owned(owned, stride).add_(1)
        assert (owned == 1).all()


def test_the_grid_is_the_one_that_overlaps_least():
    encoder = weights.load("vgg19").up_to(["relu5_1"])
    for size, most in (((768, 1024), 500_000), ((3000, 4000), 1_000_000), ((400, 9000), 400_000)):
        tiles = tiling.divide(encoder, ["relu5_1"], *size, most)
        assert max(tile.pixels for tile in tiles) <= most
        seen = sum(tile.pixels for tile in tiles)
        for rows, columns in itertools.product(range(1, 12), range(1, 40)):
            spans = [row_spans(length, count, 16, 80) for length, count in zip(size, (rows, columns), strict=True)]
            pixels = [row.window_length * column.window_length for row, column in itertools.product(*spans)]
            assert max(pixels) > most or sum(pixels) >= seen
    (smallest,) = {
        (tile.rows.window_length, tile.columns.window_length)
        for tile in tiling.divide(encoder, ["relu5_1"], 16, 5000, 1)[9:-9]
    }
    assert smallest == (16, 176)


def test_the_halo_is_as_wide_as_necessary_and_no_wider():
    """With one square less, an owned position depends on the window's edge."""
    encoder = random_encoder(((2, 5), (2, 5), (4, 5), (4, 5), (1, 5)), pooling="average")
    assert tiling.halo(encoder, ["relu5_1"]) == 80
    assert tiling.halo(encoder, ["relu1_1"]) == 1
    size = (400, 32)
    image = noise(0, 1, 3, *size)
    expected = encoder(image, ["relu5_1"])["relu5_1"]
    span = Span(160, 240, 160 - 80, 240 + 80)
    for missing, same in ((0, True), (16, False)):
        rows = dataclasses.replace(
            span, window_start=span.window_start + missing, window_stop=span.window_stop - missing
        )
        tile = Tile(rows, Span(0, 32, 0, 32))
        ((_, _, features),) = tiling.walk(encoder, image, ["relu5_1"], [tile])
        assert ((features - tile.owned(expected, 16)).abs().max() < 1e-13) == same


def test_in_single_precision_on_the_real_network():
    encoder = weights.load("vgg19", padding="replicate").up_to(["relu5_1"])
    size = (144, 208)
    photo, image = noise(1, 1, 3, *size).float(), noise(0, 1, 3, *size).float()
    painting = Region(None, (StyleSource("a", noise(2, 3, 150, 170).float()),))
    layers = {f"relu{block}_1": 0.2 for block in range(1, 6)}
    found = []
    for window, network in ((1 << 20, encoder), (50_000, encoder), (1 << 20, SplitEncoder(encoder, "pool2", 8000))):
        tiles = tiling.divide(encoder, [*layers, "relu4_2"], *size, window)
        content = content_losses(extract_features(encoder, photo, ["relu4_2"], tiles), "relative")
        style, _ = style_losses(encoder, painting, layers, size, window=window // 4)
        terms = (*content, *weighted(style, layers, 20.0))
        found.append(Objective(network, terms, TotalVariation(0.1), tiles=tiles, photo=photo).value_and_grad(image))
    # In bands, rounding decides otherwise between two activations that are all but equal.
    for each, rtol in zip(found[1:], (1e-5, 1e-3), strict=True):
        assert_close(each.loss, found[0].loss, rtol=1e-5, atol=0)
        assert (each.gradient - found[0].gradient).norm() / found[0].gradient.norm() < rtol


def test_weights_are_those_of_the_whole_mask():
    mask = noise(0, 33, 47)
    assert regions.positions(mask, 4).shape == (8, 11)


@pytest.mark.parametrize("size", [(33, 47), (4, 40)])
@pytest.mark.parametrize("window", [1, 600])
def test_cached_targets(size, window):
    encoder = dataclasses.replace(random_encoder(BLOCKS), padding="replicate")
    tiled = assert_the_same(encoder, size, window, kept=True)
    assert all(term.target is not None for term in tiled.terms if isinstance(term, ContentLoss))


def test_no_seams(monkeypatch):
    """In a picture 2048 px wide the gradient is not rougher along the borders of tiles than at other squares.

    With tiles that do not reach beyond what they own, it is.
    """
    layers, content = [f"relu{block}_1" for block in range(1, 6)], ["relu4_2"]
    encoder = weights.load("vgg19", padding="replicate").up_to([*layers, *content])
    photo = images.read(photos.load("chelsea")).resized(1366, 2048).rgb[None, :, 600:696]
    painting = images.read(styles.paint("swirls", 200, 200)).rgb
    terms, energy = style_losses(
        encoder, Region(None, (StyleSource("swirls", painting),)), layers, photo.shape[-2:], measured=content
    )

    def rougher():
        tiles = tiling.divide(encoder, [*layers, *content], *photo.shape[-2:], 45_000)
        parts = content_losses(extract_features(encoder, photo, content, tiles), "relative", energy)
        parts = [*weighted(parts, dict.fromkeys(content, 1.0), 1.0), *weighted(terms, dict.fromkeys(layers, 0.2), 20.0)]
        gradient = Objective(encoder, parts, tiles=tiles).value_and_grad(photo).gradient[0]
        steps = gradient.diff().abs().mean((0, 1))[15::16]
        borders = [tile.columns.start // 16 - 1 for tile in tiles if tile.columns.start]
        elsewhere = [index for index in range(len(steps)) if index not in borders]
        assert len(borders) >= 4
        return (steps[borders].mean() / steps[elsewhere].mean()).item()

    assert rougher() < 1.5
    monkeypatch.setattr(tiling, "halo", lambda encoder, taps: 0)
    assert rougher() > 3
