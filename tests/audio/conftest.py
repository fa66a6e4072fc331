"""Small sounds, and small encoders."""

import pytest
from making_sounds import SMALL_ENCODERS, clicks, tune

from impasto.audio import encoder
from impasto.audio.sounds import Sound


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, rows in SMALL_ENCODERS.items():
        monkeypatch.setitem(encoder.ENCODERS, name, rows)


@pytest.fixture
def rhythm() -> Sound:
    return clicks()


@pytest.fixture
def melody() -> Sound:
    return tune()


@pytest.fixture
def make_tune():
    return tune
