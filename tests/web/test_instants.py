"""Instant pictures, and paintings that are learnt."""

import dataclasses
import threading
import time
from collections import deque

import PIL.Image
import pytest
from serving import WARNINGS

pytest.importorskip("gradio")
import impasto
from impasto import FastOptions, fast, images
from impasto.fast.learning import learnt_styles
from impasto.web import instants, visitors
from impasto.web.jobs import JobRequest, Limits
from impasto.web.runner import JobRunner

pytestmark = WARNINGS


@pytest.fixture
def runner():
    return instants.InstantRunner(JobRunner(Limits(), frozenset(["the-kiss"])))


@pytest.fixture
def visitor(tmp_path):
    visitor = visitors.Visitor(tmp_path / "visitor", open_requests=1)
    visitor.folder.mkdir()
    return visitor


@pytest.fixture
def painting(tmp_path):
    path = tmp_path / "mine.png"
    PIL.Image.effect_noise((96, 96), 80).convert("RGB").save(path)
    return str(path)


def test_a_style_of_the_gallery(runner, visitor, portrait):
    options = FastOptions(size=128, strength=0.5)
    painted = runner.paint(JobRequest(str(portrait), ["the-kiss"], options), visitor)
    assert (painted.not_learnt, painted.learnt_briefly, painted.size) == ([], {}, (85, 128))
    assert painted.result.command.startswith("impasto fast 'me & you.jpg' the-kiss")
    images.write(visitor.folder / "expected.png", fast.stylize(portrait, "the-kiss", options))
    found, expected = (images.read(path).rgb for path in (painted.result.files[0], visitor.folder / "expected.png"))
    assert found.equal(expected)  # although the photo is resized ahead, and kept
    again = runner.paint(JobRequest(str(portrait), ["the-kiss"], options), visitor)
    assert images.read(again.result.files[0]).rgb.equal(expected)
    assert list(visitor.photo) == [(str(portrait), 128)]


def test_a_painting_is_predicted_until_it_is_learnt(runner, visitor, portrait, painting):
    request = JobRequest(str(portrait), [painting], FastOptions(size=96, learn_seconds=0.1))
    before = runner.paint(request, visitor)
    assert before.not_learnt == ["mine.png"]
    assert before.result.settings["options"]["model"] == "any"
    assert not learnt_styles()
    *_, last = runner.learn(request, visitor, threading.Event())
    assert (last.name, last.stopped) == ("mine.png", "")
    assert last.preview.exists()
    after = runner.paint(request, visitor)
    assert not after.not_learnt
    assert "model" not in after.result.settings["options"] or after.result.settings["options"]["model"] is None
    assert not images.read(after.result.files[0]).rgb.equal(images.read(before.result.files[0]).rgb)
    deque(runner.learn(request, visitor, threading.Event()), maxlen=0)
    again = runner.paint(request, visitor)  # in the vector that was improved
    assert not images.read(again.result.files[0]).rgb.equal(images.read(after.result.files[0]).rgb)
    longer = dataclasses.replace(request, options=dataclasses.replace(request.options, learn_seconds=120))
    assert list(runner.paint(longer, visitor).learnt_briefly) == ["mine.png"]


@pytest.mark.parametrize("away", [False, True])
def test_learning_that_is_stopped_or_abandoned_is_kept(runner, visitor, portrait, painting, away):
    request = JobRequest(str(portrait), [painting], FastOptions(size=96))
    stop = threading.Event()
    if away:
        visitor.open_requests, visitor.last_request = 0, time.monotonic() - visitors.ABANDONED_AFTER - 1
    else:
        stop.set()
    (report,) = runner.learn(request, visitor, stop)
    assert report.stopped == "stopped"
    assert len(learnt_styles()) == 1


def test_without_a_cache_what_was_learnt_is_remembered(runner, visitor, portrait, painting, monkeypatch):
    monkeypatch.setattr("impasto.fast.learning.cache_folder", lambda: None)
    request = JobRequest(str(portrait), [painting], FastOptions(size=96, learn_seconds=0.1))
    assert list(runner.learn(request, visitor, threading.Event()))
    assert not runner.paint(request, visitor).not_learnt


def test_errors_do_not_name_folders_and_leave_no_files(runner, visitor, tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_text("no picture")
    with pytest.raises(impasto.PictureError, match="cannot read photo.jpg") as caught:
        runner.paint(JobRequest(str(photo), ["the-kiss"], FastOptions()), visitor)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(ValueError, match="at most 1024 px"):
        runner.paint(JobRequest(str(photo), ["the-kiss"], FastOptions(size=4000)), visitor)
    assert not list(visitor.folder.iterdir())


def test_jobs_leave_memory_for_an_instant_picture(portrait):
    request = JobRequest(str(portrait), ["the-kiss"], FastOptions())
    runner = JobRunner(Limits(memory=10**9, running=2))
    reserved = 10**9 - 2 * runner.accept(request).options.memory
    assert 1e8 < reserved < 3e8
    with runner.accepted_instant(request) as accepted:
        assert (accepted.options.memory, runner.running) == (10**9, 0)
