"""Pictures of imbalanced runs as PNG and SVG: class sizes, accuracy against class size, confusions.

`*_figure` (in the modules imported here) turn results into a figure, `plot_*` write it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sla_bench.reporting import style
from sla_bench.reporting.class_accuracy import class_accuracy_figure
from sla_bench.reporting.class_counts import class_counts_figure
from sla_bench.reporting.class_results import ClassResult, TrainingClasses, beside_reference
from sla_bench.reporting.confusions import confusions_figure


def plot_class_counts(training_sets: Mapping[str, TrainingClasses], path_stem: Path | str) -> list[Path]:
    """Write the figure of `class_counts_figure`: the class-count curve of each training set.

    Args:
        training_sets: by title, such as "cifar100, exp ratio 100".
        path_stem: path without ending.

    Returns:
        The files written; none where there is no training set.

    Raises:
        UserError: the files cannot be written; earlier ones are then as they were.
    """
    return style.save(class_counts_figure(training_sets), path_stem) if training_sets else []


def plot_class_accuracy(
    results: Sequence[ClassResult], path_stem: Path | str, reference: str = "baseline"
) -> list[Path]:
    """Write the figure of `class_accuracy_figure`: accuracy per class against class size, reference and SLA.

    Args:
        results: one per (data set, setting, loss, method), compared ones of the same seeds in the same order.
        path_stem: path without ending.
        reference: the method to compare with.

    Returns:
        The files written; none where no row of SLA has its reference beside it.

    Raises:
        UserError: compared rows whose training sets differ, or the files cannot be written; earlier ones are
            then as they were.
    """
    if beside_reference(results, reference):
        return style.save(class_accuracy_figure(results, reference), path_stem)
    return []


def plot_confusions(
    results: Sequence[ClassResult], path_stem: Path | str, reference: str = "baseline"
) -> list[Path]:
    """Write the figure of `confusions_figure`: confusion matrices of the reference and SLA side by side.

    Args:
        results: as `plot_class_accuracy`; those without confusions are left out.
        path_stem: path without ending.
        reference: the method to show first.

    Returns:
        The files written; none where no row of SLA has its reference beside it, both with confusions.

    Raises:
        UserError: compared rows whose training sets differ, or the files cannot be written; earlier ones are
            then as they were.
    """
    if beside_reference([result for result in results if result.confusions is not None], reference):
        return style.save(confusions_figure(results, reference), path_stem)
    return []
