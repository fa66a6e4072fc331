"""`impasto sheet`."""

import os
import shlex

import pytest

from impasto import images, record
from impasto.errors import PictureError
from impasto.operations import sheet
from impasto.settings.options import StylizeOptions


def test_sheet(run, picture):
    options = ["--size", "48", "--iterations", "1", "--style-layers", "relu1_1"]
    vary = ["--vary", "strength=0.5,2", "--vary", "statistic=gram,mean,nearest"]
    code, out, err = run("sheet", picture, "mosaic", "-o", "sheet.png", *vary, *options)
    assert (code, err) == (0, "")
    assert out.startswith("sheet.png  6 pictures")
    sheet = images.read("sheet.png")
    assert sheet.shape[1] > sheet.shape[0]
    words = shlex.split(run("info", "sheet.png")[1].strip().splitlines()[-1])
    os.rename("sheet.png", "kept.png")
    assert run(*words[1:])[0] == 0
    assert (images.read("sheet.png").rgb == images.read("kept.png").rgb).all()


@pytest.mark.parametrize(("given", "size"), [([], 256), (["--size", "512"], 512), (["--preset", "faithful"], 256)])
def test_the_size_of_its_pictures_is_stored(run, picture, monkeypatch, given, size):
    """256 pixels by default, with presets too, unlike the 512 of the options."""
    sizes = []

    def failing(content, styles, axes, options):
        sizes.append(options.size)
        raise ValueError("enough")

    monkeypatch.setattr(sheet, "iterate_variations", failing)
    run("sheet", picture, "mosaic", "--vary", "strength=1,2", *given)
    assert sizes == [size]
    settings = record.settings("sheet", [picture, "mosaic"], StylizeOptions(size=size), more=["--vary", "strength=1,2"])
    words = shlex.split(record.command(settings, "sheet.png"))
    run(*words[1:])
    assert sizes == [size, size]


def test_a_sheet_that_cannot_be_written_is_written_elsewhere(run, picture, monkeypatch):
    """As if its folder were gone when the pictures are painted, after hours perhaps."""
    write = images.write

    def refuses(path, *given):
        if not path.is_absolute():
            raise PictureError(f"cannot write {path}: there is no space")
        write(path, *given)

    monkeypatch.setattr(images, "write", refuses)
    options = ["--size", "48", "--iterations", "1", "--style-layers", "relu1_1"]
    code, _, err = run("sheet", picture, "mosaic", "-o", "sheet.png", "--vary", "strength=0.5,2", *options)
    assert code == 1
    assert "cannot write sheet.png: there is no space; the result is in" in " ".join(err.split())
    assert images.read_settings("sheet.png")["operation"] == "sheet"


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
def test_mistakes(run, picture, arguments, message):
    code, out, err = run("sheet", picture, "mosaic", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert os.listdir() == ["photo.png"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, MemoryError("too large")])
def test_an_interrupted_sheet_shows_the_pictures_so_far(run, picture, monkeypatch, failure):
    real = sheet.iterate_variations

    def failing(*arguments):
        for variation in real(*arguments):
            if variation.number == 3:
                raise failure
            yield variation

    monkeypatch.setattr(sheet, "iterate_variations", failing)
    arguments = ["sheet", picture, "mosaic", "-o", "out.png", "--size", "48", "--iterations", "1"]
    code, _, err = run(*arguments, "--vary", "strength=0.5,1,2")
    if failure is KeyboardInterrupt:
        assert code == 130
        assert "the pictures so far are in out.png" in err
    else:
        assert code == 2
        assert err.startswith("impasto: out of memory")
    assert images.read("out.png").shape[1] > 96
