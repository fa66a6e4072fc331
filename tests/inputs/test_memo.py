"""Results that runs share, so that they are computed once."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import impasto
from impasto import images
from impasto.images import Picture
from impasto.images.regions import Region, StyleSource
from impasto.inputs.memo import Memo, bytes_of, identity
from impasto.losses.statistics import STATISTICS
from impasto.losses.targets import style_losses

KILOBYTE = torch.zeros(256)


def test_a_value_is_computed_once():
    memo, made = Memo(), []
    for _ in range(2):
        assert memo.get(("style", 1), lambda: made.append(1) or 7) == 7
    assert memo.get(("style", 2), lambda: made.append(2) or 8) == 8
    assert made == [1, 2]


def test_what_was_not_used_for_longest_is_dropped():
    memo = Memo(3 * 1024)
    for number in range(3):
        memo.put(("style", number), KILOBYTE)
    memo.get(("style", 0), lambda: pytest.fail("it is there"))
    memo.put(("style", 3), KILOBYTE)
    found = [memo.find(("style", number)) is not None for number in range(4)]
    assert found == [True, False, True, True]


def test_networks_and_vectors_are_always_kept():
    memo = Memo(0)
    for kind in ("encoder", "model", "learnt", "style"):
        memo.put((kind,), KILOBYTE)
    assert [memo.find((kind,)) is not None for kind in ("encoder", "model", "learnt", "style")] == [True] * 3 + [False]
    memo.keep_only("model")
    assert memo.find(("encoder",)) is None
    assert memo.find(("model",)) is not None


def test_threads_wait_for_the_one_that_computes():
    memo, barrier, made = Memo(), threading.Barrier(4), []

    def use():
        barrier.wait()
        return memo.get(("style",), lambda: made.append(1) or 7)

    with ThreadPoolExecutor(4) as executor:
        assert [future.result() for future in [executor.submit(use) for _ in range(4)]] == [7] * 4
    assert made == [1]


def test_a_failure_is_not_kept():
    memo = Memo()
    with pytest.raises(ZeroDivisionError):
        memo.get(("style",), lambda: 1 / 0)
    assert memo.get(("style",), lambda: 7) == 7


def test_what_is_computed_is_told_before():
    memo, kinds = Memo(), []
    view = memo.notifying(kinds.append)
    view.get(("style", 1), lambda: 7)
    view.get(("style", 1), lambda: 7)
    memo.get(("content", 1), lambda: 7)
    assert kinds == ["style"]
    assert memo.find(("style", 1)) == 7


def test_bytes_of_tensors():
    assert bytes_of({"a": [KILOBYTE, (KILOBYTE, None)], "b": Picture(torch.zeros(3, 2, 2))}) == 2 * 1024 + 48


@pytest.mark.parametrize("statistic", STATISTICS)
def test_the_targets_of_style_losses_count(tiny_encoder, statistic):
    painting = StyleSource("painting", torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)).double())
    losses, _ = style_losses(tiny_encoder, Region(None, (painting,)), ["relu4_1"], (16, 16), statistic=statistic)
    assert bytes_of(losses) >= 4 * 8  # at least a number for each of the four channels


class TestIdentity:
    def test_of_a_file_changes_with_the_file(self, tmp_path):
        path = tmp_path / "a.png"
        path.write_bytes(b"one")
        before = identity(path)
        assert before == identity(str(path))
        path.write_bytes(b"two")
        os.utime(path, ns=(1, 1))
        assert identity(path) != before

    def test_of_a_picture_is_that_of_its_values(self):
        rgb = torch.rand(3, 4, 5)
        assert identity(Picture(rgb)) == identity(Picture(rgb.clone()))
        others = [Picture(rgb.flip(0)), Picture(rgb.reshape(3, 5, 4)), Picture(rgb, rgb[0]), b"bytes", "name"]
        assert len({identity(other) for other in [Picture(rgb), *others]}) == 6


def test_an_array_that_changes_in_place_is_read_again(photo):
    """As frames of a camera do, which come in one buffer."""
    array, memo = images.read(photo).to_numpy(), Memo()
    options = impasto.FastOptions(size=32)
    *_, first = impasto.fast.iterate(array, "udnie", options, memo=memo)
    array[:] = array[::-1].copy()
    *_, second = impasto.fast.iterate(array, "udnie", options, memo=memo)
    alone = impasto.fast.stylize(array, "udnie", options)
    assert torch.equal(second.picture.rgb, alone.rgb)
    assert not torch.equal(first.picture.rgb, alone.rgb)


def test_files_that_are_open(photo, tmp_path):
    options = impasto.FastOptions(size=32)
    expected = impasto.fast.stylize(images.read(photo), "udnie", options)
    path = tmp_path / "a.png"
    images.write(path, images.read(photo))
    with path.open("rb") as file:
        assert torch.equal(impasto.fast.stylize(file, "udnie", options).rgb, expected.rgb)
        with pytest.raises(ValueError, match=r"nothing is left to read of the content: .* call its seek\(0\)"):
            impasto.fast.stylize(file, "udnie", options)
        file.seek(0)
        assert torch.equal(impasto.fast.stylize(file, "udnie", options).rgb, expected.rgb)
    with pytest.raises(ValueError, match="cannot be read"):
        images.read(file)
    with open(tmp_path / "a.txt", "w+") as text, pytest.raises(ValueError, match="opened as text"):
        images.read(text)
