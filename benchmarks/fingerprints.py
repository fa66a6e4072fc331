"""SHA-256 of what a dozen small commands make: a refactoring changes none of them.

    python -m benchmarks.fingerprints -o before.json
    python -m benchmarks.fingerprints --check before.json

Pixels and samples are hashed as they are decoded, so settings and file headers may change. Figures are comparable on
one machine and with one build of PyTorch only. Needs the extras `video`, `audio` and `cluster`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import PIL.Image

SMALL = ["--size", "96", "--iterations", "3", "--quiet"]


def hash_of(path: Path) -> str:
    """SHA-256 of what a file decodes to, or of its bytes."""
    if path.suffix in (".png", ".tif"):
        with PIL.Image.open(path) as picture:
            array = np.asarray(picture)
        data = str(array.shape).encode() + array.tobytes()
    elif path.suffix == ".wav":
        import soundfile

        data = soundfile.read(path, dtype="int16")[0].tobytes()
    elif path.suffix == ".mp4":
        import av

        with av.open(str(path)) as clip:
            data = b"".join(frame.to_ndarray(format="rgb24").tobytes() for frame in clip.decode(video=0))
    else:
        data = path.read_bytes()
    return hashlib.sha256(data).hexdigest()


def impasto(*arguments: str, folder: Path, wait: bool = True) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    process = subprocess.Popen([sys.executable, "-m", "impasto", *arguments], cwd=folder, env=environment)
    if wait and process.wait():
        raise SystemExit(f"impasto {' '.join(arguments)} failed with {process.returncode}")
    return process


def make_inputs(folder: Path) -> None:
    """A mask, a clip of four frames, and two sounds."""
    import av
    import soundfile

    rows, columns = np.mgrid[:96, :96]
    PIL.Image.fromarray((255 * (columns + rows / 2 < 70)).astype(np.uint8)).save(folder / "mask.png")
    with av.open(str(folder / "clip.mp4"), "w") as clip:
        stream = clip.add_stream("libx264", rate=8)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for index in range(4):
            y, x = np.mgrid[:64, :96]
            wave = np.stack([127 + 120 * np.sin((x + 3 * index) / (5 + band) + y / 9) for band in range(3)], -1)
            for packet in stream.encode(av.VideoFrame.from_ndarray(wave.astype(np.uint8), "rgb24")):
                clip.mux(packet)
        for packet in stream.encode():
            clip.mux(packet)
    time_ = np.arange(22050) / 22050
    noise = np.random.default_rng(0).standard_normal(22050)
    soundfile.write(folder / "tone.wav", 0.3 * np.sin(2 * np.pi * 330 * time_ * (1 + time_)), 22050)
    soundfile.write(folder / "noise.wav", 0.2 * noise * (1 + np.sin(20 * time_)), 22050)


def resumed(folder: Path, output: str) -> None:
    """A run that is interrupted once it has written a checkpoint, and resumed."""
    arguments = ["stylize", "astronaut", "mosaic", "-o", output, "--size", "160", "--iterations", "20", "--quiet"]
    process = impasto(*arguments, "--checkpoint-every", "0.5", folder=folder, wait=False)
    deadline = time.monotonic() + 120
    while not (folder / f"{output}.checkpoint").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    if process.wait() != 130:
        raise SystemExit("the run to be resumed ended before it could be interrupted")
    impasto(*arguments, "--resume", folder=folder)


def commands() -> dict[str, Callable[[Path, str], object]]:
    """Output file -> what makes it, given the folder and its name."""

    def plain(text: str, small: bool = True) -> Callable[[Path, str], object]:
        verb, *rest = text.split()
        return lambda folder, output: impasto(verb, *rest, "-o", output, *(SMALL if small else ()), folder=folder)

    styles = "stained-glass mosaic"
    found = {
        "masks.png": plain(f"stylize astronaut {styles} --content-mask 1=mask.png --style-mask 2=mask.png"),
        "keep.png": plain("stylize astronaut mosaic --content-mask keep=mask.png --init mixed --total-variation 0.1"),
        "two.png": plain(f"stylize astronaut {styles} --style-weights 0.7,0.3 --style-scale 0.5,1"),
        "luminance.png": plain("stylize chelsea swirls --color luminance --optimizer adam"),
        "gatys.png": plain("stylize chelsea swirls --preset gatys2016"),
        "palette.png": plain(f"stylize coffee {styles} --color palette"),
        **{
            f"{name}.png": plain(f"stylize coffee mosaic --statistic {name}")
            for name in ("mean", "moments", "gaussian", "covariance", "wasserstein", "nearest")
        },
        "tiles.png": tiled,
        "draft.png": plain("stylize astronaut mosaic --init fast"),
        "texture.png": plain("texture mosaic --size 96x64 --seamless --iterations 3 -q", False),
        "reconstruct.png": plain("reconstruct chelsea --content-layer relu3_1"),
        "reconstruct_style.png": plain("reconstruct chelsea --style-layers relu1_1,relu3_1"),
        "fast.png": plain("fast astronaut mosaic --size 200 -q", False),
        "fast_masks.png": plain(
            f"fast astronaut {styles} --size 200 -q --content-mask 1=mask.png --strength 0.6 --color match", False
        ),
        "video.mp4": plain("video clip.mp4 mosaic --later 2"),
        "video_fast.mp4": plain("video clip.mp4 mosaic --fast --size 96 -q", False),
        "audio.wav": plain("audio tone.wav noise.wav --iterations 4 -q", False),
        "audio_wide.wav": plain("audio tone.wav noise.wav --iterations 4 -q --encoder wide --memory 600MB", False),
        "sound_texture.wav": plain("texture noise.wav --iterations 4 -q", False),
        "resumed.png": resumed,
        "whole.png": plain("stylize astronaut mosaic --size 160 --iterations 20 -q", False),
        "sharded.png": sharded,
    }
    return found


def tiled(folder: Path, output: str) -> None:
    """A picture in tiles. Their sizes depend on the memory that the process holds, which is fixed here."""
    text = """
import impasto
from impasto.optim import memory
memory.used = lambda: 450_000_000
options = impasto.preset("default", size=800, iterations=2, scales=1, memory=1_300_000_000)
impasto.write("OUTPUT", impasto.stylize("astronaut", "mosaic", options))
"""
    run_python(text, folder, output, threads=2)


def sharded(folder: Path, output: str) -> None:
    """A picture over two workers of a cluster on this machine."""
    text = """
import impasto
from impasto import cluster
options = impasto.preset("default", size=1100, iterations=2, scales=1, memory=2_000_000_000)
picture = cluster.stylize("astronaut", "mosaic", options, threads=1, workers=2)
impasto.write("OUTPUT", picture)
cluster.disconnect()
"""
    run_python(text, folder, output, threads=1)


def run_python(text: str, folder: Path, output: str, threads: int) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    program = text.replace("OUTPUT", output)
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True, env=environment)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-o", type=Path, help="write the hashes here")
    parser.add_argument("--check", type=Path, help="compare with these hashes")
    parser.add_argument("--keep", type=Path, help="keep the files in this folder")
    parser.add_argument("--only", default="", help="only outputs whose name matches this pattern")
    options = parser.parse_args()
    before = json.loads(options.check.read_text()) if options.check else {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        make_inputs(folder)
        hashes = {}
        for name, make in commands().items():
            if not re.search(options.only, name):
                continue
            started = time.monotonic()
            make(folder, name)
            hashes[name] = hash_of(folder / name)
            verdict = "" if name not in before else "same" if before[name] == hashes[name] else "DIFFERS"
            print(f"{hashes[name][:16]}  {name}  {time.monotonic() - started:.1f} s  {verdict}", flush=True)
    if options.o:
        options.o.write_text(json.dumps(hashes, indent=1))
    if any(before.get(name, found) != found for name, found in hashes.items()):
        sys.exit("outputs differ")


if __name__ == "__main__":
    main()
