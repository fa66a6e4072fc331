"""Options: their checks, presets and their way to the command line and back."""

import dataclasses
from typing import get_args

import pytest

from impasto import encoders, objective, optimize, statistics, weights
from impasto.options import (
    PRESETS,
    StylizeOptions,
    format_layers,
    parse_layers,
    parse_size,
    preset,
    to_arguments,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 0), ("size", 2.5), ("size", True), ("iterations", 0), ("scales", 0), ("history", 0),
        ("strength", -1), ("strength", float("nan")), ("content_weight", float("inf")), ("style_weight", -1.0),
        ("time_budget", 0.0), ("rate", 0.0), ("statistic", "grams"), ("pooling", "median"), ("padding", "wrap"),
        ("optimizer", "sgd"), ("device", "tpu"), ("content_norm", "x"), ("style_norm", "x"),
        ("style_layers", {"relu1_1": -1.0}), ("content_layers", {"relu1_1": float("nan")}),
    ],
)  # fmt: skip
def test_wrong_values_are_named(field, value):
    with pytest.raises(ValueError, match=field):
        StylizeOptions(**{field: value})


def test_nothing_to_optimise():
    with pytest.raises(ValueError, match="nothing to optimise"):
        StylizeOptions(content_weight=0.0, strength=0.0)


def test_choices_are_those_of_the_code():
    choices = {f.name: f.metadata.get("choices") for f in dataclasses.fields(StylizeOptions)}
    assert set(choices["statistic"]) == set(statistics.STATISTICS) == set(get_args(statistics.StatisticName))
    assert set(choices["content_norm"]) == set(objective.CONTENT_NORMS)
    assert set(choices["style_norm"]) == set(objective.STYLE_NORMS)
    assert set(choices["optimizer"]) == set(optimize.METHODS)
    assert set(choices["pooling"]) == set(get_args(encoders.Pooling))
    assert set(choices["padding"]) == set(get_args(encoders.Padding))
    assert set(choices["preprocessing"]) == set(weights.PREPROCESSING)


def test_every_field_has_help():
    for field in dataclasses.fields(StylizeOptions):
        assert field.metadata["help"].endswith((".", ")."))
        assert field.metadata["group"]


def test_presets():
    for name in PRESETS:
        assert isinstance(preset(name), StylizeOptions)
    assert preset("gatys2016", size=300).size == 300
    assert preset("gatys2016").content_weight / preset("gatys2016").style_weight == 1e-3
    assert preset("course").content_weight == 10
    with pytest.raises(ValueError, match="default, gatys2016, course"):
        preset("gatys")
    with pytest.raises(ValueError, match="did you mean 'strength'"):
        preset("default", strenght=2)


@pytest.mark.parametrize("name", list(PRESETS))
def test_arguments_make_the_same_options(name):
    """Through the real parser: see also test_cli."""
    arguments = to_arguments(preset(name, seed=3, size=None, time_budget=2.5))
    assert "--seed 3" in " ".join(arguments)
    assert "--size original" in " ".join(arguments)
    assert to_arguments(StylizeOptions()) == []


def test_layers():
    layers = {"relu1_1": 1.0, "relu4_2": 0.5}
    assert parse_layers("relu1_1, relu4_2=0.5") == layers
    for exact in (layers, {"relu1_1": 1 / 3, "relu4_2": 1e-9 / 7}):
        assert parse_layers(format_layers(exact)) == exact
    with pytest.raises(ValueError, match="'x'; needed is a number"):
        parse_layers("relu1_1=x")
    assert parse_size("original") is None
    with pytest.raises(ValueError, match="big"):
        parse_size("big")
