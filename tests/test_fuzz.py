"""Mutated picture files: each gives a picture or one of our errors, and nothing is written.

A run of about an hour: python -m pytest tests/test_fuzz.py --hypothesis-profile=long
"""

import os

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from impasto import cli, images, presets
from impasto.errors import PictureError, PresetError

FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(scope="session")
def corpus(photo, tmp_path_factory):
    """A folder with one real file of each kind."""
    small = PIL.Image.fromarray(photo[:40, :50])
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010E] = 6, '{"impasto": "0", "options": {}}'
    folder = tmp_path_factory.mktemp("corpus")
    for suffix, format, mode, options in [
        ("png", "PNG", "RGB", {}),
        ("png", "PNG", "RGBA", {}),
        ("png", "PNG", "P", {"transparency": 3}),
        ("png", "PNG", "I;16", {}),
        ("jpg", "JPEG", "RGB", {"exif": exif, "quality": 80}),
        ("jpg", "JPEG", "CMYK", {}),
        ("jpg", "JPEG", "L", {"progressive": True}),
        ("webp", "WEBP", "RGB", {"exif": exif}),
        ("webp", "WEBP", "RGBA", {"lossless": True}),
        ("tif", "TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("tif", "TIFF", "CMYK", {"compression": "tiff_adobe_deflate"}),
        ("gif", "GIF", "P", {}),
        ("bmp", "BMP", "RGB", {}),
        ("tga", "TGA", "RGBA", {}),
        ("ppm", "PPM", "RGB", {}),
    ]:
        image = PIL.Image.fromarray(photo[:40, :50, 0].astype(np.uint16) * 257) if mode == "I;16" else small
        (image if mode == "I;16" else image.convert(mode)).save(
            folder / f"{mode.replace(';', '')}.{suffix}", format, **options
        )
    return folder


KINDS = ["flip", "set", "cut", "zero", "repeat", "insert", "drop"]
#: A few mutations of a file, each (kind, position, length, bytes).
MUTATIONS = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 9999), st.integers(1, 64), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=6,
)


def mutated(data, changes):
    data = bytearray(data)
    for kind, where, length, value in changes:
        at = where * len(data) // 10_000
        if kind == "flip" and data:
            data[at] ^= 1 << (length % 8)
        elif kind == "set":
            data[at : at + len(value)] = value
        elif kind == "cut":
            del data[max(at, 1) :]
        elif kind == "zero":
            data[at : at + length] = bytes(len(data[at : at + length]))
        elif kind == "repeat":
            data[at:at] = data[at : at + length] * 3
        elif kind == "insert":
            data[at:at] = value
        elif kind == "drop":
            del data[at : at + length]
    return bytes(data)


@settings(deadline=None, suppress_health_check=FIXTURES)
@given(kind=st.integers(0, 14), changes=MUTATIONS)
def test_a_mutated_file_is_a_picture_or_an_error(corpus, tmp_path, kind, changes):
    name = sorted(os.listdir(corpus))[kind]
    for before in tmp_path.iterdir():
        before.unlink()
    path = tmp_path / name
    path.write_bytes(mutated((corpus / name).read_bytes(), changes))
    try:
        picture = images.read(path)
    except (PictureError, ValueError) as error:  # a ValueError for floats outside [0, 1]
        if not (name in str(error) or ("values" in str(error) and isinstance(error, ValueError))):
            raise
    else:
        assert picture.rgb.ndim == 3
        assert picture.rgb.isfinite().all()
        assert 0 <= picture.rgb.min() <= picture.rgb.max() <= 1
        assert picture.alpha is None or picture.alpha.shape == picture.rgb.shape[1:]
    assert os.listdir(tmp_path) == [name]


@settings(deadline=None, suppress_health_check=FIXTURES)
@given(suffix=st.sampled_from([".png", ".jpg", ".webp", ".tif"]), changes=MUTATIONS)
def test_the_settings_of_a_mutated_picture(corpus, tmp_path, capsys, suffix, changes):
    """`impasto info` and `presets.load`, for pictures whose stored settings are damaged."""
    kept = {"impasto": "0.1.0", "operation": "stylize", "pictures": ["a", "b"], "bits": 8, "more": [], "options": {}}
    whole = tmp_path / f"whole{suffix}"
    images.write(whole, images.read(corpus / "RGB.png"), settings=kept)
    content = whole.read_bytes()
    whole.unlink()
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(mutated(content, changes))
    assert cli.run(["info", str(path)]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err
    try:
        presets.load(path)
    except (PictureError, PresetError, ValueError):
        pass
    path.unlink()
