"""Fixtures of the command line: a photo in an empty folder, and the program run in this process."""

import PIL.Image
import pytest

from impasto import cli


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
