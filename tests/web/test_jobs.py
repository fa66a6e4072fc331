"""Jobs: results, limits, and when they end."""

import shlex
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import PIL.Image
import pytest
from serving import QUICK, WARNINGS

pytest.importorskip("gradio")
from impasto import images, record
from impasto.settings.options import FastOptions, StylizeOptions
from impasto.web import visitors
from impasto.web.jobs import JobRequest, JobResult, Limits
from impasto.web.runner import JobRunner

pytestmark = WARNINGS


@pytest.mark.calibrates  # as the command does in a process of its own
def test_a_job_with_everything(tmp_path, portrait):
    """Masks, several styles, a picture to start from: the reported command makes the same picture."""
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :48] = 255
    other = tmp_path / "other.png"
    PIL.Image.effect_noise((128, 96), 60).convert("RGB").save(other)
    options = StylizeOptions(**QUICK, style_weights=(0.5, 0.5), color="luminance")
    request = JobRequest(str(portrait), ["mosaic", str(other)], options, {"keep": mask}, (), str(other))
    visitor = visitors.Visitor(tmp_path / "visitor", open_requests=1)
    visitor.folder.mkdir()
    *reports, result = JobRunner(Limits(), frozenset(["mosaic"])).run(request, visitor, threading.Event())
    assert isinstance(result, JobResult)
    assert reports[-1].done
    png, jpeg, mask_file = result.files
    assert images.read(jpeg).shape == (85, 128)
    assert str(tmp_path) not in result.command
    work = tmp_path / "elsewhere"
    work.mkdir()
    for path in (portrait, other, mask_file):
        shutil.copy(path, work)
    again = subprocess.run(
        [sys.executable, "-m", "impasto", *shlex.split(result.command)[1:], "-q"],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr
    np.testing.assert_array_equal(PIL.Image.open(work / png.name), PIL.Image.open(png))
    assert record.command(images.read_settings(png), "x.png") == record.command(
        images.read_settings(work / png.name), "x.png"
    )


def test_feed_forward(tmp_path, portrait):
    visitor = visitors.Visitor(tmp_path / "visitor", open_requests=1)
    visitor.folder.mkdir()
    request = JobRequest(str(portrait), ["mosaic"], FastOptions(size=128))
    *reports, result = JobRunner(Limits(), frozenset(["mosaic"])).run(request, visitor, threading.Event())
    assert reports[-1].done
    assert images.read(result.files[0]).shape == (85, 128)
    assert result.command.startswith("impasto fast ")
    assert result.settings["operation"] == "fast"


def test_a_job_that_is_stopped_before_its_first_step_has_a_picture(tmp_path, portrait):
    visitor = visitors.Visitor(tmp_path / "visitor", open_requests=1)
    visitor.folder.mkdir()
    request = JobRequest(str(portrait), ["mosaic"], StylizeOptions(**QUICK))
    stop = threading.Event()
    stop.set()
    last, result = JobRunner(Limits(), frozenset(["mosaic"])).run(request, visitor, stop)
    assert last.note == "stopped"
    assert last.losses
    assert result.settings["operation"] == "stylize"


def refusal(request, limits=None):
    with pytest.raises(ValueError, match=".+") as caught:
        JobRunner(limits or Limits(), frozenset(["mosaic"])).accept(request)
    return str(caught.value)


def test_requests_beyond_the_limits(portrait):
    photo = str(portrait)
    assert "choose a style" in refusal(JobRequest(photo, [], StylizeOptions()))
    assert "at most 4" in refusal(JobRequest(photo, ["mosaic"] * 5, StylizeOptions()))
    assert "at most 1024 px" in refusal(JobRequest(photo, ["mosaic"], StylizeOptions(size=2048)))
    assert "at most 1024 px" in refusal(JobRequest(photo, ["mosaic"], StylizeOptions(size=None)))
    assert "million" in refusal(JobRequest(photo, ["mosaic"], StylizeOptions()), Limits(pixels=1000))
    assert "init" in refusal(JobRequest(photo, ["mosaic"], StylizeOptions(init="/etc/passwd")))
    assert "weights" in refusal(JobRequest(photo, ["mosaic"], StylizeOptions(weights="/etc/passwd")))
    assert "masks" in refusal(JobRequest(photo, ["mosaic"], StylizeOptions(content_mask={"1": "/etc/passwd"})))
    assert "models" in refusal(JobRequest(photo, ["mosaic"], FastOptions(model="/etc/passwd")))
    assert "at most 1024 px" in refusal(JobRequest(photo, ["mosaic"], FastOptions(size=2048)))
    assert "style_scale" in refusal(JobRequest(photo, ["mosaic"], StylizeOptions(style_scale=(50.0,))))


def test_a_job_ends_when_its_time_is_up_or_its_visitor_leaves(tmp_path, portrait):
    request = JobRequest(str(portrait), ["mosaic"], StylizeOptions(**QUICK | {"iterations": 2000}))
    visitor = visitors.Visitor(tmp_path, open_requests=1)
    *_, last, result = JobRunner(Limits(seconds=0.5), frozenset(["mosaic"])).run(request, visitor, threading.Event())
    assert "stopped after" in last.note
    assert result.files[0].exists()
    visitor.open_requests, visitor.last_request = 0, time.monotonic() - visitors.ABANDONED_AFTER - 1
    runner = JobRunner(Limits())
    *_, last, result = runner.run(request, visitor, threading.Event())
    assert last.note == "stopped, as nobody was here for 5 minutes"
    assert result.files[0].exists()
    assert visitor.results[-1] is result
    assert runner.running == 0


def test_the_last_results_are_kept(tmp_path, portrait, monkeypatch):
    monkeypatch.setattr(visitors, "RESULTS_KEPT", 2)
    request = JobRequest(str(portrait), ["mosaic"], StylizeOptions(**QUICK | {"iterations": 1}))
    visitor, runner = visitors.Visitor(tmp_path, open_requests=1), JobRunner(Limits())
    made = [list(runner.run(request, visitor, threading.Event()))[-1] for _ in range(3)]
    assert visitor.results == made[1:]
    assert [result.files[0].exists() for result in made] == [False, True, True]
    assert made[-1].thumbnail.exists()
