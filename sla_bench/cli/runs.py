"""`runs`: the recorded trainings, one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any

from cyclopts import App, Parameter

from sla_bench.cli.options import NO_DATA, NO_RESULTS, Data, Results
from sla_bench.cli.stores import records_of, say_set_apart, stores_of
from sla_bench.errors import UserError, unknown
from sla_bench.registry import SCENARIOS
from sla_bench.words import print_lines

runs_app = App(name="runs", help="List, show, compare and prune the recorded runs.")


@runs_app.default
def list_recorded(
    scenario: str | None = None, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS
) -> int:
    """List the recorded runs: id, training, state of the data, accuracies in %, seconds of training.

    Tables leave out runs on an older state of data that have changed since.

    Parameters
    ----------
    scenario: str
        Only this one; default: each that has records.
    """  # noqa: DOC501
    from sla_bench.records.data_states import shown_states
    from sla_bench.tables.run_list import list_runs

    if scenario is not None and scenario not in SCENARIOS:
        raise unknown("scenario or command", scenario, [*SCENARIOS, "show", "compare", "prune"])
    for store in stores_of(scenario, results):
        print_lines(list_runs(store.records(), shown_states(store)))
    return 0


@runs_app.command
def show(
    run_id: str,
    *,
    episodes: str | None = None,
    data: Annotated[Data, Parameter(name="*")] = NO_DATA,
    results: Annotated[Results, Parameter(name="*")] = NO_RESULTS,
) -> int:
    """Show a record in full, with the command that reproduces it.

    Parameters
    ----------
    run_id: str
        Name of a folder in results/<scenario>/runs/ (its beginning is enough).
    episodes: str
        Show test episodes of a few-shot run instead, as in 3, 0-4 or 1,3: the supports, the queries and the
        right answers of each class.
    """
    from sla_bench.tables.run_list import find_run, show_run

    record = find_run(records_of(SCENARIOS, results.out), run_id)
    if episodes is None:
        print_lines(show_run(record))
        return 0
    from sla_bench.tables.episode_files import episode_numbers, show_episodes

    print_lines(show_episodes(record, episode_numbers(episodes), data.data_root))
    return 0


@runs_app.command
def compare(first: str, second: str, *, results: Annotated[Results, Parameter(name="*")] = NO_RESULTS) -> int:
    """Show the differences between two runs: config, training, environment, accuracies.

    Parameters
    ----------
    first: str
        A run id (its beginning is enough).
    second: str
        Another.
    """
    from sla_bench.tables.run_list import compare_runs, find_run

    records = records_of(SCENARIOS, results.out)
    print_lines(compare_runs(find_run(records, first), find_run(records, second)))
    return 0


@runs_app.command
def prune(
    scenario: str | None = None,
    *,
    results: Annotated[Results, Parameter(name="*")] = NO_RESULTS,
    state: list[str] | None = None,
    older_states: bool = False,
    yes: bool = False,
) -> int:
    """Delete unfinished and damaged runs, runs of an older protocol, and checkpoints of finished runs.

    With --state or --older-states, delete the runs on these states of the data instead.

    Parameters
    ----------
    scenario: str
        Only this one; default: all.
    state: list[str]
        A state of the data, as `runs` names it (its beginning is enough).
    older_states: bool
        All states that tables leave out because the data have changed since.
    yes: bool
        Don't ask.
    """
    from sla_bench.records.pruning import leftovers
    from sla_bench.records.pruning import prune as delete
    from sla_bench.records.store import Store
    from sla_bench.words import confirm

    names = list(SCENARIOS) if scenario is None else [SCENARIOS.check(scenario)]
    stores = [Store(results.out, name).snapshot() for name in names]
    if state or older_states:
        found = _on_states(stores, state or [], older_states)
    else:
        found = [leftover for store in stores for leftover in leftovers(store)]
    say_set_apart(stores)
    print_lines(f"{leftover.path}: {leftover.why}" for leftover in found)
    if not found:
        print("nothing to delete")
        return 0
    confirm(f"{len(found)} folders would be deleted", "Delete them?", yes)
    print(f"deleted {delete(found)}")
    return 0


def _on_states(stores: Sequence[Any], beginnings: Sequence[str], older: bool) -> list[Any]:
    """The runs on states that begin so, and on all but those shown if `older`.

    Raises:
        UserError: no state begins so, or several do.
    """
    from sla_bench.records.data_states import shown_states
    from sla_bench.records.pruning import of_states

    pairs = [{(e.data, e.state) for r in s.records() for e in r.evaluations} for s in stores]
    states = {state for own in pairs for _, state in own}
    chosen = {_state_named(beginning, states) for beginning in beginnings}
    found = []
    for store, own in zip(stores, pairs, strict=True):
        shown = set(shown_states(store).items())
        wanted = {pair for pair in own if pair[1] in chosen or (older and pair not in shown)}
        found += of_states(store, wanted)
    return found


def _state_named(beginning: str, states: Collection[str]) -> str:
    found = sorted(state for state in states if state.startswith(beginning))
    if len(found) != 1:
        known = ", ".join(sorted(states)) or "none"
        many = f"{len(found)} states begin" if found else "no state begins"
        raise UserError(f"--state: {many} with {beginning!r}; recorded are {known}")
    return found[0]
