"""`impasto stylize`, `texture`, `reconstruct` and `demo`."""

import os
import re
import shlex

import numpy as np
import PIL.Image
import pytest

from impasto import images

SMALL = ["--size", "64", "--iterations", "3"]


def test_stylize_writes_the_picture_and_its_settings(run, picture, tmp_path):
    code, out, err = run("stylize", picture, "mosaic", "-o", "out.png", *SMALL, "--seed", "4")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"out\.png  64×43 px, \d+ evaluations in [\d.]+ s\n", out)
    assert images.read("out.png").shape == (43, 64)
    assert sorted(os.listdir()) == ["out.png", "photo.png"]
    code, out, _ = run("info", "out.png")
    assert code == 0
    assert "impasto stylize photo.png mosaic -o out.png --size 64 --iterations 3 --seed 4" in out


def test_the_stored_command_reproduces_the_picture(run, picture):
    options = ["--size", "48", "--iterations", "3", "--init", "noise", "--style-layers", "relu1_1,relu3_1=0.5"]
    options += ["--no-match-colors", "--statistic", "moments", "--strength", "1.25", "--bits", "16"]
    run("stylize", picture, "woodcut", "-o", "first.png", *options)
    _, out, _ = run("info", "first.png")
    words = shlex.split(out.strip().splitlines()[-1])
    os.rename("first.png", "kept.png")
    assert run(*words[1:])[0] == 0
    assert images.read_settings("first.png") == images.read_settings("kept.png")
    assert (images.read("first.png").rgb == images.read("kept.png").rgb).all()
    with open("first.png", "rb") as first, open("kept.png", "rb") as kept:
        assert first.read() == kept.read()  # bit for bit


def test_optimisation_starts_from_the_feed_forward_result(run, picture):
    assert run("fast", picture, "mosaic", "-o", "fast.png", "--size", "64")[0] == 0
    assert (
        run("stylize", picture, "mosaic", "-o", "out.png", "--size", "64", "--init", "fast", "--iterations", "1")[0]
        == 0
    )
    fast, out = (images.read(name).rgb for name in ("fast.png", "out.png"))
    assert (fast - out).abs().mean() < 0.01


def test_demo(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("demo", "--size", "64", "--photo", "coffee", "--style", "mosaic")
    assert code == 0
    assert out.startswith("demo.png")
    assert "impasto stylize coffee mosaic -o demo.png --size 64" in run("info", "demo.png")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.png", "mosaic", "-o", "out.png"], "no such file: none.png"),
        (["photo.png", "none.png", "-o", "out.png"], "no such file: none.png"),
        (["photo.png", "mosaik", "-o", "out.png"], "did you mean 'mosaic'"),
        (["photo.png", "mosaic", "-o", "out.xyz"], "suffix"),
        (["photo.png", "mosaic", "-o", "no/out.png"], "no folder"),
        (["photo.png", "mosaic", "-o", "photo.png"], "another name"),
        (["photo.png", "mosaic", "-o", "out.jpg", "--bits", "16"], "16"),
        (["photo.png", "mosaic", "-o", "out.png", "--size", "big"], "big"),
        (["photo.png", "mosaic", "-o", "out.png", "--size", "0"], "size is '0'; expected a whole number"),
        (["photo.png", "mosaic", "-o", "out.png", "--size", "12"], "relu5_1 needs at least 16×16"),
        (["photo.png", "mosaic", "-o", "out.png", "--iterations", "x"], "iterations"),
        (["photo.png", "mosaic", "-o", "out.png", "--statistic", "grams"], "gram"),
        (["photo.png", "mosaic", "-o", "out.png", "--preset", "gatys"], "gatys2016"),
        (["photo.png", "mosaic", "-o", "out.png", "--content-layers", "relu4_2=a"], "number"),
        (["photo.png", "mosaic", "-o", "out.png", "--content-layers", "relu8_2"], "unknown layer"),
        (["photo.png", "mosaic", "-o", "out.png", "--plot", "out.txt"], ".svg"),
        (["photo.png", "mosaic", "-o", "out.png", "--device", "cuda"], "device"),
        (["photo.png", "mosaic", "-o", "out.png", "--strenght", "2"], "--strength"),
        (["photo.png", "mosaic", "-o", "out.png", "--style-weights", "1,2"], "2 style weights for 1 styles"),
        (["photo.png", "mosaic", "-o", "out.png", "--style-weights", "a"], "numbers with commas"),
        (["photo.png", "mosaic", "-o", "out.png", "--style-scale", "0"], "above 0"),
        (
            ["photo.png", "mosaic", "-o", "out.png", "--style-scale", "0.01"],
            "the style mosaic at scale 0.01 is 1×1 px",
        ),
        (["photo.png", "mosaic", "-o", "out.png", "--content-mask", "sky=photo.png"], "choose from 1 (mosaic)"),
        (["photo.png", "mosaic", "-o", "out.png", "--content-mask", "1=no.png"], "no such file: no.png"),
        (["photo.png", "mosaic", "-o", "out.png", "--content-mask", "alpha"], "no transparency"),
        (["photo.png", "mosaic", "-o", "out.png", "--style-mask", "2=photo.png"], "choose from 1 (mosaic)"),
        (["photo.png", "mosaic", "-o", "out.png", "--color", "sepia"], "palette"),
        (["photo.png", "x" * 5000, "-o", "out.png"], "name too long"),
        (["photo\0.png", "mosaic", "-o", "out.png"], "no such file"),
    ],
)
def test_mistakes_are_one_clear_line(run, picture, arguments, message):
    import torch

    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("cuda is no mistake here")
    code, out, err = run("stylize", *arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("impasto: ")
    assert os.listdir() == ["photo.png"]


def test_a_mask_is_not_overwritten(run, picture):
    PIL.Image.new("L", (8, 8), 255).save("mask.png")
    arguments = ["stylize", picture, "mosaic", "-o", "mask.png", "--content-mask", "1=mask.png"]
    assert "another name" in run(*arguments)[2]


def test_regions_from_the_command_line(run, picture, tmp_path):
    mask = np.zeros((64, 96), np.uint8)
    mask[:, 48:] = 255
    PIL.Image.fromarray(mask).save("right side.png")
    PIL.Image.fromarray(255 - mask).save("left.png")
    options = ["--content-mask", "mosaic=right side.png", "--content-mask", "keep=left.png", "--color", "match"]
    assert run("stylize", picture, "mosaic", "-o", "out.png", "--size", "96", "--iterations", "2", *options)[0] == 0
    changed = abs(images.read("out.png").rgb - images.read(picture).rgb).amax(0)
    assert changed[:, :47].max() == 0
    assert changed[:, 49:].mean() > 0.01
    assert "--content-mask 'mosaic=right side.png' --content-mask keep=left.png" in run("info", "out.png")[1]


def test_texture(run, picture):
    options = ["--size", "70x40", "--iterations", "2", "--seamless"]
    code, out, _ = run("texture", picture, "mosaic", "-o", "out.png", *options, "--plot", "plot.png")
    assert code == 0
    assert out.startswith("out.png  70×40 px")
    assert images.read("out.png").shape == (40, 70)
    assert (
        "impasto texture photo.png mosaic -o out.png --size 70x40 --seamless --iterations 2"
        in run("info", "out.png")[1]
    )
    assert images.read("plot.png").shape[1] > 500
    # A texture is a preset for another one.
    assert run("texture", "swirls", "-o", "more.png", "--preset", "out.png", "-q") == (0, "", "")
    assert images.read("more.png").shape == (40, 70)
    assert "another name" in run("texture", picture, "-o", picture)[2]


def test_reconstruct(run, picture):
    code, out, _ = run("reconstruct", picture, "-o", "out.png", "--content-layer", "relu2_2", *SMALL)
    assert code == 0
    assert out.startswith("out.png  64×43 px, 3 evaluations")
    assert run("reconstruct", picture, "-o", "style.png", "--style-layers", "relu1_1,relu2_1", *SMALL)[0] == 0
    assert "impasto reconstruct photo.png -o style.png" in run("info", "style.png")[1]
    assert "unknown layer" in run("reconstruct", picture, "-o", "x.png", "--content-layer", "relu7_7")[2]


def test_alpha_is_kept(run, tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alpha = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))
    PIL.Image.fromarray(np.dstack([photo, alpha])).save("photo.webp", lossless=True)
    assert run("stylize", "photo.webp", "mosaic", "-o", "out.tif", *SMALL)[0] == 0
    out = images.read("out.tif")
    assert out.alpha[:, 0].max() < 0.05
    assert out.alpha[:, -1].min() > 0.95


# -- what is missing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["stylize"], "CONTENT, STYLE... and --output FILE"),
        (["stylize", "a.png"], "STYLE... and --output FILE"),
        (["stylize", "a.png", "b.png", "--size", "64"], "--output FILE"),
        (["stylize", "a.png", "--output=out.png"], "STYLE..."),
        (["sheet", "a.png"], "--vary OPTION=A,B,…"),
    ],
)
def test_two_lines_say_what_is_missing(run, arguments, missing):
    code, out, err = run(*arguments)
    first, second = err.strip().splitlines()
    assert (code, out, first) == (2, "", f"impasto: missing {missing}")
    assert second.startswith(f"usage: impasto {arguments[0]} CONTENT")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--color", "luminence", "unknown color 'luminence'; choose from .* (did you mean 'luminance'?)"),
        ("--iterations", "1.5", "iterations is '1.5'; expected a whole number"),
        ("--strength", "x", "strength is 'x'; expected a number"),
        ("--memory", "much", "memory is 'much'; expected an amount of memory"),
        ("--size", "large", "size is 'large'; expected a whole number of pixels"),
        ("--style-scale", "-1", "style_scale is '-1'; none may be negative"),
        ("--seed", "-1", "seed is -1; expected a whole number"),
    ],
)
def test_wrong_values_are_reported_in_one_voice(run, option, value, message):
    code, out, err = run("stylize", "chelsea", "mosaic", "-o", "out.png", option, value)
    assert (code, out) == (2, "")
    assert err.startswith("impasto: " + message.partition(" .* ")[0])
    assert message.rpartition(" .* ")[2] in err
    assert len(err.strip().splitlines()) == 1
