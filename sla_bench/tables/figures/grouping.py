"""Rows of the leaderboard to titled panels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from sla_bench.tables.figures.dots import DotPanel
from sla_bench.tables.row_key import ROW_KEY
from sla_bench.tables.table_texts import ONE_SEED

# a panel is split by these only where one of its methods would otherwise have several rows
_SPLITS = [
    n for n in ROW_KEY if n not in ("dataset", "data_state", "transform", "setting", "learner", "method")
]
_MOST_ROWS = 24
"""Of more rows in a panel, each transformation has a panel of its own."""


def text_of(value: str | float | None) -> str:
    """A value of a leaderboard column as a word of a title; empty where there is none."""
    if pd.isna(value):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def titled_groups(
    rows: pd.DataFrame, named: Sequence[str], further: Sequence[str]
) -> list[tuple[str, pd.DataFrame]]:
    """Split rows into groups of one training and setting, with a title that tells them apart.

    Args:
        rows: of the leaderboard, any number.
        named: columns whose values are always in the title.
        further: columns that split too and are in the title where they vary.
    """
    varying = [column for column in further if rows[column].nunique(dropna=False) > 1]
    found = []
    for _, part in rows.groupby([*named, *varying], sort=False, dropna=False):
        first = part.iloc[0]
        words = [text_of(first[column]) for column in named]
        words += [f"{c.replace('_', ' ')} {text_of(first[c])}" for c in varying if text_of(first[c])]
        found.append((", ".join(filter(None, words)), part))
    return found


def dot_panels(
    rows: pd.DataFrame,
    keys: Sequence[str],
    columns: Sequence[str],
    wider: Sequence[str] = (),
) -> list[DotPanel]:
    """Split leaderboard rows into panels, in the order of the rows; all panels have one order of methods.

    Args:
        rows: rows of the leaderboard, each with a value.
        keys: columns that make a panel; the title names all but the reference, which stands below it.
        columns: value, low, high.
        wider: low, high of a second interval, where there is one.
    """
    rows = rows.reset_index(drop=True)
    several = rows.groupby([*keys, "method"], dropna=False, sort=False).nunique(dropna=False).max()
    splits = [*keys, *(c for c in _SPLITS if c not in keys and several.get(c, 1) > 1)]
    identity = [*splits, "method"]
    views = rows.groupby(identity, dropna=False, sort=False)["transform"].nunique(dropna=False)
    within = ["transform"] if views.max() > 1 else []
    rows = rows.drop_duplicates([*identity, *within])
    if within and rows.groupby(splits, dropna=False).size().max() > _MOST_ROWS:
        splits, within = [*splits, *within], []
    rank = {method: place for place, method in enumerate(rows["method"].unique())}
    rows = rows.sort_values("method", key=lambda column: column.map(rank), kind="stable")
    panels = {}
    for _, group in rows.groupby(splits, dropna=False, sort=False):
        key = {column: text_of(group[column].iloc[0]) for column in splits}
        named = [
            word if column in keys else f"{column.replace('_', ' ')} {word}"
            for column, word in key.items()
            if column != "reference" and word
        ]
        panels[group.index.min()] = DotPanel(
            title=", ".join(named),
            labels=[
                ", ".join(filter(None, map(text_of, words)))
                for words in group[["method", *within]].itertuples(index=False)
            ],
            values=group[list(columns)].to_numpy(dtype=np.float64),
            alone=(group["interval_kind"] == ONE_SEED).to_numpy(),
            is_sla=group["is_sla"].to_numpy(bool),
            wider=group[list(wider)].to_numpy(np.float64) if wider else np.full((len(group), 2), np.nan),
            below=f"against {key['reference']}" if "reference" in key else "",
            key=key,
            ways=None if pd.isna(ways := group["ways"].iloc[0]) else int(ways),
            averaged=group["averages_views"].to_numpy(bool),
        )
    return [panels[first] for first in sorted(panels)]
