"""The report that compares statistics."""

from impasto import explain


def test_statistics(photo, tmp_path):
    report = explain.statistics_report(photo, "mosaic", size=64, iterations=3)
    (table,) = report.sections[0].tables
    assert len(table.rows) == 5
    assert all(value >= 0 for row in table.rows for value in row[1:])
