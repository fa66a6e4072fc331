"""Other programs' pictures, each at its own defaults, with the weights that impasto has."""

import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.peers.__main__ import write_weights

HERE = Path(__file__).parent
#: Program -> what pip installs for it, besides torch. neural-style itself is in the package index; the others are
#: folders of source code.
PACKAGES = {
    "style-transfer-pytorch": ["aiohttp", "pillow", "tifffile", "tqdm"],
    "NNST": ["imageio"],
    "neural-style": ["neural-style==0.5.7", "pillow"],
}


def install(programs: list[str], folder: Path) -> None:
    """Make the environment of all programs, and write the weights that they read, if they are not there yet."""
    environment, packages = folder / "env", sorted({name for program in programs for name in PACKAGES[program]})
    installed = environment / "installed.txt"
    if not installed.exists() or installed.read_text().splitlines() != packages:
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        version = torch.__version__.partition("+")[0]
        python = str(environment / "bin" / "python")
        subprocess.run([python, "-m", "pip", "install", "-q", f"torch=={version}", "numpy", *packages], check=True)
        installed.write_text("\n".join(packages))
    if not (folder / "vgg19.pth").exists():
        write_weights(folder / "vgg19.pth")


def draw(
    program: str, source: Path | None, photo: Path, painting: Path, output: Path, size: int, folder: Path
) -> float:
    """Let a program draw a picture.

    Args:
        source: the folder of its source code, if it is not installed.
        size: long side of the picture, in pixels; NNST always draws 512.
        folder: that of `install`.

    Returns:
        The seconds it took, start-up included.
    """
    folder = folder.absolute()
    words = [program, source.absolute() if source else "", folder / "vgg19.pth", photo, painting, output, size]
    started = time.monotonic()
    with open(folder / f"{program}.log", "a") as log:
        status = subprocess.run(
            [str(folder / "env" / "bin" / "python"), str(HERE / "draw.py"), *map(str, words)],
            check=False,
            stdout=log,
            stderr=log,
            env=os.environ | {"PYTHONPATH": str(HERE / "standin")},
            cwd=folder,  # where style-transfer-pytorch leaves a trace
        ).returncode
    if status or not output.exists():
        raise SystemExit(f"{program} failed: see {folder / f'{program}.log'}")
    return time.monotonic() - started
