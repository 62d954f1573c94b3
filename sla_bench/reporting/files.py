"""Writes leaderboard and plots of a store below results/<scenario>/."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from sla_bench.grid import form_of
from sla_bench.harness.files import write_text
from sla_bench.harness.store import RunRecord, Store
from sla_bench.registry import SCENARIOS
from sla_bench.reporting.leaderboard import leaderboard
from sla_bench.reporting.reading import Reading


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
    """Draw gains, accuracies, learning curves and what the scenario adds, as PNG and SVG."""
    from sla_bench.reporting.plots import plot_accuracies, plot_gains, plot_learning_curves

    if table.empty:
        return []
    accuracies = table[table["metric"] == "accuracy"]
    paths = plot_accuracies(accuracies, store.folder / "accuracies")
    if accuracies["relative_gain_pct"].notna().any():
        paths += plot_gains(accuracies, store.folder / "gains")
    reading: Reading = SCENARIOS.load(store.scenario, "reading")
    if reading.validates:
        paths += plot_learning_curves(histories(store.records()), store.folder / "learning_curves")
    return paths + reading.pictures(store, table)


def histories(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Join the histories of all records (of an ensemble: its first member) and say whose they are."""
    parts = []
    for record in records:
        config = record.config
        reading: Reading = SCENARIOS.load(config.scenario, "reading")
        about = {
            "label": f"{config.method} {config.transform or ''} {record.run_id[:4]}".replace("  ", " "),
            "dataset": config.dataset,
            "learner": reading.learner(config),
            "method": config.method,
            "transform": config.transform,
            "train_shots": reading.train_shots(config),
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
    for part in blocks(table):
        row = part.iloc[0]
        lines += [f"## {row['dataset']}, {training_words(row)}", ""]
        lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
        for _, row in part[part["metric"] == "accuracy"].iterrows():
            cells = [str(c).replace("|", "\\|") for c in cells_of(row)]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        further = further_metrics(part)
        if not further.empty:
            lines += ["| " + " | ".join(further.columns) + " |", "|" + " --- |" * len(further.columns)]
            lines += ["| " + " | ".join(row) + " |" for row in further.itertuples(index=False)]
            lines.append("")
    return "\n".join(lines)


def notes(table: pd.DataFrame) -> list[str]:
    """What a reader of the table has to know about its intervals."""
    found = []
    if (table["interval_kind"] == "test-only").any():
        found.append(
            "One seed: one trained model per method; the interval covers test sampling only, "
            "seed variation is not in it."
        )
    if table["budget"].str.startswith("smoke").any():
        found.append("Budget smoke only shows that everything runs: weak baselines inflate relative gains.")
    for scenario, part in table.groupby("scenario", sort=False):
        reading: Reading = SCENARIOS.load(str(scenario), "reading")
        found += reading.notes(part)
    return found


_TRAINING = ("dataset", "backbone", "budget", "transform", "precision", "selection", "sampler")


def blocks(table: pd.DataFrame, *further: str) -> list[pd.DataFrame]:
    """Rows whose cells can be told apart by setting, learner and method; split by `further` columns too."""
    return [part for _, part in table.groupby([*_TRAINING, *further], sort=False)]


def training_words(row: pd.Series) -> str:
    """Backbone and budget of a row, and what of its training is not as usual."""
    selection = form_of(row["scenario"]).run.model_fields["selection"].default
    usual = {"transform": "rotation", "precision": "fp32", "selection": selection, "sampler": "uniform"}
    unusual = [f"{name} {row[name]}" for name, value in usual.items() if row[name] != value]
    return ", ".join([row["backbone"], f"budget {row['budget']}", *unusual])


def further_metrics(block: pd.DataFrame) -> pd.DataFrame:
    """One row per method with all its metrics but accuracy as texts; empty where there are none.

    Args:
        block: one of `blocks`.
    """
    rows = block[block["metric"] != "accuracy"]
    if rows.empty:
        return pd.DataFrame()
    metrics = list(dict.fromkeys(rows["metric"]))
    lines = []
    for names, part in rows.groupby(["setting", "learner", "method"], sort=False):
        own = part.set_index("metric", drop=False)
        lines.append([*names, *(_with_reach(own.loc[m]) if m in own.index else "" for m in metrics)])
    units = [m if m == "NLL" else f"{m} %" for m in metrics]
    return pd.DataFrame(lines, columns=["setting", "learner", "method", *units])


def _with_reach(row: pd.Series) -> str:
    form = ".2f" if row["metric"] == "NLL" else ".1f"
    reach = (row["ci95_high"] - row["ci95_low"]) / 2
    return f"{row['value']:{form}}" + ("" if pd.isna(reach) else f" +- {reach:{form}}")


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
    shots = ""
    if pd.notna(row["train_shots"]) and f" {row['train_shots']:.0f}-shot" not in row["setting"]:
        shots = f", trained {row['train_shots']:.0f}-shot"
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
        "/".join(f"{row[n]:.0f}" for n in ("support_passes", "query_passes") if pd.notna(row[n])),
        published,
    ]


def rows_of_runs(table: pd.DataFrame, run_ids: Sequence[str]) -> pd.DataFrame:
    """The rows to which one of these runs contributed."""
    wanted = set(run_ids)
    return table[[bool(wanted.intersection(str(ids).split())) for ids in table["run_ids"]]]
