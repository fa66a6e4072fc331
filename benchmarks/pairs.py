"""Stylise many pairs of a photo and a painting, and draw a contact sheet of the results.

    python -m benchmarks.pairs PAIRS.txt -o FOLDER [-- OPTIONS of impasto stylize]

Each line of PAIRS.txt holds the paths of a photo and a painting. Results that FOLDER already contains are kept, so an
interrupted run can be resumed.
"""

import argparse
import shlex
import sys
from pathlib import Path

from impasto import cli, images
from impasto.images import sheets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--columns", type=int, default=5, help="pictures in a row of the sheet")
    parser.add_argument("--cell", type=int, default=256, help="side of a picture on the sheet, in pixels")
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    args, options = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    args.output.mkdir(parents=True, exist_ok=True)
    entries = []
    for line in args.pairs.read_text().splitlines():
        photo, painting = shlex.split(line)
        result = args.output / f"{Path(photo).stem}-{Path(painting).stem}.png"
        if not result.exists():
            code = cli.run(["stylize", photo, painting, "-o", str(result), *options])
            if code:
                raise SystemExit(code)
        entries.append((f"{Path(photo).stem} × {Path(painting).stem}".replace("_", " "), images.read(result)))
    sheet = args.output / "sheet.jpg"
    images.write(sheet, sheets.contact_sheet(entries, columns=args.columns, cell=args.cell))
    print(sheet)


if __name__ == "__main__":
    main()
