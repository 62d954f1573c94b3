"""A setting's best row and those that tie with it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sla_bench.evaluation.ties import p_behind, tied
from sla_bench.tables.cells import Cell, shared_classes, stacked

BEST, TIED, BEHIND = "best", "tied", "behind"


def best_group(cells: Iterable[Cell]) -> dict[str, str]:
    """Compare each row with the best one.

    Rows that repeat another to the last answer count once. Few-shot rows are compared for other test
    classes, as verdicts are.

    Args:
        cells: of one setting.

    Returns:
        Method -> BEST, TIED or BEHIND; rows of one seed, and rows whose seeds differ in nothing, are
        missing.
    """
    rows = [cell for cell in cells if cell.key["metric"] == "accuracy" and len(cell.seeds) > 1]
    if len(rows) < 2:
        return {}
    means = [float(np.mean([cell.values[seed].value for seed in cell.seeds])) for cell in rows]
    best = rows[int(np.argmax(means))]
    found: dict[bytes, list[Cell]] = {}
    p_values: dict[bytes, float] = {}
    for cell in rows:
        if cell is best:
            continue
        p = _p_behind(best, cell)
        if p is not None:
            content = stacked([cell.values[seed] for seed in cell.seeds]).tobytes()
            found.setdefault(content, []).append(cell)
            p_values[content] = p
    if not found:
        return {}
    words = {best.key["method"]: BEST}
    for content, is_tied in zip(found, tied(list(p_values.values())).tolist(), strict=True):
        words |= {cell.key["method"]: TIED if is_tied else BEHIND for cell in found[content]}
    return words


def _p_behind(best: Cell, cell: Cell) -> float | None:
    """On the seeds of both; None where there is no interval."""
    seeds = best.seeds_shared_with(cell)
    if len(seeds) < 2:
        return None
    top, own = [best.values[seed] for seed in seeds], [cell.values[seed] for seed in seeds]
    values = [*top, *own]
    if cell.reading.tests_new_classes and any(one.classes is None for one in values):
        return None
    return p_behind(stacked(top), stacked(own), strata=own[0].strata, classes=shared_classes(values))
