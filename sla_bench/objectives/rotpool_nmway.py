"""Control: task augmentation, each view of a class is a class of its own."""

from __future__ import annotations

from sla_bench.objectives.baseline import Baseline


class RotatedPool(Baseline):
    """N*M of the C*M pairs (class, view) in a training episode (the registry's `pools_views`)."""

    row = "rotpool-NMway"
