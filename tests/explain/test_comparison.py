"""The report that compares statistics."""

import sys
import weakref

import pytest

import impasto
from impasto import explain, images
from impasto.explain import comparison


def test_statistics(photo, tmp_path):
    report = explain.statistics_report(photo, "mosaic", size=64, iterations=3)
    (table,) = report.sections[0].tables
    assert len(table.rows) == 5
    assert all(value >= 0 for row in table.rows for value in row[1:])


class Step:
    def __init__(self, picture):
        self.picture = picture


def test_of_a_statistic_only_the_last_step_is_kept(photo, monkeypatch):
    picture, alive, most = images.Picture(images.read(photo).resized(32, 32).rgb), weakref.WeakSet(), 0

    def steps(*_, **__):
        nonlocal most
        for _ in range(8):
            step = Step(picture)
            alive.add(step)
            most = max(most, len(alive))
            yield step

    monkeypatch.setattr(impasto, "iterate", steps)
    monkeypatch.setattr(comparison.weights, "load", lambda *_, **__: sys.exit())  # the rest does not matter
    with pytest.raises(SystemExit):
        explain.statistics_report(photo, "mosaic", size=64, iterations=3)
    assert most <= 3
