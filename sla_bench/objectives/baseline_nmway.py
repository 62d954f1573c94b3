"""Control: as many training ways as SLA."""

from __future__ import annotations

from sla_bench.objectives.baseline import Baseline


class BaselineManyWay(Baseline):
    """N*M distinct classes in a training episode (the registry's `way_factor`); the test has N ways."""

    row = "baseline-NMway"
