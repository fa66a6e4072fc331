"""Repaint many photos and draw a contact sheet of the results.

    python -m benchmarks.pairs PAIRS.txt -o FOLDER [-- any option of impasto stylize]

Each line of PAIRS.txt holds the paths of a photo and a painting. What is in FOLDER already is kept, so that an
interrupted run can be taken up again.
"""

import argparse
import shlex
from pathlib import Path

from impasto import cli, images
from impasto.images import sheets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--columns", type=int, default=5, help="pictures in a row of the sheet")
    parser.add_argument("--cell", type=int, default=256, help="side of a picture on the sheet, in pixels")
    parser.add_argument("options", nargs="*", help="options of impasto stylize, after --")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    entries = []
    for line in given.pairs.read_text().splitlines():
        photo, painting = shlex.split(line)
        result = given.output / f"{Path(photo).stem}-{Path(painting).stem}.png"
        if not result.exists():
            code = cli.run(["stylize", photo, painting, "-o", str(result), *given.options])
            if code:
                raise SystemExit(code)
        entries.append((f"{Path(photo).stem} × {Path(painting).stem}".replace("_", " "), images.read(result)))
    sheet = given.output / "sheet.jpg"
    images.write(sheet, sheets.contact_sheet(entries, columns=given.columns, cell=given.cell))
    print(sheet)


if __name__ == "__main__":
    main()
