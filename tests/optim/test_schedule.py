"""Sizes and iterations."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.optim.schedule import plan


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), iterations=st.integers(1, 1000))
def test_properties(height, width, iterations):
    scales = plan(height, width, iterations)
    assert (scales[-1].height, scales[-1].width, scales[-1].evaluations) == (height, width, iterations)
    for coarse, fine in pairwise(scales):
        assert 1 < max(fine.height, fine.width) / max(coarse.height, coarse.width) <= 2.05
        assert coarse.evaluations >= fine.evaluations
    if len(scales) > 1:
        assert min(scales[0].height, scales[0].width) >= 60


def test_the_usual():
    assert [(s.width, s.height) for s in plan(384, 512, 50)] == [(128, 96), (256, 192), (512, 384)]
    assert [(s.width, s.height) for s in plan(384, 512, 50, scales=1)] == [(512, 384)]
    assert [s.width for s in plan(384, 512, 50, scales=2)] == [256, 512]
    assert len(plan(384, 512, 50, scales=5)) == 5
    assert [s.width for s in plan(100, 100, 5)] == [100]


@pytest.mark.parametrize("scales", [1, 2, 4])
def test_iterations_are_those_of_the_last_scale(scales):
    assert plan(300, 400, 37, scales)[-1].evaluations == 37


def test_coarser_scales_get_more_but_not_more_than_is_enough():
    assert [s.evaluations for s in plan(384, 512, 50)] == [100, 100, 50]
    assert [s.evaluations for s in plan(384, 512, 70)] == [100, 100, 70]
    assert [s.evaluations for s in plan(384, 512, 500)] == [500, 500, 500]
