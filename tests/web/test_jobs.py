"""Jobs: what is painted, what is refused, when they end."""

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
from impasto.web.jobs import Limits, Order, Result, Studio

pytestmark = WARNINGS


def test_a_job_with_everything(tmp_path, portrait):
    """Masks, several styles, a start of one's own: the command that is told makes the same picture."""
    mask = np.zeros((64, 96), np.uint8)
    mask[:, :48] = 255
    other = tmp_path / "other.png"
    PIL.Image.effect_noise((128, 96), 60).convert("RGB").save(other)
    options = StylizeOptions(**QUICK, style_weights=(0.5, 0.5), color="luminance")
    order = Order(str(portrait), ["mosaic", str(other)], options, {"keep": mask}, (), str(other))
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    *seen, result = Studio(Limits(), frozenset(["mosaic"])).paint(order, visitor, threading.Event())
    assert isinstance(result, Result)
    assert seen[-1].done
    made, jpeg, drawn = result.files
    assert images.read(jpeg).size == (85, 128)
    words = result.command.split(" -o ")[1]
    assert str(tmp_path) not in result.command
    work = tmp_path / "elsewhere"
    work.mkdir()
    for path in (portrait, other, drawn):
        shutil.copy(path, work)
    again = subprocess.run(
        [sys.executable, "-m", "impasto", *shlex.split(result.command)[1:], "-q"],
        cwd=work,
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr + words
    np.testing.assert_array_equal(PIL.Image.open(work / made.name), PIL.Image.open(made))
    assert record.command(images.read_settings(made), "x.png") == record.command(
        images.read_settings(work / made.name), "x.png"
    )


def test_at_once(tmp_path, portrait):
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    order = Order(str(portrait), ["mosaic"], FastOptions(size=128))
    *seen, result = Studio(Limits(), frozenset(["mosaic"])).paint(order, visitor, threading.Event())
    assert not any(told.sketch for told in seen)
    assert seen[-1].done
    assert images.read(result.files[0]).size == (85, 128)
    assert result.command.startswith("impasto fast ")
    assert result.settings["operation"] == "fast"


def test_the_slow_way_begins_with_a_sketch(tmp_path, portrait):
    visitor = visitors.Visitor(tmp_path / "visitor", requests=1)
    visitor.folder.mkdir()
    order = Order(str(portrait), ["mosaic"], StylizeOptions(**QUICK))
    stop = threading.Event()
    stop.set()  # before anything is painted: the picture is of the slow way all the same
    first, *rest, result = Studio(Limits(), frozenset(["mosaic"])).paint(order, visitor, stop)
    assert first.sketch
    assert not first.curve
    assert not any(told.sketch for told in rest)
    assert rest[-1].done
    assert rest[-1].step.losses
    assert result.settings["operation"] == "stylize"


def refused(order, limits=None):
    with pytest.raises(ValueError, match=".+") as caught:
        Studio(limits or Limits(), frozenset(["mosaic"])).check(order)
    return str(caught.value)


def test_what_a_server_does_not_do(portrait):
    photo = str(portrait)
    assert "choose a style" in refused(Order(photo, [], StylizeOptions()))
    assert "at most 4" in refused(Order(photo, ["mosaic"] * 5, StylizeOptions()))
    assert "at most 1024 px" in refused(Order(photo, ["mosaic"], StylizeOptions(size=2048)))
    assert "at most 1024 px" in refused(Order(photo, ["mosaic"], StylizeOptions(size=None)))
    assert "million" in refused(Order(photo, ["mosaic"], StylizeOptions()), Limits(pixels=1000))
    assert "init" in refused(Order(photo, ["mosaic"], StylizeOptions(init="/etc/passwd")))
    assert "weights" in refused(Order(photo, ["mosaic"], StylizeOptions(weights="/etc/passwd")))
    assert "masks" in refused(Order(photo, ["mosaic"], StylizeOptions(content_mask={"1": "/etc/passwd"})))
    assert "models" in refused(Order(photo, ["mosaic"], FastOptions(model="/etc/passwd")))
    assert "at most 1024 px" in refused(Order(photo, ["mosaic"], FastOptions(size=2048)))
    assert "style_scale" in refused(Order(photo, ["mosaic"], StylizeOptions(style_scale=(50.0,))))


def test_a_job_ends_when_its_time_is_over_or_its_visitor_left(tmp_path, portrait):
    order = Order(str(portrait), ["mosaic"], StylizeOptions(**QUICK | {"iterations": 2000}))
    visitor = visitors.Visitor(tmp_path, requests=1)
    *_, end, result = Studio(Limits(seconds=0.5), frozenset(["mosaic"])).paint(order, visitor, threading.Event())
    assert "stopped after" in end.note
    assert result.files[0].exists()
    visitor.requests, visitor.seen = 0, time.monotonic() - 60
    studio = Studio(Limits())
    seen = list(studio.paint(order, visitor, threading.Event()))
    assert not any(isinstance(told, Result) for told in seen)
    assert studio.running == 0
