"""`impasto preset`."""

from impasto import images
from impasto.presets import preset

SMALL = ["--size", "64", "--iterations", "3"]


def test_presets_are_files(run, picture):
    code, out, _ = run("preset", "save", "soft.toml", "--preset", "course", "--strength", "0.5", "--style-scale", "2")
    assert code == 0
    assert out.startswith("soft.toml")
    assert preset("soft.toml") == preset("course", strength=0.5, style_scale=2)
    shown = run("preset", "show", "soft.toml")[1]
    with open("soft.toml", encoding="utf-8") as file:
        assert shown.strip() == file.read().strip()
    assert run("stylize", picture, "mosaic", "-o", "out.png", "--preset", "soft.toml", *SMALL)[0] == 0
    assert images.read_settings("out.png")["options"]["strength"] == 0.5
    # A picture is a preset, too.
    assert run("stylize", picture, "woodcut", "-o", "next.png", "--preset", "out.png", "--seed", "2")[0] == 0
    options = images.read_settings("next.png")["options"]
    assert (options["size"], options["strength"], options["seed"]) == (64, 0.5, 2)
    assert "strength = 0.5" in run("preset", "show", "next.png")[1]
    assert "gatys2016" in run("preset", "show")[1]
    assert 'pooling = "average"' in run("preset", "show", "gatys2016")[1]
    assert "choose from default" in run("preset", "show", "none")[2]
    assert "end in .toml" in run("preset", "save", "soft.txt")[2]
    with open("odd.toml", "w", encoding="utf-8") as file:
        file.write("strenght = 1")
    code, _, err = run("stylize", picture, "mosaic", "-o", "x.png", "--preset", "odd.toml")
    assert code == 2
    assert "did you mean 'strength'" in err
