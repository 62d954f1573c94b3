"""Control: an ensemble as expensive at test as SLA's aggregation."""

from __future__ import annotations

from sla_bench.objectives.baseline import Baseline, BaselineClassifier
from sla_bench.objectives.classifier_base import Classes
from sla_bench.transforms import Transform


class Ensemble(Baseline):
    """M baselines of disjoint seeds, their logits averaged: M times the training and M times the test."""

    row = "ens-M"

    def __init__(self, transform: Transform) -> None:
        self.members = transform.num_views
        super().__init__(transform)


class EnsembleClassifier(BaselineClassifier):
    """M baselines of disjoint seeds, their scores averaged: M times the training and M times the test."""

    row = "ens-M"

    def __init__(self, num_features: int, classes: Classes, transform: Transform) -> None:
        super().__init__(num_features, classes, transform)
        self.members = transform.num_views
