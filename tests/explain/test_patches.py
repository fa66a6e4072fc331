"""The report on what units respond to."""

import re

from impasto import explain, images
from impasto.explain import units


def test_units(folder, tmp_path, monkeypatch, rows_of):
    monkeypatch.setattr(units, "STEPS", 3)
    report = explain.unit_report(folder, "relu2_1", top=2)
    path = report.write(tmp_path / "report")
    rows = rows_of(tmp_path / "report" / "units.csv")
    assert rows[0] == ["unit", "activation", "picture", "row", "column"]
    assert len(rows) == 1 + 2 * 4  # one patch of each of four pictures
    assert images.size_of(tmp_path / "report" / "units.png")[1] > 300
    page = path.read_text()
    assert "data:image/png;base64," in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # self-contained
