"""Contact sheets comparing settings: every combination, labelled, with shared targets computed once."""

import pytest
import torch

import impasto
from impasto.losses.saliency import saliency
from impasto.operations import sheet, stylize
from impasto.settings.options import StylizeOptions
from impasto.vgg.encoder import Encoder

FAST = StylizeOptions(size=64, iterations=2, style_layers="relu1_1,relu2_1", content_layers="relu2_2")


def test_every_combination_equals_a_run_of_its_own(photo):
    vary = {"strength": ["0.5", "2"], "statistic": ["gram", "mean"]}
    last = {v.number: v for v in impasto.iterate_variations(photo, "swirls", vary, FAST)}
    assert [v.label for v in last.values()] == [
        "strength 0.5 · statistic gram",
        "strength 0.5 · statistic mean",
        "strength 2 · statistic gram",
        "strength 2 · statistic mean",
    ]
    assert {v.count for v in last.values()} == {4}
    alone = impasto.stylize(photo, "swirls", impasto.preset(size=64, iterations=2, strength=2.0, statistic="mean",
                            style_layers="relu1_1,relu2_1", content_layers="relu2_2"))  # fmt: skip
    assert torch.equal(last[4].step.picture.rgb, alone.rgb)


def walks(monkeypatch):
    """Counts pictures that are looked at for their targets: without a gradient, that is."""
    seen = []
    real = Encoder.walk

    def counted(self, image, taps, *workspace):
        if not torch.is_grad_enabled():
            seen.append(tuple(image.shape))
        return real(self, image, taps, *workspace)

    monkeypatch.setattr(Encoder, "walk", counted)
    return seen


def test_targets_are_computed_once(photo, monkeypatch):
    seen = walks(monkeypatch)
    monkeypatch.setattr(stylize, "saliency", saliency)  # that of the photo may be known already
    options = StylizeOptions(size=200, iterations=1, style_layers="relu1_1", content_layers="relu2_2", style_weight=20)
    list(impasto.iterate(photo, "swirls", options))
    once = len(seen)
    assert once == 1 + 2 * 2  # the photo's saliency; the photo and the painting, at two scales
    del seen[:]
    vary = {"strength": [0.5, 1, 2], "total_variation": [0, 1e-6]}
    list(impasto.iterate_variations(photo, "swirls", vary, options))
    assert len(seen) == once
    del seen[:]
    list(impasto.iterate_variations(photo, "swirls", {"statistic": ["gram", "mean", "moments"]}, options))
    assert len(seen) == 1 + 2 + 3 * 2  # the photo once, the painting once for each statistic


def test_styles_and_presets_vary_too(photo):
    vary = {"style": ["swirls", "mosaic"], "preset": ["default", "gatys2016"]}
    options = StylizeOptions(size=64, iterations=1)
    last = {v.label: v.step for v in impasto.iterate_variations(photo, "woodcut", vary, options)}
    assert list(last) == [
        f"style {style} · preset {preset}" for style in ("swirls", "mosaic") for preset in ("default", "gatys2016")
    ]
    first, second = last["style swirls · preset default"], last["style swirls · preset gatys2016"]
    assert not torch.equal(first.image, second.image)
    assert max(second.shape) == 64  # options override the preset


def test_layout(photo):
    sheet = impasto.sheet(photo, "swirls", {"strength": [0.5, 1, 2], "color": ["style", "palette"]}, FAST)
    wide = impasto.sheet(photo, "swirls", {"strength": [0.5, 1, 2]}, FAST)
    assert sheet.shape[0] > sheet.shape[1] * 1.2
    assert wide.shape[1] > wide.shape[0] * 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("strength=0.5,1", ("strength", ["0.5", "1"])),
        ("style-scale=0.5,1;2", ("style_scale", ["0.5,1", "2"])),
        ("content-layers=relu4_2;relu2_2,relu3_2=2", ("content_layers", ["relu4_2", "relu2_2,relu3_2=2"])),
    ],
)
def test_axes(text, expected):
    assert sheet.parse_axis(text) == expected


def test_mistakes(photo):
    for text in ("strength", "strength=", "=1"):
        with pytest.raises(ValueError, match=r"OPTION=VALUE|unknown option"):
            impasto.iterate_variations(photo, "swirls", dict([sheet.parse_axis(text)]))
    for vary, message in (
        ({"strenght": [1]}, "did you mean 'strength'"),
        ({}, "nothing to vary"),
        ({"strength": []}, "no values were given for strength"),
        ({"strength": ["much"]}, "expected a number"),
        ({"match_colors": ["perhaps"]}, "expected on or off"),
        ({"statistic": ["gram", "grams"]}, "choose from gram"),
        ({"style": ["swirls", "nothing"]}, "unknown style"),
        ({"preset": ["none"]}, "unknown preset"),
    ):
        with pytest.raises(ValueError, match=message):
            impasto.iterate_variations(photo, "swirls", vary, FAST)
