"""benchmarks/speed/time_to_accuracy.py trains longer until the accuracy is reached, and no longer."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from real_formats import write_cifar10

from benchmarks.speed import time_to_accuracy
from benchmarks.speed.time_to_accuracy import TARGETS, accuracy, costs_of, trained

SMALL = replace(
    TARGETS["standard"],
    command=("standard", "--dataset=cifar10", "--method=baseline", "--budget=smoke"),
    threads=1,
    seeds=2,
)


@pytest.mark.slow
def test_accuracy_is_the_share_of_hits(tmp_path):
    write_cifar10(tmp_path)
    records = trained(SMALL, 4, tmp_path, tmp_path / "out")
    assert [r.config.steps for r in records] == [4, 4]
    samples = [e.samples for r in records for e in r.evaluations]
    hits = [np.mean(s["predictions/baseline"] == s["labels"]) for s in samples]
    assert accuracy(records) == pytest.approx(100 * sum(hits) / 2)


def test_training_grows_until_the_accuracy_is_reached(monkeypatch):
    lengths = []

    def train(target, length, data_root, out):
        lengths.append(length)
        test = SimpleNamespace(metrics={"baseline": {"accuracy": length / 1e4}})
        seconds = [3.0 * length, length, 2.0 * length]
        return [SimpleNamespace(evaluations=[test], done={"train_seconds": s}) for s in seconds]

    monkeypatch.setattr(time_to_accuracy, "trained", train)
    costs = list(costs_of(replace(SMALL, accuracy=(60.0, "-"), lengths=(3000, 7000, 9000)), None))
    assert lengths == [3000, 7000]
    assert [(c.what, round(c.value)) for c in costs] == [
        ("accuracy after 3,000 steps", 30),
        ("3,000 steps on 1 core", 6000),
        ("accuracy after 7,000 steps", 70),
        ("7,000 steps on 1 core", 14_000),
    ]
    assert (costs[3].low, costs[3].high) == (7000, 21_000)
