"""The optimisers on functions whose minimum is known, and when numbers go wrong."""

import gc
import itertools

import pytest
import torch
from torch.testing import assert_close

from impasto.optim.canvas import LocalCanvas
from impasto.optim.solvers import IMAGES_HELD, MAX_BACKTRACKS, SOLVERS, Evaluation, State, adam, lbfgs


def on_tensors(objective):
    """An objective of tensors as solvers take it."""

    def of_canvas(canvas):
        loss, terms, gradient = objective(canvas.tensor)
        return Evaluation(loss, terms, LocalCanvas(gradient))

    return of_canvas


def from_(start):
    return State(LocalCanvas(start))


def quadratic(scale=1.0, condition=1e3):
    """A bowl with its minimum inside the box, axes of very different steepness."""
    curvature = scale * torch.logspace(0, torch.log10(torch.tensor(condition)).item(), 48).view(1, 3, 4, 4)
    target = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 0.8 + 0.1

    def objective(image):
        error = image - target
        loss = (curvature * error.square()).sum() / 2
        return loss.item(), {"bowl": loss.item()}, curvature * error

    return on_tensors(objective), target


START = torch.full((1, 3, 4, 4), 0.5)


def last(points, evaluations):
    for point in points:
        if point.evaluations >= evaluations:
            break
    return point


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_lbfgs_finds_the_minimum_at_any_scale(scale):
    objective, target = quadratic(scale)
    point = last(lbfgs(objective, from_(START)), 200)
    assert_close(point.canvas.tensor, target, rtol=0, atol=1e-3)


def test_lbfgs_never_rises():
    objective, _ = quadratic()
    losses = [p.loss for p in itertools.islice(lbfgs(objective, from_(START)), 60)]
    assert all(after < before for before, after in itertools.pairwise(losses))


def test_adam_finds_the_minimum():
    objective, target = quadratic(condition=10)
    assert_close(last(adam(objective, from_(START), rate=0.01), 600).canvas.tensor, target, rtol=0, atol=5e-3)


def test_adam_steps_after_each_evaluation():
    """The loss of an iterate is that of the picture before it; the very first is that of the start."""
    objective, _ = quadratic(condition=10)
    points = list(itertools.islice(adam(objective, from_(START)), 4))
    pictures = [START, *(point.canvas.tensor for point in points)]
    assert [point.loss for point in points] == [objective(LocalCanvas(picture)).loss for picture in pictures[:-1]]
    assert [point.evaluations for point in points] == [1, 2, 3, 4]


def test_adam_steps_back_to_where_the_loss_was_finite():
    objective, _ = quadratic(condition=10)
    calls, seen = itertools.count(), []

    def poisoned(canvas):
        seen.append(canvas.tensor)
        found = objective(canvas)
        return Evaluation(float("nan"), {}, found.gradient) if next(calls) == 3 else found

    list(itertools.islice(adam(poisoned, from_(START)), 4))
    assert_close(seen[4], seen[2], rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", list(SOLVERS))
def test_bounds_hold_and_the_rest_still_arrives(method):
    """A minimum outside the box: the pixels that want out stop at the bound, the others do not notice."""
    target = torch.linspace(-0.5, 1.5, 48).view(1, 3, 4, 4)

    def objective(image):
        return (image - target).square().sum().item(), {}, 2 * (image - target)

    point = last(SOLVERS[method](on_tensors(objective), from_(START), 10, 0.02), 300)
    assert_close(point.canvas.tensor, target.clamp(0, 1), rtol=0, atol=2e-3)


@pytest.mark.parametrize("method", list(SOLVERS))
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_one_bad_evaluation_is_survived(method, poison):
    objective, target = quadratic(condition=10)
    calls = itertools.count()

    def poisoned(canvas):
        found = objective(canvas)
        if next(calls) == 7:
            return Evaluation(poison, {"bowl": poison}, LocalCanvas(found.gradient.tensor * poison))
        return found

    points = list(itertools.takewhile(lambda p: p.evaluations < 400, SOLVERS[method](poisoned, from_(START), 10, 0.01)))
    assert all(point.is_finite for point in points)
    assert_close(points[-1].canvas.tensor, target, rtol=0, atol=1e-2)


@pytest.mark.parametrize("method", list(SOLVERS))
def test_when_nothing_is_finite_any_more_the_best_is_kept_and_said(method):
    objective, _ = quadratic()

    def cliff(canvas):
        good = objective(canvas)
        return good if calls_left() else Evaluation(float("nan"), {}, good.gradient)

    counter = itertools.count()

    def calls_left():
        return next(counter) < 6

    points = list(SOLVERS[method](cliff, from_(START), 10, 0.01))
    assert "finite" in points[-1].note
    assert points[-1].is_finite
    assert points[-1].loss == min(point.loss for point in points)
    assert points[-1].evaluations <= 6 + 2 * MAX_BACKTRACKS


@pytest.mark.parametrize("method", list(SOLVERS))
def test_a_bad_start_is_said(method):
    points = list(SOLVERS[method](lambda x: Evaluation(float("nan"), {}, x), from_(START), 10, 0.02))
    assert [bool(point.note) for point in points] == [True]


def test_lbfgs_ends_at_a_minimum():
    objective, target = quadratic()
    points = list(lbfgs(objective, from_(target)))
    assert points[-1].note == "no step lowers the loss any more"
    assert len(points) <= 3


@pytest.mark.parametrize("method", list(SOLVERS))
def test_the_start_is_left_alone_and_nothing_is_shared(method):
    objective, _ = quadratic()
    start = START.clone()
    points = list(itertools.islice(SOLVERS[method](objective, from_(start), 10, 0.02), 5))
    assert_close(start, START)
    assert len({point.canvas.tensor.data_ptr() for point in points}) == 5


@pytest.mark.parametrize(("method", "history"), [("adam", 1), ("lbfgs", 1), ("lbfgs", 4)])
def test_no_more_images_are_held_than_memory_plans_count(method, history):
    """Also where a step fails and is made smaller."""
    curvature = torch.rand(1, 3, 16, 17, generator=torch.Generator().manual_seed(0)) * 10 + 0.1
    most = [0]

    def objective(image):
        error = image - 0.3
        gradient = curvature * error
        loss = (gradient * error).sum().item()
        del error
        pictures = {
            thing.untyped_storage().data_ptr()
            for thing in gc.get_objects()
            if type(thing) is torch.Tensor and thing.shape == curvature.shape
        }
        most[0] = max(most[0], len(pictures) - 1)
        return loss * 1e3 if len(tried) == 7 else loss, {}, gradient

    tried = []
    for point in SOLVERS[method](on_tensors(objective), from_(torch.full((1, 3, 16, 17), 0.5)), history, 0.02):
        tried.append(point.evaluations)
        if point.evaluations > 12:
            break
    held, each = IMAGES_HELD[method]
    assert most[0] <= 1 + held + each * history
