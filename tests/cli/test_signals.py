"""Every end is a good end: signals during every long command."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import processes
import psutil
import pytest

from impasto import cli, images
from impasto.cli import signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals to send")

PIPES = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
ENDLESS = ["--size", "64", "--iterations", "100000", "--scales", "1", "--json"]


def command(*arguments):
    return [sys.executable, "-m", "impasto", *arguments]


def ended(process, number):
    """What a process printed that was ended by a signal."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    assert "Traceback" not in err
    assert not list(Path.cwd().rglob(".impasto-*"))
    return out, err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU], ids=lambda number: number.name)
def test_a_signal_keeps_the_best_picture_and_a_checkpoint(picture, number):
    """Also if it is sent again and again meanwhile, as those do that wait for the end."""
    arguments = command("stylize", picture, "mosaic", "-o", "out.png", "--style-weight", "8", *ENDLESS)
    with processes.running(arguments, **PIPES) as process:
        for _ in range(3):
            process.stdout.readline()
        for _ in range(20):
            process.send_signal(number)
            time.sleep(0.02)
        out, _ = ended(process, number)
    assert json.loads(out.splitlines()[-1])["interrupted"] is True
    assert images.read("out.png").shape == (43, 64)
    assert Path("out.png.checkpoint").exists()


QUICK = ["--size", "64", "--iterations", "20", "--json"]
SOUND = ["--sample-rate", "8000", "--iterations", "100000", "--json"]
TRAINED = ["--batch", "1", "--crop", "32", "--precision", "float32", "--steps", "5000", "--json"]


@pytest.mark.parametrize(
    ("arguments", "made", "said"),
    [
        ("texture mosaic -o out.png --iterations 100000 --json", "out.png", None),
        (["reconstruct", "photo.png", "-o", "out.png", *ENDLESS], "out.png", None),
        (["audio", "tune.wav", "tune.wav", "-o", "out.wav", *SOUND], "out.wav", None),
        (
            ["video", "clip", "mosaic", "-o", "frames", "--style-weight", "8", *QUICK],
            "frames.frames",
            "finished frames are in frames",
        ),
        (
            ["batch", "clip", "mosaic", "-o", "made", "--style-weight", "8", *QUICK],
            "made/000--mosaic.png",
            "run the same command again",
        ),
        (["train", "--photos", "clip", "--style", "mosaic", "-o", "run", *TRAINED], "run/checkpoint.pt", "--resume"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_sigterm_keeps_what_there_is(picture, arguments, made, said):
    """Sent to the whole group, as `timeout` and service managers do: workers leave it to their parent."""
    arguments = arguments.split() if isinstance(arguments, str) else arguments
    if arguments[0] == "audio":
        sounds, making_sounds = pytest.importorskip("impasto.audio.sounds"), pytest.importorskip("making_sounds")
        sounds.write(Path("tune.wav"), making_sounds.tune())
    if arguments[0] == "video":
        pytest.importorskip("impasto.video")
    Path("clip").mkdir()
    for number in range(40):
        shutil.copy(picture, f"clip/{number:03}.png")
    with processes.running(command(*arguments), **PIPES, start_new_session=True) as process:
        for _ in range(2):
            assert process.stdout.readline(), process.communicate()
        os.killpg(process.pid, signal.SIGTERM)
        out, err = ended(process, signal.SIGTERM)
    assert Path(made).exists()
    assert said is None or said in " ".join(err.split())
    assert said is not None or json.loads(out.splitlines()[-1])["interrupted"] is True


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["sheet", "photo.png", "--vary", "strength=1,2,3", "-o", "out.png", "--size", "64"], "out.png"),
        (["explain", "statistics", "photo.png", "mosaic", "-o", "report", "--size", "64"], None),
        (["stylize", "photo.png", "mosaic", "-o", "out.png", "--size", "64"], None),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
@pytest.mark.parametrize("seconds", [1.5, 4])
def test_whenever_it_comes(picture, arguments, made, seconds):
    """Also while libraries are imported, which must not be interrupted, and before there is a result."""
    more = [] if arguments[0] == "stylize" else ["--iterations", "100000"]
    with processes.running(command(*arguments, *more), **PIPES) as process:
        time.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    if process.returncode == 0:
        assert arguments[0] == "stylize"  # it was done already
        return
    assert process.returncode == 143
    assert "impasto: interrupted" in err
    assert made is None or Path(made).exists() == ("before there was a result" not in err)


def test_ignored_signals_stay_ignored(picture):
    """As under `nohup`, and in the background of a script."""
    code = "import signal, sys; from impasto import cli\n"
    code += "signal.signal(signal.SIGHUP, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN); cli.main()"
    arguments = ["stylize", picture, "mosaic", "-o", "out.png", "--style-weight", "8", *QUICK]
    with processes.running([sys.executable, "-c", code, *arguments], **PIPES) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["interrupted"] is False


def test_no_worker_is_left(picture, tmp_path):
    """The program is killed while it starts workers."""
    Path("clip").mkdir()
    for number in range(6):
        shutil.copy(picture, f"clip/{number:03}.png")
    arguments = command("batch", "clip", "mosaic", "-o", "made", "--iterations", "100000", "--workers", "4")
    with processes.running(arguments, **PIPES) as process:
        parent, end = psutil.Process(process.pid), time.monotonic() + 60
        while not (children := parent.children(recursive=True)):
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(psutil.NoSuchProcess):
            children += parent.children(recursive=True)
        ended(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive


def test_ctrl_c_while_the_command_line_is_imported():
    """The first moment at which a traceback would be ours."""
    code = "import signal, sys; from impasto.__main__ import main\n"
    code += "class Finder:\n"
    code += "    def find_spec(self, name, *more): name == 'impasto.cli' and signal.raise_signal(signal.SIGINT)\n"
    code += "signal.signal(signal.SIGINT, signal.default_int_handler); sys.meta_path.insert(0, Finder()); main()"
    result = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, capture_output=True)
    assert (result.returncode, result.stderr) == (-signal.SIGINT, b"")


# -- the handlers --------------------------------------------------------------------------------------------------


def test_handlers_are_restored(run):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert run("preset", "show")[0] == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_only_the_main_thread_has_handlers():
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(cli.run, ["preset", "show"]).result() == 0


@pytest.fixture
def handled(monkeypatch):
    """Whatever ran these tests may ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with signals.handled():
        yield
    signal.signal(signal.SIGINT, before)


def test_only_the_first_signal_is_raised(handled):
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    assert signals.exit_code() == 130
    assert signals.exit_code(usual=True) == 0


def test_a_block_that_is_not_interrupted(handled):
    with signals.deferred():
        signal.raise_signal(signal.SIGTERM)
    assert signals.exit_code() == 143
    with pytest.raises(KeyboardInterrupt):
        signals.check()


class Finalised:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_in_a_finaliser_is_raised_afterwards(handled):
    Finalised()
    with pytest.raises(KeyboardInterrupt):
        time.sleep(10)


def test_a_signal_during_an_import_is_raised_afterwards(handled, tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\ndone = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    import slow

    assert slow.done
    with pytest.raises(KeyboardInterrupt):
        time.sleep(10)


def test_no_signal_has_its_default_action_when_the_end_begins():
    """In the moment between the handling of signals and the end of the process, one would leave no exit code."""
    code = "import signal; from impasto.cli import signals\n"
    code += "with signals.handled(): signals.exit_at_once(7)\nsignal.raise_signal(signal.SIGTERM)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 7
