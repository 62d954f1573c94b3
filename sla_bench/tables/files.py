"""Writes leaderboard and plots of a store below results/<scenario>/."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pandas.api.types import is_numeric_dtype

from sla_bench.records.files import remove_files, write_text
from sla_bench.records.record_cache import no_search_for_cycles
from sla_bench.records.store import RunRecord, Store
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.reading import Reading
from sla_bench.tables.latex import latex
from sla_bench.tables.leaderboard import COLUMNS
from sla_bench.tables.markdown import markdown
from sla_bench.tables.row_cache import leaderboard_of, shown_records
from sla_bench.tables.row_key import budget_words, method_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PICTURES = (
    *("accuracies", "gains", "cost_accuracy", "budget_curves", "learning_curves"),
    *("class_sizes", "class_accuracies", "confusions"),
    *("view_accuracies", "view_agreement", "view_confusions"),
)
"""What is drawn, without endings; further pictures are those of `SettingAxis.stem`."""


@no_search_for_cycles()
def write_leaderboard(store: Store) -> pd.DataFrame:
    """Write leaderboard.csv, leaderboard.md and leaderboard.tex from all records; return the table.

    Raises:
        UserError: the files can't be written.
    """
    table = leaderboard_of(store)
    write_text(store.tables / "leaderboard.csv", csv_of(table))
    write_text(store.tables / "leaderboard.md", markdown(table))
    write_text(store.tables / "leaderboard.tex", latex(table))
    return table


def csv_of(table: pd.DataFrame) -> str:
    """The leaderboard as CSV, with texts that spreadsheets take for texts."""
    texts = [name for name in COLUMNS if not is_numeric_dtype(table[name])]
    guarded = table[COLUMNS].assign(**{name: table[name].map(escape_formula) for name in texts})
    return guarded.to_csv(index=False, float_format="%.6g")


def write_plots(store: Store, table: pd.DataFrame, pdf: bool = False) -> list[Path]:
    """Draw gains, accuracies, curves, costs and what the scenario adds, each where its data are there.

    A picture of before whose data are there no longer is deleted: it would pass for one of these records.

    Args:
        store: of the records.
        table: the leaderboard.
        pdf: each figure also as PDF.

    Returns:
        The files written.

    Raises:
        UserError: a file can't be written or deleted.
    """
    from sla_bench.tables.figures import curves, gains

    if table.empty:
        return []
    accuracies = table[table["metric"] == "accuracy"]
    reading: Reading = SCENARIOS.load(store.scenario, "reading")
    figures = {
        "accuracies": gains.accuracies_figure(accuracies),
        "gains": gains.gains_figure(accuracies),
        "cost_accuracy": curves.cost_accuracy_figure(accuracies, reading.matched_controls),
        "budget_curves": curves.budget_curves_figure(accuracies),
        **class_figures(store, reading.pictures),
    }
    if reading.axis is not None:
        figures[reading.axis.stem] = curves.gain_curves_figure(accuracies, reading.axis)
    paths = _save(store, figures, pdf) + write_learning_curves(store, pdf) + write_view_plots(store, pdf)
    stems = (*_PICTURES, reading.axis.stem) if reading.axis else _PICTURES
    known = {store.tables / f"{stem}.{ending}" for stem in stems for ending in ("png", "svg", "pdf")}
    remove_files(known.difference(paths))
    return paths


def class_figures(store: Store, names: Sequence[str]) -> dict[str, Figure | None]:
    """Some of class_sizes, class_accuracies, confusions, in the order of their names; None without data."""
    if not names:
        return {}
    from sla_bench.tables.class_results import TrainingClasses, class_results
    from sla_bench.tables.figures import classes

    results = class_results(shown_records(store))
    sizes: dict[str, TrainingClasses] = {}
    for result in results:
        sizes.setdefault(f"{result.dataset}, {result.setting}", result.all_classes or result.classes)
    draw = {
        "class_sizes": lambda: classes.class_counts_figure(sizes),
        "class_accuracies": lambda: classes.class_accuracy_figure(results),
        "confusions": lambda: classes.confusions_figure(results),
    }
    return {name: draw[name]() for name in names}


def write_learning_curves(store: Store, pdf: bool = False) -> list[Path]:
    """Draw learning curves, where the histories of a scenario hold accuracies on validation data."""
    from sla_bench.tables.figures.curves import learning_curves_figure

    reading: Reading = SCENARIOS.load(store.scenario, "reading")
    if not reading.validates:
        return []
    return _save(store, {"learning_curves": learning_curves_figure(histories(shown_records(store)))}, pdf)


def write_view_plots(store: Store, pdf: bool = False) -> list[Path]:
    """Draw what `analyse` has recorded of the views of test images."""
    from sla_bench.tables.view_results import view_settings

    settings = view_settings(shown_records(store))
    if not settings:
        return []
    from sla_bench.tables.figures.views import view_figures

    return _save(store, view_figures(settings), pdf)


def _save(store: Store, figures: Mapping[str, Figure | None], pdf: bool) -> list[Path]:
    """Write figures below a store's tables; without data there is no figure."""
    from sla_bench.tables.figures import style

    drawn = {stem: figure for stem, figure in figures.items() if figure is not None}
    return [path for stem, figure in drawn.items() for path in style.save(figure, store.tables / stem, pdf)]


def histories(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Join the histories of all records (of an ensemble: its first member) and say whose they are."""
    parts = []
    for record in records:
        config, asked = record.config, record.asked
        reading: Reading = SCENARIOS.load(config.scenario, "reading")
        method, recipe = method_of(config), budget_words(record, asked, (reading.length,))
        if record.done["protocol"] != config.protocol:
            recipe += f", protocol {record.done['protocol']}"
        about = {
            **asked.columns,
            "label": f"{method} {config.transform or ''} {record.run_id[:4]}".replace("  ", " "),
            "dataset": config.dataset,
            "method": method,
            "is_sla": asked.is_sla,
            "transform": config.transform,
            "setting": asked.words(),
            "recipe": recipe,
            reading.length: getattr(config, reading.length),
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
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r", "\n"):
        return "'" + value
    return value


def rows_of_runs(table: pd.DataFrame, run_ids: Sequence[str]) -> pd.DataFrame:
    """The rows to which one of these runs contributed."""
    wanted = set(run_ids)
    return table[[bool(wanted.intersection(str(ids).split())) for ids in table["run_ids"]]]
