"""Bad input, by mistake or malice: tables of cases, each with its expected outcome.

An outcome is a part of the error message, or `PICTURE` if a picture must be written. In every case there is no
traceback, nothing is written after an error, and no existing file is changed.
"""

import itertools
import os
import re
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import pyvips
import torch

import impasto
from impasto import cli, images
from impasto.settings.options import StylizeOptions

PICTURE = "a picture"
#: The smallest and shortest runs that still use two style layers and a content layer.
QUICK = ["--size", "48", "--iterations", "1", "--scales", "1", "--style-layers", "relu1_1,relu2_1"]
QUICK += ["--content-layers", "relu2_2"]


def encoded(format, mode="RGB", **options):
    """The bytes of a small picture in some format."""
    ramp = np.linspace(0, 255, 60 * 80 * 3).astype(np.uint8).reshape(60, 80, 3)
    noise = np.random.default_rng(0).integers(0, 60, ramp.shape, np.uint8)
    memory = BytesIO()
    PIL.Image.fromarray(np.maximum(ramp, noise)).convert(mode).save(memory, format, **options)
    return memory.getvalue()


def plain(width, height):
    memory = BytesIO()
    PIL.Image.new("RGB", (width, height), (200, 100, 50)).save(memory, "PNG")
    return memory.getvalue()


def frames(format):
    """The bytes of a file with three frames, of which only the first is bright."""
    first, *rest = (PIL.Image.new("RGB", (80, 60), (level, 30, 200)) for level in (250, 5, 0))
    memory = BytesIO()
    first.save(memory, format, save_all=True, append_images=rest)
    return memory.getvalue()


def flipped(data, at=0.6):
    """The data with some bits of one byte flipped."""
    place = int(len(data) * at)
    return data[:place] + bytes([data[place] ^ 0b1010101]) + data[place + 1 :]


def png_chunk(name, content):
    return len(content).to_bytes(4) + name + content + zlib.crc32(name + content).to_bytes(4)


def png_header(width, height, bits=8, kind=2):
    """A PNG whose header claims this size, and nothing else."""
    content = width.to_bytes(4) + height.to_bytes(4) + bytes([bits, kind, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", content)


def bomb():
    """900 megapixels in some kilobytes: black, one bit for each."""
    rows = zlib.compress(bytes(30000 * (1 + 30000 // 8)))
    return png_header(30000, 30000, bits=1, kind=0) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def cmyk_with_profile():
    image = pyvips.Image.new_from_buffer(encoded("PNG"), "").copy(interpretation="srgb")
    return image.icc_transform("cmyk", input_profile="srgb").jpegsave_buffer(profile="cmyk")


def tiff_of(array):
    return pyvips.Image.new_from_array(array).tiffsave_buffer()


FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP", "tif": "TIFF", "gif": "GIF", "bmp": "BMP"}
DAMAGED = r"cannot read .*: (not a picture, or damaged|the file is damaged|.*)"

#: Name of a photo -> (its content, outcome).
FILES = {
    **{f"cut.{suffix}": (encoded(name)[: len(encoded(name)) // 2], DAMAGED) for suffix, name in FORMATS.items()},
    **{f"stump.{suffix}": (encoded(name)[:20], DAMAGED) for suffix, name in FORMATS.items()},
    # Formats with checksums.
    "flipped.png": (flipped(encoded("PNG")), DAMAGED),
    "flipped.tif": (flipped(encoded("TIFF", compression="tiff_adobe_deflate")), DAMAGED),
    "flipped in the header.jpg": (flipped(encoded("JPEG"), 0), DAMAGED),
    "flipped in the header.webp": (flipped(encoded("WEBP"), 0), DAMAGED),
    "flipped in the header.gif": (flipped(encoded("GIF"), 0), DAMAGED),
    "flipped in the header.bmp": (flipped(encoded("BMP"), 0), DAMAGED),
    # Formats without: a picture with a flaw.
    "flipped.bmp": (flipped(encoded("BMP")), PICTURE),
    "text.jpg": (b"This is not a picture.\n", DAMAGED),
    "page.png": (b"<!doctype html><title>404 Not Found</title>", DAMAGED),
    "empty.png": (b"", DAMAGED),
    "zeros.jpg": (bytes(10000), DAMAGED),
    "noise.png": (np.random.default_rng(1).bytes(10000), DAMAGED),
    "pickle.jpg": (b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x02os.", DAMAGED),
    "archive.png": (b"PK\x03\x04" + bytes(200), DAMAGED),
    "bomb.png": (bomb(), "30000×30000 pixels; at most 400,000,000 are read"),
    "claims much.png": (png_header(2**31 - 1, 2**31 - 1), "damaged|pixels"),
    "claims nothing.png": (png_header(0, 0), DAMAGED),
    "one pixel.png": (plain(1, 1), PICTURE),
    "a line.png": (plain(5000, 1), "needs at least"),
    # A wrong suffix does not matter.
    "really a webp.jpg": (encoded("WEBP"), PICTURE),
    "no suffix": (encoded("PNG"), PICTURE),
    # Several frames: the first one is read.
    "animated.gif": (frames("GIF"), PICTURE),
    "animated.webp": (frames("WEBP"), PICTURE),
    "animated.png": (frames("PNG"), PICTURE),
    "pages.tif": (frames("TIFF"), PICTURE),
    "phone.mpo": (frames("MPO"), PICTURE),
    # Every depth and colour space.
    "cmyk.jpg": (encoded("JPEG", "CMYK"), PICTURE),
    "cmyk with profile.jpg": (cmyk_with_profile(), PICTURE),
    "damaged profile.png": (encoded("PNG", icc_profile=b"nonsense" * 30), PICTURE),
    "damaged exif.jpg": (encoded("JPEG", exif=b"Exif\0\0nonsense" * 3), PICTURE),
    "grey.png": (encoded("PNG", "L"), PICTURE),
    "black and white.png": (encoded("PNG", "1"), PICTURE),
    "palette.gif": (encoded("GIF", "P"), PICTURE),
    "transparent.png": (encoded("PNG", "RGBA"), PICTURE),
    "16 bits.png": (pyvips.Image.new_from_array(np.full((60, 80, 3), 40000, np.uint16)).pngsave_buffer(), PICTURE),
    "16 bits.tif": (tiff_of(np.full((60, 80, 3), 40000, np.uint16)), PICTURE),
    "floats.tif": (tiff_of(np.full((60, 80, 3), 0.5, np.float32)), PICTURE),
    "brighter than white.tif": (
        tiff_of(np.full((60, 80, 3), 77.0, np.float32)),
        r"values from 77 to 77; floats must lie in \[0, 1\]",
    ),
    "not a number.tif": (tiff_of(np.full((60, 80, 3), np.nan, np.float32)), "not finite"),
    # Odd names.
    "with spaces and 'quotes'.png": (encoded("PNG"), PICTURE),
    "🎨-ünïcödé.png": (encoded("PNG"), PICTURE),
    "new\nline.png": (encoded("PNG"), PICTURE),
    "page[1].png": (encoded("PNG"), PICTURE),
    "100%d.png": (encoded("PNG"), PICTURE),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with a photo and a painting, to work in."""
    monkeypatch.chdir(tmp_path)
    Path("photo.png").write_bytes(encoded("PNG"))
    Path("painting.jpg").write_bytes(encoded("JPEG"))
    return tmp_path


def run(capsys, *arguments):
    """The exit code, and standard error on one line; checks that files are unchanged, and nothing is added on error."""
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    code = cli.run(["stylize", *map(str, arguments)])
    message = " ".join(capsys.readouterr().err.split())
    after = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert code in (0, 2)
    if code:
        assert after == before
        assert message.startswith("impasto: ")
    else:
        assert {path: content for path, content in after.items() if path in before} == before
    return code, message


def check(outcome, code, message, written):
    if outcome is PICTURE:
        assert code == 0, message
        assert images.read(written).rgb.isfinite().all()
    else:
        assert code == 2
        assert re.search(outcome, message), message
        assert not Path(written).exists()


@pytest.mark.parametrize("name", FILES)
def test_photos(folder, capsys, name):
    content, outcome = FILES[name]
    Path(name).write_bytes(content)
    check(outcome, *run(capsys, name, "painting.jpg", "-o", "out.png", *QUICK), "out.png")


@pytest.mark.parametrize("name", ["text.jpg", "cut.png", "bomb.png"])
@pytest.mark.parametrize("role", ["painting", "mask", "start"])
def test_damage_elsewhere(folder, capsys, name, role):
    content, outcome = FILES[name]
    Path(name).write_bytes(content)
    given = {
        "painting": ["photo.png", name],
        "mask": ["photo.png", "painting.jpg", "--content-mask", name],
        "start": ["photo.png", "painting.jpg", "--init", name],
    }[role]
    check(outcome, *run(capsys, *given, "-o", "out.png", *QUICK), "out.png")


#: Arguments, with PHOTO and STYLE for valid files -> outcome.
ARGUMENTS = {
    "none.png STYLE": "no such file: none.png",
    "PHOTO none.jpg": "no such file: none.jpg",
    "PHOTO mozaic": "did you mean 'mosaic'",
    ". STYLE": "is a folder",
    "PHOTO .": "is a folder",
    "PHOTO STYLE --content-mask none.png": "no such file: none.png",
    "PHOTO STYLE --content-mask black.png": "is empty",
    "PHOTO STYLE --content-mask 7=photo.png": "names the style '7'; choose from",
    "PHOTO STYLE --style-mask black.png": "is empty",
    "PHOTO STYLE --init none.png": "no such file",
    "PHOTO STYLE --init colour": "unknown init 'colour'",
    "PHOTO dot.png": r"the style dot.png is 1×1 px; .* needs at least",
    "PHOTO STYLE --size 0": "at least 1",
    "PHOTO STYLE --size 1": "needs at least",
    "PHOTO STYLE --size big": "whole number of pixels",
    "PHOTO STYLE --size -5": "at least 1",
    "PHOTO STYLE --size 100000": "the result would have 100000×75000 px, which need .* GB at least",
    "PHOTO STYLE --size 99999999999999999999": "which need .* at least",
    "PHOTO STYLE --style-scale 10000": "the style painting.jpg at scale 10000 would have .* px, which need",
    "PHOTO STYLE --style-scale 0": "must be above 0",
    "PHOTO STYLE --strength nan": "finite",
    "PHOTO STYLE --strength inf": "finite",
    "PHOTO STYLE --strength -1": "at least 0",
    "PHOTO STYLE --strength much": "strength is .much.; expected a number",
    "PHOTO STYLE --iterations 0": "iterations",
    "PHOTO STYLE --iterations 1.5": "iterations is .1.5.; expected a whole number",
    "PHOTO STYLE --scales 0": "scales",
    "PHOTO STYLE --time-budget 0": "above 0",
    "PHOTO STYLE --style-weights 1,2": "2 style weights for 1 styles",
    "PHOTO STYLE --style-weights 0": "all 0",
    "PHOTO STYLE --style-weights a": "numbers with commas",
    "PHOTO STYLE --content-weight 0 --style-weight 0": "nothing to optimise",
    "PHOTO STYLE --style-layers relu9_9": "relu9_9",
    "PHOTO STYLE --style-layers relu1_1=-1": "must not be negative",
    "PHOTO STYLE --statistic gramm": "gramm",
    "PHOTO STYLE --color sepia": "sepia",
    "PHOTO STYLE --memory lots": "an amount of memory",
    "PHOTO STYLE --memory 1MB": r"give more \(memory=, or --memory\)",
    "PHOTO STYLE --device mps": "not available here|Apple",
    "PHOTO STYLE --weights none.pth": "none.pth",
    "PHOTO STYLE --weights notes.txt": "notes.txt",
    "PHOTO STYLE --preset none": "none",
    "PHOTO STYLE --preset notes.txt": "notes.txt",
    "PHOTO STYLE --seed -1": "seed",
    "PHOTO STYLE --rate 0": "above 0",
    "PHOTO STYLE --checkpoint-every -1": "--checkpoint-every.*0",
    "PHOTO STYLE --bits 12": "8 or 16",
    "PHOTO STYLE --plot plot.xyz": "its suffix must be one of",
    "PHOTO STYLE --nonsense": "--nonsense",
    "PHOTO STYLE --resume": PICTURE,
    "PHOTO": "missing",
}


@pytest.mark.parametrize("words", ARGUMENTS)
def test_arguments(folder, capsys, words):
    PIL.Image.new("L", (80, 60)).save("black.png")
    PIL.Image.new("RGB", (1, 1)).save("dot.png")
    Path("notes.txt").write_text("[= these are notes")
    names = {"PHOTO": "photo.png", "STYLE": "painting.jpg"}
    given = [names.get(word, word) for word in words.split()]
    check(ARGUMENTS[words], *run(capsys, *given[:2], *QUICK, *given[2:], "-o", "out.png"), "out.png")


OUTPUTS = {
    "photo.png": "is one of the input files",
    "./photo.png": "is one of the input files",
    "link to the photo.png": "is one of the input files",
    "painting.jpg": "is one of the input files",
    "none/out.png": "there is no folder",
    "folder.png": "it is a folder",
    "photo.png/out.png": "there is no folder",
    "out": "its suffix must be one of",
    "out.psd": "its suffix must be one of",
    "out.pngg": "its suffix must be one of",
    "x" * 300 + ".png": "name too long",
    "OUT.PNG": PICTURE,
    "a b.png": PICTURE,
    "🎨.webp": PICTURE,
    "new\nline.tif": PICTURE,
    "page[1].png": PICTURE,
    "-o.png": PICTURE,
    "%s.png": PICTURE,
    "x" * 240 + ".png": PICTURE,
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_outputs(folder, capsys, output):
    Path("folder.png").mkdir()
    Path("link to the photo.png").symlink_to("photo.png")
    outcome = OUTPUTS[output]
    code, message = run(capsys, "photo.png", "painting.jpg", f"--output={output}", *QUICK)
    if outcome is PICTURE:
        check(outcome, code, message, output)
    else:
        assert code == 2
        assert outcome.lower() in message.lower()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a user who may not do everything")
def test_a_folder_without_permission(folder, capsys):
    Path("locked").mkdir(mode=0o500)
    code, message = run(capsys, "photo.png", "painting.jpg", "-o", "locked/out.png", *QUICK)
    assert code == 2
    assert "no permission" in message


NUMBER = np.full((60, 80, 3), 0.5, np.float32)

#: Name -> (something given in place of a picture, error message).
ARRAYS = {
    "255s as floats": (NUMBER * 400, r"values from 200 to 200; floats must lie in \[0, 1\]"),
    "negative": (NUMBER - 1, r"values from -0.5"),
    "not a number": (NUMBER * np.nan, "not finite"),
    "infinite": (np.full_like(NUMBER, np.inf), "not finite"),
    "a row": (NUMBER[0, :, 0], "has shape"),
    "five bands": (np.zeros((60, 80, 5), np.uint8), "has shape"),
    "nothing": (np.zeros((0, 80, 3), np.uint8), "has shape"),
    "integers of 64 bits": (np.zeros((60, 80, 3), np.int64), "is of type int64"),
    "text": (np.array([["a"] * 80] * 60), "is of type"),
    "objects": (np.full((60, 80, 3), None, object), "is of type object"),
    "complex": (NUMBER.astype(complex), "is of type complex128"),
    "a batch": (torch.zeros(2, 3, 60, 80), r"tensor of shape \(2, 3, 60, 80\)"),
    "a number": (7, "is of type int"),
    "none": (None, "is of type NoneType"),
    "a list": ([[0.5]], "is of type list"),
    "bytes": (b"\x89PNG", "not a picture"),
    "an empty name": ("", "."),
    "a zero byte": ("a\0b.png", "."),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays(name):
    given, outcome = ARRAYS[name]
    with pytest.raises((ValueError, impasto.ImpastoError), match=outcome):
        impasto.stylize(given, "mosaic", StylizeOptions(size=48))


#: Extreme weights: the result is finite, or there is an error.
EXTREMES = {
    "strength": {"strength": 1e9},
    "strength beyond floats": {"strength": 1e200},
    "no strength": {"strength": 0},
    "a breath of strength": {"strength": 1e-30},
    "content": {"content_weight": 1e38},
    "style": {"style_weight": 1e300},
    "a breath of everything": {"content_weight": 1e-38, "style_weight": 1e-38},
    "total variation": {"total_variation": 1e30},
    "layers": {"style_layers": {"relu1_1": 1e30, "relu2_1": 1e-30}},
    "papers at any weight": {"content_norm": "half", "style_norm": "gatys", "content_weight": 1e12},
    "Adam's rate": {"optimizer": "adam", "rate": 1e9},
    "Adam's breath": {"optimizer": "adam", "rate": 1e-30},
}
PLAIN = {
    "black": np.zeros((40, 60, 3), np.uint8),
    "white": np.full((40, 60, 3), 255, np.uint8),
    "one colour": np.full((40, 60, 3), (200, 30, 90), np.uint8),
}
SMALL = {"size": 32, "iterations": 3, "scales": 1}
SMALL |= {"style_layers": "relu1_1,relu2_1", "content_layers": "relu2_2"}


def finite(content, style, **options):
    try:
        picture = impasto.stylize(content, style, StylizeOptions(**SMALL | options))
    except ValueError as error:
        if "finite" in str(error) or "the loss is" in str(error):
            return
        raise
    assert picture.rgb.isfinite().all()
    assert 0 <= picture.rgb.min() <= picture.rgb.max() <= 1


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_numbers(photo, name):
    finite(photo, "mosaic", **EXTREMES[name])


@pytest.mark.parametrize(("content", "style"), list(itertools.product([*PLAIN, "photo"], [*PLAIN, "photo"])))
def test_pictures_of_one_colour(photo, content, style):
    pictures = PLAIN | {"photo": photo}
    for statistic in ("gram", "wasserstein", "nearest", "gaussian", "moments"):
        finite(pictures[content], pictures[style], statistic=statistic)
    for color, match in (("luminance", "covariance"), ("match", "covariance"), ("match", "histogram")):
        finite(pictures[content], pictures[style], color=color, color_match=match)
    finite(pictures[content], pictures[style], color="palette")


def test_styles_where_the_photo_should_be():
    with pytest.raises(impasto.PictureError, match="swirls is a style, not a photo: the content comes first"):
        impasto.stylize("swirls", "photo.jpg")


def test_names_that_are_too_long():
    with pytest.raises(impasto.PictureError, match="no such file: xxx"):
        impasto.stylize("x" * 5000, "swirls")


def test_an_empty_name():
    with pytest.raises(impasto.PictureError, match="an empty name"):
        impasto.images.read("")


def test_a_name_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    PIL.Image.new("RGB", (8, 6)).save(tmp_path / "photo.png")
    assert impasto.images.read("~/photo.png").shape == (6, 8)


@pytest.mark.parametrize(
    ("given", "advice"),
    [
        (np.zeros((3, 40, 50), np.uint8), "transpose"),
        (np.zeros((2, 3, 40, 50), np.uint8), "channels$"),
        (torch.zeros(40, 50, 3), "permute"),
        (torch.zeros(2, 3, 40, 50), "channels$"),
    ],
)
def test_channels_in_another_place(given, advice):
    with pytest.raises(ValueError, match=advice):
        impasto.images.read(given)
