"""The picture of the README: gains of SLA, cell by cell."""

# Its values stand beside the picture, in `gains.csv`.

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.figures.result_files import ResultFiles, TableRow
from sla_bench.records.files import write_text
from sla_bench.tables.figures import style
from sla_bench.tables.figures.dots import DotPanel, dots_figure, draw_zero, gain_text
from sla_bench.tables.figures.style import padded
from sla_bench.tables.table_texts import ALONE

CONVENTION = "the baseline of equal steps"
MATCHED = "controls: equal images, both tuned"
DRAWN, PHOTOGRAPHS = "Drawn glyphs", "Photographs (Fashion-MNIST)"
_LEARNERS = {"protonet": "ProtoNet", "metaoptnet-rr": "ridge", "metaoptnet-svm": "SVM"}
_SIBLINGS = {
    "glyphs": "",
    "glyphs-rot": ", turned at random",
    "glyphs-pairs": ", pairs of turns",
    "glyphs-sym": ", symmetric",
}
_MATCHED_ROWS = {"metric": "accuracy", "contrast": "?*", "comparison": "equal images, both tuned"}
_VALUES = ["relative_gain_pct", "gain_ci95_low", "gain_ci95_high"]
_NEW_CLASSES = ["gain_classes_low", "gain_classes_high"]


def _cells(files: ResultFiles) -> list[tuple[str, str, str, TableRow]]:
    """All rows: data, what they are compared with, label, row of a table."""
    usual = {"metric": "accuracy", "budget": "quick", "reference": "baseline"}
    found = [(DRAWN, MATCHED, _matched_label(row), row) for row in files.rows("fewshot", **_MATCHED_ROWS)]
    for row in files.rows("fewshot", method="SLA+AG", **usual):
        shots = row["setting"].removeprefix("5-way ")
        label = f"SLA+AG, {shots} {_LEARNERS[row['learner']]}{_SIBLINGS[row['dataset']]}"
        found.append((DRAWN, CONVENTION, label, row))
    for dataset, data in {"glyphs20": DRAWN, "fashion_mnist": PHOTOGRAPHS}.items():
        for scenario, words in {"imbalanced": "tail", "standard": "all images"}.items():
            matched = files.rows(scenario, dataset=dataset, **_MATCHED_ROWS)
            found += [(data, MATCHED, f"{_matched_label(row)}, {words}", row) for row in matched]
            equal_steps = files.rows(scenario, dataset=dataset, method="SLA+*", **usual)
            shown = [row for row in equal_steps if row["method"] in ("SLA+SD", "SLA+AG")]
            found += [(data, CONVENTION, f"{row['method']}, {words}", row) for row in shown]
    return found


def _matched_label(row: TableRow) -> str:
    return f"{row['method']} / {row['reference'].removeprefix('baseline-')}"


def drawn(files: ResultFiles) -> pd.DataFrame:
    """What the picture shows, panel by panel: data, reference, label, gain in % with its interval, seeds.

    Args:
        files: the tables.

    Raises:
        UserError: a table or its rows are missing.
    """
    rows = []
    for data, against, label, row in _cells(files):
        figures = {column: row[column] or "nan" for column in [*_VALUES, *_NEW_CLASSES]}
        rows.append(
            {"data": data, "against": against, "label": label, **figures, "gain_seeds": row["gain_seeds"]}
        )
    columns = ["data", "against", "label", *_VALUES, *_NEW_CLASSES, "gain_seeds"]
    table = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys([*_VALUES, *_NEW_CLASSES], float))
    return pd.concat([rows for _, rows in table.groupby(["data", "against"], sort=False)], ignore_index=True)


def picture(table: pd.DataFrame) -> Figure:
    """Draw what `drawn` has found, all panels on one axis."""
    # The widest interval would make all others invisible.
    gains = table[_VALUES[0]]
    beyond = (gains.max() - gains.min()) / 4
    ends = table[_VALUES].clip(gains.min() - beyond, gains.max() + beyond)
    limits = padded(ends.to_numpy().ravel())
    panels = [
        DotPanel(
            title=str(data),
            below=f"against {against}",
            limits=limits,
            labels=list(rows["label"]),
            values=rows[_VALUES].to_numpy(dtype=np.float64),
            alone=(rows["gain_seeds"] == "1").to_numpy(),
            is_sla=np.ones(len(rows), dtype=bool),
            wider=rows[_NEW_CLASSES].to_numpy(dtype=np.float64),
        )
        for (data, against), rows in table.groupby(["data", "against"], sort=False)
    ]
    cut = (table[_VALUES[1]] < limits[0]).any() or (table[_VALUES[2]] > limits[1]).any()
    seeds = table.loc[table["gain_seeds"] != "1", "gain_seeds"].astype(float).astype(int)
    sentences = [
        "Dot: relative gain in accuracy,",
        f"line: 95 % interval over {' to '.join(map(str, sorted({seeds.min(), seeds.max()})))} seeds.",
        *([ALONE] if len(seeds) < len(table) else []),
        *(["Thin line: on other test classes."] if table[_NEW_CLASSES].notna().any(axis=None) else []),
        *(["Arrow head: the interval goes on."] if cut else []),
        "Budget quick. Tail: ratio 100, cross entropy.",
        "xM, NMway: the baseline trained on M times the images, on N x M ways.",
    ]
    return dots_figure(panels, "Relative gain in %", " ".join(sentences), gain_text, draw_zero, columns=2)


def is_of(table: pd.DataFrame, folder: Path) -> bool:
    """Whether the picture in a folder shows this table, by the `gains.csv` beside it."""
    beside = folder / "gains.csv"
    return beside.is_file() and beside.read_text(encoding="utf-8") == table.to_csv(index=False)


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the picture as PNG and SVG and, at last, what is drawn as CSV; returns the files."""
    written = style.save(picture(table), folder / "gains")
    write_text(folder / "gains.csv", table.to_csv(index=False))
    return [*written, folder / "gains.csv"]
