"""The planned idle time of a committed grid, and the count of operations."""

import pytest

from benchmarks.speed import limits


@pytest.mark.slow
def test_two_cores_idle_for_less_than_a_twentieth_of_the_few_shot_grid(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("sla_bench.records.planning.usable_cores", lambda: 2)
    (cost,) = limits.plan_part()
    assert 0 <= cost.value <= 5


@pytest.mark.slow
def test_operations_of_a_step_are_three_times_those_of_a_forward_pass(monkeypatch):
    monkeypatch.setattr(limits, "BATCH", 4)
    # Conv-4 on images of 32 px, in closed form: 3x3 convolutions at 32, 16, 8 and 4 px, then the classifier.
    forward = [9 * 2 * inputs * 64 * size**2 for inputs, size in ((3, 32), (64, 16), (64, 8), (64, 4))]
    linear = 2 * 256 * limits.CLASSES
    # No gradient of the images is computed.
    expected = 4 * (3 * sum(forward) - forward[0] + 3 * linear)
    assert limits.operations("conv4") == pytest.approx(expected, rel=1e-6)
