"""Optional dependencies, and the commands that install them."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from impasto import extras
from impasto.errors import ExtraError

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def declared():
    """Extra -> packages, in pyproject.toml, without those for developers."""
    found = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    return {extra: tuple(packages) for extra, packages in found.items() if extra not in ("dev", "docs")}


def test_the_packages_are_those_of_the_project():
    assert declared() == {extra: tuple(packages.values()) for extra, packages in extras.EXTRAS.items()}


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_the_modules_are_those_of_the_packages(extra):
    if not extras.is_installed(extra):
        pytest.skip(f"the extra {extra} is not installed")
    known = packages_distributions()
    for module, package in extras.EXTRAS[extra].items():
        name = re.match(r"[\w-]+", package).group()
        assert name in {found.lower().replace("_", "-") for found in known[module]}


def test_the_command_names_packages_and_quotes_them_for_every_shell():
    assert extras.install_command("video") == 'pip install "av>=17" "opencv-python-headless>=4.9"'
    for extra in extras.EXTRAS:
        assert "'" not in extras.install_command(extra)
        assert "impasto" not in extras.install_command(extra)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    with pytest.raises(ExtraError, match='^sound needs soundfile, which is not installed: pip install "soundfile>=0'):
        extras.require_extra("audio", "sound")
