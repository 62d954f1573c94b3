"""The picture of the README, from the tables below results/reference: gains of SLA, cell by cell.

What is drawn stands beside the picture, in `gains.csv`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks.figures.result_files import ResultFiles, TableRow
from benchmarks.figures.wording import is_of_one_seed
from sla_bench.harness.files import write_text
from sla_bench.reporting import style
from sla_bench.reporting.panels import Panel, draw_zero, gain_text, padded, panel_figure
from sla_bench.reporting.table_texts import ALONE

EQUAL_STEPS, CONTROLS = "the baseline of equal steps", "controls that get as much"
DRAWN, PHOTOGRAPHS = "Drawn glyphs", "Photographs (Fashion-MNIST)"
SIBLINGS = "Glyphs of which a rotation says nothing"
_LEARNERS = {"protonet": "ProtoNet", "metaoptnet-rr": "ridge", "metaoptnet-svm": "SVM"}
_SIBLINGS = {"glyphs-rot": "random turns", "glyphs-pairs": "pairs of turns", "glyphs-sym": "symmetric"}
_SHORT = {"balanced-softmax": "BS", "logit-adjust": "LA"}
_VALUES = ["relative_gain_pct", "gain_ci95_low", "gain_ci95_high"]
_NEW_CLASSES = ["gain_classes_low", "gain_classes_high"]


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
    return [
        *_drawn_at_equal_steps(),
        *_photographs_at_equal_steps(),
        *_controls(DRAWN, "glyphs20", ["ce"]),
        *_controls(PHOTOGRAPHS, "fashion_mnist", ["ce", "ldam-drw"]),
        *_siblings(EQUAL_STEPS, "baseline"),
        *_siblings(CONTROLS, "baseline-NMway+TTA"),
    ]


def _drawn_at_equal_steps() -> list[Cell]:
    few_shot = [
        Cell(DRAWN, EQUAL_STEPS, f"SLA+AG, {shots}-shot {name}", table, _few_shot("glyphs", shots, learner))
        for table, shots, names in (
            ("fewshot", 1, _LEARNERS),
            ("fewshot", 5, _LEARNERS),
            ("gradient-based", 5, {"anil": "ANIL", "maml": "MAML"}),
        )
        for learner, name in names.items()
    ]
    # cb-rw and ldam-drw hardly train there at the budget's rate; the page says so
    losses = ("ce", "balanced-softmax", "logit-adjust")
    return [*few_shot, *_fixed_classes_at_equal_steps(DRAWN, "glyphs20", losses)]


def _photographs_at_equal_steps() -> list[Cell]:
    few_shot = _few_shot("fashion_mnist", 5, "protonet")
    losses = ("ce", "cb-rw", "balanced-softmax", "logit-adjust", "ldam-drw")
    return [
        Cell(PHOTOGRAPHS, EQUAL_STEPS, "SLA+AG, 5-shot ProtoNet", "fewshot-fashion-mnist", few_shot),
        *_fixed_classes_at_equal_steps(PHOTOGRAPHS, "fashion_mnist", losses),
    ]


def _fixed_classes_at_equal_steps(data: str, dataset: str, losses: Iterable[str]) -> list[Cell]:
    return [
        *(
            Cell(
                data,
                EQUAL_STEPS,
                f"SLA+SD, tail, {_SHORT.get(loss, loss)}",
                "imbalanced",
                _long_tail(dataset, loss),
            )
            for loss in losses
        ),
        *(
            Cell(data, EQUAL_STEPS, f"{method}, all images", "standard", _all_images(dataset, method))
            for method in ("SLA+SD", "SLA+AG")
        ),
    ]


def _controls(data: str, dataset: str, losses: Iterable[str]) -> list[Cell]:
    few_shot = {
        "glyphs20": ("fewshot", "glyphs", ("baseline-xM+TTA", "baseline-NMway+TTA", "ens-M")),
        "fashion_mnist": ("fewshot-fashion-mnist", "fashion_mnist", ("baseline-xM+TTA",)),
    }
    table, drawn_from, references = few_shot[dataset]
    found = [
        *(("", table, _few_shot(drawn_from, 5, "protonet", reference)) for reference in references),
        *((f", tail, {loss}", "imbalanced", _long_tail(dataset, loss, "baseline-xM")) for loss in losses),
        (", all", "standard", _all_images(dataset, "SLA+SD", "baseline-xM")),
        (", all", "standard", _all_images(dataset, "SLA+AG", "ens-M")),
    ]
    return [
        Cell(
            data,
            CONTROLS,
            f"{where['method']}{setting} / {where['reference'].removeprefix('baseline-')}",
            table,
            where,
        )
        for setting, table, where in found
    ]


def _siblings(against: str, reference: str) -> list[Cell]:
    return [
        Cell(SIBLINGS, against, f"SLA+AG, {name}", "fewshot", _few_shot(dataset, 5, "protonet", reference))
        for dataset, name in _SIBLINGS.items()
    ]


def _few_shot(dataset: str, shots: int, learner: str, reference: str = "baseline") -> TableRow:
    setting = f"*-way {shots}-shot"
    where = {"dataset": dataset, "setting": setting, "learner": learner, "budget": "quick"}
    return where | {"method": "SLA+AG", "reference": reference}


def _long_tail(dataset: str, loss: str, reference: str = "baseline") -> TableRow:
    where = {"dataset": dataset, "setting": "exp ratio 100", "learner": loss, "budget": "quick"}
    return where | {"method": "SLA+SD", "reference": reference}


def _all_images(dataset: str, method: str, reference: str = "baseline") -> TableRow:
    where = {"dataset": dataset, "setting": "full", "learner": "ce", "budget": "quick"}
    return where | {"method": method, "reference": reference}


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
        # Tables of earlier releases have intervals of one seed, and none on other classes.
        shown = _VALUES[:1] if is_of_one_seed(row) else [*_VALUES, *_NEW_CLASSES]
        figures = {column: row.get(column) or "nan" for column in shown}
        found = {"data": cell.data, "against": cell.against, "label": cell.label, **figures}
        rows.append({**found, "gain_seeds": row["gain_seeds"]})
    columns = ["data", "against", "label", *_VALUES, *_NEW_CLASSES, "gain_seeds"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys([*_VALUES, *_NEW_CLASSES], float))


def picture(table: pd.DataFrame) -> Figure:
    """Draw what `drawn` has found, all panels on one axis."""
    panels = [
        Panel(
            key={"reference": str(against)},
            title=str(data),
            labels=list(rows["label"]),
            values=rows[_VALUES].to_numpy(dtype=np.float64),
            alone=(rows["gain_seeds"] == "1").to_numpy(),
            wider=rows[_NEW_CLASSES].to_numpy(dtype=np.float64),
        )
        for (data, against), rows in table.groupby(["data", "against"], sort=False)
    ]

    # The widest interval would make all others invisible.
    limits = padded(table[_VALUES[0]].to_numpy())
    cut = (table[_VALUES[1]] < limits[0]).any() or (table[_VALUES[2]] > limits[1]).any()
    seeds = table.loc[table["gain_seeds"] != "1", "gain_seeds"].astype(float).astype(int)
    sentences = [
        "Dot: relative gain in accuracy,",
        f"line: 95 % interval over {seeds.min()} to {seeds.max()} seeds.",
        ALONE,
        *(["Thin line: on other test classes."] if table[_NEW_CLASSES].notna().any(axis=None) else []),
        *(["Arrow head: the interval goes on."] if cut else []),
        "Budget quick. Tail: ratio 100, BS and LA are balanced-softmax and logit-adjust.",
        "xM, NMway: the baseline trained on M times the images, on N x M ways.",
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
