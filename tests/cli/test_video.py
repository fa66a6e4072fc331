"""`impasto video`."""

import PIL.Image
from making_clips import scene, write
from making_models import learn_quickly, random_vgg

from impasto import images


def test_video(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moving = write(tmp_path / "moving.mp4", scene(6), sound=True)
    command = ["video", str(moving), "mosaic", "-o", "out.mp4", "--fast", "--size", "48", "--preview", "last.png"]
    code, out, _ = run(*command)
    assert code == 0
    assert "out.mp4  48×32 px, 6 frames in" in out
    assert images.read("last.png").shape == (32, 48)
    for wrong, message in (
        (["video", "none.mp4", "mosaic", "-o", "out.mp4"], "no such file"),
        (["video", str(moving), "mosaic", "-o", "out.avi"], "suffix"),
        (["video", str(moving), "mosaic", "-o", str(moving)], "another name"),
        (["video", str(moving), "mosaik", "-o", "o.mp4"], "did you mean 'mosaic'"),
        (["video", str(moving), "-o", "o.mp4"], "missing STYLE"),
        (["video", str(moving), "mosaik", "-o", "o.mp4", "--fast"], "did you mean 'mosaic'"),
        (["video", str(moving), "mosaic", "-o", "o.mp4", "--fast", "--model", "none"], "no such model: none"),
        (["live", "0", "-o", "o.mp4", "--no-window"], "missing STYLE"),
        (["video", str(moving), "mosaic", "-o", "o.mp4", "--smoothing", "2"], "at most 1"),
    ):
        code, _, err = run(*wrong)
        assert code == 2
        assert message in err
        assert not list(tmp_path.glob("*.frames"))


def test_a_painting_is_learnt_before_the_first_frame(run, photo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    learnt = learn_quickly(monkeypatch, random_vgg(), seconds=0.01)
    PIL.Image.fromarray(photo).save("painting.png")
    moving = write(tmp_path / "moving.mp4", scene(2))
    assert run("video", str(moving), "painting.png", "-o", "out.mp4", "--fast", "--size", "32")[0] == 0
    assert set(learnt) == {"painting.png"}
