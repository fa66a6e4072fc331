"""The form: a component for every option, and options from their values."""

import re

import pytest
from serving import WARNINGS

pytest.importorskip("gradio")
from impasto.presets import PRESETS, options_of
from impasto.settings.fields import fields_of
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.web import form

pytestmark = WARNINGS


def components():
    import gradio as gr

    with gr.Blocks():
        return form.build({"weights": lambda: ["vgg19"], "init": lambda: ["content", "noise"]})


def test_every_option_is_on_the_page():
    assert {*components(), *form.PAGE_FIELDS, *form.SERVER_FIELDS} == set(fields_of(StylizeOptions))


@pytest.mark.parametrize("name", PRESETS)
def test_values_of_and_options_from_are_inverse(name):
    options = options_of(StylizeOptions, name)
    names = components()
    values = dict(zip(names, form.values_of(options, names), strict=True))
    again = form.options_from({**values, "size": options.size, "strength": options.strength})
    assert again == options


def test_the_form_starts_with_the_defaults():
    values = {name: component.value for name, component in components().items()}
    assert form.options_from(values) == StylizeOptions()


def test_the_form_speaks_of_no_commands():
    for name, component in components().items():
        assert not re.search(r"--|impasto|FILE", component.info), name


def test_errors_name_the_field():
    with pytest.raises(ValueError, match="style_layers"):
        form.options_from({"style_layers": "relu1_1=x"})
    with pytest.raises(ValueError, match="time_budget is 'soon'"):
        form.options_from({"time_budget": "soon"})
    with pytest.raises(ValueError, match="scales is 900; at most 8"):
        form.options_from({"scales": "900"})
    assert form.options_from({"time_budget": "2.5", "scales": " 3 "}) == StylizeOptions(time_budget=2.5, scales=3)


def test_options_of_feed_forward_networks():
    values = {"strength": 0.5, "style_weights": "0.7,0.3", "style_layers": "relu1_1=x", "scales": "900"}
    assert form.fast_options_from(values) == FastOptions(strength=0.5, style_weights=(0.7, 0.3))
    with pytest.raises(ValueError, match="style_weights"):
        form.fast_options_from({"style_weights": "x"})
