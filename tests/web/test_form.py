"""The form: every option on it, and options from what was filled in."""

import pytest
from serving import WARNINGS

pytest.importorskip("gradio")
from impasto.presets import PRESETS, options_of
from impasto.settings.fields import fields_of
from impasto.settings.options import StylizeOptions
from impasto.web import form

pytestmark = WARNINGS


def components():
    import gradio as gr

    with gr.Blocks():
        return form.build({"weights": lambda: ["vgg19"], "init": lambda: ["content", "noise"]})


def test_every_option_is_on_the_page():
    assert {*components(), *form.OWN, *form.OWNED} == set(fields_of(StylizeOptions))


@pytest.mark.parametrize("name", PRESETS)
def test_what_the_form_shows_makes_the_options_again(name):
    options = options_of(StylizeOptions, name)
    names = components()
    shown = dict(zip(names, form.show(options, names), strict=True))
    again = form.read({**shown, "size": options.size, "strength": options.strength})
    assert again == options


def test_the_form_starts_with_the_defaults():
    shown = {name: component.value for name, component in components().items()}
    assert form.read(shown) == StylizeOptions()


def test_the_form_names_what_will_not_do():
    with pytest.raises(ValueError, match="style_layers"):
        form.read({"style_layers": "relu1_1=x"})
    with pytest.raises(ValueError, match="time_budget is 'soon'"):
        form.read({"time_budget": "soon"})
    with pytest.raises(ValueError, match="scales is 900; at most 8"):
        form.read({"scales": "900"})
    assert form.read({"time_budget": "2.5", "scales": " 3 "}) == StylizeOptions(time_budget=2.5, scales=3)
