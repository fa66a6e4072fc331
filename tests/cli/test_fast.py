"""`impasto fast` and `impasto learn`."""

import os
import re
import shlex
import signal
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from making_models import learn_quickly, random_vgg

from impasto import images
from impasto.cli import signals
from impasto.fast import learning, models
from impasto.fast.learning import learnt_styles

QUICK = ["--seconds", "0.01"]


@pytest.fixture
def painting(picture, photo):
    """A file."""
    PIL.Image.fromarray(np.ascontiguousarray(255 - photo[::-1])).save("painting.png")
    return "painting.png"


@pytest.fixture
def quick_learning(monkeypatch):
    return learn_quickly(monkeypatch, random_vgg())


class TestFast:
    @pytest.mark.parametrize("style", ["mosaic", "great-wave"])
    def test_writes_the_picture_and_its_settings(self, run, picture, style):
        code, out, err = run("fast", picture, style, "-o", "out.png", "--size", "64", "--strength", "0.7")
        assert (code, err) == (0, "")
        assert re.fullmatch(r"out\.png  64×43 px, [\d.]+ s\n", out)
        before = images.read("out.png").rgb
        command = run("info", "out.png")[1].splitlines()[-1]
        assert command == f"impasto fast photo.png {style} -o out.png --size 64 --strength 0.7"
        assert run(*shlex.split(command)[1:])[0] == 0
        assert (images.read("out.png").rgb == before).all()

    def test_learns_a_painting_once(self, run, painting, quick_learning):
        command = ["fast", "photo.png", painting, "-o", "out.png", "--size", "32", "--learn-seconds", "0.01"]
        assert run(*command)[0] == 0
        first = images.read("out.png").rgb
        assert run(*command)[0] == 0
        assert quick_learning == [painting]
        assert (images.read("out.png").rgb == first).all()

    def test_predicts_a_painting(self, run, painting, quick_learning):
        assert run("fast", "photo.png", painting, "-o", "out.png", "--size", "32", "--model", "any")[0] == 0
        assert quick_learning == []

    def test_folders_are_private(self, run, picture):
        """The result names its input files without their folders, unless they are asked for."""
        Path("someone").mkdir()
        Path(picture).rename("someone/photo.png")
        given = ["someone/photo.png", "mosaic", "-o", "out.png", "--size", "32"]
        given += ["--content-mask", "1=someone/photo.png"]
        assert run("fast", *given)[0] == 0
        assert b"someone" not in Path("out.png").read_bytes()
        command = run("info", "out.png")[1].splitlines()[-1]
        assert "fast photo.png mosaic" in command
        assert "--content-mask 1=photo.png" in command
        os.chdir("someone")
        assert run(*shlex.split(command)[1:])[0] == 0
        os.chdir("..")
        assert run("fast", *given, "--store-paths")[0] == 0
        assert "fast someone/photo.png mosaic" in run("info", "out.png")[1]

    def test_keeps_the_checkpoint_of_another_run(self, run, picture):
        Path("out.png.checkpoint").write_bytes(b"of a long run")
        assert run("fast", picture, "mosaic", "-o", "out.png", "--size", "32")[0] == 0
        assert Path("out.png.checkpoint").read_bytes() == b"of a long run"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["photo.png", "mosaik", "-o", "out.png"], "did you mean 'mosaic'"),
            (["mosaic", "photo.png", "-o", "out.png"], "mosaic is a style, not a photo"),
            (["photo.png", "mosaic", "-o", "photo.png"], "another name"),
            (["photo.png", "mosaic", "-o", "out.png", "--model", "none.safetensors"], "no such model"),
            (["photo.png", "mosaic", "-o", "out.png", "--model", "photo.png"], "cannot read the model photo.png"),
            (["photo.png", "mosaic", "-o", "out.png", "--memory", "1MB"], "--memory"),
            (["photo.png", "mosaic", "-o", "out.png", "--content-mask", "sky=photo.png"], "choose from 1 (mosaic)"),
            (["photo.png", "mosaic", "-o", "out.png", "--style-scale", "2"], "whose strokes have one size"),
            (["photo.png", "mosaic", "-o", "out.png", "--style-mask", "1=photo.png"], "style_mask needs the painting"),
            (["photo.png", "photo.png", "-o", "out.png", "--learn-seconds", "0"], "learn_seconds is 0"),
        ],
    )
    def test_mistakes(self, run, picture, arguments, message):
        code, out, err = run("fast", *arguments)
        assert (code, out) == (2, "")
        assert message in err
        assert len(err.strip().splitlines()) == 1
        assert os.listdir() == ["photo.png"]


class TestLearn:
    def test_keeps_the_style_for_fast(self, run, painting, quick_learning):
        code, out, err = run("learn", painting, *QUICK)
        assert (code, err) == (0, "")
        (style,) = learnt_styles()
        assert re.fullmatch(rf"{re.escape(str(style.path))}  1 steps? in \S+ s\n", out)
        assert run("fast", "photo.png", painting, "-o", "out.png", "--size", "32")[0] == 0
        assert quick_learning == [painting]  # not again

    def test_knows_a_painting_by_its_pixels(self, run, painting, quick_learning):
        run("learn", painting, *QUICK)
        Path("elsewhere").mkdir()
        Path(painting).rename("elsewhere/copy.png")
        assert run("fast", "photo.png", "elsewhere/copy.png", "-o", "out.png", "--size", "32")[0] == 0
        assert len(quick_learning) == 1

    def test_writes_the_style_to_another_file_too(self, run, painting, quick_learning):
        assert run("learn", painting, *QUICK, "-o", "style.safetensors")[0] == 0
        (style,) = learnt_styles()
        model = models.load()
        one, two = (learning.load_style(path, model) for path in (style.path, "style.safetensors"))
        assert (one == two).all()

    def test_on_photos_of_ones_own(self, run, painting, monkeypatch, quick_learning):
        seen, steps = [], learning.Learner.steps
        monkeypatch.setattr(learning.Learner, "steps", lambda self: seen.append(self._dataset) or steps(self))
        Path("photos").mkdir()
        Path("photo.png").rename("photos/one.png")
        assert run("learn", painting, *QUICK, "--photos", "photos")[0] == 0
        assert seen[0].names == ["one.png"]

    def test_lists_and_removes(self, run, painting, quick_learning):
        assert run("learn", "--list")[:2] == (0, "")
        PIL.Image.new("RGB", (40, 30), "red").save("other.png")
        for name in (painting, "other.png"):
            run("learn", name, *QUICK)
        code, out, _ = run("learn", "--list")
        assert code == 0
        assert [line.split()[-1] for line in out.splitlines()] == ["other.png", "painting.png"]
        key = out.split()[0]
        assert run("learn", "--remove", key)[:2] == (0, "other.png removed\n")
        code, out, err = run("learn", "--remove", "other.png")
        assert (code, out) == (2, "")
        assert err.strip() == "impasto: no painting 'other.png' was learnt; known are: painting.png"
        assert run("learn", "--remove", "painting.png")[0] == 0
        assert learnt_styles() == []

    def test_is_quiet(self, run, painting, quick_learning):
        assert run("learn", painting, *QUICK, "-q") == (0, "", "")

    def interrupt(self, monkeypatch, count):
        """Send a signal when so many steps are done."""
        seen, check = [], signals.check

        def interrupted():
            check()
            seen.append(1)
            if len(seen) == count:
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(signals, "check", interrupted)

    @pytest.mark.skipif(os.name == "nt", reason="there is no such signal to send")
    def test_interrupted_keeps_what_was_learnt(self, run, painting, quick_learning, monkeypatch):
        self.interrupt(monkeypatch, 3)
        code, out, err = run("learn", painting, "--seconds", "1000")
        assert (code, out) == (143, "")
        assert re.fullmatch(r"impasto: interrupted after \S+ s; what was learnt is kept\n", err)
        assert len(quick_learning) == 3
        assert run("fast", "photo.png", painting, "-o", "out.png", "--size", "32")[0] == 0
        assert len(quick_learning) == 3

    @pytest.mark.skipif(os.name == "nt", reason="there is no such signal to send")
    def test_interrupted_where_nothing_can_be_kept(self, run, painting, quick_learning, monkeypatch, caplog):
        self.interrupt(monkeypatch, 1)
        monkeypatch.setattr(learning, "weights_folder", lambda: None)
        code, _, err = run("learn", painting, "--seconds", "1000", "-o", "style.safetensors")
        assert code == 143
        assert "what was learnt is in style.safetensors" in err
        assert "there is no home folder; set IMPASTO_CACHE" in caplog.text
        assert Path("style.safetensors").is_file()

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--quiet"], "no painting was given"),
            (["none.png"], "no such file"),
            (["mosaik"], "unknown style 'mosaik'; did you mean 'mosaic'"),
            (["painting.png", "-o", "style.png"], "expected a name that ends in .safetensors"),
            (["painting.png", "-o", "none/style.safetensors"], "there is no folder"),
            (["painting.png", "--model", "none.safetensors"], "no such model: none.safetensors"),
            (["painting.png", "--model", "photo.png"], "cannot read the model photo.png"),
            (["painting.png", "--photos", "none"], "no such folder: none"),
            (["painting.png", "--crop", "100"], "multiple of 16"),
            (["painting.png", "--seconds", "0"], "seconds is 0; it must be above 0"),
            (["painting.png", "--style-layers", "relu9_9"], "relu9_9"),
            (["painting.png", "--style-weight", "0"], "there is nothing to learn"),
            (["--remove", "a"], "no painting 'a' was learnt; known are: none"),
        ],
        ids=lambda value: " ".join(value) if isinstance(value, list) else "",
    )
    def test_mistakes(self, run, painting, arguments, message):
        code, out, err = run("learn", *arguments)
        assert (code, out) == (2, "")
        assert message in " ".join(err.split())
        assert "Traceback" not in err
        assert sorted(os.listdir()) == ["painting.png", "photo.png"]
        assert learnt_styles() == []
