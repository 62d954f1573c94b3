"""What tables for people say, whatever they are written in: blocks, headings, cells, notes."""

from __future__ import annotations

import pandas as pd

from sla_bench.grid import form_of
from sla_bench.registry import SCENARIOS
from sla_bench.reporting.reading import Reading

ONE_SEED, OTHER_RECIPE = "\N{DAGGER}", "\N{DOUBLE DAGGER}"
SIGNIFICANT = 0.05
TEST_ONLY = (
    "Hollow: one trained model per method; the interval covers test sampling only, "
    "seed variation is not in it."
)


def notes(table: pd.DataFrame) -> list[str]:
    """What a reader of the table has to know about its intervals."""
    found = []
    if (table["interval_kind"] == "test-only").any():
        found.append(
            f"{ONE_SEED} One seed: one trained model per method; the interval covers test sampling only, "
            "seed variation is not in it."
        )
    differs = table["published_differs"].dropna()
    if len(differs):
        columns = ", ".join(dict.fromkeys(c for text in differs for c in text.split(", ")))
        found.append(
            f"{OTHER_RECIPE} Published figures are of the authors' recipe (budget paper and their choice of "
            f"weights); the rows marked so differ from it in {columns}, so that the two can't be compared."
        )
    if table["budget"].str.startswith("smoke").any():
        found.append("Budget smoke only shows that everything runs: weak baselines inflate relative gains.")
    for scenario in table["scenario"].unique():
        reading: Reading = SCENARIOS.load(str(scenario), "reading")
        found += reading.notes(table[table["scenario"] == scenario])
    return found


TRAINING = ("dataset", "backbone", "budget", "transform", "precision", "selection", "sampler")


def blocks(table: pd.DataFrame, *further: str) -> list[pd.DataFrame]:
    """Rows whose cells can be told apart by setting, learner and method; split by `further` columns too."""
    return [part for _, part in table.groupby([*TRAINING, *further], sort=False)]


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
    "p (Holm, m)",
    "sign flips p (least)",
    "seeds",
    "train images",
    "train s",
    "passes",
    "published",
)


# headings that are left out where their column is empty, or the same in each row
_HIDDEN = {
    "open +-": "ci95_open",
    "seeds": "seeds",
    "p (Holm, m)": "p_holm",
    "sign flips p (least)": "p_sign_flip",
    "published": "published",
    "against": "reference",
}


def shown_headings(rows: pd.DataFrame) -> list[str]:
    """HEADINGS without the columns that are empty in all rows, and without the seeds where all have one."""

    def worth_showing(heading: str) -> bool:
        column = rows[_HIDDEN[heading]]
        return bool(column.max() > 1 if heading == "seeds" else column.notna().any())

    return [heading for heading in HEADINGS if heading not in _HIDDEN or worth_showing(heading)]


def cells_of(row: pd.Series) -> list[str]:
    """The texts of one row of a table for people, in the order of HEADINGS."""

    def number(value: object, form: str) -> str:
        return "" if value is None or pd.isna(value) else format(value, form)  # type: ignore[call-overload]

    def beside(value: object, further: object, form: str) -> str:
        return "" if pd.isna(value) else f"{value:.2g} ({further:{form}})"  # type: ignore[call-overload]

    mark = f" {ONE_SEED}" if row["interval_kind"] == "test-only" else ""
    half = (row["ci95_high"] - row["ci95_low"]) / 2
    interval = ""
    if pd.notna(row["gain_ci95_low"]):
        interval = f"{row['gain_ci95_low']:+.1f} to {row['gain_ci95_high']:+.1f}{mark}"
    published = ""
    if pd.notna(row["published"]):
        other = "" if pd.isna(row["published_differs"]) else f" {OTHER_RECIPE}"
        published = f"{row['published']:.2f} ({row['published_status']}){other}"
    shots = ""
    if pd.notna(row["train_shots"]) and f" {row['train_shots']:.0f}-shot" not in row["setting"]:
        shots = f", trained {row['train_shots']:.0f}-shot"
    return [
        f"{row['setting']}{shots}",
        row["learner"],
        row["method"],
        f"{row['value']:.2f}" + ("" if pd.isna(half) else f" +- {half:.2f}{mark}"),
        number(row["ci95_open"], ".1f"),
        row["reference"] if isinstance(row["reference"], str) else "",
        number(row["relative_gain_pct"], "+.1f"),
        interval,
        beside(row["p_holm"], row["holm_contrasts"], ".0f"),
        beside(row["p_sign_flip"], row["smallest_p"], ".2g"),
        str(row["seeds"]),
        number(row["train_images"], ",.0f"),
        number(row["train_seconds"], ".0f"),
        "/".join(f"{row[n]:.0f}" for n in ("support_passes", "query_passes") if pd.notna(row[n])),
        published,
    ]


def best_rows(block: pd.DataFrame) -> pd.Index:
    """Rows of the best method of each setting and learner that gain significantly: the ones set in bold.

    A row is one method against one reference, so the best method is bold against some of them at most, and
    never where one model was trained.

    Args:
        block: rows of one metric of one of `blocks`.
    """
    rows = block[["setting", "learner", "value", "p_holm", "relative_gain_pct", "interval_kind"]].to_dict(
        "records"
    )
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        cell = row["setting"], row["learner"]
        best[cell] = max(best.get(cell, row["value"]), row["value"])
    wanted = [
        row["value"] == best[row["setting"], row["learner"]]
        and row["p_holm"] < SIGNIFICANT
        and row["relative_gain_pct"] > 0
        and row["interval_kind"] != "test-only"
        for row in rows
    ]
    return block.index[wanted]


def title_of(block: pd.DataFrame) -> str:
    """Data set and training of one of `blocks`."""
    return f"{one_line(block['dataset'].iloc[0])}, {training_words(block.iloc[0])}"


def one_line(text: str) -> str:
    """Text without line breaks and control characters, which a name from outside may have."""
    return "".join(c if c.isprintable() else " " for c in text)
