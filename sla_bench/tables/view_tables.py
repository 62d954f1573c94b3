"""Tables of views: accuracy, agreement, gain, mistaken transformations."""

from __future__ import annotations

from sla_bench.evaluation.statistics import MeanInterval
from sla_bench.evaluation.view_metrics import confused_pairs, mistaken_views
from sla_bench.tables.table_texts import Table, number, with_interval
from sla_bench.tables.view_results import ANY, OWN, HeadViews, ViewSetting

MOST_VIEWS_SHOWN = 6
"""Of more views, only the first and the mean of the others have a column."""
MOST_PAIRS = 10
WORDS_OF_VIEWS = frozenset({"head", "taught", "class > read as"})
"""Headings of columns without numbers."""
_TAUGHT = {
    "upright": "upright images",
    "invariant": "one label for all views",
    "joint": "a label for each view",
}
GUIDE = (
    "Views: a head is read on every view of each test image. Taught 'one label for all views' asks for "
    "invariance, 'a label for each view' (SLA) does not: such a head is read in the columns of the view's "
    "own transformation, as SLA+SI and SLA+AG are, or over all its columns ('any'). Averaged: scores "
    "averaged over the views (+TTA, SLA+AG). Intervals are 95 %, of two seeds and more."
)


def view_tables(setting: ViewSetting) -> list[Table]:
    """All tables of one setting."""
    tables = [_accuracies(setting), _agreements(setting)]
    if any(head.probes for head in setting.heads):
        tables.append(_representations(setting))
    if any(head.recognised is not None for head in setting.heads):
        tables.append(_transformations(setting))
    return tables + [_pairs(setting, head) for head in setting.heads if head.is_joint]


def view_label(head: HeadViews, read: str) -> str:
    """Name a head, and how it is read where it can be read in two ways."""
    return f"{head.name}, any" if read == ANY else head.name


def _accuracies(setting: ViewSetting) -> Table:
    shown = len(setting.view_names) <= MOST_VIEWS_SHOWN
    views = list(setting.view_names) if shown else [setting.view_names[0], "mean of the others"]
    lines = []
    for head in setting.heads:
        for read in (OWN, ANY) if head.is_joint else (OWN,):
            found = head.accuracies if read == OWN else head.accuracies_of_all_columns
            cells = [_percent(one) for one in found]
            if not shown:
                others = [one.estimate for one in found[1:]]
                cells = [cells[0], f"{100 * sum(others) / len(others):.1f}"]
            averaged = _percent(head.aggregated_accuracy) if read == OWN else ""
            lines.append([view_label(head, read), _TAUGHT[head.taught], *cells, averaged, str(head.seeds)])
    title = f"{setting.title}, {len(setting.heads[0].labels):,} test images: accuracy per view in %"
    return Table(title, ["head", "taught", *views, "averaged", "seeds"], lines)


def _representations(setting: ViewSetting) -> Table:
    """The accuracy of a head on upright images, beside that of heads fitted on its network's embeddings."""
    heads = [head for head in setting.heads if head.probes]
    lines = [
        [head.name, *map(_percent, [head.accuracies[0], *head.probe_accuracies.values()]), str(head.seeds)]
        for head in heads
    ]
    headings = ["head", "its own accuracy %", *(f"{name} %" for name in heads[0].probes), "seeds"]
    return Table(f"{setting.title}: other heads on the same embeddings", headings, lines)


def _agreements(setting: ViewSetting) -> Table:
    lines = []
    for head in setting.heads:
        relative = head.relative_gain
        lines.append(
            [
                head.name,
                _percent(head.agreement),
                _percent(head.unanimity),
                _signed(head.gain),
                "" if relative is None else _signed(relative),
            ]
        )
    headings = [
        "head",
        "pairs of views that agree %",
        "all views agree %",
        "averaged - upright, points",
        "relative gain %",
    ]
    return Table(f"{setting.title}: agreement of the views, and what averaging gains", headings, lines)


def _transformations(setting: ViewSetting) -> Table:
    lines = []
    for head in setting.heads:
        if head.recognised is None:
            continue
        cells = ["", ""]
        if head.joint is not None:
            cells = [number(100 * value, ".1f") for value in mistaken_views(head.joint, head.labels)]
        lines.append([head.name, f"{100 * head.recognised_share:.1f}", *cells])
    headings = ["head", "recognised %", "mistaken where the class is right %", "where it is wrong %"]
    return Table(f"{setting.title}: transformation of a view", headings, lines)


def _pairs(setting: ViewSetting, head: HeadViews) -> Table:
    assert head.joint is not None
    lines = []
    for pair in confused_pairs(head.joint, head.labels, setting.view_turns, MOST_PAIRS):
        turn = f"{90 * pair.turn}°" if setting.turns else ""
        cells = [f"{100 * pair.share:.1f}", f"{100 * pair.mistaken:.1f}", turn]
        names = [setting.class_names[c] for c in (pair.true, pair.predicted)]
        lines.append([" > ".join(names), *cells])
    headings = [
        "class > read as",
        "views of the class %",
        "transformation mistaken too %",
        "most often when turned by",
    ]
    keep = [h for h in range(len(headings)) if h < 3 or setting.turns]
    return Table(
        f"{setting.title}, {head.name}: classes that are confused most",
        [headings[h] for h in keep],
        [[line[h] for h in keep] for line in lines],
    )


def _percent(interval: MeanInterval, form: str = ".1f") -> str:
    return with_interval(100 * interval.estimate, 100 * interval.low, 100 * interval.high, form)


def _signed(interval: MeanInterval) -> str:
    return _percent(interval, "+.1f")
