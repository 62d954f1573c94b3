"""Short trainings on a device, compared with the same on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.rows import Row
from sla_bench.config import Acceleration
from sla_bench.grids.tasks import form_of, options_model, span
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.base import Training

_EPISODES = (
    "steps=4",
    "validations=1",
    "validation_episodes=4",
    "validation_images=20",
    "images_per_class=4",
)
_EPISODES += ("episodes=20", "jackknife_episodes=0")
_CLASSES = ("batch_size=16", "validations=1", "images_per_class=4")
_SMALL = {"train_ways": 2, "ways": 2, "shots": [1], "train_queries": 2, "queries": 2}
_LIMITS = {"training loss": 5e-3, "weights": 1e-2, "predictions": 0.1}
"""Relative difference of the loss; root mean square of the difference over that of the weights, as in
tests/README.md; part of the test's hits that differ."""


@dataclass(frozen=True)
class Case:
    """A training of four steps and its test.

    Args:
        scenario: its name.
        settings: as of `--set`.
        options: of the scenario.
        how: the backbone is run on the device; on the CPU it is run as it is.
    """

    scenario: str
    settings: Sequence[str]
    options: dict[str, Any]
    how: Acceleration = "eager"


CASES = {
    "fewshot, protonet, SLA": Case("fewshot", _EPISODES, {**_SMALL, "method": ["sla"]}),
    "fewshot, metaoptnet-rr": Case(
        "fewshot", _EPISODES, {**_SMALL, "learner": ["metaoptnet-rr"], "method": ["baseline"]}
    ),
    "standard, SLA+SD": Case("standard", ("steps=4", *_CLASSES), {"method": ["sla+sd"]}),
    "standard, SLA+SD, captured": Case(
        "standard", ("steps=4", *_CLASSES), {"method": ["sla+sd"]}, "captured"
    ),
    "standard, SLA+SD, compiled": Case(
        "standard", ("steps=4", *_CLASSES), {"method": ["sla+sd"]}, "compiled"
    ),
    "imbalanced, LDAM-DRW": Case(
        "imbalanced",
        ("epochs=1", *_CLASSES),
        {"method": ["sla"], "loss": ["ldam-drw"], "max_class_size": 10, "ratio": [5.0]},
    ),
}


def agreement(name: str, device: torch.device, data_root: Path) -> list[Row]:
    """Train a case on the CPU and on the device, and compare loss, weights and predictions.

    Args:
        name: of the case.
        device: where to compute.
        data_root: where images are drawn to.
    """
    case = CASES[name]
    form = form_of(case.scenario)
    given = options_model(form)(budget="smoke", **case.options)
    (task,) = span(form, given.model_dump(), case.settings)
    (test,) = task.evaluations
    scenario = SCENARIOS.load(case.scenario)
    found = []
    ways: tuple[tuple[torch.device, Acceleration], ...] = ((torch.device("cpu"), "eager"), (device, case.how))
    for place, how in ways:
        training: Training = scenario.run(task.run, data_root, place, acceleration=how)
        result = scenario.evaluate(task.run, test, training.state, data_root, place)
        found.append((training, result.samples))
    (ours, samples), (theirs, others) = found
    losses = [training.history[0]["train_loss"] for training in (ours, theirs)]
    values = {
        "training loss": abs(losses[1] - losses[0]) / abs(losses[0]),
        "weights": distance(ours.state, theirs.state),
        "predictions": _part_that_differs(samples, others),
    }
    return [Row("agreement", name, what, value, _LIMITS[what]) for what, value in values.items()]


def distance(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> float:
    """Root mean square of the difference of all weights over that of the weights."""
    floating = [name for name, value in ours.items() if value.is_floating_point()]
    apart = sum(float((ours[n].double() - theirs[n].double()).square().sum()) for n in floating)
    return float((apart / sum(float(ours[n].double().square().sum()) for n in floating)) ** 0.5)


def _part_that_differs(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> float:
    names = [name for name in ours if name.startswith(("hits/", "predictions/"))]
    return float(np.mean([(ours[name] != theirs[name]).mean() for name in names]))
