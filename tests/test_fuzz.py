"""Mutated picture files: each gives a picture or one of our errors, and nothing is written.

A run of about an hour: python -m pytest tests/test_fuzz.py --hypothesis-profile=long
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from making_pictures import every_format

from impasto import cli, images, presets
from impasto.errors import PictureError, PresetError

FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.fixture(scope="session")
def corpus(photo, tmp_path_factory):
    """A folder with a file of every format that is read."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, content in every_format(photo[:40, :50]).items():
        (folder / name).write_bytes(content)
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
@given(kind=st.integers(0, 999), changes=MUTATIONS)
def test_a_mutated_file_is_a_picture_or_an_error(corpus, tmp_path, kind, changes):
    names = sorted(os.listdir(corpus))
    name = names[kind % len(names)]
    for before in tmp_path.iterdir():
        before.unlink()
    path = tmp_path / name
    path.write_bytes(mutated((corpus / name).read_bytes(), changes))
    try:
        picture = images.read(path)
    except PictureError as error:
        assert name in str(error)  # noqa: PT017
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
