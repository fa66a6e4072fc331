"""Side by side with other programs, on the same weights, pictures, size and threads; in turns, in one run.

    python -m benchmarks.peers PAIRS.txt -o FOLDER

PAIRS.txt holds the paths of a photo and a painting on each line. Peers are installed from the package index into
environments in FOLDER. Each program repaints each photo, starting from it, at matched weights of content and style;
its pictures on the way are judged by a loss written down apart from all of them (`judge.py`). Reported are seconds
per evaluation, peak memory, and the seconds until each reaches the loss that the peer has after 100, 300 and 500
iterations, start-up included. What is in FOLDER already is kept: an interrupted run can be taken up again, and a run
that is finished only reports.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.peers import report
from benchmarks.peers.judge import Judge
from impasto import images, weights

HERE = Path(__file__).parent
#: Peer -> what pip installs for it.
PEERS = {
    "pastiche": ["pastiche==1.6.0", "pillow"],
    "neural-style": ["neural-style==0.5.7", "pillow"],
}
#: Left out: pystiche 1.0.1, which is a library whose networks come from torchvision.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for environments and results")
    parser.add_argument("--size", default="512x384", help="width and height of photo and painting, in pixels")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--plot", type=Path, help="draw how the loss fell")
    parser.add_argument("--iterations", type=int, default=500, help="of the peers")
    parser.add_argument("--ours", type=int, default=150, help="iterations of ours at the last scale")
    given = parser.parse_args()
    output = given.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    width, height = (int(side) for side in given.size.split("x"))
    vgg = output / "vgg19.pth"
    if not vgg.exists():
        write_weights(vgg)
    pythons = {"impasto": sys.executable, **{peer: environment(peer, output) for peer in given.peers}}
    found = []
    for number, line in enumerate(given.pairs.read_text().splitlines()):
        folder = output / f"pair{number}"
        photo, painting = (folder / name for name in ("photo.png", "painting.png"))
        if not painting.exists():
            folder.mkdir(exist_ok=True)
            for path, source in zip((photo, painting), shlex.split(line), strict=True):
                images.write(path, cut(images.read(source), height, width))
        # In turns; who is first changes from pair to pair.
        order = sorted(pythons, key=lambda name: (list(pythons).index(name) + number) % len(pythons))
        for program in order:
            count, every = (given.ours, 5) if program == "impasto" else (given.iterations, 50)
            run(program, pythons[program], folder, vgg, count, every)
        judge = Judge(vgg, photo, painting)
        found.append({program: report.course(folder / program, judge) for program in pythons})
        print(f"\n{report.tables(found, given.peers)}", flush=True)
        if given.plot:
            report.plot(given.plot, found, given.peers)


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


def run(program: str, python: str, folder: Path, vgg: Path, iterations: int, every: int) -> None:
    """Let a program repaint the pair in `folder`; its pictures, times and peak memory go into a folder of its own."""
    results = folder / program
    if (results / "times.json").exists():
        return
    results.mkdir(exist_ok=True)
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
    found = {"times": times, "peak": usage.ru_maxrss * 1024, "at": time.strftime("%Y-%m-%d %H:%M")}
    (results / "times.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
