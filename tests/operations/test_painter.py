"""A painter that is kept between calls."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import impasto
from impasto.vgg import weights

QUICK = {"size": 48, "iterations": 3, "scales": 1}


def test_paints_what_functions_paint(photo):
    with impasto.Painter() as painter:
        for _ in range(2):
            picture = painter.stylize(photo, "mosaic", **QUICK)
            assert torch.equal(picture.rgb, impasto.stylize(photo, "mosaic", **QUICK).rgb)
            assert torch.equal(painter.fast(photo, "udnie").rgb, impasto.fast.stylize(photo, "udnie").rgb)
        *_, step = painter.iterate(photo, "mosaic", **QUICK)
        assert torch.equal(step.picture.rgb, picture.rgb)
        *_, step = painter.iterate_fast(photo, "udnie", size=48)
        assert max(step.shape) == 48


def test_prepares_once(photo, monkeypatch):
    loaded, load = [], weights.load
    monkeypatch.setattr(weights, "load", lambda *network: loaded.append(network) or load(*network))
    stages: list[str] = []
    with impasto.Painter() as painter:
        painter.stylize(photo, "mosaic", progress=lambda shown: stages.append(shown.stage), **QUICK)
        assert "measuring the style" in stages
        stages.clear()
        painter.stylize(photo, "mosaic", progress=lambda shown: stages.append(shown.stage), **QUICK)
        assert not {"loading VGG", "reading the style", "measuring the style"} & {*stages}
    assert len(loaded) == 1


def test_several_threads(photo):
    jobs = [(style, strength) for style in ("mosaic", "swirls") for strength in (0.5, 1.0)] * 2
    with impasto.Painter() as painter, ThreadPoolExecutor(4) as executor:

        def paint(job):
            return painter.stylize(photo, job[0], strength=job[1], **QUICK)

        pictures = list(executor.map(paint, jobs))
    for (style, strength), picture in zip(jobs, pictures, strict=True):
        torch.testing.assert_close(picture.rgb, impasto.stylize(photo, style, strength=strength, **QUICK).rgb)


def test_a_small_one_paints_the_same(photo):
    with impasto.Painter(capacity=0) as painter:
        for _ in range(2):
            picture = painter.stylize(photo, "mosaic", **QUICK)
    assert torch.equal(picture.rgb, impasto.stylize(photo, "mosaic", **QUICK).rgb)


def test_closed(photo):
    with impasto.Painter() as painter:
        steps = painter.iterate(photo, "mosaic", **QUICK)
    assert len(list(steps)) == 3  # a run that has begun continues
    with pytest.raises(ValueError, match="closed"):
        painter.fast(photo, "udnie")
