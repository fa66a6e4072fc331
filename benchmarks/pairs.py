"""Stylise many pairs of a photo and a painting, and draw a sheet of them: photo and painting beside each result.

    python -m benchmarks.pairs PAIRS.txt -o FOLDER [-- OPTIONS of impasto stylize]
    python -m benchmarks.pairs PAIRS.txt -o FOLDER --peers neural-style NNST=SOURCE style-transfer-pytorch=SOURCE

Each line of PAIRS.txt holds the paths of a photo and a painting, and a caption, all of them quoted where they contain
spaces. Results that FOLDER already contains are kept, so an interrupted run can be resumed.

With --peers, other programs draw every pair too, each at its own defaults, with the same weights of VGG-19, on the CPU
(it takes hours). The sheet has a row for each pair: photo, painting, impasto, impasto with `--statistic nearest`, and
each of the others, with the seconds it took. A program is a name, or NAME=FOLDER with the folder of its source code.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from benchmarks.peers import pictures
from impasto import cli, images
from impasto.files import atomic_write
from impasto.images.sheets import INK, PAPER, contact_sheet

#: A photo, a painting, the result, and the caption.
Entry = tuple[PIL.Image.Image, PIL.Image.Image, PIL.Image.Image, str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--columns", type=int, default=3, help="pairs in a row of the sheet")
    parser.add_argument("--cell", type=int, default=256, help="side of a result on the sheet, in pixels")
    parser.add_argument("--peers", nargs="+", metavar="PROGRAM", help=f"of {', '.join(pictures.PACKAGES)}")
    parser.add_argument("--size", type=int, default=512, help="with --peers: long side of the results, in pixels")
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    args, options = parser.parse_args(arguments[:end]), arguments[end + 1 :]
    args.output.mkdir(parents=True, exist_ok=True)
    if args.peers:
        return beside(args, options)
    entries: list[Entry] = []
    for line in args.pairs.read_text().splitlines():
        photo, painting, caption = shlex.split(line)
        result = args.output / f"{Path(photo).stem}-{Path(painting).stem}.png"
        if not result.exists():
            code = cli.run(["stylize", photo, painting, "-o", str(result), *options])
            if code:
                raise SystemExit(code)
        first, second, third = (images.read(name).to_pil().convert("RGB") for name in (photo, painting, str(result)))
        entries.append((first, second, third, caption))
    sheet = args.output / "sheet.jpg"
    images.write(sheet, images.read(drawn(entries, args.columns, args.cell)))
    print(sheet)


def beside(args: argparse.Namespace, options: Sequence[str]) -> None:
    """Draw every pair with all programs, in turns, and the sheet after each pair."""
    given = (name.partition("=") for name in args.peers)
    peers = {name: Path(source) if source else None for name, _, source in given}
    pictures.install([*peers], args.output)
    record = args.output / "seconds.json"
    seconds: dict[str, float] = json.loads(record.read_text()) if record.exists() else {}
    cells = []
    for line in args.pairs.read_text().splitlines():
        photo, painting, _ = shlex.split(line)
        pair = f"{Path(photo).stem}-{Path(painting).stem}"
        cells += [(Path(name).stem, images.read(name)) for name in (photo, painting)]
        ours = {"impasto": [], "impasto nearest": ["--statistic", "nearest"]}
        for program in (*ours, *peers):
            result = args.output.absolute() / f"{pair} {program}.png"
            if result.name not in seconds:
                started = time.monotonic()
                if program in peers:
                    paths = (Path(name).absolute() for name in (photo, painting))
                    pictures.draw(program, peers[program], *paths, result, args.size, args.output)
                else:
                    words = [photo, painting, "-o", str(result), "--size", str(args.size), *ours[program], *options]
                    if code := cli.run(["stylize", *words]):
                        raise SystemExit(code)
                seconds[result.name] = time.monotonic() - started
                with atomic_write(record) as draft:
                    draft.write_text(json.dumps(seconds, indent=1))
            cells.append((f"{program}, {seconds[result.name]:.0f} s", images.read(result)))
        sheet = args.output / "sheet.jpg"
        images.write(sheet, contact_sheet(cells, columns=4 + len(peers), cell=args.cell))
        print(sheet, flush=True)


def drawn(entries: Sequence[Entry], columns: int, cell: int) -> PIL.Image.Image:
    """The entries row by row, each a result as large as fits a square of `cell` pixels, and the others left of it."""
    gap, line = cell // 32, cell // 5
    width = cell * 3 // 2 + 3 * gap
    groups = [(group(*pictures, cell, gap), caption) for *pictures, caption in entries]
    rows = [groups[start : start + columns] for start in range(0, len(groups), columns)]
    heights = [max(picture.height for picture, _ in row) for row in rows]
    sheet = PIL.Image.new("RGB", (columns * width, sum(heights) + len(rows) * (line + 2 * gap)), PAPER)
    draw = PIL.ImageDraw.Draw(sheet)
    font = PIL.ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), line * 0.65)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, (picture, caption) in enumerate(row):
            left = column * width
            sheet.paste(picture, (left + (width - picture.width) // 2, top + (height - picture.height) // 2))
            draw.text((left + width // 2, top + height + gap // 2), caption, INK, font, "ma")
        top += height + line + 2 * gap
    return sheet


def group(
    photo: PIL.Image.Image, painting: PIL.Image.Image, result: PIL.Image.Image, cell: int, gap: int
) -> PIL.Image.Image:
    """The photo above the painting, left of the result."""
    result = fitted(result, cell, cell)
    above, below = (fitted(one, cell // 2 - gap, (result.height - gap) // 2) for one in (photo, painting))
    width = max(above.width, below.width)
    picture = PIL.Image.new("RGB", (width + gap + result.width, result.height), PAPER)
    picture.paste(above, (width - above.width, 0))
    picture.paste(below, (width - below.width, result.height - below.height))
    picture.paste(result, (width + gap, 0))
    return picture


def fitted(picture: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    """The picture resampled to fit this size."""
    factor = min(width / picture.width, height / picture.height)
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), PIL.Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
