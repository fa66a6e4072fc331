"""The reports on a run and on a checkpoint."""

import pytest
import torch

from impasto import cli, explain, images, preset
from impasto.explain import runs
from impasto.optim.canvas import LocalCanvas
from impasto.optim.steps import Step


@pytest.mark.parametrize("count", [1, 2, 6, 7, 25, 26, 48, 100, 500])
def test_snapshots_are_evenly_spaced(count, monkeypatch):
    shown = []
    monkeypatch.setattr(runs.figures, "grid", lambda rows, cell: shown.extend(rows[0][1]))
    monkeypatch.setattr(runs.figures, "loss_curves", lambda curve: None)
    canvas = LocalCanvas(torch.zeros(1, 3, 8, 8))
    steps = (Step(canvas, n, count, 1, 1, n, 1.0, {}, 0.0, 0.0, (8, 8)) for n in range(1, count + 1))
    explain.run_report(steps)
    numbers = [int(title) for title, _ in shown]
    assert len(numbers) == min(6, count)
    assert (numbers[0], numbers[-1]) == (1, count)
    even = torch.linspace(1, count, len(numbers))
    assert (torch.tensor(numbers) - even).abs().max() <= max(1, count / 16)


def test_a_single_snapshot_is_the_last(photo):
    import impasto

    steps = impasto.iterate(photo, "mosaic", preset("default", size=32, iterations=3, scales=1))
    section = explain.run_report(steps, snapshots=1).sections[1]
    ((_, figure),) = section.figures
    assert [text.get_text() for text in figure.axes[0].texts] == ["", "3"]


def test_settings_of_another_version(photo, tmp_path, capsys):
    settings = {"impasto": "0.1", "operation": "stylize", "pictures": ["a", "b"], "options": {"brush": 3}}
    images.write(tmp_path / "out.png", images.read(photo), 8, settings)
    assert cli.run(["explain", "run", str(tmp_path / "out.png"), "-o", str(tmp_path / "report")]) == 2
    assert "from impasto 0.1 and do not fit this version" in " ".join(capsys.readouterr().err.split())


def test_run(photo, tmp_path, rows_of):
    import impasto

    steps = impasto.iterate(photo, "mosaic", preset("default", size=64, iterations=4, scales=2))
    explain.run_report(steps).write(tmp_path / "report")
    rows = rows_of(tmp_path / "report" / "run.csv")
    assert rows[0][:3] == ["evaluations", "scale", "loss"]
    assert {row[1] for row in rows[1:]} == {"1.0", "2.0"}


def test_checkpoint(photo, tmp_path, rows_of):
    import impasto

    checkpoints = impasto.Checkpoints(tmp_path / "out.png.checkpoint", every=1e-9)
    steps = impasto.iterate(
        photo, "mosaic", preset("default", size=64, iterations=9, scales=2), checkpoints=checkpoints
    )
    before = [next(steps) for _ in range(6)]
    steps.close()
    report = explain.checkpoint_report(checkpoints.path)
    report.write(tmp_path / "report")
    rows = rows_of(tmp_path / "report" / "run.csv")
    assert [float(row[2]) for row in rows[1:]] == [step.loss for step in before]
    assert ["size", "64"] in rows_of(tmp_path / "report" / "settings.csv")


def test_a_resumed_run_reports_its_earlier_losses(photo, tmp_path):
    import impasto

    options = preset("default", size=64, iterations=6, scales=1)
    checkpoints = impasto.Checkpoints(tmp_path / "c", every=1e-9, resume=True)
    steps = impasto.iterate(photo, "mosaic", options, checkpoints=checkpoints)
    before = [next(steps) for _ in range(3)]
    steps.close()
    first, *_ = impasto.iterate(photo, "mosaic", options, checkpoints=checkpoints)
    assert [row[2] for row in first.earlier] == [step.loss for step in before]
    assert before[0].earlier == ()
