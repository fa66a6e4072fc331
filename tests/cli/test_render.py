"""From steps to a file: output, intermediate results, interruptions and failures."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import processes
import pytest

from impasto import files, images
from impasto.errors import PictureError
from impasto.losses.objective import Objective
from impasto.operations import stylize
from impasto.progress import StepBar

SMALL = ["--size", "64", "--iterations", "3"]


def test_plot_and_intermediate_pictures(run, picture):
    code, *_ = run(
        "stylize", picture, "swirls", "-o", "out.jpg", "--size", "140", "--iterations", "6",
        "--save-every", "4", "--plot", "losses.png", "--quiet",
    )  # fmt: skip
    assert code == 0
    intermediate = [name for name in os.listdir() if name.startswith("out-")]
    assert 3 <= len(intermediate) <= 5
    assert all(images.read(name).shape == (93, 140) for name in intermediate)
    assert images.read("losses.png").shape[1] > 500


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


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_keeps_the_best_picture(picture):
    arguments = [sys.executable, "-m", "impasto", "stylize", picture, "mosaic", "-o", "out.png", "--json"]
    arguments += ["--size", "200", "--iterations", "100000", "--style-weight", "8"]
    with processes.running(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(5):
            assert json.loads(process.stdout.readline())["event"] == "step"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert json.loads(out.splitlines()[-1])["interrupted"] is True
    assert images.read("out.png").shape == (133, 200)
    assert sorted(os.listdir()) == ["out.png", "out.png.checkpoint", "photo.png"]
    assert "impasto: interrupted" not in out + err  # the last line of JSON has it


def test_ctrl_c_between_two_steps_saves_a_checkpoint(run, picture, monkeypatch):
    """Ctrl-C while a step is shown, and the generator is suspended."""
    calls = itertools.count()

    def interrupted(bar, step):
        if next(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(StepBar, "show", interrupted)
    code, _, err = run("stylize", picture, "mosaic", "-o", "out.png", *SMALL)
    assert code == 130
    assert "run the same command with --resume to continue" in err
    assert sorted(os.listdir()) == ["out.png", "out.png.checkpoint", "photo.png"]


def test_a_failure_to_write_an_intermediate_picture_does_not_end_the_run(run, picture, monkeypatch, caplog):
    real = images.write

    def full(path, *rest):
        if "out-" in str(path):
            raise PictureError(f"cannot write {path}: No space left on device")
        real(path, *rest)

    monkeypatch.setattr(images, "write", full)
    code, *_ = run("stylize", picture, "mosaic", "-o", "out.png", *SMALL, "--save-every", "2")
    assert code == 0
    assert "No space left" in caplog.text
    assert images.read("out.png").shape == (43, 64)


def test_an_error_keeps_the_best_picture_and_a_checkpoint(run, picture, monkeypatch):
    """Whatever the error; and the resumed run ends with the same file."""
    arguments = ["stylize", picture, "mosaic", "-o", "out.png", *SMALL]
    assert run(*arguments)[0] == 0
    expected = Path("out.png").read_bytes()
    real, calls = Objective.value_and_grad, itertools.count()

    def failing(self, canvas):
        if next(calls) == 2:
            raise ValueError("a cosmic ray")
        return real(self, canvas)

    with monkeypatch.context() as patch:
        patch.setattr(Objective, "value_and_grad", failing)
        code, _, err = run(*arguments)
    assert code == 2
    assert "best result so far is in out.png; run the same command with --resume to continue" in err
    assert "a cosmic ray" in err
    assert images.read("out.png").shape == (43, 64)
    assert Path("out.png").read_bytes() != expected
    assert run(*arguments, "--resume")[0] == 0
    assert Path("out.png").read_bytes() == expected
    assert not Path("out.png.checkpoint").exists()


@pytest.mark.parametrize(
    ("command", "iterations"),
    [(("stylize", "photo.png", "mosaic"), 2), (("texture", "mosaic"), 2), (("reconstruct", "photo.png"), 2)],
)
def test_a_finished_run_that_is_resumed_stays_as_it_is(run, picture, command, iterations):
    arguments = [*command, "-o", "out.png", "--size", "48", "--iterations", str(iterations)]
    assert run(*arguments)[0] == 0
    made = Path("out.png").stat().st_mtime_ns
    code, _, err = run(*arguments, "--resume", "--memory", "4GB")  # which does not change the result
    assert code == 0
    assert "out.png is finished; leave --resume away to make it anew" in err
    assert Path("out.png").stat().st_mtime_ns == made
    code, _, err = run(*arguments, "--resume", "--seed", "5")
    assert code == 0
    assert "is finished" not in err
    assert Path("out.png").stat().st_mtime_ns > made


def test_an_interrupted_picture_is_not_finished(run, picture, monkeypatch):
    def interrupted(bar, step):
        raise KeyboardInterrupt

    arguments = ["stylize", picture, "mosaic", "-o", "out.png", *SMALL]
    with monkeypatch.context() as patch:
        patch.setattr(StepBar, "show", interrupted)
        assert run(*arguments)[0] in (1, 130)
    Path("out.png.checkpoint").unlink(missing_ok=True)
    code, _, err = run(*arguments, "--resume")
    assert code == 0
    assert "is finished" not in err


@pytest.mark.parametrize("replaced", [False, True])
def test_an_output_folder_that_vanishes_during_the_run(run, picture, tmp_path, monkeypatch, replaced):
    """The picture is written to another folder, and replaces nothing there; also if a file replaced the folder."""
    Path("folder").mkdir()
    Path("out.png").write_text("mine")
    real = stylize.iterate

    def vanishing(*arguments, **more):
        yield from real(*arguments, **more)
        shutil.rmtree("folder")
        if replaced:
            Path("folder").write_text("a file now")

    monkeypatch.setattr(stylize, "iterate", vanishing)
    code, out, err = run("stylize", picture, "mosaic", "-o", "folder/out.png", *SMALL)
    assert code == 1
    assert "cannot write folder/out.png" in err
    assert "the result is in" in err
    assert out.startswith(str(tmp_path / "out-2.png"))
    assert images.read("out-2.png").shape == (43, 64)
    assert Path("out.png").read_text() == "mine"


def test_a_full_disk_is_an_error_before_the_run(run, picture, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(10**9, 10**9, 5000))
    code, _, err = run("stylize", picture, "mosaic", "-o", "out.png", *SMALL)
    assert code == 2
    assert "0.0 MB left, and it may take 0.0 MB; make room, or write elsewhere" in err
    assert os.listdir() == ["photo.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="needs limits of a process")
def test_a_disk_that_is_full_after_the_run(picture):
    """No file may grow beyond 1 kB: nothing is written anywhere, existing files stay, and the error is reported."""
    Path("out.png").write_text("mine")
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); "
    code = limited + "from impasto import cli; sys.exit(cli.run(sys.argv[1:]))"
    arguments = ["stylize", picture, "mosaic", "-o", "out.png", *SMALL, "--checkpoint-every", "0.001"]
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert "cannot write out.png" in result.stderr
    assert "no checkpoint" in " ".join(result.stderr.split())
    assert Path("out.png").read_text() == "mine"
    assert sorted(os.listdir()) == ["out.png", "photo.png"]
