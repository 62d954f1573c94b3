"""Control: batches as large as SLA's."""

from __future__ import annotations

from sla_bench.objectives.baseline import BaselineClassifier
from sla_bench.objectives.classifier_base import Classes
from sla_bench.objectives.da import DataAugmentation
from sla_bench.transforms import Transform


class BaselineRepeated(DataAugmentation):
    """Equal steps, each image M times in a batch with its own crop and flip, all under the image's label."""

    row = "baseline-repM"
    trains_on_views = False

    def __init__(self, transform: Transform) -> None:
        super().__init__(transform)
        self.copies = transform.num_views


class BaselineRepeatedClassifier(BaselineClassifier):
    """Equal steps, each image M times in a batch with its own crop and flip."""

    row = "baseline-repM"

    def __init__(self, num_features: int, classes: Classes, transform: Transform) -> None:
        super().__init__(num_features, classes, transform)
        self.copies = transform.num_views
