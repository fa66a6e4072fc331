"""A user without a home folder, as in containers: `docker run --user`, with no HOME and no entry in /etc/passwd."""

import os
from pathlib import Path

import pytest

from impasto.errors import WeightsError
from impasto.vgg import weights

pwd = pytest.importorskip("pwd")  # not on Windows


@pytest.fixture
def homeless(monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "IMPASTO_CACHE", "MPLCONFIGDIR"):
        monkeypatch.delenv(name, raising=False)

    def missing(user):
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", missing)
    with pytest.raises(RuntimeError):
        Path.home()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info"], "none: there is no home folder; set IMPASTO_CACHE"),
        (["weights", "list"], "vgg19"),
        (["weights", "verify"], ""),
        (["preset", "show"], "gatys2016"),
        (["--version"], "impasto "),
        (["fast", "photo.png", "mosaic", "-o", "out.png", "--size", "64"], "out.png 64×43 px"),
        (["info", "out.png"], "impasto fast photo.png"),
        (["stylize", "photo.png", "mosaic", "-o", "out.png", "--size", "64", "--iterations", "2"], "2 evaluations"),
    ],
    ids=lambda value: "",
)
def test_without_a_home_folder(homeless, run, picture, arguments, said):
    if arguments == ["info", "out.png"]:
        run("fast", "photo.png", "mosaic", "-o", "out.png", "--size", "64", "-q")
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    assert said in " ".join(out.split())


def test_weights_need_a_folder(homeless):
    source = next(source for source in weights.CATALOGUE.values() if source.url is not None)
    assert weights.locate(source) is None
    with pytest.raises(WeightsError, match="set IMPASTO_CACHE to a folder"):
        weights.fetch(source)


def test_a_home_folder_of_somebody_else(monkeypatch):
    """HOME may be root's, which others must not read."""
    monkeypatch.delenv("IMPASTO_CACHE", raising=False)

    def forbidden(path, *rest, **more):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "stat", forbidden)
    assert all(weights.locate(source) is None for source in weights.CATALOGUE.values() if source.url is not None)
