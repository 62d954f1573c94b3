"""Kinds of device that runs were trained on, and a note where a table mixes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sla_bench.harness.store import RunRecord
from sla_bench.reporting.reading import Row
from sla_bench.streams import one_line

_SEPARATOR = "; "


def kind_of_device(environment: Mapping[str, Any]) -> str:
    """Name what decides how the sums of a training are rounded, in one line, as in "AMD EPYC, AVX2, bf16".

    The GPU, or else the processor with the instructions that torch and bf16 use: several generations may have
    one name. Older records lack `cpu_capability`; their kind is what they have.

    Args:
        environment: as from `harness.environment.describe`; any content is taken.
    """
    bf16 = "bf16" if environment.get("bf16_instructions") is True else None
    processor = [environment.get("processor"), environment.get("cpu_capability"), bf16]
    parts = [environment["gpu"]] if environment.get("gpu") else processor
    words = ", ".join(part for part in parts if isinstance(part, str) and part)
    return one_line(words).replace(_SEPARATOR.strip(), ",") or "not recorded"


def devices_of(records: Sequence[RunRecord]) -> str:
    """The kind of each run, in their order, or the one kind of all: a cell of the leaderboard."""
    kinds = [kind_of_device(record.environment) for record in records]
    return _SEPARATOR.join(kinds if len(set(kinds)) > 1 else kinds[:1])


def notes_on_devices(rows: Iterable[Row]) -> list[str]:
    """A sentence where the runs of some rows were not all trained on one kind of device."""
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
