"""Runs every command and every Python block of the documentation, on small pictures."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from making_models import learn_quickly

from impasto import cli, images, presets
from impasto.optim import schedule
from impasto.vgg import weights
from impasto.vgg.encoder import random_encoder

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

#: Prefix of a command, or an option in it -> why the command is skipped.
SKIPPED = {
    "python3 -m venv": "creates an environment; done by CI",
    "pip install": "installs packages",
    "pip uninstall": "removes packages",
    "pip wheel": "builds a wheel",
    "python -m ipykernel": "needs ipykernel",
    "./test": "runs this test",
    "./sanitize": "builds tests/sanitize.c; takes minutes",
    "git clone": "the repository has no address yet",
    "python -m benchmarks": "takes minutes",
    "python -m pytest": "runs other tests",
    "impasto web": "runs until it is stopped: tests/cli/test_web.py",
    "impasto live": "needs a camera: tests/video/test_live.py",
    "impasto weights fetch": "downloads: tests/vgg/test_weights.py, with a local server",
    "impasto train": "needs folders of photos and paintings: tests/cli/test_train.py",
    "impasto export": "needs a trained model: tests/cli/test_train.py",
    "--cluster": "needs a cluster: tests/cluster",
    "--model": "needs a trained model: tests/cli/test_train.py",
    "ray start": "starts a cluster: tests/cluster",
    "--flow": "needs files of optical flow: tests/video",
    "mkdocs": "see test_site",
    "curl": "needs a server: tests/web/test_api.py",
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
    """(page, command) of every command, once: in lines indented by four spaces, and in fenced shell blocks."""
    seen = set()
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        fenced = None
        for number, line in enumerate(text.splitlines(), start=1):
            if line.startswith("```"):
                fenced = None if fenced is not None else line[3:].strip()
                continue
            code = line[4:] if line.startswith("    ") and fenced is None else line if fenced in ("sh", "shell") else ""
            code = code.strip().removeprefix("$ ")
            for command in re.split(r" && ", code.partition("  #")[0].partition("    →")[0].strip()):
                if (
                    re.match(r"(impasto|python3?|pip|\./|git|ray|curl|mkdocs|\.venv)\b", command)
                    and command not in seen
                ):
                    seen.add(command)
                    yield pytest.param(page, command.strip(), id=f"{page.stem}-{number}-{command[:40]}")


def blocks():
    """(page, code) of every fenced Python block."""
    for page in PAGES:
        for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.S), start=1):
            yield pytest.param(page, code, id=f"{page.stem}-{number}")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with small versions of the files that the commands name."""
    import skimage.data

    folder = tmp_path_factory.mktemp("files")
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
def small_encoder():
    """A network with the layers of VGG-19, but few channels in the deepest ones, which no predictor of styles reads."""
    blocks = ((2, 64), (2, 128), (4, 256), (4, 512), (4, 32))
    return random_encoder(blocks, seed=1).to("cpu", torch.float32)


@pytest.fixture
def small_runs(monkeypatch, files, small_encoder, tmp_path):
    """A working directory with the files, in which pictures, runs and the network are small."""
    fit, plan = images.fit, schedule.plan

    def load(name, pooling="max", padding="zeros", preprocessing=None):
        return dataclasses.replace(small_encoder, pooling=pooling, padding=padding)

    def short_plan(height, width, iterations, scales=None):
        return plan(height, width, 1, min(scales or 2, 2))

    learn_quickly(monkeypatch, small_encoder, seconds=1e-9)
    monkeypatch.setattr(weights, "load", load)
    monkeypatch.setattr(images, "fit", lambda size, long_side: fit(size, min(long_side, 56)))
    monkeypatch.setattr(schedule, "plan", short_plan)
    monkeypatch.setattr("impasto.operations.texture.schedule.plan", short_plan)
    monkeypatch.setattr("impasto.explain.units.STEPS", 2)
    monkeypatch.setattr("impasto.operations.calibration.ROUNDS", (1,))
    work = tmp_path / "work"
    shutil.copytree(files, work)
    monkeypatch.chdir(work)
    return work


@pytest.mark.parametrize(("page", "command"), list(commands()))
def test_commands(small_runs, page, command, capsys):
    for pattern, reason in SKIPPED.items():
        if command.startswith((pattern, f".venv/bin/{pattern}")) or (pattern.startswith("--") and pattern in command):
            pytest.skip(reason)
    args = shlex.split(command.removeprefix(".venv/bin/"))
    assert args[0] == "impasto", f"{page.name}: unknown command {command!r}"
    if args[1] == "audio" or (args[1] == "texture" and args[2].endswith(".wav")):
        args += ["--iterations", "1"]
        args = ["--seconds=3" if word.startswith("--seconds=") else word for word in args]
        if "--seconds" in args:
            args[args.index("--seconds") + 1] = "3"
    if args[1] == "batch":  # its processes are not patched
        args += ["--size", "48", "--iterations", "1", "--scales", "1", "--style-weight", "8", "--workers", "1"]
    if args[1] in ("texture", "reconstruct"):
        args += ["--iterations", "2"]
        if "--size" in args:
            args[args.index("--size") + 1] = "64"
    if args[1:3] in (["explain", "representations"], ["explain", "statistics"]):
        args += ["--iterations", "2"]
    if "out.png" in args[1:3] or "--preset out.png" in command or args[1:3] == ["explain", "run"]:
        assert cli.run(["stylize", "photo.jpg", "swirls", "-o", "out.png", "-q"]) == 0
    if args[1:3] == ["learn", "--remove"]:
        assert cli.run(["learn", args[3], "-q"]) == 0
    if "soft.toml" in args and args[1] != "preset":
        assert cli.run(["preset", "save", "soft.toml", "--strength", "0.6"]) == 0
    if "--resume" in args:
        (small_runs / "out.png").unlink(missing_ok=True)
    code = cli.run(args[1:])
    assert code == 0, f"{page.name}: {command}\n{capsys.readouterr().err}"


def quick_options(*given):
    return dataclasses.replace(presets.options_from(*given), iterations=1)


@pytest.mark.parametrize(("page", "code"), list(blocks()))
def test_python(small_runs, page, code, monkeypatch):
    if "gradio_client" in code:
        pytest.skip("needs a server: tests/web/test_api.py")
    if "audio" in code:
        monkeypatch.setattr("impasto.audio.transfer.options_from", quick_options)
    exec(compile(code, str(page), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_no_page_installs_impasto_by_its_name(page):
    """While it is on no index, pip would find nothing, or another package."""
    assert not re.search(r"pip install [^`\n&]*['\" ]impasto\b(?![\w-]*\.whl)", page.read_text())


def test_site(tmp_path):
    """The site builds without warnings, and no page loads anything from other servers."""
    pytest.importorskip("mkdocs")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"DISABLE_MKDOCS_2_WARNING": "true"},
    )
    assert build.returncode == 0, build.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        text = page.read_text()
        external = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=\"(https?://[^\"]+)", text)
        assert not [address for address in external if "canonical" not in address], page
    index = (tmp_path / "site/search/search_index.json").read_text().lower()
    for word in ("iphone", "heic", "notebook", "jupyter", "docker", "cuda", "windows", "macos", "forkserver"):
        assert word in index
    commands_page = (tmp_path / "site/reference/commands/index.html").read_text()
    for name in ("stylize", "batch", "explain units", "preset save"):
        assert f"impasto {name}" in commands_page
