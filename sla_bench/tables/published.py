"""Published values, and differences between our rows and their training."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from typing import Any

import pandas as pd

from sla_bench.registry import DATASETS
from sla_bench.tables.row_key import BASELINE

_KEY = ("scenario", "dataset", "setting", "learner", "method", "backbone")


def published_figures() -> pd.DataFrame:
    """Figures of the paper and of its baselines, each with source and status."""
    with (resources.files("sla_bench.tables") / "published.csv").open() as file:
        return pd.read_csv(file)


class PublishedFigures:
    """Finds the published accuracy of a setting; the file is read once."""

    def __init__(self) -> None:
        table = published_figures()
        names = table[list(_KEY)].itertuples(index=False, name=None)
        self._known = dict(zip(names, zip(table["accuracy"], table["status"], strict=True), strict=True))

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
        differs = [name for name, value in training.items() if key[name] != value]
        if key["method"] == BASELINE and "transform" in differs:
            differs.remove("transform")
        accuracy, status = found
        return {
            "published": float(accuracy),
            "published_status": str(status),
            "published_differs": ", ".join(differs) or None,
        }
