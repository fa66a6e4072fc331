"""The command line as a person meets it: through the real program, and in a process of its own where that matters."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from impasto import cli, images, record, weights
from impasto.options import PRESETS, preset

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
    assert re.fullmatch(r"out\.png  64×43 px, \d+ evaluations in \d+:\d\d\n", out)
    assert images.read("out.png").size == (43, 64)
    assert sorted(os.listdir()) == ["out.png", "photo.png"]
    code, out, _ = run("info", "out.png")
    assert code == 0
    assert "impasto stylize photo.png mosaic -o out.png --size 64 --seed 4 --iterations 3" in out


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


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_survive_the_command_line(name):
    options = preset(name, seed=2, time_budget=1.5, total_variation=1e-7)
    stored = json.loads(json.dumps(record.settings("a b.png", ["c'd.png"], options, 16)))
    words = shlex.split(record.command(stored, "out.png"))
    seen = {}

    def catch(content, style, options, output, **rest):
        seen.update(content=content, style=style, options=options, bits=rest["bits"])

    import typer

    from impasto.cli import stylize
    from impasto.cli.parameters import with_options
    from impasto.options import StylizeOptions

    catch.__signature__ = __import__("inspect").signature(stylize.stylize, eval_str=True)
    app = typer.Typer()
    app.command()(with_options(StylizeOptions, preset)(catch))
    app(words[2:], standalone_mode=False)
    assert seen == {"content": "a b.png", "style": ["c'd.png"], "options": options, "bits": 16}


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
    for arguments in (["--help"], ["stylize", "--help"], ["weights", "--help"], ["demo", "--help"]):
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
        (["photo.png", "mosaic", "-o", "out.png", "--size", "0"], "size is 0"),
        (["photo.png", "mosaic", "-o", "out.png", "--size", "12"], "relu5_1 needs at least 16×16"),
        (["photo.png", "mosaic", "-o", "out.png", "--iterations", "x"], "iterations"),
        (["photo.png", "mosaic", "-o", "out.png", "--statistic", "grams"], "gram"),
        (["photo.png", "mosaic", "-o", "out.png", "--preset", "gatys"], "gatys2016"),
        (["photo.png", "mosaic", "-o", "out.png", "--content-layers", "relu4_2=a"], "number"),
        (["photo.png", "mosaic", "-o", "out.png", "--content-layers", "relu8_2"], "unknown layer"),
        (["photo.png", "mosaic", "-o", "out.png", "--plot", "out.txt"], ".svg"),
        (["photo.png", "mosaic", "-o", "out.png", "--device", "cuda"], "device"),
        (["photo.png", "mosaic", "-o", "out.png", "--strenght", "2"], "--strength"),
        (["photo.png", "mosaic", "swirls", "-o", "out.png"], "2 styles"),
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
        settings=record.settings("a", ["b"], preset("default")) | {"options": {"x": 1}},
    )
    assert "not of this version" in run("info", "new.png")[2]


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
    assert sorted(os.listdir()) == ["out.png", "photo.png"]


def test_a_failure_on_the_way_keeps_the_best_picture(run, picture, monkeypatch):
    real = images.write

    def full(path, *rest):
        if "out-" in str(path):
            raise images.PictureError(f"cannot write {path}: No space left on device")
        real(path, *rest)

    monkeypatch.setattr(images, "write", full)
    code, _, err = run("stylize", picture, "mosaic", "-o", "out.png", *SMALL, "--save-every", "2")
    assert code == 2
    assert "best picture so far is in out.png" in err
    assert "No space left" in err
    assert images.read("out.png").size == (43, 64)


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
