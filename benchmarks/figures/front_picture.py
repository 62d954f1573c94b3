"""The picture of the README, from the tables below results/reference: gains of SLA, cell by cell.

What is drawn stands beside the picture, in `gains.csv`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.figures.result_files import ResultFiles, TableRow
from sla_bench.harness.files import write_text
from sla_bench.reporting import style
from sla_bench.reporting.panels import Panel, draw_zero, gain_text, padded, panel_figure

EQUAL_STEPS, CONTROLS = "the baseline of equal steps", "controls that get as much"
DRAWN, PHOTOGRAPHS = "Drawn glyphs", "Photographs (Fashion-MNIST)"
_LEARNERS = {"protonet": "ProtoNet", "metaoptnet-rr": "ridge", "metaoptnet-svm": "SVM"}
_VALUES = ["relative_gain_pct", "gain_ci95_low", "gain_ci95_high"]


@dataclass(frozen=True)
class Cell:
    """One row of the picture.

    Args:
        data: heading of its panel.
        against: what it is compared with; a panel of its own too.
        label: stands at the left.
        table: folder of the leaderboard below results/reference.
        where: column -> text, one row of that table.
    """

    data: str
    against: str
    label: str
    table: str
    where: TableRow


def cells() -> list[Cell]:
    """All rows, from top to bottom."""
    few_shot = [
        Cell(DRAWN, EQUAL_STEPS, f"SLA+AG, {shots}-shot, {name}", table, _few_shot(shots, learner))
        for table, shots, names in (
            ("fewshot", 1, _LEARNERS),
            ("fewshot", 5, _LEARNERS),
            ("gradient-based", 5, {"anil": "ANIL", "maml": "MAML"}),
        )
        for learner, name in names.items()
    ]
    photographs = [
        Cell(PHOTOGRAPHS, EQUAL_STEPS, label, table, where)
        for label, table, where in (
            ("SLA+AG, 5-shot, ProtoNet", "fewshot-fashion-mnist", _few_shot(5, "protonet")),
            *(
                (f"SLA+SD, long tail, {loss}", "imbalanced-fashion-mnist", _fixed_classes("SLA+SD", loss))
                for loss in ("ce", "cb-rw", "ldam-drw")
            ),
            ("SLA+SD, all images", "standard-fashion-mnist", _fixed_classes("SLA+SD", "ce")),
            ("SLA+AG, all images", "standard-fashion-mnist", _fixed_classes("SLA+AG", "ce")),
        )
    ]
    controls = [
        Cell(DRAWN, CONTROLS, f"SLA+AG / {control}", "fewshot", _few_shot(5, "protonet", control))
        for control in ("baseline-xM+TTA", "baseline-NMway+TTA", "ens-M")
    ]
    long_tail = _fixed_classes("SLA+SD", "ce") | {"reference": "baseline-xM"}
    return [
        *few_shot,
        *(
            Cell(
                DRAWN, EQUAL_STEPS, f"SLA+SD, long tail, {name}", "imbalanced", _fixed_classes("SLA+SD", loss)
            )
            for loss, name in (("ce", "ce"), ("balanced-softmax", "BS"))
        ),
        *photographs,
        *controls,
        Cell(DRAWN, CONTROLS, "SLA+SD / baseline-xM, tail", "imbalanced", long_tail),
        Cell(
            PHOTOGRAPHS,
            CONTROLS,
            "SLA+AG / baseline-xM+TTA",
            "fewshot-fashion-mnist",
            _few_shot(5, "protonet", "baseline-xM+TTA"),
        ),
    ]


def _few_shot(shots: int, learner: str, reference: str = "baseline") -> TableRow:
    setting = f"*-way {shots}-shot"
    return {"setting": setting, "learner": learner, "method": "SLA+AG", "reference": reference}


def _fixed_classes(method: str, loss: str) -> TableRow:
    return {"learner": loss, "method": method, "reference": "baseline"}


def drawn(files: ResultFiles) -> pd.DataFrame:
    """What the picture shows: data, reference, label, gain in % with its interval, seeds.

    Args:
        files: the tables.

    Raises:
        UserError: a table or a row is missing, or several rows fit.
    """
    rows = []
    for cell in cells():
        row = files.row(cell.table, **{"metric": "accuracy", **cell.where})
        figures = {column: row[column] for column in (*_VALUES, "gain_interval_kind", "gain_seeds")}
        rows.append({"data": cell.data, "against": cell.against, "label": cell.label, **figures})
    table = pd.DataFrame(rows)
    return table.astype(dict.fromkeys(_VALUES, float))


def picture(table: pd.DataFrame) -> Figure:
    """Draw what `drawn` has found, all panels on one axis."""
    panels = [
        Panel(
            key={"reference": str(against)},
            title=str(data),
            labels=list(rows["label"]),
            values=rows[_VALUES].to_numpy(dtype=np.float64),
            hollow=(rows["gain_interval_kind"] == "test-only").to_numpy(),
        )
        for (data, against), rows in table.groupby(["data", "against"], sort=False)
    ]

    # The widest interval would make all others invisible.
    limits = padded(table[_VALUES[0]].to_numpy())
    cut = (table[_VALUES[1]] < limits[0]).any() or (table[_VALUES[2]] > limits[1]).any()
    seeds = table.loc[table["gain_interval_kind"] != "test-only", "gain_seeds"].astype(float).astype(int)
    sentences = [
        "Dot: relative gain in accuracy,",
        f"line: 95 % interval over {seeds.min()} to {seeds.max()} seeds.",
        "Hollow: one seed, test sampling only.",
        *(["Arrow head: the interval goes on."] if cut else []),
        "Budget quick.",
    ]
    with style.styled():
        axis = [limits] * len(panels)
        return panel_figure(
            panels, axis, draw_zero, gain_text, "Relative gain in %", " ".join(sentences), columns=2
        )


def is_of(table: pd.DataFrame, folder: Path) -> bool:
    """Whether the picture in a folder shows this table, by the `gains.csv` beside it."""
    beside = folder / "gains.csv"
    return beside.is_file() and beside.read_text(encoding="utf-8") == table.to_csv(index=False)


def write(table: pd.DataFrame, folder: Path) -> list[Path]:
    """Write the picture as PNG and SVG and, at last, what is drawn as CSV; returns the files."""
    written = style.save(picture(table), folder / "gains")
    write_text(folder / "gains.csv", table.to_csv(index=False))
    return [*written, folder / "gains.csv"]
