"""Contact sheets and plots."""

import pytest
import torch

from impasto import images
from impasto.errors import FileError
from impasto.images import Picture, sheets
from impasto.plots import check_plot, plot_losses


def test_contact_sheet():
    entries = [(f"picture {i}", Picture(torch.full((3, 40, 60 + i), 0.2 * i))) for i in range(5)]
    sheet = sheets.contact_sheet(entries, columns=3, cell=120)
    height, width = sheet.shape
    assert width > 3 * 120
    assert height > 2 * 80
    assert len(sheet.rgb.flatten(1).unique(dim=1).T) > 5  # the pictures and the labels


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_plot(tmp_path, suffix):
    records = [(i, 1 + i // 5, 10.0 / (1 + i), {"content": 4 / (1 + i), "style": 6 / (1 + i)}) for i in range(10)]
    plot_losses(tmp_path / f"plot{suffix}", records)
    assert [path.name for path in tmp_path.iterdir()] == [f"plot{suffix}"]
    if suffix == ".png":
        assert images.read(tmp_path / "plot.png").shape[1] > 500


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match=r"\.png, \.svg"):
        check_plot(tmp_path / "plot.txt")
    with pytest.raises(FileError, match="cannot write"):
        check_plot(tmp_path / "no" / "plot.png")
