"""What the network sees, asked on the page."""

import dataclasses
import threading

import pytest
from serving import WARNINGS

pytest.importorskip("gradio")
import impasto
from impasto.web import explanations, visitors
from impasto.web.jobs import Limits, Studio

pytestmark = WARNINGS


@pytest.mark.parametrize("question", list(explanations.QUESTIONS))
def test_what_the_network_sees(tmp_path, portrait, question, monkeypatch):
    monkeypatch.setattr(explanations, "SIZE", 64)
    monkeypatch.setattr(explanations, "ITERATIONS", 4)
    monkeypatch.setattr("impasto.explain.units.STEPS", 2)
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    studio = Studio(Limits(), frozenset(["mosaic"]))
    asked = explanations.Asked(question, str(portrait), "mosaic", ["swirls"], "relu2_1")
    running = set()
    *told, page = (
        running.add(studio.running) or news for news in explanations.answer(studio, asked, visitor, threading.Event())
    )
    assert (running, studio.running) == ({1}, 0)
    assert all(0 <= share <= 1 for _, share in told)
    text = page.read_text()
    assert "data:image/png;base64" in text
    assert page.is_relative_to(visitor.folder)
    stop = threading.Event()
    stop.set()
    assert list(explanations.answer(studio, asked, visitor, stop)) == [("stopped", 0.0)]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": "why?"}, "unknown question"),
        ({"layer": "relu9_9"}, "unknown layer"),
        ({"photo": "x"}, "no such"),
    ],
)
def test_what_cannot_be_asked(tmp_path, portrait, changes, said):
    asked = explanations.Asked(next(iter(explanations.QUESTIONS)), str(portrait), "mosaic", [], "relu1_1")
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    with pytest.raises((ValueError, impasto.ImpastoError), match=said):
        list(explanations.answer(Studio(Limits()), dataclasses.replace(asked, **changes), visitor, threading.Event()))


def test_no_path_of_the_server_is_named(tmp_path):
    photo = tmp_path / "photo.jpg"
    photo.write_text("no picture")
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    asked = explanations.Asked(next(iter(explanations.QUESTIONS)), str(photo), "mosaic", [], "relu1_1")
    with pytest.raises(impasto.PictureError, match="cannot read photo.jpg") as caught:
        list(explanations.answer(Studio(Limits()), asked, visitor, threading.Event()))
    assert str(tmp_path) not in str(caught.value)
