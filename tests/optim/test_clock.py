"""The time that is left: estimated by what evaluations took, on a simulated machine."""

import pytest

from impasto.optim import clock
from impasto.optim.clock import Clock
from impasto.optim.schedule import plan

SCALES = plan(341, 512, 50)  # 200, 100 and 50 evaluations


class Machine:
    """A run on a machine whose evaluations take so many seconds; time is simulated."""

    def __init__(self, monkeypatch, cost, preparation=lambda scale: 0.0, scales=SCALES, budget=None):
        self.now, self.cost, self.preparation, self.scales = 1000.0, cost, preparation, scales
        monkeypatch.setattr(clock.time, "monotonic", lambda: self.now)
        self.clock = Clock(self.now, budget, scales)

    def run(self):
        """(seconds, estimated seconds left, scale, evaluations of the scale) at every evaluation."""
        for index, scale in enumerate(self.scales):
            if index and not self.clock.enter(index):
                return
            self.now += self.preparation(scale)
            for done in range(1, scale.evaluations + 1):
                self.now += self.cost(scale)
                self.clock.tick(index, done)
                yield self.clock.seconds, self.clock.eta(index, done, False), index, done
                if self.clock.is_over(index):
                    break


def linear(seconds_per_pixel, overhead):
    return lambda scale: seconds_per_pixel * (scale.pixels + overhead)


@pytest.mark.parametrize("overhead", [9000, 17_000, 26_000])
@pytest.mark.parametrize("speed", [3e-6, 12e-6])
@pytest.mark.parametrize("beginning", [0.2, 6.0])
def test_within_a_quarter_from_the_tenth_second_on(monkeypatch, overhead, speed, beginning):
    def preparation(scale):
        return (beginning if scale is SCALES[0] else 0.0) + 2 * linear(speed, overhead)(scale)

    found = list(Machine(monkeypatch, linear(speed, overhead), preparation).run())
    end = found[-1][0]
    for seconds, eta, _, _ in found:
        if seconds >= 10:
            assert eta == pytest.approx(end - seconds, rel=0.25, abs=2.0)
    assert found[-1][1] == 0


def test_preparation_does_not_count_as_pace(monkeypatch):
    """Ten seconds of preparation before evaluations of a hundredth of a second."""
    found = list(Machine(monkeypatch, lambda scale: 0.01, lambda scale: 10.0, SCALES[:1]).run())
    assert found[1][1] == pytest.approx(0.01 * (SCALES[0].evaluations - 2), rel=1e-6)


def test_a_cost_that_grows_faster_than_pixels_is_noticed_at_the_second_scale(monkeypatch):
    found = list(Machine(monkeypatch, lambda scale: 1e-9 * scale.pixels**2).run())
    end = found[-1][0]
    for seconds, eta, index, done in found:
        if index == 1 and done > 10:
            assert eta == pytest.approx(end - seconds, rel=0.25)


def test_the_recent_pace_counts(monkeypatch):
    """Others use the machine for a while."""
    machine = Machine(monkeypatch, linear(3e-6, 17_000))
    busy = machine.cost
    machine.cost = lambda scale: busy(scale) * (4 if machine.now < 1004 else 1)
    found = list(machine.run())
    end = found[-1][0]
    for seconds, eta, _, _ in found:
        if seconds > 5:
            assert eta == pytest.approx(end - seconds, rel=0.25, abs=2.0)


def test_a_budget_is_kept_and_shared_out(monkeypatch):
    found = list(Machine(monkeypatch, linear(12e-6, 17_000), budget=60.0).run())
    assert 40 < found[-1][0] <= 60
    assert {index for _, _, index, _ in found} == {0, 1, 2}
    assert all(seconds + eta <= 60 + 1e-6 for seconds, eta, _, _ in found)


def test_no_scale_is_begun_without_time_for_it(monkeypatch):
    found = list(Machine(monkeypatch, linear(7 / 27_880, 17_000), budget=60.0).run())
    assert {index for _, _, index, _ in found} == {0}


def test_resumed(monkeypatch):
    machine = Machine(monkeypatch, linear(3e-6, 17_000))
    machine.clock.resume(1, 100.0, 80.0)
    machine.now += 0.2
    machine.clock.tick(1, 60)
    assert machine.clock.seconds == pytest.approx(100.2)
    assert machine.clock.eta(1, 60, False) > 0
