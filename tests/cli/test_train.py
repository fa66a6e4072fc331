"""`impasto train` and `impasto export`."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import processes
import pytest
from making_models import random_vgg

from impasto import images
from impasto.fast import models

SMALL = ["--batch", "1", "--crop", "32", "--precision", "float32"]
SMALL += ["--style-layers", "relu1_1,relu2_1", "--content-layers", "relu2_1"]


@pytest.fixture
def pictures_to_train_on(tmp_path, photo, monkeypatch):
    """Three photos, three paintings, and a gallery of two."""
    monkeypatch.chdir(tmp_path)
    for folder, names in (("photos", "abc"), ("paintings", "def"), ("gallery", ("waves", "dots"))):
        Path(folder).mkdir()
        for number, name in enumerate(names):
            PIL.Image.fromarray(np.roll(photo, 9 * number, 1)).save(f"{folder}/{name}.png")
    return ["--photos", "photos", *SMALL]


@pytest.fixture
def small_vgg(monkeypatch):
    encoder = random_vgg()
    monkeypatch.setattr("impasto.vgg.weights.load", lambda *args, **kwargs: encoder)


@pytest.mark.usefixtures("small_vgg")
class TestTrain:
    def test_makes_a_model_for_fast(self, run, pictures_to_train_on):
        train = ["train", *pictures_to_train_on, "--style", "gallery", "--paintings", "paintings", "-o", "run"]
        code, out, _ = run(*train, "--steps", "2")
        assert code == 0
        assert "model.safetensors  2 steps" in out
        model = models.load("run/model.safetensors")
        assert list(model.styles) == ["dots", "waves"]
        assert model.reader is not None
        fast = ["fast", "photos/a.png", "dots", "-o", "out.png", "--size", "40", "--model", "run/model.safetensors"]
        assert run(*fast)[0] == 0
        assert images.read("out.png").shape == (27, 40)
        code, _, err = run(*train, "--steps", "2")
        assert code == 2
        assert "--resume" in err
        code, out, _ = run(*train, "--steps", "3", "--resume")
        assert code == 0
        assert "3 steps" in out

    def test_takes_styles_of_all_kinds(self, run, pictures_to_train_on):
        """Files, folders, and names."""
        styles = ["--style", "gallery/waves.png", "--style", "paintings", "--style", "udnie"]
        code, out, _ = run("train", *pictures_to_train_on, *styles, "-o", "run", "--steps", "2", "--json")
        assert code == 0
        model = models.load("run/model.safetensors")
        assert list(model.styles) == ["waves", "d", "e", "f", "udnie"]
        assert model.reader is None
        lines = [json.loads(line) for line in out.splitlines()]
        assert [(line["event"], line["step"], line["steps"]) for line in lines] == [("step", 1, 2), ("step", 2, 2)]
        assert lines[0]["losses"]["total"] > 0
        assert lines[-1]["eta"] == 0

    def test_is_quiet(self, run, pictures_to_train_on):
        given = ["train", *pictures_to_train_on, "--style", "gallery", "-o", "run", "--steps", "1", "-q"]
        assert run(*given) == (0, "", "")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "style"),
            (["--style", "mosaik"], "did you mean 'mosaic'"),
            (["--style", "none.png"], "no such file"),
            (["--style", "gallery", "--style", "gallery/dots.png"], "several styles are called dots"),
            (["--style", "gallery", "--paintings", "nowhere"], "no such folder: nowhere"),
            (["--style", "gallery", "--paintings", "damaged"], "none of the 1 files in damaged is a picture"),
            (["--style", "gallery", "--crop", "40"], "multiple of 16"),
            (["--style", "gallery", "--style-layers", "relu9_1"], "relu9_1"),
            (["--style", "gallery", "--style-weight", "0"], "there is nothing to learn"),
            (["--style", "gallery", "--any-share", "0.9", "--strength-share", "0.2"], "at most 1 together"),
            (["--style", "gallery", "--statistic", "median"], "median"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_mistakes(self, run, pictures_to_train_on, arguments, message):
        Path("damaged").mkdir()
        Path("damaged/a.png").write_bytes(b"no picture")
        code, out, err = run("train", *pictures_to_train_on, *arguments, "-o", "run")
        assert (code, out) == (2, "")
        assert message in " ".join(err.split())
        assert "Traceback" not in err
        assert not Path("run").exists()

    def test_resuming_with_other_settings(self, run, pictures_to_train_on):
        train = ["train", *pictures_to_train_on, "--style", "gallery", "-o", "run", "--steps", "1"]
        assert run(*train)[0] == 0
        code, _, err = run(*train, "--resume", "--style-scale", "2")
        assert code == 2
        assert "made with another style_scale; give the same, or another folder" in " ".join(err.split())


def test_training_is_interrupted_and_resumed(pictures_to_train_on):
    command = [sys.executable, "-m", "impasto", "train", *pictures_to_train_on, "--style", "gallery"]
    command += ["--paintings", "paintings", "-o", "run", "--steps", "5000", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with processes.running(command, **pipes) as process:
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130, err
    step = int(re.search(r"interrupted at step (\d+); run the same command with --resume to continue", err)[1])
    assert models.load("run/model.safetensors").card["steps"] == step
    with processes.running([*command, "--resume"], **pipes) as process:
        assert json.loads(process.stdout.readline())["step"] == step + 1
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert process.returncode == 130


class TestExport:
    """The command only; the graph is tested by tests/fast/test_export.py."""

    def test_says_how_much_the_graph_differs(self, run, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        given = []
        monkeypatch.setattr(
            "impasto.fast.export.export", lambda model, path, tiles: given.append((model, path)) or 2e-6
        )
        code, out, err = run("export", "-o", "model.onnx")
        assert (code, err) == (0, "")
        assert out == "model.onnx  differs from PyTorch by 2.0e-06 at most\n"
        ((model, path),) = given
        assert model.digest == models.load().digest
        assert path == Path("model.onnx")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["-o", "model.txt"], "its suffix must be .onnx"),
            (["-o", "none/model.onnx"], "there is no folder"),
            (["none.safetensors", "-o", "model.onnx"], "no such model: none.safetensors"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_mistakes(self, run, tmp_path, monkeypatch, arguments, message):
        monkeypatch.chdir(tmp_path)
        code, out, err = run("export", *arguments)
        assert (code, out) == (2, "")
        assert message in " ".join(err.split())
        assert not list(Path().glob("*.onnx"))
