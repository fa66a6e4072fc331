"""The command line as a person meets it: through the real program, and in a process of its own where that matters."""

import dataclasses
import inspect
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import typer

from impasto import cli, files, images, record, transfer, variations, weights
from impasto.cli import display, parameters
from impasto.objective import Objective
from impasto.options import FastOptions, ReconstructOptions, StylizeOptions, TextureOptions
from impasto.presets import PRESETS, preset

SMALL = ["--size", "64", "--iterations", "3"]


@pytest.fixture
def picture(photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PIL.Image.fromarray(photo).save("photo.png")
    return "photo.png"


@pytest.fixture
def run(capsys):
    def run(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


def test_stylize_writes_the_picture_and_its_settings(run, picture, tmp_path):
    code, out, err = run("stylize", picture, "mosaic", "-o", "out.png", *SMALL, "--seed", "4")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"out\.png  64×43 px, \d+ evaluations in [\d.]+ s\n", out)
    assert images.read("out.png").size == (43, 64)
    assert sorted(os.listdir()) == ["out.png", "photo.png"]
    code, out, _ = run("info", "out.png")
    assert code == 0
    assert "impasto stylize photo.png mosaic -o out.png --size 64 --iterations 3 --seed 4" in out


def test_the_command_in_a_picture_makes_it_again(run, picture):
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


def survive(words, kind, command):
    """What a command is called with for these words, through the real parser."""
    seen = {}

    def catch(**given):
        seen.update(given)

    catch.__signature__ = inspect.signature(command, eval_str=True)
    app = typer.Typer()
    app.command()(parameters.with_options(kind)(catch))
    app(words, standalone_mode=False)
    return seen


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_the_command_line(name):
    options = preset(name, seed=2, time_budget=1.5, total_variation=1e-7, color="both", style_scale=(0.5, 2))
    options = dataclasses.replace(options, content_mask={"1": "a b=c.png", "keep": "d.png"}, style_weights=(1, 1 / 3))
    stored = json.loads(json.dumps(record.settings("stylize", ["a b.png", "c'd.png", "e"], options, 16)))
    words = shlex.split(record.command(stored, "out.png"))
    assert words[:2] == ["impasto", "stylize"]
    seen = survive(words[2:], StylizeOptions, cli.stylize.stylize)
    assert (seen["content"], seen["style"], seen["options"]) == ("a b.png", ["c'd.png", "e"], options)
    assert seen["output"].bits == 16


def test_textures_and_reconstructions_survive_the_command_line():
    for kind, command, options in (
        (
            TextureOptions,
            cli.stylize.texture,
            TextureOptions(size=(300, 200), seamless=True, style_mask={"1": "m.png"}),
        ),
        (FastOptions, cli.fast.fast, FastOptions(strength=1.5, model="m.safetensors", memory="2GB")),
        (
            ReconstructOptions,
            cli.stylize.reconstruct,
            ReconstructOptions(size=None, style_layers="relu1_1,relu2_1=0.5"),
        ),
    ):
        stored = json.loads(json.dumps(record.settings(kind.operation, ["a.png"], options)))
        words = shlex.split(record.command(stored, "out.png"))
        assert survive(words[2:], kind, command)["options"] == options


def test_plot_and_intermediate_pictures(run, picture):
    code, *_ = run(
        "stylize", picture, "swirls", "-o", "out.jpg", "--size", "140", "--iterations", "6",
        "--save-every", "4", "--plot", "losses.png", "--quiet",
    )  # fmt: skip
    assert code == 0
    between = sorted(name for name in os.listdir() if name.startswith("out-"))
    assert 3 <= len(between) <= 5
    assert all(images.read(name).size == (93, 140) for name in between)
    assert images.read("losses.png").size[1] > 500


def test_json(run, picture):
    code, out, _ = run("stylize", picture, "facets", "-o", "out.png", *SMALL, "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {line["event"] for line in lines[:-1]} == {"step"}
    assert lines[-1]["event"] == "done"
    assert lines[-1]["output"] == "out.png"
    assert lines[-1]["settings"]["options"]["size"] == 64
    assert lines[0]["losses"].keys() == {"content relu4_2", *(f"style relu{b}_1" for b in range(1, 6))}


def test_quiet(run, picture):
    assert run("stylize", picture, "facets", "-o", "out.png", *SMALL, "-q") == (0, "", "")


def test_fast(run, picture):
    code, out, err = run("fast", picture, "mosaic", "-o", "out.png", "--size", "64", "--strength", "0.7")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"out\.png  64×43 px, [\d.]+ s\n", out)
    before = images.read("out.png").rgb
    command = run("info", "out.png")[1].splitlines()[-1]
    assert command == "impasto fast photo.png mosaic -o out.png --size 64 --strength 0.7"
    assert run(*shlex.split(command)[1:])[0] == 0
    assert (images.read("out.png").rgb == before).all()


def test_fast_leaves_another_runs_checkpoint_alone(run, picture):
    Path("out.png.checkpoint").write_bytes(b"of a long run")
    assert run("fast", picture, "mosaic", "-o", "out.png", "--size", "32")[0] == 0
    assert Path("out.png.checkpoint").read_bytes() == b"of a long run"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.png", "-o", "out.png"], "no style was given"),
        (["photo.png", "mosaic", "-o", "photo.png"], "another name"),
        (["photo.png", "mosaic", "-o", "out.png", "--model", "none.safetensors"], "no such model"),
        (["photo.png", "mosaic", "-o", "out.png", "--model", "photo.png"], "cannot read the model photo.png"),
        (["photo.png", "mosaic", "-o", "out.png", "--memory", "1MB"], "--memory"),
        (["photo.png", "mosaic", "-o", "out.png", "--content-mask", "sky=photo.png"], "choose from 1 (mosaic)"),
    ],
)
def test_mistakes_with_fast(run, picture, arguments, message):
    code, out, err = run("fast", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert os.listdir() == ["photo.png"]


def test_the_slow_way_starts_from_the_fast(run, picture):
    assert run("fast", picture, "mosaic", "-o", "fast.png", "--size", "64")[0] == 0
    assert (
        run("stylize", picture, "mosaic", "-o", "out.png", "--size", "64", "--init", "fast", "--iterations", "1")[0]
        == 0
    )
    fast, out = (images.read(name).rgb for name in ("fast.png", "out.png"))
    assert (fast - out).abs().mean() < 0.01


@pytest.fixture
def pictures_to_train_on(tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "paintings"):
        Path(folder).mkdir()
        for number in range(3):
            PIL.Image.fromarray(np.roll(photo, 9 * number, 1)).save(f"{folder}/{number}.png")
    return ["--photos", "photos", "--network", "compact", "--batch", "1", "--crop", "32", "--precision", "float32"]


def test_train_and_what_comes_of_it(run, pictures_to_train_on):
    many = ["train", *pictures_to_train_on, "--paintings", "paintings", "-o", "run", "--steps", "2"]
    code, out, _ = run(*many)
    assert code == 0
    assert "model.safetensors  2 steps" in out
    assert (
        run("fast", "photos/0.png", "mosaic", "-o", "out.png", "--size", "40", "--model", "run/model.safetensors")[0]
        == 0
    )
    code, _, err = run(*many)
    assert code == 2
    assert "--resume" in err
    one = ["train", *pictures_to_train_on, "--style", "mosaic", "-o", "one", "--steps", "1", "--json"]
    code, out, _ = run(*one)
    assert code == 0
    assert json.loads(out.splitlines()[0])["step"] == 1
    assert run("fast", "photos/0.png", "-o", "one.png", "--size", "40", "--model", "one/model.safetensors")[0] == 0


def test_mistakes_with_train(run, pictures_to_train_on):
    for arguments, message in (
        (["--paintings", "paintings", "--style", "mosaic"], "either --paintings"),
        ([], "either --paintings"),
        (["--paintings", "nowhere"], "no such folder: nowhere"),
        (["--style", "mosaik"], "swirls, mosaic"),
        (["--style", "mosaic", "--crop", "33"], "multiple of 8"),
    ):
        code, _, err = run("train", *pictures_to_train_on, *arguments, "-o", "run")
        assert code == 2
        assert message in err
    assert not Path("run").exists()


def test_training_is_interrupted_and_goes_on(pictures_to_train_on):
    command = [sys.executable, "-m", "impasto", "train", *pictures_to_train_on]
    command += ["--paintings", "paintings", "-o", "run", "--steps", "5000", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    step = int(re.search(r"interrupted at step (\d+); the same command with --resume goes on", err)[1])
    assert Path("run/model.safetensors").exists()
    process = subprocess.Popen([*command, "--resume"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert json.loads(process.stdout.readline())["step"] == step + 1
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130


def test_export(run, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    monkeypatch.chdir(tmp_path)
    code, out, err = run("export", "-o", "model.onnx")
    assert (code, err) == (0, "")
    assert re.search(r"model\.onnx  differs from PyTorch by \d\.\de-0\d at most", out)
    assert run("export", "-o", "model.txt")[0] == 2


def test_demo(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("demo", "--size", "64", "--photo", "coffee", "--style", "mosaic")
    assert code == 0
    assert out.startswith("demo.png")
    assert "impasto stylize coffee mosaic -o demo.png --size 64" in run("info", "demo.png")[1]


def test_styles(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("styles", "--size", "96")
    assert code == 0
    for name in ("swirls", "mosaic", "woodcut", "pointillism", "stained-glass", "watercolour"):
        assert name in out
    height, width = images.read("styles.png").size
    assert width > 4 * 96
    assert height > 2 * 96


def test_info_of_the_installation(run):
    code, out, _ = run("info")
    assert code == 0
    for word in ("impasto", "PyTorch", "device", "vgg19"):
        assert word in out


def test_weights(run):
    code, out, _ = run("weights", "list")
    assert code == 0
    for name, source in weights.CATALOGUE.items():
        assert name in out
        assert source.licence in out
    assert run("weights", "verify")[:2] == (0, f"vgg19: whole ({weights.locate(weights.CATALOGUE['vgg19'])})\n")
    assert run("weights", "fetch", "vgg19")[0] == 0
    code, _, err = run("weights", "verify", "vgg16-original")
    assert code == 2
    assert "impasto weights fetch vgg16-original" in err
    assert run("weights", "fetch", "vgg11")[0] == 2


def test_help(run):
    for arguments in (
        ["--help"],
        ["stylize", "--help"],
        ["weights", "--help"],
        ["demo", "--help"],
        ["fast", "--help"],
        ["train", "--help"],
        ["export", "--help"],
    ):
        code, out, _ = run(*arguments)
        assert code == 0
        assert "Usage" in out
    code, out, _ = run("stylize", "--help")
    for word in ("--strength", "Objective", "Optimiser", "--time-budget", "Ctrl-C"):
        assert word in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photo.png", "mosaic"], "output"),
        (["photo.png", "-o", "out.png"], "style"),
        (["none.png", "mosaic", "-o", "out.png"], "no such file: none.png"),
        (["photo.png", "none.png", "-o", "out.png"], "no such file: none.png"),
        (["photo.png", "mosaik", "-o", "out.png"], "swirls, mosaic"),
        (["photo.png", "mosaic", "-o", "out.xyz"], "suffix"),
        (["photo.png", "mosaic", "-o", "no/out.png"], "no folder"),
        (["photo.png", "mosaic", "-o", "photo.png"], "another name"),
        (["photo.png", "mosaic", "-o", "out.jpg", "--bits", "16"], "16"),
        (["photo.png", "mosaic", "-o", "out.png", "--size", "big"], "big"),
        (["photo.png", "mosaic", "-o", "out.png", "--size", "0"], "size: '0'; needed is a whole number"),
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


def test_other_mistakes(run, picture):
    assert "no settings" in run("info", picture)[2]
    assert "unknown" in run("weights", "fetch", "x")[2]
    assert run("paint")[0] == 2
    for stored, message in (({"impasto": "9", "operation": "sing"}, "sing"), ({"impasto": "9"}, "None")):
        images.write("odd.png", images.read(picture), settings=stored)
        code, _, err = run("info", "odd.png")
        assert code == 2
        assert message in err
    images.write(
        "new.png",
        images.read(picture),
        settings=record.settings("stylize", ["b"], preset("default")) | {"options": {"x": 1}},
    )
    assert "not of this version" in run("info", "new.png")[2]


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
    assert images.read("out.png").size == (40, 70)
    assert (
        "impasto texture photo.png mosaic -o out.png --size 70x40 --seamless --iterations 2"
        in run("info", "out.png")[1]
    )
    assert images.read("plot.png").size[1] > 500
    # What made a picture makes another.
    assert run("texture", "swirls", "-o", "more.png", "--preset", "out.png", "-q") == (0, "", "")
    assert images.read("more.png").size == (40, 70)
    assert "another name" in run("texture", picture, "-o", picture)[2]


def test_reconstruct(run, picture):
    code, out, _ = run("reconstruct", picture, "-o", "out.png", "--content-layer", "relu2_2", *SMALL)
    assert code == 0
    assert out.startswith("out.png  64×43 px, 3 evaluations")
    assert run("reconstruct", picture, "-o", "style.png", "--style-layers", "relu1_1,relu2_1", *SMALL)[0] == 0
    assert "impasto reconstruct photo.png -o style.png" in run("info", "style.png")[1]
    assert "unknown layer" in run("reconstruct", picture, "-o", "x.png", "--content-layer", "relu7_7")[2]


def test_sheet(run, picture):
    options = ["--size", "48", "--iterations", "1", "--style-layers", "relu1_1"]
    vary = ["--vary", "strength=0.5,2", "--vary", "statistic=gram,mean,nearest"]
    code, out, err = run("sheet", picture, "mosaic", "-o", "sheet.png", *vary, *options)
    assert (code, err) == (0, "")
    assert out.startswith("sheet.png  6 pictures")
    sheet = images.read("sheet.png")
    assert sheet.size[1] > sheet.size[0]
    words = shlex.split(run("info", "sheet.png")[1].strip().splitlines()[-1])
    os.rename("sheet.png", "kept.png")
    assert run(*words[1:])[0] == 0
    assert (images.read("sheet.png").rgb == images.read("kept.png").rgb).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "vary"),
        (["--vary", "strenght=1"], "did you mean 'strength'"),
        (["--vary", "strength"], "OPTION=VALUE"),
        (["--vary", "strength=1", "--vary", "strength=2"], "twice"),
        (["--vary", "style=photo.png", "-o", "photo.png"], "another name"),
        (["--vary", "statistic=gram", "--strength", "-1"], "at least 0"),
    ],
)
def test_sheets_that_cannot_be(run, picture, arguments, message):
    code, out, err = run("sheet", picture, "mosaic", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert os.listdir() == ["photo.png"]


def test_presets_are_files(run, picture):
    code, out, _ = run("preset", "save", "soft.toml", "--preset", "course", "--strength", "0.5", "--style-scale", "2")
    assert code == 0
    assert out.startswith("soft.toml")
    assert preset("soft.toml") == preset("course", strength=0.5, style_scale=2)
    shown = run("preset", "show", "soft.toml")[1]
    with open("soft.toml", encoding="utf-8") as file:
        assert shown.strip() == file.read().strip()
    assert run("stylize", picture, "mosaic", "-o", "out.png", "--preset", "soft.toml", *SMALL)[0] == 0
    assert images.read_settings("out.png")["options"]["strength"] == 0.5
    # A picture is a preset too.
    assert run("stylize", picture, "woodcut", "-o", "next.png", "--preset", "out.png", "--seed", "2")[0] == 0
    options = images.read_settings("next.png")["options"]
    assert (options["size"], options["strength"], options["seed"]) == (64, 0.5, 2)
    assert "strength = 0.5" in run("preset", "show", "next.png")[1]
    assert "gatys2016" in run("preset", "show")[1]
    assert 'pooling = "average"' in run("preset", "show", "gatys2016")[1]
    assert "names are default" in run("preset", "show", "none")[2]
    assert "end in .toml" in run("preset", "save", "soft.txt")[2]
    with open("odd.toml", "w", encoding="utf-8") as file:
        file.write("strenght = 1")
    code, _, err = run("stylize", picture, "mosaic", "-o", "x.png", "--preset", "odd.toml")
    assert code == 2
    assert "did you mean 'strength'" in err


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, MemoryError("too large")])
def test_what_of_a_sheet_is_done_is_drawn(run, picture, monkeypatch, trouble):
    real = variations.iterate_variations

    def troubled(*arguments):
        for variation in real(*arguments):
            if variation.number == 3:
                raise trouble
            yield variation

    monkeypatch.setattr(variations, "iterate_variations", troubled)
    arguments = ["sheet", picture, "mosaic", "-o", "out.png", "--size", "48", "--iterations", "1"]
    code, _, err = run(*arguments, "--vary", "strength=0.5,1,2")
    if trouble is KeyboardInterrupt:
        assert code == 130
        assert "what was done is in out.png" in err
    else:
        assert code == 2
        assert err.startswith("impasto: out of memory")
    assert images.read("out.png").size[1] > 96


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_keeps_the_best_picture(picture):
    arguments = [sys.executable, "-m", "impasto", "stylize", picture, "mosaic", "-o", "out.png", "--json"]
    arguments += ["--size", "200", "--iterations", "100000"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(5):
            assert json.loads(process.stdout.readline())["event"] == "step"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert json.loads(out.splitlines()[-1])["interrupted"] is True
    assert images.read("out.png").size == (133, 200)
    assert sorted(os.listdir()) == ["out.png", "out.png.checkpoint", "photo.png"]
    assert "impasto: interrupted" not in out + err  # for machines, the last line says it


def test_ctrl_c_between_two_steps_keeps_the_run_too(run, picture, monkeypatch):
    """While a step is shown, say: the run, which is waiting to be asked for more, is put away."""
    seen = itertools.count()

    def interrupted(bar, step):
        if next(seen) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(display.StepBar, "show", interrupted)
    code, _, err = run("stylize", picture, "mosaic", "-o", "out.png", *SMALL)
    assert code == 130
    assert "--resume goes on" in err
    assert sorted(os.listdir()) == ["out.png", "out.png.checkpoint", "photo.png"]


def test_a_picture_of_the_way_that_cannot_be_written_does_not_end_it(run, picture, monkeypatch, caplog):
    real = images.write

    def full(path, *rest):
        if "out-" in str(path):
            raise images.PictureError(f"cannot write {path}: No space left on device")
        real(path, *rest)

    monkeypatch.setattr(images, "write", full)
    code, *_ = run("stylize", picture, "mosaic", "-o", "out.png", *SMALL, "--save-every", "2")
    assert code == 0
    assert "No space left" in caplog.text
    assert images.read("out.png").size == (43, 64)


def test_a_failure_on_the_way_keeps_the_best_picture_and_the_run(run, picture, monkeypatch):
    """Whatever it is; and the resumed run ends in the same file."""
    arguments = ["stylize", picture, "mosaic", "-o", "out.png", *SMALL]
    assert run(*arguments)[0] == 0
    expected = Path("out.png").read_bytes()
    real, calls = Objective.value_and_grad, itertools.count()

    def failing(self, canvas):
        if next(calls) == 2:
            raise ValueError("a cosmic ray")
        return real(self, canvas)

    with monkeypatch.context() as troubled:
        troubled.setattr(Objective, "value_and_grad", failing)
        code, _, err = run(*arguments)
    assert code == 2
    assert "best so far is in out.png; the same command with --resume goes on" in err
    assert "a cosmic ray" in err
    assert images.read("out.png").size == (43, 64)
    assert Path("out.png").read_bytes() != expected
    assert run(*arguments, "--resume")[0] == 0
    assert Path("out.png").read_bytes() == expected
    assert not Path("out.png.checkpoint").exists()


@pytest.mark.parametrize("gone", ["folder", "permission"])
def test_where_the_picture_cannot_be_written_after_all(run, picture, tmp_path, monkeypatch, gone):
    """A folder that vanishes while it runs: the picture goes elsewhere, and replaces nothing there."""
    Path("there").mkdir()
    Path("out.png").write_text("mine")
    real = transfer.iterate

    def vanishing(*arguments, **more):
        yield from real(*arguments, **more)
        shutil.rmtree("there")
        if gone == "permission":
            Path("there").write_text("a file now")

    monkeypatch.setattr(transfer, "iterate", vanishing)
    code, out, err = run("stylize", picture, "mosaic", "-o", "there/out.png", *SMALL)
    assert code == 1
    assert "cannot write there/out.png" in err
    assert "the result is in" in err
    assert out.startswith(str(tmp_path / "out-2.png"))
    assert images.read("out-2.png").size == (43, 64)
    assert Path("out.png").read_text() == "mine"


def test_a_full_disk_is_found_before_the_work(run, picture, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 5000))
    code, _, err = run("stylize", picture, "mosaic", "-o", "out.png", *SMALL)
    assert code == 2
    assert "0.0 MB left, and it may take 0.0 MB; make room, or write elsewhere" in err
    assert os.listdir() == ["photo.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of a process")
def test_a_disk_that_is_full_at_the_end(picture):
    """No file may grow beyond 1 kB: nothing is written anywhere, what was there stays, and it is said."""
    Path("out.png").write_text("mine")
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
    code = limited + "from impasto import cli; sys.exit(cli.run(sys.argv[1:]))"
    arguments = ["stylize", picture, "mosaic", "-o", "out.png", *SMALL, "--checkpoint-every", "0.001"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "cannot write out.png" in result.stderr
    assert "no checkpoint" in " ".join(result.stderr.split())
    assert Path("out.png").read_text() == "mine"
    assert sorted(os.listdir()) == ["out.png", "photo.png"]


def test_a_mistake_in_a_process_of_its_own(picture):
    result = subprocess.run(
        [sys.executable, "-m", "impasto", "stylize", picture, "none.jpg", "-o", "o.png"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.strip() == "impasto: no such file: none.jpg (the style)"


def test_no_arguments_is_help(run):
    code, out, err = run()
    assert code == 2
    assert "stylize" in out + err


def test_startup_imports_nothing_heavy():
    code = "import sys, impasto.cli; print([m for m in ('torch', 'numpy', 'pyvips', 'scipy') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_alpha_and_orientation_on_the_way_through(run, tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    alpha = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))
    PIL.Image.fromarray(np.dstack([photo, alpha])).save("photo.webp", lossless=True)
    assert run("stylize", "photo.webp", "mosaic", "-o", "out.tif", *SMALL)[0] == 0
    out = images.read("out.tif")
    assert out.alpha[:, 0].max() < 0.05
    assert out.alpha[:, -1].min() > 0.95
