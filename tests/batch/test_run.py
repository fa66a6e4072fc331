"""Batches on this machine: results, skipped items, failures, and resuming."""

import json
import os
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

import impasto.batch
from impasto import cli, images
from impasto.batch import items, run
from impasto.batch.run import plan_workers
from impasto.errors import FileError, PictureError
from impasto.operations import stylize
from impasto.settings import options
from impasto.settings.options import BatchOptions

FEW = {"size": 48, "iterations": 2, "scales": 1, "style_weight": 8, "workers": 1, "threads": 1}


class InThisProcess:
    """A pool that calls functions in this process, and pretends that the first `losses` workers were lost."""

    lost, shares_files, capacity = (BrokenProcessPool,), True, 2

    def __init__(self, losses=0):
        self.losses, self.calls = losses, []

    def share(self, value):
        return value

    def submit(self, function, *arguments):
        self.calls.append(arguments[0].photo)
        future = Future()
        if self.losses:
            self.losses -= 1
            future.set_exception(BrokenProcessPool())
            return future
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def close(self):
        pass


def batch(folders, pool, **changes):
    work = items([str(folders / "photos")], [str(folders / "paintings")])
    return list(run(work, folders / "out", BatchOptions(**{**FEW, **changes}), pool=pool))


def entries(folders):
    return [json.loads(line) for line in (folders / "out" / "manifest.jsonl").read_text().splitlines()]


def test_every_photo_in_every_style_despite_a_bad_file(folders):
    outcomes = batch(folders, InThisProcess())
    assert sorted((outcome.item.name, outcome.status) for outcome in outcomes) == [
        ("a--x.png", "done"),
        ("a--y.png", "done"),
        ("b--x.png", "done"),
        ("b--y.png", "done"),
        ("broken--x.png", "failed"),
        ("broken--y.png", "failed"),
    ]
    assert outcomes[-1].number == outcomes[-1].count == 6
    failed = next(outcome for outcome in outcomes if outcome.status == "failed")
    assert "broken.jpg: not a picture" in failed.error
    made = [entry for entry in entries(folders) if entry["event"] == "done"]
    assert {entry["output"] for entry in made} == {"a--x.png", "a--y.png", "b--x.png", "b--y.png"}
    assert all(entry["evaluations"] == 2 and entry["seconds"] > 0 and entry["sha256"] for entry in made)


def test_a_result_equals_that_of_stylize(folders):
    batch(folders, InThisProcess())
    one = options.StylizeOptions(size=48, iterations=2, scales=1)
    alone = stylize.stylize(folders / "photos/a.png", folders / "paintings/x.png", one)
    images.write(folders / "alone.png", alone)
    made = images.read(folders / "out/a--x.png").rgb
    assert (made - images.read(folders / "alone.png").rgb).abs().max() == 0
    settings = images.read_settings(folders / "out/a--x.png")
    assert settings["operation"] == "stylize"
    assert settings["options"]["size"] == 48


@pytest.mark.parametrize("color", ["match", "luminance"])
def test_the_cache_of_a_worker_changes_nothing(folders, color):
    """A photo after another one in the same style, of another size, equals its result alone."""
    (folders / "photos/broken.jpg").unlink()
    batch(folders, InThisProcess(), color=color)
    one = options.StylizeOptions(size=48, iterations=2, scales=1, color=color)
    for name in ("a.png", "b.jpg"):
        for style in "xy":
            alone = stylize.stylize(folders / "photos" / name, folders / f"paintings/{style}.png", one)
            images.write(folders / "alone.png", alone)
            made = images.read(folders / f"out/{name[0]}--{style}.png").rgb
            assert (made - images.read(folders / "alone.png").rgb).abs().max() == 0


def test_a_feed_forward_network(folders):
    outcomes = batch(folders, InThisProcess(), fast=True, model="any")
    assert sum(outcome.status == "done" for outcome in outcomes) == 4
    assert images.read_settings(folders / "out/a--x.png")["operation"] == "fast"


@pytest.mark.parametrize("fast", [False, True])
def test_a_painting_of_the_gallery(folders, fast):
    work = items([str(folders / "photos/a.png")], ["starry-night"])
    (outcome,) = run(work, folders / "out", BatchOptions(**FEW, fast=fast), pool=InThisProcess())
    assert (outcome.status, outcome.error) == ("done", "")
    assert images.read_settings(folders / "out/a--starry-night.png")["pictures"] == ["a.png", "starry-night"]
    (outcome,) = run(work, folders / "out", BatchOptions(**FEW, fast=fast), pool=InThisProcess())
    assert outcome.status == "skipped"


def test_results_that_are_up_to_date_are_skipped(folders):
    batch(folders, InThisProcess())
    pool = InThisProcess()
    (folders / "out/a--x.png").unlink()
    again = batch(folders, pool)
    statuses = {outcome.item.name: outcome.status for outcome in again}
    assert statuses["b--y.png"] == "skipped"
    assert statuses["a--x.png"] == "done"
    assert statuses["broken--x.png"] == "failed"  # tried again
    assert sorted(os.path.basename(photo) for photo in pool.calls) == ["a.png", "broken.jpg", "broken.jpg"]


def test_changed_options_or_photos_are_made_again(folders, photo):
    batch(folders, InThisProcess())
    pool = InThisProcess()
    batch(folders, pool, strength=0.5)
    assert len(pool.calls) == 6
    images.write(folders / "photos/a.png", images.Picture(1 - images.read(photo).resized(32, 48).rgb))
    pool = InThisProcess()
    batch(folders, pool, strength=0.5, workers=2)  # the number of workers does not count
    assert sorted({os.path.basename(photo) for photo in pool.calls}) == ["a.png", "broken.jpg"]


def test_an_item_whose_worker_is_lost_is_tried_again(folders):
    (folders / "photos/broken.jpg").unlink()
    outcomes = batch(folders, InThisProcess(losses=2))
    assert [outcome.status for outcome in outcomes] == ["done"] * 4
    assert len([entry for entry in entries(folders) if entry["event"] == "done"]) == 4


def test_an_item_whose_workers_are_always_lost_fails(folders):
    (folders / "photos/broken.jpg").unlink()
    outcomes = batch(folders, InThisProcess(losses=10**6))
    assert {outcome.status for outcome in outcomes} == {"failed"}
    assert "lost 3 times" in outcomes[0].error


def test_closing_the_iterator_keeps_finished_pictures(folders):
    work = items([str(folders / "photos")], [str(folders / "paintings")])
    steps = run(work, folders / "out", BatchOptions(**FEW), pool=InThisProcess())
    next(steps)
    steps.close()
    assert [entry["event"] for entry in entries(folders)] == ["settings", "done"]
    assert len(batch(folders, InThisProcess())) == 6


def test_a_damaged_checkpoint_is_ignored(folders):
    (folders / "photos/broken.jpg").unlink()
    (folders / "out").mkdir()
    (folders / "out/a--x.png.checkpoint").write_bytes(b"damaged")
    outcomes = batch(folders, InThisProcess())
    assert [outcome.status for outcome in outcomes] == ["done"] * 4
    assert not list((folders / "out").glob("*.checkpoint"))


def test_photos_in_the_output_folder_are_an_error(folders):
    work = items([str(folders / "photos")], ["swirls"])
    with pytest.raises(ValueError, match="is in the output folder"):
        run(work, folders)
    with pytest.raises(FileError, match="is a file"):
        run(work, folders / "photos/a.png")


def test_no_permission_to_write_where_the_command_runs(folders, monkeypatch):
    monkeypatch.chdir(folders)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folders)
    (folders / "out").mkdir()
    run(items([str(folders / "photos")], ["swirls"]), folders / "out")
    with pytest.raises(PictureError, match="no permission"):
        run(items([str(folders / "photos")], ["swirls"]), folders / "other/folder")


def test_the_command_line_leaves_the_output_folder_out(folders, monkeypatch):
    def record(work, *rest):
        seen.append([item.name for item in work])
        yield from ()

    seen = []
    monkeypatch.setattr(impasto.batch, "run", record)
    photos, out = folders / "photos", folders / "photos/out"
    for _ in range(2):
        assert cli.run(["batch", str(photos), "starry-night", "-o", str(out), "-q"]) == 0
        out.mkdir(exist_ok=True)
        images.write(out / "a--starry-night.png", images.read(photos / "a.png"))
    assert seen[0] == seen[1]


def test_nothing_is_learnt_for_results_that_cannot_be_written(folders, monkeypatch, capsys):
    monkeypatch.setattr("impasto.cli.batch.learn_ahead", lambda *given: pytest.fail("it is learnt"))
    words = ["batch", str(folders / "photos"), str(folders / "photos/a.png"), "--fast", "--format", "xyz", "-o", "out"]
    assert cli.run(words) == 2
    assert "xyz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"content_mask": {"1": "mask.png"}}, "belongs to one picture"),
        ({"style_weights": (0.5, 0.5)}, "mix styles in one picture"),
        ({"init": "draft.png"}, "for a batch choose from"),
    ],
)
def test_options_that_a_batch_does_not_take(wrong, message):
    with pytest.raises(ValueError, match=message):
        BatchOptions(**wrong)


def test_the_photos_own_alpha_may_be_a_mask():
    BatchOptions(content_mask={"1": "alpha"})


def test_the_number_of_workers_depends_on_cores_and_memory(monkeypatch):
    monkeypatch.setattr("impasto.devices.cores", lambda: 8)
    monkeypatch.setattr("impasto.devices.available", lambda device=None: 64 << 30)
    assert plan_workers(BatchOptions(), 512) == (8, 1)
    assert plan_workers(BatchOptions(threads=2), 512) == (4, 2)
    assert plan_workers(BatchOptions(workers=2), 512) == (2, 4)
    monkeypatch.setattr("impasto.devices.available", lambda device=None: 4 << 30)
    workers, threads = plan_workers(BatchOptions(), 512)
    assert 1 <= workers < 8
    assert threads == 8 // workers


def test_processes_of_this_machine(folders):
    (folders / "photos/broken.jpg").unlink()
    work = items([str(folders / "photos/a.png")], [str(folders / "paintings/x.png")])
    outcomes = list(run(work, folders / "out", BatchOptions(**FEW)))
    assert [outcome.status for outcome in outcomes] == ["done"]
    assert (folders / "out/a--x.png").is_file()
