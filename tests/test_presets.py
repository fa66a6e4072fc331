"""Presets: names, files, and pictures."""

import tomllib

import numpy as np
import PIL.Image
import pytest

import impasto
from impasto import presets, record
from impasto.errors import PresetError
from impasto.presets import KINDS, PRESETS, options_from, options_of, preset
from impasto.settings.fields import fields_of
from impasto.settings.options import FastOptions, ReconstructOptions, StylizeOptions, TextureOptions


def test_names():
    for name in PRESETS:
        assert isinstance(preset(name), StylizeOptions)
    assert preset() == StylizeOptions()
    assert preset("gatys2016", size=300).size == 300
    assert preset("gatys2016").content_weight / preset("gatys2016").style_weight == 1e-3
    assert preset("course").content_weight == 10
    assert preset("preview").size == 256
    with pytest.raises(ValueError, match="default, preview, faithful, painterly, bold, nearest, gatys2016, course"):
        preset("gatys")
    with pytest.raises(ValueError, match="did you mean 'strength'"):
        preset("default", strenght=2)
    with pytest.raises(ValueError, match="unknown preset 'gatys2016'"):
        options_of(TextureOptions, "gatys2016")


OPTIONS = [
    StylizeOptions(),
    StylizeOptions(
        strength=0.75, size=None, style_layers={"relu1_1": 1 / 3, "relu3_1": 1.0}, style_scale=(0.5, 2),
        match_colors=False, time_budget=30, statistic="nearest", color="both", seed=7, init="noise",
    ),
    TextureOptions(size=(300, 200), seamless=True, total_variation=1e-9),
    ReconstructOptions(content_layer="relu5_1", scales=None),
    *(kind(size=None) for kind in KINDS.values() if "size" in fields_of(kind) and kind is not TextureOptions),
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_round_trip_of_a_file(options, tmp_path):
    path = tmp_path / "mine.toml"
    presets.save(path, options)
    assert options_of(type(options), str(path)) == options
    text = path.read_text()
    tomllib.loads(text)
    # Every option is listed, set or commented out.
    for name, field in fields_of(options).items():
        assert field.metadata.get("per_run") or name in text
    # The defaults that are commented out are true: uncommenting them changes nothing.
    lines = [line.removeprefix("# ") if " = " in line and line.startswith("# ") else line for line in text.splitlines()]
    values = tomllib.loads("\n".join(line for line in lines if " = " in line and not line.startswith("#")))
    assert type(options)(**{k: v for k, v in values.items() if k != "operation"}) == options


def test_a_picture_is_a_preset(tmp_path):
    path = tmp_path / "picture.png"
    options = StylizeOptions(strength=0.6, style_scale=2.0, content_mask={"1": "sky.png"}, style_weights=(1.0, 2.0))
    picture = impasto.read(np.zeros((8, 8, 3)))
    impasto.write(path, picture, settings=record.settings("stylize", ["a.png", "b.png"], options))
    taken = preset(str(path))
    assert (taken.strength, taken.style_scale) == (0.6, (2.0,))
    assert taken.content_mask == {}
    assert taken.style_weights == ()
    assert preset(str(path), strength=2.0).strength == 2
    with pytest.raises(PresetError, match="settings of 'stylize'; expected those of 'texture'"):
        options_of(TextureOptions, str(path))
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    with pytest.raises(PresetError, match="carries no settings"):
        preset(str(tmp_path / "plain.png"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("strenght = 2", "unknown key 'strenght'; did you mean 'strength'"),
        ("xyzzy = 2", "unknown key 'xyzzy'; choose from size"),
        ("strength = 'much'", "strength is 'much'; expected a number"),
        ("strength = -1", "at least 0"),
        ("statistic = 'grams'", "choose from gram"),
        ("style_layers = {relu1_1 = -1}", "must not be negative"),
        ("strength = ", "not TOML"),
        ("\x00\xff", "not TOML"),
        ("operation = 'dance'", "choose from stylize, fast, batch, video"),
        ("operation = 'texture'", "expected those of 'stylize'"),
        ("[style_layers]\nrelu1_1 = 'a'", "the weight of layer 'relu1_1'"),
    ],
)
def test_damaged_files(text, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(PresetError, match=message):
        preset(str(path))


def test_files_that_cannot_be_saved(tmp_path):
    with pytest.raises(PresetError, match=r"must end in \.toml"):
        presets.save(tmp_path / "mine.txt", StylizeOptions())
    with pytest.raises(impasto.ImpastoError, match="no folder"):
        presets.save(tmp_path / "none" / "mine.toml", StylizeOptions())


class TestKeywords:
    """Options of a call: an object, a preset's name, single options."""

    def test_change_defaults_presets_and_options(self):
        assert options_from(StylizeOptions, None, {}) == StylizeOptions()
        assert options_from(StylizeOptions, None, {"size": 300}) == StylizeOptions(size=300)
        assert options_from(StylizeOptions, None, {"preset": "preview", "size": 300}) == preset("preview", size=300)
        given = preset("course")
        assert options_from(StylizeOptions, given, {}) is given
        assert options_from(StylizeOptions, given, {"size": "original"}) == preset("course", size=None)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"size": 3}, r"a dict; give its entries as keywords"),
            ("preview", r"preset='preview'"),
            (FastOptions(), r"FastOptions; expected StylizeOptions"),
            (512, r"int; expected StylizeOptions"),
        ],
    )
    def test_other_options(self, given, message):
        with pytest.raises(TypeError, match=message):
            impasto.stylize("chelsea", "mosaic", given)

    def test_misspelt_ones(self):
        with pytest.raises(ValueError, match=r"unknown option 'strngth'; did you mean 'strength'\?"):
            impasto.stylize("chelsea", "mosaic", strngth=1)
        with pytest.raises(ValueError, match=r"unknown preset 'previw'; .*\(did you mean 'preview'\?\)"):
            impasto.stylize("chelsea", "mosaic", preset="previw")
        with pytest.raises(ValueError, match="give one"):
            impasto.stylize("chelsea", "mosaic", StylizeOptions(), preset="preview")
