"""Make the pictures of docs/control.md, one for each control.

    python -m benchmarks.controls PHOTO PAINTING OTHER_PAINTING -o docs/images/control

That of strengths is the sheet of `benchmarks.strengths`.
Existing pictures are kept, so that an interrupted run can be resumed.
"""

import argparse
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter

import impasto
from impasto import cli, images
from impasto.images import sheets

SIDE = 256
#: Name of a contact sheet of PHOTO and PAINTING -> the options that vary.
SHEETS = {
    "presets": ["preset=faithful,default,painterly,bold,nearest"],
    "statistic": ["statistic=gram,mean,moments,covariance,gaussian,wasserstein,nearest"],
    "style-scale": ["style_scale=0.5;1;2;0.5,2"],
    "layers": ["content_layers=relu2_2;relu4_2;relu5_2", "style_layers=relu1_1,relu2_1;relu3_1,relu4_1"],
    "total-variation": ["total_variation=0,3,30"],
}
CONTENT_LAYERS = ("relu1_2", "relu2_2", "relu3_2", "relu4_2", "relu5_2")


def run(*words: object) -> None:
    if code := cli.run([str(word) for word in words]):
        raise SystemExit(code)


def soft(size: tuple[int, int], shape: str, box: tuple[float, float, float, float], path: Path) -> Path:
    """A mask of one soft white shape; `box` is (left, top, right, bottom) relative to the picture's size."""
    width, height = size
    mask = PIL.Image.new("L", size)
    edges = [box[0] * width, box[1] * height, box[2] * width, box[3] * height]
    getattr(PIL.ImageDraw.Draw(mask), shape)(edges, fill=255)
    mask.filter(PIL.ImageFilter.GaussianBlur(width / 80)).save(path)
    return path


def sky_of(photo: str, path: Path) -> Path:
    """A mask of the blue pixels in the upper part of a photo."""
    picture = images.read(photo).resized(*images.fit(images.read(photo).shape, 512))
    red, _, blue = picture.rgb.numpy()
    mask = PIL.Image.fromarray(np.uint8((blue > red + 0.03) & (np.arange(len(red))[:, None] < 0.6 * len(red))) * 255)
    mask = mask.filter(PIL.ImageFilter.MedianFilter(9)).filter(PIL.ImageFilter.GaussianBlur(2))
    mask.save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("photo", "painting", "other"):
        parser.add_argument(name)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--only", nargs="*", help="names of pictures, such as presets; all by default")
    args = parser.parse_args()
    photo, painting, other, folder = args.photo, args.painting, args.other, args.output
    parts = folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)

    def cell(name: str, operation: str, *words: object) -> tuple[str, impasto.Picture]:
        path = parts / (name.replace("/", "-") + ".png")
        if not path.exists():
            run(operation, *words, "-o", path)
        return name, images.read(path)

    def several() -> list:
        size = ["--size", SIDE]
        return [
            cell(f"style weights {shares}", "stylize", photo, painting, other, *size, "--style-weights", shares)
            for shares in ("1,0", "0.7,0.3", "0.3,0.7", "0,1")
        ]

    def regions() -> list:
        sky = sky_of(photo, parts / "mask-sky.png")
        face = soft((512, 512), "ellipse", (0.3, 0.06, 0.56, 0.44), parts / "mask-face.png")
        left = soft((512, 340), "rectangle", (0, 0, 0.5, 1), parts / "mask-left.png")
        size = ["--size", SIDE]
        masks = ["--content-mask", f"1={sky}"]
        return [
            cell("sky one style, the rest another", "stylize", photo, painting, other, *size, *masks),
            cell("sky only", "stylize", photo, painting, *size, *masks),
            cell("keep the face", "stylize", "astronaut", "mosaic", *size, "--content-mask", f"keep={face}"),
            cell(
                "half and half, a soft edge", "stylize", "chelsea", "swirls", "woodcut", *size, "--content-mask", left
            ),
        ]

    def textures() -> list:
        size = ["--size", f"{SIDE}x{SIDE}"]
        tile = cell("seamless", "texture", other, *size, "--seamless")[1].rgb
        tiled = images.Picture(tile.repeat(1, 2, 2))
        return [
            cell("texture", "texture", painting, *size),
            cell("texture of two styles", "texture", painting, other, *size),
            cell("seamless", "texture", other, *size, "--seamless"),
            ("seamless, two by two", tiled),
        ]

    def reconstructions() -> list:
        content = [cell(f"content {layer}", "reconstruct", photo, "--content-layer", layer) for layer in CONTENT_LAYERS]
        layers = [f"relu{block}_1" for block in range(1, 6)]
        style = [
            cell(f"style relu1_1 to {last}", "reconstruct", painting, "--style-layers", ",".join(layers[: index + 1]))
            for index, last in enumerate(layers)
        ]
        return [*style, *content]

    composed = {"several-styles": (several, 4), "regions": (regions, 4), "texture": (textures, 4)}
    composed["reconstruct"] = (reconstructions, 5)
    for name, axes in {"color": ["color=style,luminance,match,both,palette"], **SHEETS}.items():
        path = folder / f"{name}.jpg"
        if not path.exists() and (not args.only or name in args.only):
            vary = [word for axis in axes for word in ("--vary", axis)]
            run("sheet", photo, other if name == "color" else painting, "--size", SIDE, "-o", path, *vary)
    for name, (cells, columns) in composed.items():
        path = folder / f"{name}.jpg"
        if not path.exists() and (not args.only or name in args.only):
            images.write(path, sheets.contact_sheet(cells(), columns=columns, cell=SIDE))


if __name__ == "__main__":
    main()
