"""Device kinds of runs, and a note on tables that mix them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sla_bench.records.store import RunRecord
from sla_bench.scenarios.reading import Row
from sla_bench.streams import one_line

_SEPARATOR = "; "


def kind_of_device(environment: Mapping[str, Any]) -> str:
    """Name the device that rounded the sums of a training, in one line, as in "AMD EPYC, AVX2, bf16".

    A GPU is named alone. A processor is named with the instructions that torch and bf16 use, since several
    generations share a name. Records without `cpu_capability` are named by the other two values.

    Args:
        environment: as from `harness.environment.describe`; any content is taken.
    """
    bf16 = "bf16" if environment.get("bf16_instructions") is True else None
    processor = [environment.get("processor"), environment.get("cpu_capability"), bf16]
    parts = [environment["gpu"]] if environment.get("gpu") else processor
    words = ", ".join(part for part in parts if isinstance(part, str) and part)
    return one_line(words).replace(_SEPARATOR.strip(), ",") or "not recorded"


def devices_of(records: Sequence[RunRecord]) -> str:
    """The kinds of the runs in their order, or once the kind that all share: a cell of the leaderboard."""
    kinds = [kind_of_device(record.environment) for record in records]
    return _SEPARATOR.join(kinds if len(set(kinds)) > 1 else kinds[:1])


def notes_on_devices(rows: Iterable[Row]) -> list[str]:
    """A sentence if the runs of some rows were trained on more than one kind of device."""
    kinds: dict[str, str] = {}
    for row in rows:
        ids, own = row["run_ids"].split(), row["devices"].split(_SEPARATOR)
        kinds |= zip(ids, own if len(own) > 1 else own * len(ids), strict=True)
    runs = Counter(kinds.values())
    if len(runs) < 2:
        return []
    named = _SEPARATOR.join(f"{kind} ({n} run{'s' * (n > 1)})" for kind, n in runs.most_common())
    sentence = (
        f"Trained on {len(runs)} kinds of device: {named}. The same run on another kind may differ in some "
        "images: 86.36 and 86.49 % in one case."
    )
    return [sentence]
