"""Draws the picture of the README from the tables below results/reference: gains of SLA, cell by cell.

    python benchmarks/figures/front_picture.py             # after a table there has changed
    python benchmarks/figures/front_picture.py --check     # exit code 1 if the picture is of other figures

What is drawn stands beside the picture, in `gains.csv`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.figures.result_files import ResultFiles, TableRow
from sla_bench.errors import UserError
from sla_bench.harness.files import write_text
from sla_bench.reporting import style
from sla_bench.reporting.panels import Panel, padded, panel_figure

RESULTS = Path(__file__).resolve().parents[2] / "results" / "reference"
EQUAL_STEPS, CONTROLS = "the baseline of equal steps", "controls that get as much"
DRAWN, PHOTOGRAPHS = "Drawn glyphs", "Photographs (Fashion-MNIST)"
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
    glyphs20 = _fixed_classes("SLA+SD", "ce") | {"dataset": "glyphs20"}
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
    long_tail = glyphs20 | {"reference": "baseline-xM"}
    return [
        *few_shot,
        Cell(DRAWN, EQUAL_STEPS, "SLA+SD, long tail, ce", "imbalanced", glyphs20),
        *photographs,
        *controls,
        Cell(DRAWN, CONTROLS, "SLA+SD / baseline-xM, tail", "imbalanced", long_tail),
    ]


_LEARNERS = {"protonet": "ProtoNet", "metaoptnet-rr": "ridge", "metaoptnet-svm": "SVM"}


def _few_shot(shots: int, learner: str, reference: str = "baseline") -> TableRow:
    setting = f"*-way {shots}-shot"
    return {"setting": setting, "learner": learner, "method": "SLA+AG", "reference": reference}


def _fixed_classes(method: str, loss: str) -> TableRow:
    return {"learner": loss, "method": method, "reference": "baseline"}


def drawn(results: Path = RESULTS) -> pd.DataFrame:
    """What the picture shows: data, reference, label, gain in % with its interval, seeds.

    Raises:
        UserError: a table or a row is missing, or several rows fit.
    """
    files = ResultFiles(results)
    rows = []
    for cell in cells():
        row = files.row(cell.table, **{"metric": "accuracy", **cell.where})
        figures = {column: row[column] for column in (*_VALUES, "interval_kind", "seeds")}
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
            hollow=(rows["interval_kind"] == "test-only").to_numpy(),
        )
        for (data, against), rows in table.groupby(["data", "against"], sort=False)
    ]

    def zero(axes: Axes, panel: Panel) -> None:
        del panel
        axes.axvline(0, color="black", linewidth=0.8, zorder=1)

    def numbers(value: float, low: float, high: float) -> str:
        return f"{value:+.1f} [{low:.1f}, {high:.1f}]".replace("-", "\N{MINUS SIGN}")

    # The widest interval would make all others invisible.
    limits = padded(table[_VALUES[0]].to_numpy())
    cut = (table[_VALUES[1]] < limits[0]).any() or (table[_VALUES[2]] > limits[1]).any()
    seeds = table.loc[table["interval_kind"] != "test-only", "seeds"].astype(int)
    sentences = [
        "Dot: relative gain in accuracy,",
        f"line: 95 % interval over {seeds.min()} to {seeds.max()} seeds.",
        "Hollow: one seed, test sampling only.",
        *(["Arrow head: the interval goes on."] if cut else []),
        "Budget quick.",
    ]
    with style.styled():
        axis = [limits] * len(panels)
        return panel_figure(panels, axis, zero, numbers, "Relative gain in %", " ".join(sentences))


def as_text(table: pd.DataFrame) -> str:
    """The table as it is in gains.csv."""
    return table.to_csv(index=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the options and run; returns 1 where `--check` finds a difference, 2 where something is missing.

    Args:
        arguments: of the command line; those of the process if None.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if figures differ")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the tables")
    options = parser.parse_args(arguments)
    beside = options.results / "gains.csv"
    try:
        table = drawn(options.results)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    if options.check:
        written = beside.read_text(encoding="utf-8") if beside.is_file() else ""
        if written != as_text(table):
            print(f"{beside} is not what the tables say: python benchmarks/figures/front_picture.py")
            return 1
        return 0
    print(*style.save(picture(table), options.results / "gains"), sep="\n")
    write_text(beside, as_text(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
