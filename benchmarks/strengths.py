"""Whether a strength keeps as much of every photo: pairs painted at several strengths, measured, and drawn as a sheet.

    python -m benchmarks.strengths PAIRS.txt -o FOLDER [--strengths 0.5,1,2] [--size 512] [-- OPTIONS of 'stylize']

Each line of PAIRS.txt holds a photo and a painting, files or names of bundled ones; what contains spaces is quoted.
Measured are the content distance, which a strength promises, and the distance of centred covariances at relu3_1 to
relu5_1 from the painting's; see `benchmarks.instant`. Every row is added to FOLDER/rows.jsonl at once, and a rerun
resumes from that file. FOLDER/sheet.png has a row for each pair: photo, painting, and a column for each strength.
"""

import argparse
import json
import shlex
import statistics
import sys
from pathlib import Path

from benchmarks.common import machine
from benchmarks.instant.__main__ import Judge, scaled
from impasto import cli, images
from impasto.images.sheets import contact_sheet
from impasto.inputs.memo import Memo
from impasto.inputs.read import read_content, read_styles
from impasto.operations.calibration import target_distance
from impasto.vgg import weights

#: Side of a cell of the sheet, in pixels.
CELL = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--strengths", default="0.5,1,2", help="separated by commas")
    parser.add_argument("--size", type=int, default=512, help="long side of the results, in pixels")
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    given, options = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    given.output.mkdir(parents=True, exist_ok=True)
    pairs = [shlex.split(line) for line in given.pairs.read_text().splitlines() if line.strip()]
    strengths = [float(text) for text in given.strengths.split(",")]
    record = given.output / "rows.jsonl"
    rows = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    known = {(row["photo"], row["painting"], row["strength"]): row for row in rows}
    for photo, painting in pairs:
        for strength in strengths:
            if (photo, painting, strength) in known:
                continue
            result = path_of(given.output, photo, painting, strength)
            words = [photo, painting, "-o", str(result), "--strength", f"{strength:g}", "--size", str(given.size)]
            if code := cli.run(["stylize", *words, *options]):
                raise SystemExit(code)
            row = {"photo": photo, "painting": painting, "strength": strength, **measured(photo, painting, result)}
            known[photo, painting, strength] = row
            with record.open("a") as file:
                file.write(json.dumps(row) + "\n")
    report([known[photo, painting, strength] for photo, painting in pairs for strength in strengths])
    draw(given.output, pairs, strengths)


def path_of(folder: Path, photo: str, painting: str, strength: float) -> Path:
    return folder / f"{Path(photo).stem} {Path(painting).stem} {strength:g}.png"


def measured(photo: str, painting: str, result: Path) -> dict[str, float]:
    """The content distance and that from the painting, and the style weight that was found."""
    picture = images.read(result)
    original = read_content(photo, long_side=max(picture.shape)).resized(*picture.shape)
    ((_, style),) = read_styles(painting, picture.shape[0] * picture.shape[1], Memo(0))
    found = Judge(weights.load("vgg19", padding="zeros"), original, style).distances(picture)
    stored = images.read_settings(result) or {}
    return {"content": found["content"], "deep": found["deep"], **stored.get("found", {})}


def report(rows: list[dict]) -> None:
    """For each strength, what was promised and what came out."""
    print(machine())
    for strength in sorted({row["strength"] for row in rows}):
        found = sorted(row["content"] for row in rows if row["strength"] == strength)
        deep = [row["deep"] for row in rows if row["strength"] == strength]
        print(
            f"strength {strength:g}, {len(found)} pairs: content distance {statistics.median(found):.2f} "
            f"({found[0]:.2f} to {found[-1]:.2f}, promised {target_distance(strength):.2f}); "
            f"from the painting {statistics.median(deep):.2f}"
        )


def draw(folder: Path, pairs: list[list[str]], strengths: list[float]) -> None:
    """The sheet: a row for each pair, a column for each strength."""
    cells = []
    for photo, painting in pairs:
        given = [(Path(photo).stem, read_content(photo)), (Path(painting).stem, read_styles(painting, 1 << 20)[0][1])]
        results = [(f"{each:g}", images.read(path_of(folder, photo, painting, each))) for each in strengths]
        cells += [(label, scaled(picture, CELL)) for label, picture in (*given, *results)]
    images.write(folder / "sheet.png", contact_sheet(cells, 2 + len(strengths), CELL))
    print(folder / "sheet.png")


if __name__ == "__main__":
    main()
