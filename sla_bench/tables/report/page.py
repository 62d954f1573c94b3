"""The report as one HTML page: notes, filters, rows of each scenario."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from sla_bench.records.files import write_output
from sla_bench.records.record_cache import no_search_for_cycles
from sla_bench.records.store import Store
from sla_bench.registry import SCENARIOS
from sla_bench.tables.answers import Answer, answers
from sla_bench.tables.figures.style import gain_limits
from sla_bench.tables.files import csv_of
from sla_bench.tables.folding import folded, names_of
from sla_bench.tables.report.cost_picture import WIDTH, CostPicture, cost_picture
from sla_bench.tables.report.details import Details, Facts, Sources, script_json
from sla_bench.tables.report.views import Views, views_of
from sla_bench.tables.report.whiskers import Axis, Whisker, typeset, typeset_words
from sla_bench.tables.row_cache import leaderboard_of, shown_records
from sla_bench.tables.table_texts import (
    HEADINGS,
    UNTRIED,
    accuracies_of,
    blocks,
    cells_of,
    definitions,
    further_metrics,
    is_missing,
    notes,
    rows_of,
    training_words,
)


@dataclass(frozen=True)
class Column:
    """A column of the table.

    Args:
        heading: what stands above it.
        sorts_by: column of the leaderboard by which it sorts; the first click shows the largest first. Empty:
            by its text, from A.
        kind: "extra" is left out where the window is not wide, "minor" where it is narrow, "where" in both,
            since such a text then stands below the method; "long" texts wrap.
    """

    heading: str
    sorts_by: str = ""
    kind: str = "minor"


METHOD = Column("method", kind="")
"""The head of each row."""
_WHERE = ("data set", "setting", "learner", "training")
COLUMNS = (
    *(Column(heading, kind="where long") for heading in _WHERE),
    Column("accuracy %", "value", kind=""),
    Column("best", kind="minor"),
    Column("against", kind="minor long"),
    Column("gain %", "relative_gain_pct", kind=""),
    Column("verdict", kind="minor long"),
    Column("new classes", "gain_classes_low", kind="extra"),
    Column("p (Holm, m)", "p_value", kind="extra"),
    Column("seeds", "seeds", kind="minor long"),
    Column("train images", "train_images", kind="extra"),
    Column("twice as long %", "gain_at_twice", kind="extra"),
    Column("passes", "query_passes", kind="extra"),
    Column("published", "published", kind="extra"),
)
_WORDS = ", "
_FILTERS = ("data set", "learner", "method", "against")
_MOST_CARDS = 12
"""Answers with a drawing that the page opens with, of each scenario."""


@dataclass(frozen=True)
class Card:
    """The answer in one setting.

    Args:
        answer: its sentences.
        picture: accuracy against cost; None of a single method.
    """

    answer: Answer
    picture: CostPicture | None


@dataclass(frozen=True)
class Row:
    """One (method, reference) in one setting.

    Args:
        number: of its details.
        method: its head; both names where it stands for two rows.
        where: values of the columns that are constant nowhere, for windows without room for them.
        texts: heading -> what is shown.
        values: heading -> what it sorts by, where it does not by its text.
        whisker: its gain; None where there is none.
        is_sla: drawn in blue.
    """

    number: int
    method: str
    where: str
    texts: dict[str, str]
    values: dict[str, float]
    whisker: Whisker | None
    is_sla: bool


@dataclass(frozen=True)
class Section:
    """All that the page shows of one scenario.

    Args:
        name: of the scenario.
        subject: what it is about.
        summary: the same in a sentence.
        runs: number of trainings.
        cards: the answers, those of primary contrasts first.
        further: number of answers beyond the cards.
        verdicts: of the primary contrasts, on all answers.
        csv: the table with all columns, as the address of a file within the page.
        notes: what a reader has to know of its intervals.
        shared: what all rows have in common; the columns tell the rest.
        columns: those that are not empty, and that tell where a row belongs only where rows differ.
        rows: in the order of the leaderboard.
        axis: of the gains; None where no row has one.
        choices: heading -> the values that can be filtered by, where there are several.
        unreadable: names of the records that can't be read, with the reason.
        views: what `analyse` found; None where it was not asked.
    """

    name: str
    subject: str
    summary: str
    runs: int
    cards: list[Card]
    further: int
    verdicts: list[str]
    csv: str
    notes: list[str]
    shared: str
    columns: list[Column]
    rows: list[Row]
    axis: Axis | None
    choices: dict[str, list[str]]
    unreadable: list[str]
    views: Views | None


@no_search_for_cycles()
def section_of(store: Store, details: Details) -> Section:
    """Build the section of one scenario, and add the details of its rows to those of the page."""
    table = leaderboard_of(store)
    found, axis = rows_of(table), _axis(table)
    records = shown_records(store)
    shared = _shared_words(map(training_words, found))
    rows = [_without(shared, row) for row in _rows(found, axis, Sources(records, found), details)]
    entry = SCENARIOS[store.scenario]
    filled = [c for c in COLUMNS if any(row.texts[c.heading] not in ("", UNTRIED) for row in rows)]
    different = {name: list(dict.fromkeys(row.texts[name] for row in rows)) for name in {*_WHERE, *_FILTERS}}
    constant = [name for name in _WHERE if len(different[name]) == 1]
    own = [name for name in _WHERE if name not in constant]
    rows = [replace(row, where=_WORDS.join(filter(None, (row.texts[n] for n in own)))) for row in rows]
    found_answers = sorted(answers(found), key=lambda one: not one.is_primary)
    return Section(
        name=store.scenario,
        subject=entry.subject,
        summary=entry.summary,
        runs=len(store.records()),
        cards=[Card(answer, cost_picture(answer.rows)) for answer in found_answers[:_MOST_CARDS]],
        further=max(0, len(found_answers) - _MOST_CARDS),
        verdicts=[answer.word for answer in found_answers if answer.is_primary and answer.has_verdict],
        csv=_address(csv_of(table)),
        notes=[*notes(found), *definitions(found)],
        shared=_WORDS.join(filter(None, [*(different[n][0] for n in constant if n != "training"), shared])),
        columns=[column for column in filled if column.heading not in constant],
        rows=rows,
        axis=axis,
        choices={n: [c for c in different[n] if c] for n in _FILTERS if len(different[n]) > 1},
        unreadable=[f"{u.path.relative_to(store.folder / 'runs')} ({u.why})" for u in store.unreadable()],
        views=views_of(records),
    )


def _address(csv: str) -> str:
    """A file within the page; what would end an address or an attribute is escaped."""
    return "data:text/csv;charset=utf-8," + quote(csv, safe="/:;,+()=$!*'@?~^|[]{}`\\")


def _shared_words(trainings: Iterable[str]) -> str:
    """The words with which all trainings begin."""
    parts = zip(*(training.split(_WORDS) for training in trainings), strict=False)
    return _WORDS.join(words[0] for words in takewhile(lambda words: len(set(words)) == 1, parts))


def _without(shared: str, row: Row) -> Row:
    own = row.texts["training"].removeprefix(shared).removeprefix(_WORDS)
    return replace(row, texts=row.texts | {"training": own})


def _axis(table: pd.DataFrame) -> Axis | None:
    gains = table[(table["metric"] == "accuracy") & table["relative_gain_pct"].notna()]
    if gains.empty:
        return None
    intervals = gains[["relative_gain_pct", "gain_ci95_low", "gain_ci95_high"]].to_numpy(float)
    return Axis(*gain_limits(intervals, gains["averages_views"].to_numpy(bool)))


def _rows(
    found: Iterable[Mapping[Any, Any]], axis: Axis | None, sources: Sources, details: Details
) -> Iterator[Row]:
    for block in blocks(found):
        further = _further(block)
        for row in folded(accuracies_of(block)):
            own = further.get((row["setting"], row["learner"], row["method"]), [])
            yield Row(
                number=details.add(row, own, sources),
                method=names_of(row),
                where="",
                texts=_texts(row),
                values=_values(row),
                whisker=axis.whisker(row) if axis else None,
                is_sla=row["is_sla"],
            )


def _further(block: Sequence[Mapping[Any, Any]]) -> dict[tuple[Any, ...], Facts]:
    """(setting, learner, method) -> the metrics beside accuracy."""
    further = further_metrics(block)
    return {
        tuple(line[:3]): [[n, typeset(t)] for n, t in zip(further.headings[3:], line[3:], strict=True) if t]
        for line in further.lines
    }


def _texts(row: Mapping[Any, Any]) -> dict[str, str]:
    cells = dict(zip(HEADINGS, cells_of(row), strict=True))
    reach = f" ({cells['95 % interval']})" if cells["95 % interval"] else ""
    cells |= {"gain %": cells["gain %"] + reach}
    cells |= {name: typeset(cells[name]) for name in ("accuracy %", "gain %", "new classes")}
    return cells | {"data set": row["dataset"], "training": training_words(row)}


def _values(row: Mapping[Any, Any]) -> dict[str, float]:
    sorting = [column for column in COLUMNS if column.sorts_by and not is_missing(row[column.sorts_by])]
    return {column.heading: float(f"{row[column.sorts_by]:.6g}") for column in sorting}


_MOST_ROWS = 200
"""More rows of a table are shown when they are asked for: the layout of thousands takes a second."""


def write_report(stores: Iterable[Store], path: Path) -> list[Section]:
    """Write the report of some scenarios and return what it shows.

    Args:
        stores: one per scenario, in the order of the page.
        path: the HTML file, as `write_output` takes it.

    Raises:
        UserError: the file can't be written.
    """
    details = Details()
    sections = [section_of(store, details) for store in stores]
    content = page(sections, details).encode()
    write_output(path, lambda file: file.write(content))
    return sections


def page(sections: list[Section], details: Details) -> str:
    """Return the page: the same sections give the same text.

    Style and script stand inside it and are admitted by their hash; whatever else a browser could fetch or
    run is forbidden by the page's own policy, and every text from the records is escaped.
    """
    style, script = _asset("report.css"), _asset("report.js")
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"typeset": typeset, "typeset_words": typeset_words}
    return environment.get_template("page.html.jinja").render(
        sections=sections,
        lead=_lead([word for section in sections for word in section.verdicts]),
        method=METHOD,
        width=WIDTH,
        most=_MOST_ROWS,
        details=Markup(script_json(details.content())),
        style=Markup(style),
        script=Markup(script),
        policy=f"default-src 'none'; style-src '{_digest(style)}'; script-src '{_digest(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'",
    )


def _lead(verdicts: Sequence[str]) -> str:
    """The sentence on all primary contrasts that the page opens with."""
    if not verdicts:
        return "There is no verdict yet; each setting below says what is missing."
    count = Counter(verdicts)
    return (
        "Against controls of equal images, tuned alike and named beforehand, SLA gains in "
        f"{count['gains']} of {len(verdicts)} settings and loses in {count['loses']}; "
        f"{count['no relevant difference']} show no relevant difference, {count['undecided']} are undecided."
    )


def _asset(name: str) -> str:
    return (resources.files("sla_bench.tables.report") / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a content security policy names an admitted text."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
