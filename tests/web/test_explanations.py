"""Explanations of the network on the page."""

import dataclasses
import threading

import pytest
from serving import WARNINGS

pytest.importorskip("gradio")
import impasto
from impasto.web import explanations, visitors
from impasto.web.jobs import Limits
from impasto.web.runner import JobRunner

pytestmark = WARNINGS


@pytest.mark.parametrize("question", list(explanations.QUESTIONS))
def test_every_question(tmp_path, portrait, question, monkeypatch):
    monkeypatch.setattr(explanations, "SIZE", 64)
    monkeypatch.setattr(explanations, "ITERATIONS", 4)
    monkeypatch.setattr("impasto.explain.units.STEPS", 2)
    visitor = visitors.Visitor(tmp_path / "visitor", open_requests=1)
    visitor.folder.mkdir()
    runner = JobRunner(Limits(), frozenset(["mosaic"]))
    request = explanations.ExplanationRequest(question, str(portrait), "mosaic", ["swirls"], "relu2_1")
    running = set()
    *progress, report = (
        running.add(runner.running) or item for item in explanations.run(runner, request, visitor, threading.Event())
    )
    assert (running, runner.running) == ({1}, 0)
    assert all(0 <= fraction <= 1 for _, fraction in progress)
    text = report.read_text()
    assert "data:image/png;base64" in text
    assert report.is_relative_to(visitor.folder)
    stop = threading.Event()
    stop.set()
    assert list(explanations.run(runner, request, visitor, stop)) == [("stopped", 0.0)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"question": "why?"}, "unknown question"),
        ({"layer": "relu9_9"}, "unknown layer"),
        ({"photo": "x"}, "no such"),
    ],
)
def test_invalid_requests(tmp_path, portrait, changes, message):
    request = explanations.ExplanationRequest(
        next(iter(explanations.QUESTIONS)), str(portrait), "mosaic", [], "relu1_1"
    )
    visitor = visitors.Visitor(tmp_path / "visitor", open_requests=1)
    visitor.folder.mkdir()
    with pytest.raises((ValueError, impasto.ImpastoError), match=message):
        list(explanations.run(JobRunner(Limits()), dataclasses.replace(request, **changes), visitor, threading.Event()))


def test_errors_do_not_name_folders_of_the_server(tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_text("no picture")
    visitor = visitors.Visitor(tmp_path / "visitor", open_requests=1)
    request = explanations.ExplanationRequest(next(iter(explanations.QUESTIONS)), str(photo), "mosaic", [], "relu1_1")
    with pytest.raises(impasto.PictureError, match="cannot read photo.jpg") as caught:
        list(explanations.run(JobRunner(Limits()), request, visitor, threading.Event()))
    assert str(tmp_path) not in str(caught.value)
