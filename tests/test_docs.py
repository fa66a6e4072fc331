"""What the documents say can be done is done: every command and every block of Python, on small pictures."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from impasto import cli, images
from impasto.optim import schedule
from impasto.settings.options import AudioOptions
from impasto.vgg import weights
from impasto.vgg.encoder import random_encoder

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

#: What a command begins with -> why it is not executed here.
LEFT = {
    "python3 -m venv": "installs into a new environment: done by hand, and by CI's own set-up",
    "pip install": "installs",
    "./test": "runs this",
    "./sanitize": "is tests/sanitize.c, and takes minutes",
    "git clone": "has no address yet",
    "python -m benchmarks": "measures for minutes",
    "python -m pytest": "runs tests, at length",
    "impasto web": "serves until it is stopped: tests/cli/test_web.py",
    "impasto live": "wants a camera: tests/video/test_live.py",
    "impasto weights fetch": "downloads: tests/test_weights.py, from a server of its own",
    "impasto train": "wants folders of photos and paintings: tests/cli/test_train.py",
    "impasto export": "wants a model of one's own: tests/cli/test_train.py",
    "--cluster": "wants a cluster: tests/cluster",
    "--model": "wants a model of one's own: tests/cli/test_train.py",
    "ray start": "begins a cluster: tests/cluster",
    "--flow": "wants files of optical flow: tests/video",
    "mkdocs": "is test_the_site below",
    "curl": "asks a server: tests/web/test_api.py",
}
PICTURES = (
    "picture.jpg",
    "other.jpg",
    "photo.jpg",
    "painting.jpg",
    "a.jpg",
    "b.jpg",
    "p.jpg",
    "one.jpg",
    "two.jpg",
    "out.png",
    "draft.png",
)
MASKS = ("sky.png", "face.png", "ground.png", "p-sky.png", "p-ground.png", "part.png", "mask.png")
SOUNDS = ("speech.wav", "rain.wav", "music.wav", "voice.wav", "strings.flac", "drums.wav")


def commands():
    """(page, line, command) of every line that is a command: indented by four, or in a block of the shell."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        fenced = None
        for number, line in enumerate(text.splitlines(), start=1):
            if line.startswith("```"):
                fenced = None if fenced is not None else line[3:].strip()
                continue
            shown = (
                line[4:] if line.startswith("    ") and fenced is None else line if fenced in ("sh", "shell") else ""
            )
            shown = shown.strip().removeprefix("$ ")
            for command in re.split(r" && ", shown.partition("  #")[0].partition("    →")[0].strip()):
                if re.match(r"(impasto|python3?|pip|\./|git|ray|curl|mkdocs|\.venv)\b", command):
                    yield pytest.param(page, command.strip(), id=f"{page.stem}-{number}-{command[:40]}")


def blocks():
    """(page, code) of every block of Python."""
    for page in PAGES:
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S), start=1):
            yield pytest.param(page, code, id=f"{page.stem}-{number}")


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """The files that the documents speak of, small."""
    import skimage.data

    folder = tmp_path_factory.mktemp("material")
    picture = images.read(skimage.data.astronaut()).resized(40, 56)
    for name in PICTURES:
        images.write(folder / name, picture, settings=None)
    mask = np.zeros((40, 56), np.uint8)
    mask[:, :30] = 255
    for name in MASKS:
        images.write(folder / name, images.read(mask))
    for name in ("photos", "paintings", "frames"):
        (folder / name).mkdir()
        for number in (1, 2, 3):
            images.write(folder / name / f"{number}.png", images.Picture(picture.rgb.roll(number, 0) ** number))
    sounds = pytest.importorskip("impasto.audio.sounds")
    for number, name in enumerate(SOUNDS):
        noise = 0.1 * torch.randn(1, 66150, generator=torch.Generator().manual_seed(number))
        sounds.write(folder / name, sounds.Sound(noise, 22050))
    clips = pytest.importorskip("making_clips")
    clips.write(folder / "clip.mp4", clips.scene(3))
    return folder


@pytest.fixture(scope="module")
def slim():
    """A network with VGG-19's layers and few channels in those that take the time of small pictures."""
    blocks = ((2, 64), (2, 128), (4, 256), (4, 32), (4, 32))
    return random_encoder(blocks, seed=1).to("cpu", torch.float32)


@pytest.fixture
def small(monkeypatch, material, slim, tmp_path):
    """Everything as it is written, but pictures are small, runs are short, and the network is slim."""
    fit, plan = images.fit, schedule.plan

    def load(name, pooling="max", padding="zeros", preprocessing=None):
        return dataclasses.replace(slim, pooling=pooling, padding=padding)

    def short(height, width, iterations, scales=None):
        return plan(height, width, min(iterations, 2), min(scales or 2, 2))

    monkeypatch.setattr(weights, "load", load)
    monkeypatch.setattr(images, "fit", lambda size, long_side: fit(size, min(long_side, 56)))
    monkeypatch.setattr(schedule, "plan", short)
    monkeypatch.setattr("impasto.operations.texture.schedule.plan", short)
    monkeypatch.setattr("impasto.explain.units.STEPS", 2)
    work = tmp_path / "work"
    shutil.copytree(material, work)
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize(("page", "command"), list(commands()))
def test_commands(small, page, command, capsys):
    for begins, why in LEFT.items():
        if command.startswith((begins, f".venv/bin/{begins}")) or (begins.startswith("--") and begins in command):
            pytest.skip(why)
    words = shlex.split(command.removeprefix(".venv/bin/"))
    assert words[0] == "impasto", f"{page.name}: nobody says what to do with {command!r}"
    if words[1] == "audio" or (words[1] == "texture" and words[2].endswith(".wav")):
        words += ["--iterations", "1"]
        words = ["--seconds=3" if word.startswith("--seconds=") else word for word in words]
        if "--seconds" in words:
            words[words.index("--seconds") + 1] = "3"
    if words[1] == "batch":  # in processes of its own, where nothing is short by itself
        words += ["--size", "48", "--iterations", "1", "--scales", "1", "--workers", "1"]
    if words[1] in ("texture", "reconstruct"):
        words += ["--iterations", "2"]
        if "--size" in words:
            words[words.index("--size") + 1] = "64"
    if words[1:3] in (["explain", "representations"], ["explain", "statistics"]):
        words += ["--iterations", "2"]
    if "out.png" in words[1:3] or "--preset out.png" in command or words[1:3] == ["explain", "run"]:
        assert cli.run(["stylize", "photo.jpg", "swirls", "-o", "out.png", "-q"]) == 0
    if "soft.toml" in words and words[1] != "preset":
        assert cli.run(["preset", "save", "soft.toml", "--strength", "0.6"]) == 0
    if "--resume" in words:
        (small / "out.png").unlink(missing_ok=True)
    code = cli.run(words[1:])
    assert code == 0, f"{page.name}: {command}\n{capsys.readouterr().err}"


@pytest.mark.parametrize(("page", "code"), list(blocks()))
def test_python(small, page, code, monkeypatch):
    if "gradio_client" in code:
        pytest.skip("asks a server: tests/web/test_api.py")
    if "audio" in code:
        monkeypatch.setattr("impasto.audio.transfer.AudioOptions", partial(AudioOptions, iterations=1))
    exec(compile(code, str(page), "exec"), {"__name__": "page"})


def test_the_site(tmp_path):
    """It is built without warnings, and no page fetches anything from elsewhere."""
    pytest.importorskip("mkdocs")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DISABLE_MKDOCS_2_WARNING": "true"},
    )
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text()
        fetched = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(https?://[^\"]+)", text)
        assert not [address for address in fetched if "canonical" not in address], page
    commands_page = (tmp_path / "site/reference/commands/index.html").read_text()
    for name in ("stylize", "batch", "explain units", "preset save"):
        assert f"impasto {name}" in commands_page
