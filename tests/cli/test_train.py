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

from impasto.fast import models


@pytest.fixture
def pictures_to_train_on(tmp_path, photo, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "paintings"):
        Path(folder).mkdir()
        for number in range(3):
            PIL.Image.fromarray(np.roll(photo, 9 * number, 1)).save(f"{folder}/{number}.png")
    return ["--photos", "photos", "--network", "compact", "--batch", "1", "--crop", "32", "--precision", "float32"]


def test_train(run, pictures_to_train_on):
    any_painting = ["train", *pictures_to_train_on, "--paintings", "paintings", "-o", "run", "--steps", "2"]
    code, out, _ = run(*any_painting)
    assert code == 0
    assert "model.safetensors  2 steps" in out
    assert (
        run("fast", "photos/0.png", "mosaic", "-o", "out.png", "--size", "40", "--model", "run/model.safetensors")[0]
        == 0
    )
    code, _, err = run(*any_painting)
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


def test_training_is_interrupted_and_resumed(pictures_to_train_on):
    command = [sys.executable, "-m", "impasto", "train", *pictures_to_train_on]
    command += ["--paintings", "paintings", "-o", "run", "--steps", "5000", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with processes.running(command, **pipes) as process:
        for _ in range(3):
            process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 130, err
    step = int(re.search(r"interrupted at step (\d+); run the same command with --resume to continue", err)[1])
    assert Path("run/model.safetensors").exists()
    with processes.running([*command, "--resume"], **pipes) as process:
        assert json.loads(process.stdout.readline())["step"] == step + 1
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        assert process.returncode == 130


def test_export(run, tmp_path, monkeypatch):
    """The command only; the graph is tested by tests/fast/test_export.py."""
    monkeypatch.chdir(tmp_path)
    assert run("export", "-o", "model.txt")[0] == 2
    given = []
    monkeypatch.setattr("impasto.fast.export.export", lambda model, path: given.append((model, path)) or 2e-6)
    code, out, err = run("export", "-o", "model.onnx")
    assert (code, err) == (0, "")
    assert out == "model.onnx  differs from PyTorch by 2.0e-06 at most\n"
    ((model, path),) = given
    assert model.card == models.load().card
    assert path == Path("model.onnx")
