"""Side by side with other programs, on the same weights, pictures, size and threads; in turns, in one run.

    python -m benchmarks.peers PAIRS.txt -o FOLDER --record measured.json
    python -m benchmarks.peers --record benchmarks/peers/measured.json

PAIRS.txt holds the paths of a photo and a painting on each line. Peers are installed from the package index into
environments in FOLDER. Each program repaints each photo, starting from it, at matched weights of content and style;
its pictures on the way are judged by a loss written down apart from all of them (`judge.py`). Reported are seconds
per evaluation, peak memory, and the seconds until each reaches the loss that the peer has after 100, 300 and 500
iterations, start-up included.

Every course goes into the record as soon as it is run. What is there already is not run again: an interrupted
benchmark can be taken up on another day, and without PAIRS.txt the record is only reported. The one that comes along
is what docs/performance.md tells of.
"""

import argparse
import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers import report
from benchmarks.peers.judge import Judge
from benchmarks.subject import machine
from impasto import images
from impasto.files import atomic_write
from impasto.vgg import weights

HERE = Path(__file__).parent
#: Peer -> what pip installs for it.
PEERS = {
    "pastiche": ["pastiche==1.6.0", "pillow"],
    "neural-style": ["neural-style==0.5.7", "pillow"],
}
#: Left out: pystiche 1.0.1, which is a library whose networks come from torchvision.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, nargs="?")
    parser.add_argument("-o", "--output", type=Path, default=Path("peers"), help="folder for environments and pictures")
    parser.add_argument("--record", type=Path, required=True, help="file of what was measured")
    parser.add_argument("--size", default="512x384", help="width and height of photo and painting, in pixels")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--plot", type=Path, help="draw how the loss fell")
    parser.add_argument("--iterations", type=int, default=500, help="of the peers")
    parser.add_argument("--ours", type=int, default=400, help="iterations of ours")
    given = parser.parse_args()
    record = json.loads(given.record.read_text()) if given.record.exists() else {}
    if given.pairs:
        measure(given, record)
    programs = ("impasto", *given.peers)
    pairs = [
        {name: report.Course.read(of[name]) for name in programs} for of in record.values() if {*programs} <= of.keys()
    ]
    if not pairs:
        raise SystemExit(f"{given.record} has no pair that {', '.join(programs)} all went through")
    print(report.tables(pairs, given.peers))
    if given.plot:
        report.plot(given.plot, pairs, given.peers)


def measure(given: argparse.Namespace, record: dict[str, dict[str, Any]]) -> None:
    """Run what the record lacks, and note it there."""
    names = ("impasto", *given.peers)
    todo = []
    for number, line in enumerate(given.pairs.read_text().splitlines()):
        sources = shlex.split(line)
        pair = " × ".join(Path(source).stem for source in sources)
        # In turns; who is first changes from pair to pair.
        order = sorted(names, key=lambda name: (names.index(name) + number) % len(names))
        lacking = [program for program in order if program not in record.get(pair, {})]
        if lacking:
            todo.append((sources, pair, lacking))
    if not todo:
        return  # nothing is to be installed
    output = given.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    width, height = (int(side) for side in given.size.split("x"))
    vgg = output / "vgg19.pth"
    if not vgg.exists():
        write_weights(vgg)
    pythons = {"impasto": sys.executable, **{peer: environment(peer, output) for peer in given.peers}}
    for sources, pair, lacking in todo:
        folder = output / pair.replace(" × ", "-")
        folder.mkdir(exist_ok=True)
        photo, painting = (folder / name for name in ("photo.png", "painting.png"))
        for path, source in zip((photo, painting), sources, strict=True):
            images.write(path, cut(images.read(source), height, width))
        judge = Judge(vgg, photo, painting)
        for program in lacking:
            count, every = (given.ours, 5) if program == "impasto" else (given.iterations, 50)
            times, peak = run(program, pythons[program], folder, vgg, count, every)
            pictures = {number: folder / program / f"{number:05}.png" for number in times}
            losses = {number: judge.loss(path) for number, path in pictures.items() if path.exists()}
            known = report.Course(f"{given.size}, {machine()}", times, losses, peak)
            record.setdefault(pair, {})[program] = dataclasses.asdict(known)
            with atomic_write(given.record) as draft:
                draft.write_text(json.dumps(record, indent=1))


def write_weights(path: Path) -> None:
    """The weights that come with impasto, as the peers read them."""
    encoder = weights.load("vgg19", padding="zeros")
    names = [layer.name for layer in encoder.layers if layer.kind == "conv"]
    numbers = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    state = {}
    for name, number in zip(names, numbers, strict=True):
        kernel = encoder.kernels[name]
        # Ours reads RGB in [0, 1], theirs BGR in 0–255.
        weight = kernel.weight.flip(1) / 255 if number == 0 else kernel.weight
        state |= {f"features.{number}.weight": weight.contiguous(), f"features.{number}.bias": kernel.bias}
    torch.save(state, path)


def cut(picture: images.Picture, height: int, width: int) -> images.Picture:
    """A picture of exactly this size, cut around its middle, so that no program resizes it."""
    scale = max(height / picture.size[0], width / picture.size[1])
    large = picture.resized(max(height, round(picture.size[0] * scale)), max(width, round(picture.size[1] * scale)))
    top, left = (large.size[0] - height) // 2, (large.size[1] - width) // 2
    return images.Picture(large.rgb[:, top : top + height, left : left + width])


def environment(peer: str, folder: Path) -> str:
    """The interpreter of an environment with the peer in it."""
    where = folder / f"env-{peer}"
    python = where / "bin" / "python"
    if not (where / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(where)], check=True)
        version = torch.__version__.partition("+")[0]
        subprocess.run([python, "-m", "pip", "install", "-q", f"torch=={version}", "numpy", *PEERS[peer]], check=True)
        (where / "done").touch()
    return str(python)


def run(
    program: str, python: str, folder: Path, vgg: Path, iterations: int, every: int
) -> tuple[dict[int, float], int]:
    """Let a program repaint the pair in `folder`, its pictures in a folder of its own there: evaluations -> seconds,
    and its peak of memory in bytes."""
    results = folder / program
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    driver = HERE / f"drive_{program.replace('-', '_')}.py"
    arguments = [folder / "photo.png", folder / "painting.png", vgg, results, iterations, every]
    standin = {"PYTHONPATH": str(HERE / "standin")} if program == "neural-style" else {}
    with open(results / "log.txt", "w") as log, open(results / "errors.txt", "w") as errors:
        process = subprocess.Popen(
            [python, str(driver), *map(str, arguments)], stdout=log, stderr=errors, env=os.environ | standin
        )
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{program} failed: see {results / 'errors.txt'}")
    lines = [line.split() for line in (results / "log.txt").read_text().splitlines()]
    times = {int(line[0]): float(line[1]) for line in lines if len(line) == 2 and line[0].isdecimal()}
    return times, usage.ru_maxrss * 1024


if __name__ == "__main__":
    main()
