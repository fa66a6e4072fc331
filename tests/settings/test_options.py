"""Options: checks, parsing, and conversion to command-line arguments."""

import dataclasses
from typing import get_args

import pytest

from impasto.losses import statistics, targets
from impasto.optim import solvers
from impasto.presets import KINDS, PRESETS, preset
from impasto.settings.choices import BorderPadding, Padding, Pooling, StatisticName, StyleName
from impasto.settings.fields import (
    GROUPS,
    choices_of,
    default_of,
    fields_of,
    flag_of,
    format_layers,
    format_masks,
    format_numbers,
    is_optional,
    parse_extent,
    parse_layers,
    parse_masks,
    parse_numbers,
    parse_size,
    to_arguments,
)
from impasto.settings.options import ReconstructOptions, SoundTextureOptions, StylizeOptions, TextureOptions
from impasto.vgg import weights


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0), ("size", 2.5), ("size", True), ("iterations", 0), ("scales", 0), ("history", 0),
        ("strength", -1), ("strength", float("nan")), ("content_weight", float("inf")), ("style_weight", -1.0),
        ("time_budget", 0.0), ("rate", 0.0), ("statistic", "grams"), ("pooling", "median"), ("padding", "wrap"),
        ("optimizer", "sgd"), ("device", "tpu"), ("content_norm", "x"), ("style_norm", "x"),
        ("style_layers", {"relu1_1": -1.0}), ("content_layers", {"relu1_1": float("nan")}), ("color", "grey"),
        ("strength", "much"), ("strength", True), ("match_colors", "yes"), ("weights", 19), ("seed", -1),
        ("scales", 1.5), ("style_scale", 0), ("style_scale", ()), ("style_scale", "1,-2"),
        ("style_weights", (0, 0)), ("style_weights", "a,b"), ("content_mask", ["1=a.png", "1=b.png"]), ("size", "x"),
        ("color_match", "mean"),
    ],
)  # fmt: skip
def test_wrong_values_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        StylizeOptions(**{field: value})


def test_values_are_converted_to_the_type_of_the_field():
    options = StylizeOptions(
        size="original", strength=2, style_scale=2, style_weights="0.7,0.3", style_layers="relu1_1,relu3_1=0.5"
    )
    assert options.size is None
    assert isinstance(options.strength, float)
    assert options.style_scale == (2.0,)
    assert options.style_weights == (0.7, 0.3)
    assert options.style_layers == {"relu1_1": 1.0, "relu3_1": 0.5}
    assert TextureOptions(size="300").size == (300, 300)


@pytest.mark.parametrize("size", ["3", "0x5", "3x4x5", "axb", (0, 4), 2.5])
def test_extents(size):
    if size == "3":
        assert parse_extent(size) == (3, 3)
    else:
        with pytest.raises(ValueError, match="size"):
            TextureOptions(size=size)


def test_default_layers_depend_on_the_statistic():
    assert set(StylizeOptions().resolved_style_layers) == {f"relu{block}_1" for block in range(1, 6)}
    assert "relu1_1" not in StylizeOptions(statistic="nearest").resolved_style_layers
    assert StylizeOptions(statistic="nearest", style_layers="relu1_1").resolved_style_layers == {"relu1_1": 1.0}
    assert ReconstructOptions().resolved_content_layers == {"relu4_2": 1.0}
    assert ReconstructOptions(style_layers="relu1_1").resolved_content_layers == {}
    for kind, layers in ((TextureOptions, "style_layers"), (ReconstructOptions, "content_layer")):
        with pytest.raises(ValueError, match="have weight 0"):
            kind(**{layers: "relu1_1=0"})


def test_nothing_to_optimise():
    with pytest.raises(ValueError, match="nothing to optimise"):
        StylizeOptions(content_weight=0.0, strength=0.0)


def test_every_choice_is_implemented():
    choices = {name: set(choices_of(field)) for name, field in fields_of(StylizeOptions).items()}
    assert choices["statistic"] == {*statistics.STATISTICS, "nearest"} == set(get_args(StyleName))
    assert set(statistics.STATISTICS) == set(get_args(StatisticName))
    assert choices["content_norm"] == set(targets.CONTENT_NORMS)
    assert choices["style_norm"] == set(targets.STYLE_NORMS)
    assert choices["optimizer"] == set(solvers.SOLVERS)
    assert choices["pooling"] == set(get_args(Pooling))
    assert choices["padding"] == set(get_args(BorderPadding)) == set(get_args(Padding)) - {"circular"}
    assert choices["preprocessing"] == set(weights.PREPROCESSING)


@pytest.mark.parametrize("kind", [*KINDS.values(), SoundTextureOptions])
def test_every_optional_option_has_a_word_for_none(kind):
    """Unless None is its default: other values can be given, and None by giving nothing."""
    for field in dataclasses.fields(kind):
        if is_optional(field) and default_of(field) is not None:
            word = field.metadata["none"]
            assert getattr(kind(**{field.name: word}), field.name) is None
            assert to_arguments(kind(**{field.name: None})) == [flag_of(field), word]


@pytest.mark.parametrize("kind", [*KINDS.values(), SoundTextureOptions])
def test_none_where_it_stands_for_nothing(kind):
    for field in dataclasses.fields(kind):
        if not is_optional(field):
            with pytest.raises(ValueError, match=f"^{field.name}"):
                kind(**{field.name: None})


@pytest.mark.parametrize("kind", [*KINDS.values(), SoundTextureOptions])
def test_every_field_has_help(kind):
    for field in dataclasses.fields(kind):
        assert field.metadata["help"].endswith((".", ")."))
        assert field.metadata["group"] in GROUPS
        assert kind() == kind(**{field.name: default_of(field)})


@pytest.mark.parametrize("name", list(PRESETS))
def test_arguments_make_the_same_options(name):
    """For the whole round trip see cli/test_parameters.py."""
    arguments = to_arguments(preset(name, seed=3, size=None, time_budget=2.5))
    assert "--seed 3" in " ".join(arguments)
    assert "--size original" in " ".join(arguments)
    assert to_arguments(StylizeOptions()) == []


def test_layers():
    layers = {"relu1_1": 1.0, "relu4_2": 0.5}
    assert parse_layers("relu1_1, relu4_2=0.5") == parse_layers(["relu1_1", "relu4_2=0.5"]) == layers
    for exact in (layers, {"relu1_1": 1 / 3, "relu4_2": 1e-9 / 7}):
        assert parse_layers(format_layers(exact)) == exact
    for text in ("relu1_1=x", "relu1_1="):
        with pytest.raises(ValueError, match="expected a number"):
            parse_layers(text)
    assert parse_size("original") is None


def test_numbers_and_masks():
    for numbers in ((0.7, 0.3), (1 / 3, 2.0), (1e-9 / 7,)):
        assert parse_numbers(format_numbers(numbers)) == numbers
    masks = parse_masks(["keep=a=b.png", "c.png", "sky=d.png"])
    assert masks == {"keep": "a=b.png", "2": "c.png", "sky": "d.png"}
    assert parse_masks(format_masks(masks)) == masks
    assert parse_masks({1: "x"}) == {"1": "x"}
