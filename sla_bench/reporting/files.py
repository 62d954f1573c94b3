"""Writes leaderboard and plots of a store below results/<scenario>/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from sla_bench.datasets.named import dataset_named
from sla_bench.harness.files import write_text
from sla_bench.harness.store import RunRecord, Store
from sla_bench.reporting.leaderboard import leaderboard


def write_leaderboard(store: Store) -> pd.DataFrame:
    """Write leaderboard.csv and leaderboard.md from all records; return the table.

    Raises:
        UserError: records of different protocols, or the files can't be written.
    """
    table = leaderboard(store.records())
    guarded = table.apply(lambda column: column.map(escape_formula))
    write_text(store.folder / "leaderboard.csv", guarded.to_csv(index=False, float_format="%.6g"))
    write_text(store.folder / "leaderboard.md", markdown(table))
    return table


def write_plots(store: Store, table: pd.DataFrame) -> list[Path]:
    """Draw gains, accuracies and learning curves as PNG and SVG; return their paths."""
    from sla_bench.reporting.plots import plot_accuracies, plot_gains, plot_learning_curves

    if table.empty:
        return []
    paths = plot_accuracies(table, store.folder / "accuracies")
    if table["relative_gain_pct"].notna().any():
        paths += plot_gains(table, store.folder / "gains")
    curves = histories(store.records())
    if not curves.empty:
        paths += plot_learning_curves(curves, store.folder / "learning_curves")
    return paths


def histories(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Join the histories of all records (of an ensemble: its first member) and say whose they are."""
    parts = []
    for record in records:
        config = record.config
        about = {
            "label": f"{config.method} {config.transform or ''} {record.run_id[:4]}".replace("  ", " "),
            "dataset": config.dataset,
            "learner": config.learner,
            "method": config.method,
            "transform": config.transform,
            "train_shots": config.train_shots,
            "seed": config.seed,
        }
        members = record.history.groupby("member")
        history = members.get_group(0).copy()
        images = record.done["train_images"] / len(members)
        history["images"] = history["step"] / history["step"].max() * images
        parts.append(history.assign(**about))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def escape_formula(value: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would take for a formula."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def markdown(table: pd.DataFrame) -> str:
    """The leaderboard as Markdown, one table per data set and budget."""
    lines = ["# Leaderboard", ""]
    if table.empty:
        return "\n".join([*lines, "No finished runs yet.", ""])
    for note in notes(table):
        lines += [note, ""]
    for (dataset, budget, backbone), part in table.groupby(["dataset", "budget", "backbone"], sort=False):
        lines += [f"## {dataset}, {backbone}, budget {budget}", ""]
        lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
        for _, row in part.iterrows():
            cells = [str(c).replace("|", "\\|") for c in cells_of(row)]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


MANY_SPLITS = 10


def notes(table: pd.DataFrame) -> list[str]:
    """What a reader of the table has to know about its intervals."""
    found = []
    if table["seeds"].min() == 1:
        found.append(
            "One seed: one trained model per method; the interval covers test sampling only, "
            "seed variation is not in it."
        )
    if table["budget"].str.startswith("smoke").any():
        found.append("Budget smoke only shows that everything runs: weak baselines inflate relative gains.")
    few = table[table["seeds"] < MANY_SPLITS]["dataset"].unique()
    found += [
        f"{name} has no fixed classes for training and test: the seed splits them. Fewer than {MANY_SPLITS} "
        "splits are a demonstration, not a result."
        for name in few
        if dataset_named(name).split_depends_on_seed
    ]
    return found


HEADINGS = (
    "setting",
    "learner",
    "method",
    "accuracy %",
    "open +-",
    "against",
    "gain %",
    "95 % interval",
    "p (Holm)",
    "seeds",
    "train images",
    "train s",
    "passes",
    "published",
)


def cells_of(row: pd.Series) -> list[str]:
    """The texts of one row of a table for people, in the order of HEADINGS."""

    def number(value: object, form: str) -> str:
        return "" if value is None or pd.isna(value) else format(value, form)  # type: ignore[call-overload]

    half = (row["ci95_high"] - row["ci95_low"]) / 2
    interval = ""
    if pd.notna(row["gain_ci95_low"]):
        interval = f"{row['gain_ci95_low']:+.1f} to {row['gain_ci95_high']:+.1f}"
    published = ""
    if pd.notna(row["published"]):
        unsure = "" if row["published_status"] == "verified" else f" ({row['published_status']})"
        published = f"{row['published']:.2f}{unsure}"
    shots = (
        f", trained {row['train_shots']}-shot" if f" {row['train_shots']}-shot" not in row["setting"] else ""
    )
    return [
        f"{row['setting']}{shots}",
        row["learner"],
        row["method"],
        f"{row['value']:.2f} +- {half:.2f}",
        number(row["ci95_open"], ".1f"),
        row["reference"] if isinstance(row["reference"], str) else "",
        number(row["relative_gain_pct"], "+.1f"),
        interval,
        number(row["p_holm"], ".2g"),
        str(row["seeds"]),
        number(row["train_images"], ",.0f"),
        number(row["train_seconds"], ".0f"),
        f"{row['support_passes']}/{row['query_passes']}",
        published,
    ]


def rows_of_runs(table: pd.DataFrame, run_ids: Sequence[str]) -> pd.DataFrame:
    """The rows to which one of these runs contributed."""
    wanted = set(run_ids)
    return table[[bool(wanted.intersection(str(ids).split())) for ids in table["run_ids"]]]
