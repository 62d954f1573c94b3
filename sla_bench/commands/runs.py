"""`runs`: the recorded trainings, one by one."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from sla_bench.commands.options import NO_RESULTS, Results
from sla_bench.commands.printing import print_lines
from sla_bench.commands.records import stores_of
from sla_bench.errors import unknown
from sla_bench.registry import SCENARIOS

runs_app = App(name="runs", help="List, show, compare and prune the recorded runs.")


@runs_app.default
def list_recorded(
    scenario: str | None = None, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS
) -> int:
    """List the recorded runs: id, what was trained, accuracies in %, seconds of training.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    """
    from sla_bench.reporting.run_list import list_runs

    if scenario is not None and scenario not in SCENARIOS:
        raise unknown("scenario or command", scenario, [*SCENARIOS, "show", "compare", "prune"])
    for store in stores_of(scenario, results):
        print_lines(list_runs(store.records()))
        print_lines((f"can't be read: {folder}" for folder in store.damaged()), sys.stderr)
    return 0


@runs_app.command
def show(run_id: str, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS) -> int:
    """Show all of a record, with the command that makes it again.

    Parameters
    ----------
    run_id: str
        Name of a folder in results/<scenario>/runs/ (its beginning is enough).
    """
    from sla_bench.reporting.run_list import find_run, show_run

    records = [record for store in stores_of(None, results) for record in store.records()]
    print_lines(show_run(find_run(records, run_id)))
    return 0


@runs_app.command
def compare(first: str, second: str, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS) -> int:
    """Show what differs between two runs: config, training, environment, accuracies.

    Parameters
    ----------
    first: str
        A run id (its beginning is enough).
    second: str
        Another.
    """
    from sla_bench.reporting.run_list import compare_runs, find_run

    records = [record for store in stores_of(None, results) for record in store.records()]
    print_lines(compare_runs(find_run(records, first), find_run(records, second)))
    return 0


@runs_app.command
def prune(
    scenario: str | None = None,
    *,
    results: Annotated[Results, Parameter(name="*")] = NO_RESULTS,
    yes: bool = False,
) -> int:
    """Delete what serves no table: unfinished and damaged runs, those of another protocol, old checkpoints.

    Parameters
    ----------
    scenario: str
        Only this one; default: all.
    yes: bool
        Don't ask.
    """
    from sla_bench.confirmation import confirm
    from sla_bench.harness.pruning import leftovers
    from sla_bench.harness.pruning import prune as delete
    from sla_bench.harness.store import Store

    names = list(SCENARIOS) if scenario is None else [SCENARIOS.check(scenario)]
    found = [leftover for name in names for leftover in leftovers(Store(results.out, name))]
    print_lines(f"{leftover.path}: {leftover.why}" for leftover in found)
    if not found:
        print("nothing to delete")
        return 0
    confirm(f"{len(found)} folders would be deleted", "Delete them?", yes)
    print(f"deleted {delete(found)}")
    return 0
