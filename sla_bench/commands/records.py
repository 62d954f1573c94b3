"""Tables, plots and report from the records; records to and from an archive."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from sla_bench.commands.options import NO_RESULTS, Results
from sla_bench.errors import UserError
from sla_bench.registry import SCENARIOS

_MOST_ROWS_PRINTED = 2000


def leaderboard(
    scenario: str | None = None, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS
) -> int:
    """Build the tables again from the records, and print them.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    """
    from sla_bench.reporting.files import write_leaderboard
    from sla_bench.reporting.terminal import print_table

    for store in stores_of(scenario, results):
        table = write_leaderboard(store)
        if len(table) > _MOST_ROWS_PRINTED:
            print(f"{len(table):,} rows, too many to print: {store.folder / 'leaderboard.md'}")
        else:
            print_table(table)
    return 0


def plot(
    scenario: str | None = None, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS
) -> int:
    """Draw the plots again from the records.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    """
    from sla_bench.reporting.files import write_leaderboard, write_plots

    for store in stores_of(scenario, results):
        for path in write_plots(store, write_leaderboard(store)):
            print(path)
    return 0


def report(
    scenario: str | None = None, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS
) -> int:
    """Write results/report.html: tables that sort and filter, each row with all that it was made of.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    """
    from sla_bench.reporting.report.page import write_report

    path = results.out / "report.html"
    for section in write_report(stores_of(scenario, results), path):
        for name in section.damaged:
            folder = results.out / section.name / "runs" / name
            print(f"passed over, can't be read: {folder}", file=sys.stderr)
    print(path)
    return 0


def stores_of(scenario: str | None, results: Results) -> list[Any]:
    """Snapshots of the stores with at least one finished run, of one scenario or of all.

    Raises:
        UserError: there is none, or no such scenario.
    """
    from sla_bench.harness.store import Store

    names = list(SCENARIOS) if scenario is None else [SCENARIOS.check(scenario)]
    stores = [s for s in (Store(results.out, name).snapshot() for name in names) if s.records()]
    if not stores:
        raise UserError(f"no finished runs in {results.out}; python -m sla_bench run {names[0]} makes some")
    return stores


def export(
    file: Path,
    *,
    scenario: list[str] | None = None,
    only_tables: bool = False,
    results: Annotated[Results, Parameter(name="*")] = NO_RESULTS,
) -> int:
    """Write the records, without weights, to one compact file, so that a grid can go on elsewhere.

    Parameters
    ----------
    file: Path
        The archive, `NAME.zip`.
    scenario: list[str]
        Only these; default: each that has records.
    only_tables: bool
        Of the samples only what tables and pictures read: few-shot archives are then much smaller.
    """
    from sla_bench.harness.exchange import all_samples, export_records

    names: list[str | None] = list(dict.fromkeys(scenario)) if scenario else [None]
    stores = [store for name in names for store in stores_of(name, results)]
    written = export_records(stores, file, _read_by_tables if only_tables else all_samples)
    print(f"{file}: {written.runs} runs, {written.evaluations} evaluations, {file.stat().st_size:,} bytes")
    for folder in (f for store in stores for f in store.damaged()):
        print(f"passed over, can't be read: {folder}", file=sys.stderr)
    return 0


def _read_by_tables(scenario: str, evaluation: Any) -> Any:
    return SCENARIOS.load(scenario, "reading").read_samples(evaluation)


def import_(file: Path, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS) -> int:
    """Add the records of an archive that are not here yet; `leaderboard` then shows them.

    Parameters
    ----------
    file: Path
        As `export` wrote it.
    """
    from sla_bench.harness.exchange import import_records

    added = import_records(file, results.out)
    print(
        f"added {added.runs} runs and {added.evaluations} evaluations to {results.out}; "
        f"{added.there} runs were there already"
    )
    if added.claimed:
        print(
            f"left out, another command works on them: {added.claimed} runs; import again when it has ended",
            file=sys.stderr,
        )
    return 0
