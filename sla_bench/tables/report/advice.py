"""The comparison of `advise` as lines and as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from sla_bench.scenarios.advice import Findings, verdict

_MEANS = {
    "plain": "the picture as it is",
    "flip": "mean over the picture and its mirror image",
    "turns": "mean over the views, a head for each",
    "turned supports": "supports in all views under their class, the new picture as it is",
    "SLA": "joint labels (class, view), mean over the views",
}
_WIDTH, _MARGIN = 320, 10
"""Of the drawn intervals, in pixels."""


def advice_table(found: Findings) -> Iterator[str]:
    """Yield the lines of the table, a heading first."""
    counts = sorted(found.sizes.values())
    classes = f"{len(counts)} classes of {counts[0]} to {counts[-1]}"
    pictures = f"{sum(counts):,} pictures of {found.size} px"
    yield f"{found.dataset}: {pictures} in {classes}; scenario {found.scenario}"
    episode = f"{found.ways} classes with {found.shots} support pictures each"
    yield f"{found.network}; {episode}, {found.advice.groups} groups of pictures"
    yield f"{'method':<16}{'accuracy %':>10}  {'over plain, points':<22}{'passes':>6}"
    for name, row in found.advice.rows.items():
        gain = "" if name == "plain" else f"{row.gain:+.1f} ({row.low:+.1f} to {row.high:+.1f})"
        yield f"{name:<16}{row.accuracy:>10.1f}  {gain:<22}{found.passes[name]:>6}"


def advice_page(found: Findings) -> str:
    """The result as an HTML page of its own, without scripts and links to other files."""
    environment = Environment(
        loader=FunctionLoader(_asset), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    ends = [end for row in found.advice.rows.values() for end in (row.low, row.high, 0.0)]
    low, high = min(ends) - 0.5, max(ends) + 0.5

    def place(points: float) -> float:
        return round(_MARGIN + (points - low) / (high - low) * (_WIDTH - 2 * _MARGIN), 1)

    return environment.get_template("advice.html.jinja").render(
        found=found,
        counts=sorted(found.sizes.values()),
        sentences=list(verdict(found)),
        means=_MEANS,
        place=place,
        width=_WIDTH,
        recalls=sorted(found.recalls.items(), key=lambda pair: pair[1]),
    )


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
