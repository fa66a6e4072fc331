"""The report on Gram matrices, also in a browser."""

import shutil

import numpy as np
import pytest

from impasto import explain
from impasto.errors import PictureError
from impasto.explain import grams


def test_gram(folder, tmp_path, rows_of):
    report = explain.gram_report("mosaic", "swirls", "relu2_1", None)
    assert [section.title for section in report.sections] == [
        "Gram matrices at relu2_1",
        "Correlated channels",
    ]
    pytest.importorskip("sklearn")
    (folder / "bad.jpg").unlink()
    explain.gram_report("mosaic", "swirls", "relu2_1", folder).write(tmp_path / "report")
    rows = rows_of(tmp_path / "report" / "distances.csv")
    matrix = np.array([[float(cell) for cell in row[1:]] for row in rows[1:]])
    assert np.allclose(matrix, matrix.T)
    assert np.allclose(np.diag(matrix), 0)


def test_a_map_of_styles_needs_two(folder, tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    with monkeypatch.context() as patch:
        patch.setattr(grams.weights, "load", None)  # nothing is computed
        with pytest.raises(PictureError, match="bad.jpg"):
            explain.gram_report("mosaic", "swirls", "relu1_1", folder)
        for name in ("bad.jpg", "2.png", "3.png"):
            (folder / name).unlink()
        (folder / "1.png").rename(tmp_path / "1.png")
        with pytest.raises(ValueError, match="holds one picture; a map of styles needs at least two"):
            explain.gram_report("mosaic", "swirls", "relu1_1", folder)
    (tmp_path / "1.png").rename(folder / "1.png")
    explain.gram_report("mosaic", "swirls", "relu1_1", folder).write(tmp_path / "report")


def test_opens_in_a_browser(tmp_path, photo):
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium")
    path = explain.gram_report("mosaic", "swirls", "relu1_2").write(tmp_path / "report")
    with playwright.sync_playwright() as playwright_:
        browser = playwright_.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: problems.append(request.url) if not request.url.startswith(("file:", "data:")) else None,
        )
        page.goto(path.as_uri())
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 50)")
        assert page.title() == "What a Gram matrix measures"
        browser.close()
    assert not problems
