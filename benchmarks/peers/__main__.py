"""Speed, memory and loss of impasto and other programs, with the same weights, pictures, size and threads.

    python -m benchmarks.peers PAIRS.txt -o FOLDER --record measured.json
    python -m benchmarks.peers --record benchmarks/peers/measured.json

Each line of PAIRS.txt holds the paths of a photo and a painting. Other programs are installed from the package index
into environments in FOLDER. All programs stylise each pair, interleaved, starting from the photo, with equivalent
content and style weights. A loss implemented independently of all of them (`reference_loss.py`) evaluates their
intermediate pictures. The report gives seconds per evaluation, peak memory, and the seconds, start-up included, until
impasto reaches the loss that the other program has after 50, 100, 300 and 500 iterations.

Every run is recorded as soon as it ends, and recorded runs are not repeated, so an interrupted benchmark can be resumed
later. Without PAIRS.txt, only the report is printed. docs/performance.md reports the bundled records.
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

from benchmarks.common import machine
from benchmarks.peers import report
from benchmarks.peers.reference_loss import ReferenceLoss
from impasto import images
from impasto.files import atomic_write
from impasto.vgg import weights

HERE = Path(__file__).parent
#: Program -> the packages that pip installs for it.
PEERS = {
    "pastiche": ["pastiche==1.6.0", "pillow"],
    "neural-style": ["neural-style==0.5.7", "pillow"],
}
#: Not compared: pystiche 1.0.1, a library that takes its networks from torchvision.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, nargs="?")
    parser.add_argument("-o", "--output", type=Path, default=Path("peers"), help="folder for environments and pictures")
    parser.add_argument("--record", type=Path, required=True, help="file of measured runs")
    parser.add_argument("--size", default="512x384", help="width and height of photo and painting, in pixels")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    parser.add_argument("--plot", type=Path, help="plot the loss over time")
    parser.add_argument("--iterations", type=int, default=500, help="of the other programs")
    parser.add_argument("--every", type=int, default=50, help="iterations of the other programs between two pictures")
    parser.add_argument("--ours", type=int, default=400, help="iterations of impasto")
    args = parser.parse_args()
    record = json.loads(args.record.read_text()) if args.record.exists() else {}
    if args.pairs:
        measure(args, record)
    programs = ("impasto", *args.peers)
    pairs = [
        {name: report.Run.from_record(runs[name]) for name in programs}
        for runs in record.values()
        if {*programs} <= runs.keys()
    ]
    if not pairs:
        raise SystemExit(f"{args.record} has no pair with runs of all of {', '.join(programs)}")
    print(report.tables(pairs, args.peers))
    if args.plot:
        report.plot(args.plot, pairs, args.peers)


def measure(args: argparse.Namespace, record: dict[str, dict[str, Any]]) -> None:
    """Run what is missing from the record, and add it."""
    names = ("impasto", *args.peers)
    todo = []
    for number, line in enumerate(args.pairs.read_text().splitlines()):
        sources = shlex.split(line)
        pair = " × ".join(Path(source).stem for source in sources)
        # Interleaved; the first program changes from pair to pair.
        order = sorted(names, key=lambda name: (names.index(name) + number) % len(names))
        missing = [program for program in order if program not in record.get(pair, {})]
        if missing:
            todo.append((sources, pair, missing))
    if not todo:
        return  # and install nothing
    output = args.output.absolute()
    output.mkdir(parents=True, exist_ok=True)
    width, height = (int(side) for side in args.size.split("x"))
    vgg = output / "vgg19.pth"
    if not vgg.exists():
        write_weights(vgg)
    pythons = {"impasto": sys.executable, **{peer: environment(peer, output) for peer in args.peers}}
    for sources, pair, missing in todo:
        folder = output / pair.replace(" × ", "-")
        folder.mkdir(exist_ok=True)
        photo, painting = (folder / name for name in ("photo.png", "painting.png"))
        for path, source in zip((photo, painting), sources, strict=True):
            images.write(path, center_crop(images.read(source), height, width))
        loss = ReferenceLoss(vgg, photo, painting)
        for program in missing:
            count, every = (args.ours, 5) if program == "impasto" else (args.iterations, args.every)
            times, peak = run(program, pythons[program], folder, vgg, count, every)
            pictures = {number: folder / program / f"{number:05}.png" for number in times}
            losses = {number: loss(path) for number, path in pictures.items() if path.exists()}
            measured = report.Run(f"{args.size}, {machine()}", times, losses, peak)
            record.setdefault(pair, {})[program] = dataclasses.asdict(measured)
            with atomic_write(args.record) as draft:
                draft.write_text(json.dumps(record, indent=1))


def write_weights(path: Path) -> None:
    """Write the bundled weights in the format that the other programs read."""
    encoder = weights.load("vgg19", padding="zeros")
    names = [layer.name for layer in encoder.layers if layer.kind == "conv"]
    numbers = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    state = {}
    for name, number in zip(names, numbers, strict=True):
        kernel = encoder.kernels[name]
        # impasto reads RGB in [0, 1], the others BGR in 0–255.
        weight = kernel.weight.flip(1) / 255 if number == 0 else kernel.weight
        state |= {f"features.{number}.weight": weight.contiguous(), f"features.{number}.bias": kernel.bias}
    torch.save(state, path)


def center_crop(picture: images.Picture, height: int, width: int) -> images.Picture:
    """A picture scaled and cropped to exactly this size, so that no program resizes it."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    large = picture.resized(max(height, round(picture.shape[0] * scale)), max(width, round(picture.shape[1] * scale)))
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return images.Picture(large.rgb[:, top : top + height, left : left + width])


def environment(peer: str, folder: Path) -> str:
    """The Python interpreter of an environment with the program, which is created if necessary."""
    path = folder / f"env-{peer}"
    python = path / "bin" / "python"
    if not (path / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(path)], check=True)
        version = torch.__version__.partition("+")[0]
        subprocess.run([python, "-m", "pip", "install", "-q", f"torch=={version}", "numpy", *PEERS[peer]], check=True)
        (path / "done").touch()
    return str(python)


def run(
    program: str, python: str, folder: Path, vgg: Path, iterations: int, every: int
) -> tuple[dict[int, float], int]:
    """Stylise the pair in `folder` with a program, which writes its pictures to a folder in it.

    Returns:
        Seconds since the start by number of evaluations, and the peak memory in bytes.
    """
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
