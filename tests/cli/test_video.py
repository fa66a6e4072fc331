"""`impasto video`."""

from making_clips import scene, write

from impasto import images


def test_video(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    moving = write(tmp_path / "moving.mp4", scene(6), sound=True)
    command = ["video", str(moving), "mosaic", "-o", "out.mp4", "--fast", "--size", "48", "--preview", "last.png"]
    code, out, _ = run(*command)
    assert code == 0
    assert "out.mp4  48×32 px, 6 frames in" in out
    assert images.read("last.png").size == (32, 48)
    for wrong, message in (
        (["video", "none.mp4", "mosaic", "-o", "out.mp4"], "no such file"),
        (["video", str(moving), "mosaic", "-o", "out.avi"], "suffix"),
        (["video", str(moving), "mosaic", "-o", str(moving)], "another name"),
        (["video", str(moving), "mosaik", "-o", "o.mp4"], "swirls, mosaic"),
        (["video", str(moving), "-o", "o.mp4"], "no style was given"),
        (["video", str(moving), "-o", "o.mp4", "--fast"], "no style was given"),
        (["video", str(moving), "mosaic", "-o", "o.mp4", "--smoothing", "2"], "at most 1"),
    ):
        code, _, err = run(*wrong)
        assert code == 2
        assert message in err
        assert not list(tmp_path.glob("*.frames"))
