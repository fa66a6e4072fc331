"""Options are unchanged by a round trip through stored settings and the command line."""

import dataclasses
import inspect
import json
import shlex

import pytest
import typer

from impasto import cli, record
from impasto.cli import parameters
from impasto.presets import PRESETS, preset
from impasto.settings.options import FastOptions, ReconstructOptions, StylizeOptions, TextureOptions


def parsed(words, kind, command):
    """The arguments that a command is called with for these words."""
    arguments = {}

    def catch(**given):
        arguments.update(given)

    catch.__signature__ = inspect.signature(command, eval_str=True)
    app = typer.Typer()
    app.command()(parameters.with_options(kind)(catch))
    app(words, standalone_mode=False)
    return arguments


@pytest.mark.parametrize("name", list(PRESETS))
def test_round_trip_of_presets(name):
    options = preset(name, seed=2, time_budget=1.5, total_variation=1e-7, color="both", style_scale=(0.5, 2))
    options = dataclasses.replace(options, content_mask={"1": "a b=c.png", "keep": "d.png"}, style_weights=(1, 1 / 3))
    stored = json.loads(json.dumps(record.settings("stylize", ["a b.png", "c'd.png", "e"], options, 16)))
    words = shlex.split(record.command(stored, "out.png"))
    assert words[:2] == ["impasto", "stylize"]
    given = parsed(words[2:], StylizeOptions, cli.stylize.stylize)
    assert (given["content"], given["style"], given["options"]) == ("a b.png", ["c'd.png", "e"], options)
    assert given["output"].bits == 16


def test_round_trip_of_other_operations():
    for kind, command, pictures, options in (
        (
            TextureOptions,
            cli.stylize.texture,
            ["a.png"],
            TextureOptions(size=(300, 200), seamless=True, style_mask={"1": "m.png"}),
        ),
        (
            FastOptions,
            cli.fast.fast,
            ["a.png", "b.png"],
            FastOptions(strength=1.5, model="m.safetensors", learn_seconds=7, memory="2GB"),
        ),
        (
            ReconstructOptions,
            cli.stylize.reconstruct,
            ["a.png"],
            ReconstructOptions(size=None, style_layers="relu1_1,relu2_1=0.5"),
        ),
    ):
        stored = json.loads(json.dumps(record.settings(kind.operation, pictures, options)))
        words = shlex.split(record.command(stored, "out.png"))
        assert parsed(words[2:], kind, command)["options"] == options
