"""Terminals, pipes and full disks: what becomes of the output changes neither the result nor the exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from impasto import images

FAST = ["fast", "photo.png", "mosaic", "-o", "out.png", "--size", "64"]


def started(*arguments, shell):
    """The program, started by a shell that redirects its output."""
    line = f'"$0" -m impasto "$@" {shell}'
    command = ["sh", "-c", line, sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, check=False)


needs_sh = pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "cp932", "iso8859-15"])
def test_help_in_any_encoding(encoding):
    command = [sys.executable, "-m", "impasto", "stylize", "--help"]
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    found = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (found.returncode, found.stderr) == (0, b"")
    assert "--content-weight" in found.stdout.decode(encoding)


@pytest.mark.parametrize("variables", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_characters_that_the_terminal_lacks(picture, variables):
    command = [sys.executable, "-m", "impasto", *FAST[:4], "ö 画.png", *FAST[5:]]
    environment = os.environ | variables | {"PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (found.returncode, found.stderr) == (0, b"")
    assert b"64?43 px" in found.stdout
    assert len(list(Path.cwd().glob("*.png"))) == 2


@needs_sh
@pytest.mark.parametrize("shell", [">&-", ">&- 2>&- <&-", "2>/dev/full"])
def test_output_that_goes_nowhere(picture, shell):
    found = started(*FAST, shell=shell)
    assert found.returncode == 0
    assert found.stderr == b""
    assert images.read("out.png").shape == (43, 64)


@needs_sh
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [FAST, ["--help"], ["preset", "show"], ["info", "nowhere.png"]])
def test_output_on_a_full_disk(picture, arguments):
    found = started(*arguments, shell=">/dev/full")
    assert found.returncode == (2 if "nowhere.png" in arguments else 0)
    assert b"Traceback" not in found.stderr
    assert found.returncode or found.stderr == b"impasto: standard output is incomplete: No space left on device\n"
    assert "out.png" not in arguments or images.read("out.png").shape == (43, 64)


@needs_sh
def test_a_reader_that_wants_no_more(picture):
    arguments = ["stylize", picture, "mosaic", "-o", "out.png", "--size", "64", "--iterations", "5", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "impasto", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (0, b"")
    assert images.read("out.png").shape == (43, 64)
