"""`impasto styles` and `impasto info`."""

from impasto import images, record
from impasto.presets import preset


def test_styles(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run("styles", "--size", "96")
    assert code == 0
    for name in ("swirls", "mosaic", "woodcut", "pointillism", "stained-glass", "watercolour"):
        assert name in out
    height, width = images.read("styles.png").shape
    assert width > 4 * 96
    assert height > 2 * 96


def test_info_of_the_installation(run):
    code, out, _ = run("info")
    assert code == 0
    for word in ("impasto", "PyTorch", "device", "vgg19"):
        assert word in out


def test_other_mistakes(run, picture):
    assert "no settings" in run("info", picture)[2]
    assert "unknown" in run("weights", "fetch", "x")[2]
    assert run("paint")[0] == 2
    for stored, message in (({"impasto": "9", "operation": "sing"}, "sing"), ({"impasto": "9"}, "None")):
        images.write("odd.png", images.read(picture), settings=stored)
        code, _, err = run("info", "odd.png")
        assert code == 2
        assert message in err
    images.write(
        "new.png",
        images.read(picture),
        settings=record.settings("stylize", ["b"], preset("default")) | {"options": {"x": 1}},
    )
    assert "do not fit this version" in run("info", "new.png")[2]
