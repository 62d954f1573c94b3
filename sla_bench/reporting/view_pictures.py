"""Pictures of the views of test images as PNG and SVG: accuracies, agreement against gain, confusions.

`*_figure` (in the modules imported here) turn results into a figure, `plot_views` writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from sla_bench.reporting import style
from sla_bench.reporting.view_accuracies import view_accuracies_figure
from sla_bench.reporting.view_agreement import view_agreement_figure
from sla_bench.reporting.view_confusions import view_confusions_figure
from sla_bench.reporting.view_results import ViewSetting


def view_figures(settings: Sequence[ViewSetting]) -> dict[str, Figure]:
    """File name without ending -> figure; none where nothing was analysed.

    Args:
        settings: of one scenario.
    """
    if not settings:
        return {}
    figures = {
        "view_accuracies": view_accuracies_figure(settings),
        "view_agreement": view_agreement_figure(settings),
        "view_confusions": view_confusions_figure(settings),
    }
    return {stem: figure for stem, figure in figures.items() if figure is not None}


def plot_views(settings: Sequence[ViewSetting], folder: Path) -> list[Path]:
    """Write the figures of `view_figures`.

    Returns:
        The files written; none where nothing was analysed.

    Raises:
        UserError: the files cannot be written; earlier ones are then as they were.
    """
    figures = view_figures(settings)
    return [path for stem, figure in figures.items() for path in style.save(figure, folder / stem)]
