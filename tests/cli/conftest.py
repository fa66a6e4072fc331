"""What tests of the command line share: a photo in a folder of its own, and the program in this process."""

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
