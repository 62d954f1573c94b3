"""The look of all figures, limits of axes, and writing to disk."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from scipy.optimize import isotonic_regression

from sla_bench.records.files import write_together


def padded(values: np.ndarray) -> tuple[float, float]:
    """Least and largest of values of any shape, NaN left out, with a margin."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * max(high - low, 1.0)
    return low - margin, high + margin


def interval_limits(values: np.ndarray, held: Sequence[float] = ()) -> tuple[float, float]:
    """Limits of an axis that hold all values, and intervals as far as the span of the values beyond them.

    Args:
        values: (n, 3) value, low, high.
        held: further places that the axis holds.
    """
    centres = np.append(values[:, 0], held)
    reach = max(np.ptp(centres), 1.0)
    low, high = centres.min() - reach, centres.max() + reach
    return padded(np.append(np.clip(values[:, 1:], low, high), centres))


def gain_limits(values: np.ndarray, averaged: np.ndarray) -> tuple[float, float]:
    """Limits of an axis for zero and all gains but those of rows with +TTA that would flatten the others.

    Args:
        values: (n, 3) relative gain in %, low, high.
        averaged: (n,) True where method or reference is a mean over views or crops.
    """
    if averaged.all():
        return interval_limits(values, [0.0])
    centres = np.append(values[~averaged, 0], 0.0)
    reach = np.ptp(centres) / 2
    far = (values[:, 0] < centres.min() - reach) | (values[:, 0] > centres.max() + reach)
    return interval_limits(values[~(averaged & far)], [0.0])


# Okabe and Ito's colours, told apart with any common colour blindness; their yellow is too light for lines
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
BLUE = COLOURS[0]
GREY = "#555555"
FAINT = "#A6A6A6"
"""Of one seed: an estimate alone."""
COLUMN_INCHES = 3.5
FONT_POINTS = 7.0
LINE_INCHES = 0.125
POINTS_PER_INCH = 72
# mean width of a character at that size: of names (upper estimate), of names in bold, of sentences
CHARACTER_INCHES, BOLD_INCHES, PROSE_INCHES = 0.058, 0.068, 0.054
_DOTS_PER_INCH = 220
_BACKEND_KEYS = {"backend", "backend_fallback", "interactive", "toolbar", "webagg.open_in_browser"}
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": FONT_POINTS,
    "axes.titlesize": FONT_POINTS,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": FONT_POINTS,
    "xtick.labelsize": FONT_POINTS,
    "ytick.labelsize": FONT_POINTS,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.width": 0.6,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "text.parse_math": False,  # names with $ or _ are names, not formulas
    "axes.unicode_minus": True,
    "svg.hashsalt": "sla-bench",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # whole outlines, which editors and publishers take
}


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's own defaults and our style inside the block, whatever a user's matplotlibrc says.

    A character that the font lacks is drawn as a box, without a warning.
    """
    settings: dict[Any, Any] = {k: v for k, v in mpl.rcParamsDefault.items() if k not in _BACKEND_KEYS}
    with mpl.rc_context(settings | _STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        warnings.filterwarnings("ignore", "Matplotlib currently does not support", UserWarning)
        yield


def grid(axes: Axes, axis: Literal["x", "y"] = "y") -> None:
    """Draw light lines behind everything else."""
    axes.grid(axis=axis, color="#E6E6E6", linewidth=0.6)
    axes.set_axisbelow(True)


def new_figure(width: float, height: float) -> Figure:
    """A figure of that size in inches that no global state knows of."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path_stem: Path | str, pdf: bool = False) -> list[Path]:
    """Write `path_stem` + .png and .svg; they replace their predecessors only when all are complete.

    Args:
        figure: what to draw.
        path_stem: path without ending; a dot inside the name is kept. The folder is made.
        pdf: also + .pdf.

    Returns:
        The files.

    Raises:
        UserError: folder not writable or disk full; earlier files are then as they were.
    """
    stem = Path(path_stem)
    contents = {f"{stem.name}.png": png_of(figure), f"{stem.name}.svg": _vectors_of(figure, "svg")}
    if pdf:
        contents[f"{stem.name}.pdf"] = _vectors_of(figure, "pdf")
    write_together(stem.parent, contents)
    return [stem.parent / name for name in contents]


def png_of(figure: Figure) -> bytes:
    """The figure as `save` writes it to a PNG file: in 256 colours, which takes a third of the bytes."""
    drawn, content = io.BytesIO(), io.BytesIO()
    with styled():
        figure.savefig(drawn, format="png", dpi=_DOTS_PER_INCH)
    with Image.open(drawn) as image:
        # Of the methods this one keeps white white and all else within 3 of 255.
        few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(content, "PNG", dpi=(_DOTS_PER_INCH, _DOTS_PER_INCH))
    return content.getvalue()


def _vectors_of(figure: Figure, ending: Literal["svg", "pdf"]) -> bytes:
    """The figure without the time of drawing; a PDF holds its fonts."""
    content, undated = io.BytesIO(), {"svg": "Date", "pdf": "CreationDate"}[ending]
    with styled():
        figure.savefig(content, format=ending, metadata={undated: None, "Creator": "sla-bench"})
    return content.getvalue()


def spread_apart(positions: Sequence[float], gap: float) -> np.ndarray:
    """Move labels apart as little as needed: least squares under a least gap, order kept.

    Args:
        positions: (n,) where the labels would like to be.
        gap: least distance between neighbours.

    Returns:
        (n,) where they go.
    """
    wanted = np.asarray(positions, dtype=np.float64)
    order = np.argsort(wanted, kind="stable")
    steps = gap * np.arange(len(wanted))
    placed = np.empty(len(wanted))
    # With the gaps taken out this is isotonic regression.
    placed[order] = isotonic_regression(wanted[order] - steps).x + steps
    return placed


def wrap(text: str, characters: int) -> str:
    """Break each line of `text` into lines of at most so many characters."""
    return "\n".join("\n".join(textwrap.wrap(line, characters) or [""]) for line in text.split("\n"))


def colour_of(is_sla: bool) -> str:
    """Blue for self-supervised label augmentation, grey for baselines and controls."""
    return BLUE if is_sla else GREY
