"""The styles that the page offers."""

import pytest

pytest.importorskip("gradio")
from impasto.web import gallery


def test_folders_without_styles(tmp_path):
    with pytest.raises(ValueError, match="no folder"):
        gallery.collect(tmp_path, tmp_path / "none")
    with pytest.raises(ValueError, match="no picture"):
        gallery.collect(tmp_path, tmp_path)
