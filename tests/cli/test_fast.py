"""`impasto fast`."""

import os
import re
import shlex
from pathlib import Path

import pytest

from impasto import images


def test_fast(run, picture):
    code, out, err = run("fast", picture, "mosaic", "-o", "out.png", "--size", "64", "--strength", "0.7")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"out\.png  64×43 px, [\d.]+ s\n", out)
    before = images.read("out.png").rgb
    command = run("info", "out.png")[1].splitlines()[-1]
    assert command == "impasto fast photo.png mosaic -o out.png --size 64 --strength 0.7"
    assert run(*shlex.split(command)[1:])[0] == 0
    assert (images.read("out.png").rgb == before).all()


def test_folders_are_private(run, picture):
    """The result names its input files without their folders, unless they are asked for."""
    Path("someone").mkdir()
    Path(picture).rename("someone/photo.png")
    given = ["someone/photo.png", "mosaic", "-o", "out.png", "--size", "32", "--content-mask", "1=someone/photo.png"]
    assert run("fast", *given)[0] == 0
    assert b"someone" not in Path("out.png").read_bytes()
    command = run("info", "out.png")[1].splitlines()[-1]
    assert "fast photo.png mosaic" in command
    assert "--content-mask 1=photo.png" in command
    os.chdir("someone")
    assert run(*shlex.split(command)[1:])[0] == 0
    os.chdir("..")
    assert run("fast", *given, "--store-paths")[0] == 0
    assert "fast someone/photo.png mosaic" in run("info", "out.png")[1]


def test_fast_keeps_the_checkpoint_of_another_run(run, picture):
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
