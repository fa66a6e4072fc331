"""The reports on a run and on a checkpoint."""

from impasto import explain, preset


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
