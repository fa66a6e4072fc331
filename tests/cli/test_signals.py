"""Every end is a good end: signals during every long command."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import processes
import pytest

from impasto import images

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
    arguments = command("stylize", picture, "mosaic", "-o", "out.png", *ENDLESS)
    with processes.running(arguments, **PIPES) as process:
        for _ in range(3):
            process.stdout.readline()
        for _ in range(20):
            process.send_signal(number)
            time.sleep(0.02)
        out, _ = ended(process, number)
    assert json.loads(out.splitlines()[-1])["interrupted"] is True
    assert images.read("out.png").size == (43, 64)
    assert Path("out.png.checkpoint").exists()


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["texture", "mosaic", "-o", "out.png", *ENDLESS[:4], "--json"], "out.png"),
        (["reconstruct", "photo.png", "-o", "out.png", *ENDLESS], "out.png"),
        (["texture", "sound.wav", "-o", "out.wav", *ENDLESS[2:4], "--json"], "out.wav"),
        (["audio", "sound.wav", "sound.wav", "-o", "out.wav", *ENDLESS[2:4], "--json"], "out.wav"),
        (["video", "clip", "mosaic", "-o", "frames", "--size", "64", "--iterations", "2", "--json"], "frames"),
        (["batch", "clip", "mosaic", "-o", "made", "--size", "64", "--iterations", "20", "--json"], "made"),
        (["train", "--photos", "clip", "--style", "mosaic", "-o", "run", "--crop", "64", "--json"], "run"),
    ],
    ids=lambda value: value[0] + " " + value[1] if isinstance(value, list) else "",
)
def test_sigterm_ends_every_command_with_what_it_has(picture, arguments, made):
    if "sound.wav" in arguments:
        import making_sounds

        shutil.copy(making_sounds.__file__, "unused.py")
        pytest.importorskip("impasto.audio.sounds")
        make_sound()
    Path("clip").mkdir()
    for number in range(200 if arguments[0] == "video" else 8):
        shutil.copy(picture, f"clip/{number:03}.png")
    with processes.running(command(*arguments), **PIPES) as process:
        for _ in range(2):
            assert process.stdout.readline(), process.communicate()
        process.send_signal(signal.SIGTERM)
        _, err = ended(process, signal.SIGTERM)
    assert Path(made).exists()
    assert "--json" in arguments or "impasto: interrupted" in err
