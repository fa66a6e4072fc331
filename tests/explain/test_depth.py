"""The report on what each layer represents."""

from impasto import explain


def test_content_error_grows_with_depth(photo):
    report = explain.representations(photo, "mosaic", size=64, iterations=12)
    (table,) = report.sections[0].tables
    errors = [row[1] for row in table.rows]
    assert errors[0] < errors[2] < errors[4]
