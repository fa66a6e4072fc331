"""`impasto explain`."""

from impasto import images
from impasto.explain import units


def test_explain(run, picture, tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        images.write(folder / f"{number}.png", images.read(picture).resized(60 + number, 90))
    monkeypatch.setattr(units, "STEPS", 2)
    code, out, _ = run("explain", "units", folder, "--layer", "relu1_2", "--unit", "3", "-o", "r")
    assert code == 0
    assert "r/report.html" in out
    assert run("stylize", picture, "mosaic", "-o", "out.png", "--size", "48", "--iterations", "2", "-q")[0] == 0
    assert run("explain", "run", "out.png", "-o", "run", "-q")[0] == 0
    assert (tmp_path / "run" / "losses.png").exists()
    for wrong, message in (
        (["explain", "run", picture, "-o", "x"], "carries no settings"),
        (["explain", "units", "nowhere", "-o", "x"], "no such folder"),
        (["explain", "units", str(folder), "--layer", "relu9_1", "-o", "x"], "unknown layer"),
        (["explain", "units", str(folder), "--layer", "relu1_1", "--unit", "64", "-o", "x"], "has 64, from 0 to 63"),
        (["explain", "gram", "mosaik", "swirls", "-o", "x"], "did you mean 'mosaic'"),
    ):
        code, _, err = run(*wrong)
        assert code == 2
        assert message in err
    assert not (tmp_path / "x").exists()
