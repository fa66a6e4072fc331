"""Progress: bars in terminals and notebooks, callbacks, and how a run ends by them."""

import io
import itertools
import sys
import types

import pytest
import torch
from rich.console import Console

import impasto
from impasto import explain, progress
from impasto.optim import steps
from impasto.progress import Progress, StepBar

QUICK = {"size": 48, "iterations": 3, "scales": 1}


class Stopped(Exception):
    pass


def operations(photo):
    """Every operation that makes a picture, as a function of `progress`."""
    return {
        "stylize": lambda shown: impasto.stylize(photo, "mosaic", progress=shown, **QUICK),
        "fast": lambda shown: impasto.fast.stylize(photo, "udnie", size=48, progress=shown),
        "texture": lambda shown: impasto.texture("mosaic", size=48, iterations=3, scales=1, progress=shown),
        "reconstruct": lambda shown: impasto.reconstruct(photo, size=48, iterations=3, progress=shown),
        "sheet": lambda shown: impasto.sheet(photo, "mosaic", {"strength": [1, 2]}, progress=shown, **QUICK),
    }


NAMES = list(operations(None))


@pytest.mark.parametrize("name", NAMES)
def test_callbacks_are_called_from_the_beginning_to_the_end(photo, name):
    seen: list[Progress] = []
    picture = operations(photo)[name](seen.append)
    assert torch.equal(picture.rgb, operations(photo)[name](False).rgb)
    assert [each.step is None for each in seen[:1]] == [name != "sheet"]
    assert all(earlier.fraction <= 1 for earlier in seen)
    assert seen[-1].step is not None
    assert seen[-1].eta == pytest.approx(0, abs=1e-6)
    if name != "sheet":
        assert torch.equal(seen[-1].step.picture.rgb, picture.rgb)


def test_it_never_goes_back(photo, monkeypatch):
    """Not even where the time left is estimated anew."""
    estimates = itertools.count(90, -1)
    monkeypatch.setattr(steps, "fraction_done", lambda seconds, eta: next(estimates) / 100)
    seen: list[Progress] = []
    impasto.stylize(photo, "mosaic", progress=seen.append, **QUICK)
    assert [each.fraction for each in seen if each.step] == [0.9, 0.9, 0.9]


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_what_a_callback_raises_ends_the_run(photo, name, at_end):
    seen = []

    def stop(shown):
        seen.append(shown)
        if not at_end or shown.step is not None:
            raise Stopped

    with pytest.raises(Stopped):
        operations(photo)[name](stop)
    assert sum(shown.step is not None for shown in seen) <= 1
    assert len(seen) == 1 or at_end


def reports(photo, tmp_path):
    impasto.write(tmp_path / "a.png", impasto.read(photo))
    return {
        "gram": lambda shown: explain.gram_report(photo, "mosaic", "relu1_1", progress=shown),
        "units": lambda shown: explain.unit_report(tmp_path, "relu1_1", 0, progress=shown),
        "run": lambda shown: explain.run_report(impasto.iterate(photo, "mosaic", **QUICK), progress=shown),
        "statistics": lambda shown: explain.statistics_report(photo, "mosaic", 32, 1, progress=shown),
        "representations": lambda shown: explain.representations(photo, "mosaic", 32, 2, progress=shown),
    }


@pytest.mark.parametrize("name", ["gram", "units", "run", "statistics", "representations"])
def test_reports(photo, tmp_path, name):
    """They tell what they do, and end when they are told to."""
    stages = []

    def stop(shown):
        stages.append(shown.stage)
        raise Stopped

    with pytest.raises(Stopped):
        reports(photo, tmp_path)[name](stop)
    assert len(stages) == 1
    assert stages[0]


def test_stages_of_preparation(photo):
    stages = []
    impasto.stylize(photo, "mosaic", progress=lambda shown: stages.append(shown.stage), **QUICK)
    assert stages[:8] == [progress.PREPARING, *(progress.STAGES[kind] for kind in STYLIZING)]


STYLIZING = ("content", "style", "encoder", "saliency", "calibrated", "styles", "photo")


def test_a_bar_in_a_terminal(photo):
    file = io.StringIO()
    bar = StepBar(Console(file=file, force_terminal=True, width=120))
    with bar.running():
        for step in impasto.iterate(photo, "mosaic", **QUICK):
            bar.show(step)
    assert "scale 1/1 48×32, iteration 3/3" in file.getvalue()
    assert "content" in file.getvalue()


def test_names_in_brackets_are_no_markup():
    """Those of files, in the descriptions of bars."""
    file = io.StringIO()
    bar = StepBar(Console(file=file, force_terminal=True, width=120))
    with bar.running():
        bar.report(progress.Progress("learning [/x] [final].jpg", 0.5, None))
    assert "learning [/x] [final].jpg" in file.getvalue()


def test_nothing_is_shown_where_nobody_looks(photo, capfd):
    impasto.fast.stylize(photo, "udnie", size=48, progress=True)
    assert capfd.readouterr() == ("", "")


def test_a_bar_in_a_notebook(photo, monkeypatch):
    shown = []
    handle = types.SimpleNamespace(update=lambda content, raw: shown.append(content["text/html"]))
    kernel = types.SimpleNamespace(kernel=object())
    module = types.SimpleNamespace(get_ipython=lambda: kernel)
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=lambda *a, **k: handle))
    monkeypatch.setattr(progress, "PREVIEW_INTERVAL", 0.0)
    monkeypatch.setattr(progress, "UPDATE_INTERVAL", 0.0)
    assert progress.in_notebook()
    impasto.stylize(photo, "mosaic", progress=True, **QUICK)
    assert "reading the photo" in shown[1]
    assert "iteration 3/3" in shown[-2]
    assert 'src="data:image/jpeg;base64,' in shown[-2]
    assert shown[-1] == ""


def test_a_bar_in_a_real_notebook(tmp_path):
    """The output that Jupyter's kernel sends, if it is installed."""
    pytest.importorskip("ipykernel")
    client = pytest.importorskip("jupyter_client")
    manager, kernel = client.manager.start_new_kernel(kernel_name="python3")
    outputs = []
    try:
        code = "import impasto; impasto.fast.stylize('chelsea', 'udnie', size=48, progress=True)"
        kernel.execute_interactive(code, output_hook=outputs.append, timeout=120)
    finally:
        manager.shutdown_kernel(now=True)
    assert any("image/png" in each["content"].get("data", {}) for each in outputs)


@pytest.mark.parametrize("given", [5, "bar", [print]])
def test_progress_that_is_neither_a_truth_value_nor_a_function(photo, given):
    with pytest.raises(ValueError, match="expected True, False, or a function that takes a Progress"):
        impasto.fast.stylize(photo, "udnie", size=48, progress=given)


def test_packages_for_programs_are_loaded_with_their_names():
    assert impasto.batch.__name__ == "impasto.batch"
    assert impasto.fast.__name__ == "impasto.fast"


def test_numbers_agree_with_their_nouns():
    assert [progress.counted(number, "frame") for number in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
