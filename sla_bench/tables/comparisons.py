"""A row's comparison: equal costs, device kinds, published values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pandas as pd

from sla_bench.records.store import RunRecord
from sla_bench.registry import DATASETS
from sla_bench.scenarios.form import TOLERANCE, drawn_share
from sla_bench.scenarios.reading import Row
from sla_bench.tables.row_key import BASELINE
from sla_bench.words import one_line

_TUNED = "both tuned"
_EQUAL_IMAGES = "equal images"
NO_TRAINING = "no training"


@dataclass(frozen=True)
class Cost:
    """What a training took.

    Args:
        images: through the network, of all members.
        drawn: of them, each counted once for all its views and copies.
        updates: of the optimiser, of each member.
        batch: images through the network in an update.
        epochs: how often each member drew each of its training images, on average; None where the record
            does not say how many there are.
    """

    images: int
    drawn: int
    updates: int
    batch: int
    epochs: float | None = None


def cost_of(record: RunRecord) -> Cost:
    """Read the cost of a training off its record."""
    images, updates = int(record.done["train_images"]), record.updates
    drawn = int(images * drawn_share(record.config))
    # A history that was written elsewhere may count its steps from 0.
    pool = record.done.get("training_images") or sum(record.done.get("class_counts", ()))
    epochs = drawn / len(updates) / pool if pool else None
    return Cost(images, drawn, max(updates), round(images / max(1, sum(updates))), epochs)


def comparison(ours: Cost, theirs: Cost, tuned: bool) -> str:
    """Say what two rows have in common: "equal images, updates and batch", "4 x the images, equal updates".

    Args:
        ours: of a row.
        theirs: of its reference.
        tuned: rate and batch of both were chosen on validation data.
    """
    if ours.images == theirs.images == 0:
        return NO_TRAINING
    same = [
        name for name in ("images", "updates", "batch") if _equal(getattr(ours, name), getattr(theirs, name))
    ]
    if "images" in same:
        words = [_EQUAL_IMAGES if tuned else f"equal {_joined(same)}"]
    else:
        words = [f"{ours.images / max(theirs.images, 1):.2g} x the images"]
        words += [f"equal {_joined(same)}"] if same and not tuned else []
    return ", ".join([*words, _TUNED] if tuned else words)


def is_matched_and_tuned(words: str | None) -> bool:
    """Say whether a comparison, in its words, is one that a verdict can rest on.

    Without a training there is no rate to tune: features of a frozen network, and heads that are fitted.
    """
    return words in (f"{_EQUAL_IMAGES}, {_TUNED}", NO_TRAINING)


def _equal(one: int, other: int) -> bool:
    return abs(one - other) <= TOLERANCE * max(one, other)


def _joined(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


_SEPARATOR = "; "


def kind_of_device(environment: Mapping[str, Any]) -> str:
    """Name the device that rounded the sums of a training, in one line, as in "AMD EPYC, AVX2, bf16".

    A GPU is named alone. A processor is named with the instructions that torch and bf16 use, since several
    generations share a name, and with threads if they were more than one; a backbone that was compiled or
    captured is told, too. Records without `cpu_capability` are named by the other values.

    Args:
        environment: as from `records.environment.describe`; any content is taken.
    """
    bf16 = "bf16" if environment.get("bf16_instructions") is True else None
    count = environment.get("threads", 1)
    threads = f"{count} threads" if isinstance(count, int) and count > 1 else None
    processor = [environment.get("processor"), environment.get("cpu_capability"), bf16, threads]
    how = environment.get("acceleration")
    accelerated = how if how in ("compiled", "captured") else None
    parts = [*([environment["gpu"]] if environment.get("gpu") else processor), accelerated]
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


_KEY = ("scenario", "dataset", "setting", "learner", "method", "backbone")


def published_figures() -> pd.DataFrame:
    """Values of the paper, its baselines and relatives, each with source and status.

    `departures` is how the published training differs from budget `paper`, in the words of a table.
    """
    with (resources.files("sla_bench.tables") / "published.csv").open() as file:
        return pd.read_csv(file).fillna({"departures": ""})


class PublishedValues:
    """Finds the published accuracy of a setting; the file is read once."""

    def __init__(self) -> None:
        table = published_figures()
        self._known: dict[tuple[str, ...], list[tuple[str, float, str]]] = {}
        names = table[list(_KEY)].itertuples(index=False, name=None)
        values = table[["departures", "accuracy", "status"]].itertuples(index=False, name=None)
        for name, value in zip(names, values, strict=True):
            self._known.setdefault(name, []).append(value)

    def beside(self, key: Mapping[str, Any], training: Mapping[str, str]) -> dict[str, Any]:
        """Return the published accuracy in % of the same setting, its status, and what differs from ours.

        Args:
            key: the columns that identify a row.
            training: column -> what it says of the published trainings.

        Returns:
            Columns `published`, `published_status` and `published_differs`; empty where nothing is known.
        """
        setting = {**key, "dataset": DATASETS.like(key["dataset"])}
        wanted = tuple(setting[name] for name in _KEY)
        found = self._known.get(wanted) if key["metric"] == "accuracy" else None
        if found is None:
            return {}
        usual = training.get("budget", "")
        budgets = [f"{usual}, {departures}" if departures else usual for departures, _, _ in found]
        one = budgets.index(key["budget"]) if key.get("budget") in budgets else 0
        training = {**training, "budget": budgets[one]} if training else training
        differs = [name for name, value in training.items() if key[name] != value]
        if key["method"] == BASELINE and "transform" in differs:
            differs.remove("transform")
        _, accuracy, status = found[one]
        return {
            "published": float(accuracy),
            "published_status": str(status),
            "published_differs": ", ".join(differs) or None,
        }
