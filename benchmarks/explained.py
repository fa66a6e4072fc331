"""Make the pictures of docs/explain.md, from bundled photos and styles.

python -m benchmarks.explained -o docs/images/explain
"""

import argparse
import tempfile
from pathlib import Path

import skimage.data

import impasto
from impasto import explain, images, preset
from impasto.explain.report import Report

PHOTOS = (
    "astronaut",
    "chelsea",
    "coffee",
    "rocket",
    "colorwheel",
    "camera",
    "coins",
    "moon",
    "brick",
    "grass",
    "gravel",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    output = parser.parse_args().output
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for photo in PHOTOS:
            try:
                images.write(folder / f"{photo}.png", images.read(getattr(skimage.data, photo)()))
            except (OSError, ValueError, AttributeError, ImportError) as error:  # not bundled with every scikit-image
                print(f"skipped {photo}: {error}")
        save(explain.representations("chelsea", "mosaic", 192, 100), output)
        save(explain.unit_report(folder, "relu3_1", top=6), output)
    save(explain.gram_report("swirls", "facets", "relu2_1"), output)
    save(explain.statistics_report("coffee", "swirls", 192, 30), output)
    save(explain.run_report(impasto.iterate("chelsea", "mosaic", preset("default", size=256))), output)


def save(report: Report, output: Path) -> None:
    """Write the figures of a report as JPEG files."""
    with tempfile.TemporaryDirectory() as name:
        report.write(Path(name))
        output.mkdir(parents=True, exist_ok=True)
        for path in sorted(Path(name).glob("*.png")):
            images.write(output / f"{path.stem}.jpg", images.read(path))
            print(output / f"{path.stem}.jpg")


if __name__ == "__main__":
    main()
