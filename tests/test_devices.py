"""What the machine offers: the memory that is free, limits of containers included."""

import pytest
import torch

from impasto import devices, memory


def limited(folder, limit, taken, cached=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{taken}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")


def test_containers_are_respected(tmp_path, monkeypatch):
    own = tmp_path / "own"
    limited(tmp_path, 3_000_000_000, 1_000_000_000, 200_000_000)
    assert devices._container_limits(tmp_path, own) == [2_200_000_000]
    limited(tmp_path, "max", 0)
    assert devices._container_limits(tmp_path, own) == []
    assert devices._container_limits(tmp_path / "none", own) == []
    monkeypatch.setattr(devices, "_container_limits", lambda: [12345])
    assert devices.available() == 12345
    assert memory.budget(None, torch.device("cpu")) == round(12345 * memory.SHARE)
    assert memory.budget(10**12, torch.device("cpu")) == pytest.approx(10**12 - devices.used(), rel=1e-3)


def test_the_limits_of_every_group_above_count(tmp_path):
    """As under systemd: a service's own limit, and that of the slice it is in."""
    own = tmp_path / "own"
    own.write_text("12:cpu:/elsewhere\n0::/user.slice/job\n")
    limited(tmp_path / "user.slice" / "job", "max", 0)
    limited(tmp_path / "user.slice", 2_000_000_000, 500_000_000)
    assert devices._container_limits(tmp_path, own) == [1_500_000_000]


def test_old_control_groups(tmp_path):
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("4000000000")
    (folder / "memory.usage_in_bytes").write_text("1000000000")
    (folder / "memory.stat").write_text("total_inactive_file 7\n")
    assert devices._container_limits(tmp_path, tmp_path / "own") == [3_000_000_007]
