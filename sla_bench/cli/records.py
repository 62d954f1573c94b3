"""Tables, plots and report from records; export and import of records."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sla_bench.cli.options import NO_RESULTS, NO_TABLES, Results, Tables
from sla_bench.cli.stores import records_of, stores_of
from sla_bench.errors import UserError
from sla_bench.grids.settings import written_out
from sla_bench.registry import SCENARIOS

_MOST_ROWS_PRINTED = 2000


def leaderboard(
    scenario: str | None = None, *, results: Annotated[Tables, Parameter(name="*")] = NO_TABLES
) -> int:
    """Rebuild the tables from the records, and print them.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    """
    from sla_bench.tables.files import write_leaderboard
    from sla_bench.tables.terminal import print_table

    for store in stores_of(scenario, results):
        table = write_leaderboard(store)
        if len(table) > _MOST_ROWS_PRINTED:
            print(f"{len(table):,} rows, too many to print: {store.tables / 'leaderboard.md'}")
        else:
            print_table(table)
    return 0


def plot(
    scenario: str | None = None,
    *,
    format_: Annotated[Literal["pdf"] | None, Parameter(name="--format")] = None,
    results: Annotated[Tables, Parameter(name="*")] = NO_TABLES,
) -> int:
    """Redraw the plots from the records.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    format_: str
        pdf: each figure also as PDF with its fonts, beside PNG and SVG.
    """
    from sla_bench.tables.files import write_leaderboard, write_plots

    for store in stores_of(scenario, results):
        for path in write_plots(store, write_leaderboard(store), format_ == "pdf"):
            print(path)
    return 0


def report(
    scenario: str | None = None,
    *,
    file: Path | None = None,
    results: Annotated[Tables, Parameter(name="*")] = NO_TABLES,
) -> int:
    """Write results/report.html: tables to sort and filter, each row with seeds, settings and curves.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    file: Path
        Write the page here instead; - is the standard output.
    """
    from sla_bench.records.files import check_output, words_beside
    from sla_bench.tables.report.page import write_report

    path = (results.tables or results.out) / "report.html" if file is None else file
    check_output(path, "--file")
    write_report(stores_of(scenario, results), path)
    print(path, file=words_beside(path))
    return 0


def export(
    file: Path | None = None,
    *,
    scenario: Annotated[list[str] | None, Parameter(consume_multiple=(1, 2**31))] = None,
    only_tables: bool = False,
    untested: bool = False,
    weights: str | None = None,
    results: Annotated[Results, Parameter(name="*")] = NO_RESULTS,
) -> int:
    """Write the records, without weights, to one compact file, so that a grid can resume elsewhere.

    Parameters
    ----------
    file: Path
        The archive, `NAME.zip`; - is the standard output.
    scenario: list[str]
        Only these; default: each that has records.
    only_tables: bool
        Keep only the samples that tables and figures read; confidences (ECE, NLL) only for rows in
        confirmatory and primary contrasts.
    untested: bool
        Also trainings without a test, such as those of `run --validate-only`.
    weights: str
        Id of a run: write its weights instead, to NAME.safetensors, with its config and its table rows.
    """
    if weights is not None:
        return _export_weights(weights, file, results, bool(scenario or only_tables or untested))
    from sla_bench.records.exchange import export_records
    from sla_bench.records.files import is_plain_file, words_beside
    from sla_bench.tables.levelling import partners_of

    scenarios = written_out(str, scenario or [])
    file = file or _archive_among(scenarios)
    names: list[str | None] = list(dict.fromkeys(scenarios)) or [None]
    stores = [store for name in names for store in stores_of(name, results, trials=True)]
    needed = (lambda records: [r.run_id for r in records]) if untested else partners_of
    written = export_records(stores, file, only_tables, needed)
    size = f", {file.stat().st_size:,} bytes" if is_plain_file(file) else ""
    summary = f"{file}: {written.runs} runs, {written.evaluations} evaluations{size}"
    print(summary, file=words_beside(file))
    return 0


def _export_weights(run_id: str, file: Path | None, results: Results, others: bool) -> int:
    from sla_bench.records.files import words_beside
    from sla_bench.records.released_weights import SUFFIX, export_weights
    from sla_bench.records.store import Store
    from sla_bench.tables.files import rows_of_runs
    from sla_bench.tables.leaderboard import COLUMNS
    from sla_bench.tables.row_cache import leaderboard_of
    from sla_bench.tables.run_list import find_run

    if others:
        raise UserError("--weights writes one run; leave --scenario, --only-tables and --untested out")
    if file is None or (file.suffix != SUFFIX and str(file) != "-"):
        raise UserError(f"--weights needs the name of a file, NAME{SUFFIX}")
    record = find_run(records_of(SCENARIOS, results.out), run_id)
    rows = rows_of_runs(leaderboard_of(Store(results.out, record.config.scenario)), [record.run_id])
    plain = json.loads(rows[COLUMNS].to_json(orient="records"))
    size = export_weights(record, plain, file)
    print(f"{file}: weights of run {record.run_id}, {size:,} bytes", file=words_beside(file))
    return 0


def _archive_among(scenarios: list[str]) -> Path:
    """Take the archive from the end of the values of --scenario."""
    if not scenarios or scenarios[-1] in SCENARIOS:
        raise UserError("export needs the name of the archive, NAME.zip")
    return Path(scenarios.pop())


def import_(file: Path, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS) -> int:
    """Add the missing records of an archive; `leaderboard` then shows them.

    Parameters
    ----------
    file: Path
        The archive, written by `export`; or NAME.safetensors, written by `export --weights`, of a run that is
        recorded here.
    """
    from sla_bench.records.released_weights import SUFFIX, import_weights

    if file.suffix == SUFFIX:
        record = import_weights(file, results.out)
        print(f"{record.folder}: weights of run {record.run_id}")
        return 0
    from sla_bench.records.exchange import import_records

    added = import_records(file, results.out)
    print(
        f"added {added.runs} runs and {added.evaluations} evaluations to {results.out}; "
        f"{added.there} runs were there already"
    )
    if added.claimed:
        print(
            f"skipped {added.claimed} runs that another command works on; import again when it has ended",
            file=sys.stderr,
        )
    return 0
