"""Texts of all printed tables: blocks, headings, cells, notes."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from sla_bench.config import RUNS, columns
from sla_bench.records.data_states import short
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.reading import Reading, Row
from sla_bench.tables.comparisons import notes_on_devices
from sla_bench.tables.folding import names_of
from sla_bench.tables.row_key import BASELINE, TRAINING
from sla_bench.words import one_line

OTHER_RECIPE = "\N{DOUBLE DAGGER}"
SIGNIFICANT = 0.05
BOLD = ("accuracy %", "gain %")
"""Cells of a line that are set in bold."""
ONE_SEED = "one seed"
"""The kind of an interval that is none."""
LEVELLED_OFF = 1.0
"""Gain of validation accuracy at twice the length, in %, from which on a training has not levelled off."""
UNTRIED = "?"
ALONE = "Light grey: one seed, the estimate alone."


def rows_of(table: pd.DataFrame) -> list[Row]:
    """The rows of the leaderboard one by one: thousands of small frames would take seconds."""
    columns = {name: table[name].tolist() for name in table}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def is_missing(value: object) -> bool:
    """None or not a number; several times as fast as `pandas.isna`."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def number(value: float | None, form: str) -> str:
    """A number in the given format; empty where it is missing."""
    return "" if is_missing(value) else format(value, form)


def ends(low: float | None, high: float | None, form: str) -> str:
    """Both ends of an interval, as in "1.2 to 3.4"; empty where they are missing."""
    return "" if is_missing(low) else f"{low:{form}} to {high:{form}}"


def with_interval(value: float, low: float | None, high: float | None, form: str) -> str:
    """A number and its interval, as in "2.3 (1.2 to 3.4)", the latter where there is one."""
    interval = ends(low, high, form)
    return f"{value:{form}}" + (f" ({interval})" if interval else "")


def notes(rows: Sequence[Row]) -> list[str]:
    """Sentences for a reader of the rows: states of the data, what intervals cover, kinds of device."""
    found = [
        f"{name}: these rows are of the newest state of the data ({short(state)}); also recorded, of other "
        f"states: {others}; `runs` lists them."
        for name, state, others in dict.fromkeys(
            (row["dataset"], row["data_state"], row["other_states"])
            for row in rows
            if not is_missing(row.get("other_states"))
        )
    ]
    found += [
        f"{name}: no test image of {classes}: left out of recalls, macro F1 and G-mean."
        for name, classes in dict.fromkeys((row["dataset"], row.get("untested_classes")) for row in rows)
        if not is_missing(classes)
    ]
    if any(ONE_SEED in (row["interval_kind"], row["gain_interval_kind"]) for row in rows):
        found.append(
            "One seed: the estimate alone. Another seed may differ by any amount, so there is no interval "
            "and no p, and summaries leave such rows out."
        )
    if not all(is_missing(row["best_group"]) for row in rows):
        found.append(
            "Best: of the rows of one setting, learner and training. Tied: not told from the best at 5 %, "
            "corrected for the number of rows; the truly best row is the best or tied in at least 95 % of "
            "tables" + ("; for other test classes." if _about_new_classes(rows) else ".")
        )
    if not all(is_missing(row["verdict"]) for row in rows):
        found.append(
            "Verdict: two one-sided tests at 5 % at each border of the region of one point of accuracy"
            + ("; for other test classes." if _about_new_classes(rows) else ".")
        )
    if not all(is_missing(row["seeds_to_decide"]) for row in rows):
        found.append(
            "Undecided, N seeds might do: so many seeds in all decide if difference and variances stay as "
            "they are; few seeds estimate both roughly. By any number of seeds: not even 1,000 would do, "
            "because the difference lies too near a border of the region for so few test images or "
            "classes."
        )
    differs = [row["published_differs"] for row in rows if not is_missing(row["published_differs"])]
    if differs:
        columns = ", ".join(dict.fromkeys(c for text in differs for c in text.split(", ")))
        found.append(
            f"{OTHER_RECIPE} Published values are for the authors' recipe (budget paper and their choice of "
            f"weights); rows with this mark differ in {columns} and can't be compared with them."
        )
    if any(row["budget_name"] == "smoke" for row in rows):
        found.append("Budget smoke only shows that everything runs: weak baselines inflate relative gains.")
    found += [*_notes_on_levelling(rows), *notes_on_devices(rows)]
    for own in alike(rows, ["scenario"]):
        reading: Reading = SCENARIOS.load(own[0]["scenario"], "reading")
        found += reading.notes(own)
    return found


def _notes_on_levelling(rows: Sequence[Row]) -> list[str]:
    """The column on twice the length; and tables of budget fast, which is to have levelled off, without it.

    Budgets smoke and quick are cut short by design, and paper is as published.
    """
    found = []
    if not all(is_missing(row["gain_at_twice"]) for row in rows):
        found.append(
            "Twice as long: relative gain in mean validation accuracy of trainings of twice the length. "
            f"Below {LEVELLED_OFF:g} % a row has levelled off; {UNTRIED}: not tried."
        )
    untried = dict.fromkeys(
        f"{block[0]['dataset']} ({block[0]['budget']})"
        for block in blocks(rows, "scenario")
        if _is_as_long_as_fast(block[0]) and all(is_missing(row["gain_at_twice"]) for row in block)
    )
    if untried:
        found.append(
            f"Not tried at twice the length, so perhaps not levelled off: {', '.join(untried)}; "
            "docs/protocol.md says how to try."
        )
    return found


def _is_as_long_as_fast(row: Row) -> bool:
    return bool(row["budget_name"] == "fast" and row["budget_but_length"] == row["budget"])


_DEFINITIONS = {
    "G-mean": "G-mean: geometric mean over classes of (hits + 1) / (images + 2), so a class without hits "
    "does not make it 0. It stays below 100 % even if every image is right (90.9 % with 9 images per class)."
}
"""Metrics whose values are not what their name suggests."""


def definitions(rows: Iterable[Row]) -> list[str]:
    """A sentence for each metric of the rows that a reader may take for another."""
    metrics = {row["metric"] for row in rows}
    return [sentence for metric, sentence in _DEFINITIONS.items() if metric in metrics]


def _about_new_classes(rows: Sequence[Row]) -> bool:
    scenarios = {row["scenario"] for row in rows}
    return any(SCENARIOS.load(name, "reading").tests_new_classes for name in scenarios)


def blocks(rows: Iterable[Row], *further: str) -> list[list[Row]]:
    """Rows whose cells can be told apart by setting, learner and method; split by `further` columns too."""
    return alike(rows, [*TRAINING, *further])


def alike(rows: Iterable[Row], columns: Iterable[str]) -> list[list[Row]]:
    """Rows that are alike in some columns, in the order in which they come; no value is like no value."""
    names = list(columns)
    parts: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        values = (row[name] for name in names)
        parts.setdefault(tuple(None if is_missing(value) else value for value in values), []).append(row)
    return list(parts.values())


def accuracies_of(rows: Iterable[Row]) -> list[Row]:
    """The rows about accuracy."""
    return [row for row in rows if row["metric"] == "accuracy"]


def training_words(row: Row) -> str:
    """Backbone and budget of a row, and what of its training is not as usual."""
    scenario = row["scenario"]
    usual = {"transform": "rotation", **columns(scenario), "protocol": RUNS[scenario][0].protocol}
    unusual = [f"{name.replace('_', ' ')} {row[name]}" for name, value in usual.items() if row[name] != value]
    return ", ".join([row["backbone"], f"budget {row['budget']}", *unusual])


@dataclass(frozen=True)
class Table:
    """A table as texts, whatever it is written in.

    Args:
        title: above it.
        headings: of its columns.
        lines: a text for each heading.
        bold: places of the lines that are set in bold.
    """

    title: str
    headings: list[str]
    lines: list[list[str]]
    bold: frozenset[int] = frozenset()

    def without(self, left_out: Collection[str]) -> Table:
        """The same without some columns."""
        kept = [place for place, heading in enumerate(self.headings) if heading not in left_out]
        lines = [[line[place] for place in kept] for line in self.lines]
        return replace(self, headings=[self.headings[place] for place in kept], lines=lines)


def accuracy_table(block: Sequence[Row], headings: Sequence[str] = ()) -> Table:
    """The accuracies of one of `blocks` with their gains, under those headings that are worth showing.

    Args:
        block: rows of all metrics.
        headings: some of HEADINGS; none: `shown_headings` of the accuracies.
    """
    rows = accuracies_of(block)
    cells = [dict(zip(HEADINGS, cells_of(row), strict=True)) for row in rows]
    chosen = list(headings or shown_headings(rows))
    lines = [[own[heading] for heading in chosen] for own in cells]
    return Table(title_of(block), chosen, lines, frozenset(best_rows(rows)))


def further_metrics(block: Sequence[Row]) -> Table:
    """One line per method with all its metrics but accuracy; no lines where there are none.

    Args:
        block: one of `blocks`.
    """
    rows = [row for row in block if row["metric"] != "accuracy"]
    names = ["setting", "learner", "method"]
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    lines = []
    for part in alike(rows, names):
        own = {row["metric"]: _with_reach(row) for row in part}
        lines.append([*(part[0][name] for name in names), *(own.get(metric, "") for metric in metrics)])
    headings = [*names, *(m if m == "NLL" else f"{m} %" for m in metrics)]
    return Table(f"{title_of(block)}, other metrics", headings, lines)


def _with_reach(row: Row) -> str:
    form = ".2f" if row["metric"] == "NLL" else ".1f"
    return with_interval(row["value"], row["ci95_low"], row["ci95_high"], form)


HEADINGS = (
    *("setting", "learner", "method", "accuracy %", "best", "open +-"),
    *("against", "compared at", "common seeds %", "gain %", "95 % interval", "new classes"),
    *("verdict", "p (Holm, m)", "sign flips p (least)", "seeds"),
    *("train images", "images drawn", "epochs", "updates", "batch", "rate", "twice as long %"),
    *("train s", "passes", "published"),
)
# headings that are left out where their column is empty, or the same in each row
_HIDDEN = {
    "best": "best_group",
    "open +-": "ci95_open",
    "seeds": "seeds",
    "common seeds %": "reference_value",
    "new classes": "gain_classes_low",
    "verdict": "verdict",
    "p (Holm, m)": "p_value",
    "sign flips p (least)": "p_sign_flip",
    "published": "published",
    "against": "reference",
    "compared at": "comparison",
    "images drawn": "drawn_images",
    "epochs": "epochs",
    "rate": "learning_rate",
    "twice as long %": "gain_at_twice",
}


def shown_headings(rows: Sequence[Row]) -> list[str]:
    """HEADINGS without the columns that are empty in all rows, and without those that say nothing.

    Seeds say nothing where all have one, rates where all are the same, and the images that are drawn where
    no control draws other images than SLA.
    """

    def worth_showing(heading: str) -> bool:
        values = [row[_HIDDEN[heading]] for row in rows]
        if heading == "seeds":
            return max(values, default=0) > 1
        if heading == "rate":
            return len(set(values)) > 1
        if heading == "images drawn":
            return any(row["more_images"] for row in rows)
        return not all(map(is_missing, values))

    return [heading for heading in HEADINGS if heading not in _HIDDEN or worth_showing(heading)]


def cells_of(row: Row) -> list[str]:
    """The texts of one row of a table for people, in the order of HEADINGS."""

    def beside(value: float | None, further: float | None, form: str) -> str:
        return "" if is_missing(value) else f"{value:.2g} ({further:{form}})"

    p = beside(row["p_holm"], row["holm_contrasts"], ".0f")
    if row["contrast"] == "primary":
        p = "" if is_missing(row["p_value"]) else f"{row['p_value']:.2g} (primary)"
    published = ""
    if not is_missing(row["published"]):
        other = "" if is_missing(row["published_differs"]) else f" {OTHER_RECIPE}"
        published = f"{row['published']:.2f} ({row['published_status']}){other}"
    shots = ""
    if not is_missing(row["train_shots"]) and row["train_shots"] != row["shots"]:
        shots = f", trained {row['train_shots']:.0f}-shot"
    passes = [row[name] for name in ("support_passes", "query_passes")]
    return [
        f"{row['setting']}{shots}",
        row["learner"],
        names_of(row),
        with_interval(row["value"], row["ci95_low"], row["ci95_high"], ".2f"),
        "" if is_missing(row["best_group"]) else row["best_group"],
        number(row["ci95_open"], ".1f"),
        row["reference"] if isinstance(row["reference"], str) else "",
        row["comparison"] if isinstance(row["comparison"], str) else "",
        ends(row["reference_value"], row["gain_value"], ".2f"),
        number(row["relative_gain_pct"], "+z.1f"),
        ends(row["gain_ci95_low"], row["gain_ci95_high"], "+z.1f"),
        ends(row["gain_classes_low"], row["gain_classes_high"], "+z.1f"),
        verdict_text(row),
        p,
        beside(row["p_sign_flip"], row["smallest_p"], ".2g"),
        _seeds(row),
        number(row["train_images"], ",.0f"),
        number(row["drawn_images"], ",.0f"),
        number(row["epochs"], ".3g"),
        number(row["updates"], ",.0f"),
        number(row["batch"], ".0f"),
        number(row["learning_rate"], ".3g"),
        UNTRIED if is_missing(row["gain_at_twice"]) else _at_twice(row["gain_at_twice"]),
        number(row["train_seconds"], ".0f"),
        "/".join(f"{count:.0f}" for count in passes if not is_missing(count)),
        published,
    ]


def verdict_text(row: Row) -> str:
    """The verdict, and of an undecided contrast how many seeds would decide it; empty where there is none."""
    if is_missing(row["verdict"]):
        return ""
    needed = row["seeds_to_decide"]
    if is_missing(needed):
        return str(row["verdict"])
    return (
        "undecided by any number of seeds"
        if math.isinf(needed)
        else f"undecided, {needed:.0f} seeds might do"
    )


def _at_twice(gain: float) -> str:
    """As in "+0.4", "+2.3 climbs": a word, since not every terminal has an arrow."""
    return f"{gain:+z.1f}" + " climbs" * (gain >= LEVELLED_OFF)


def _seeds(row: Row) -> str:
    """As in "10", or "10 (gain: 3)" where the reference has not all of them."""
    shared = row["gain_seeds"]
    return f"{row['seeds']}" + (
        "" if is_missing(shared) or shared == row["seeds"] else f" (gain: {shared:.0f})"
    )


def best_rows(rows: Sequence[Row]) -> list[int]:
    """Places of the best method of each setting and learner that gain significantly: they are set in bold.

    A row is one method against one reference, so the best method is bold against some of them at most, and
    only in rows that carry a p.

    Args:
        rows: of one metric of one of `blocks`.
    """
    best: dict[tuple[str, ...], float] = {}
    # As text, since not a number, which stands where nothing was trained in shots, is not equal to itself.
    cells = [(row["setting"], row["learner"], str(row["train_shots"])) for row in rows]
    for cell, row in zip(cells, rows, strict=True):
        best[cell] = max(best.get(cell, row["value"]), row["value"])
    return [
        place
        for place, (cell, row) in enumerate(zip(cells, rows, strict=True))
        if row["value"] == best[cell]
        and row["p_value" if row["contrast"] == "primary" else "p_holm"] < SIGNIFICANT
        and row["relative_gain_pct"] > 0
    ]


def title_of(block: Sequence[Row]) -> str:
    """Data set and training of one of `blocks`, and how long its baselines were trained."""
    lengths = sorted(
        {row["epochs"] for row in block if row["method"] == BASELINE and not is_missing(row["epochs"])}
    )
    texts = dict.fromkeys(f"{length:.3g}" for length in (*lengths[:1], *lengths[-1:]))
    epochs = [f"baseline of {' to '.join(texts)} epochs"] if texts else []
    return ", ".join([one_line(block[0]["dataset"]), training_words(block[0]), *epochs])
