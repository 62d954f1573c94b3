"""The stores that a command reads, and notes on records left out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sla_bench.cli.options import Results
from sla_bench.errors import UserError
from sla_bench.registry import SCENARIOS
from sla_bench.words import print_lines

_NAMED = 5


def stores_of(scenario: str | None, results: Results, trials: bool = False) -> list[Any]:
    """Snapshots of the stores with at least one finished run, of one scenario or of all.

    Left-out records are named on stderr.

    Args:
        scenario: its name; None: all.
        results: their folder.
        trials: include stores that have trials of `tune` and no run yet.

    Raises:
        UserError: there is no such store, or the scenario is unknown.
    """  # noqa: DOC501
    from sla_bench.records.store import Store
    from sla_bench.records.tuning_file import TuningFile

    names = list(SCENARIOS) if scenario is None else [SCENARIOS.check(scenario)]
    stores = [Store(results.out, name, getattr(results, "tables", None)).snapshot() for name in names]
    found = [
        store for store in stores if store.records() or (trials and TuningFile(store.folder).path.exists())
    ]
    if not found:
        raise none_finished(stores, results.out, f"run {names[0]}")
    say_set_apart(stores)
    return found


def records_of(names: Iterable[str], out: Path) -> list[Any]:
    """All records of some scenarios; unreadable records are named on stderr.

    Raises:
        UserError: there are finished runs, all of them unreadable.
    """  # noqa: DOC501
    from sla_bench.records.store import Store

    stores = [Store(out, name).snapshot() for name in names]
    records = [record for store in stores for record in store.records()]
    if not records and any(store.unreadable() for store in stores):
        raise none_finished(stores, out)
    say_set_apart(stores)
    return records


def none_finished(stores: Iterable[Any], out: Path, command: str = "run") -> UserError:
    """The error for stores without a record that can be read."""
    if lines := list(_unreadable_lines(stores)):
        return UserError(f"{'; '.join(lines)}; the same `run` trains again")
    return UserError(f"no finished runs in {out}; python -m sla_bench {command} makes some")


def say_set_apart(stores: Iterable[Any]) -> None:
    """Name on stderr the unreadable records, and records of other protocols than this version's."""
    stores = list(stores)
    print_lines([*_unreadable_lines(stores), *_protocol_lines(stores)], sys.stderr)


def _unreadable_lines(stores: Iterable[Any]) -> Iterator[str]:
    found: dict[str, list[Path]] = {}
    for unreadable in (u for store in stores for u in store.unreadable()):
        found.setdefault(unreadable.why, []).append(unreadable.path)
    for why, paths in found.items():
        yield f"{_records(paths)} cannot be read ({why}): {_names(paths)}"


def _protocol_lines(stores: Iterable[Any]) -> Iterator[str]:
    from sla_bench.records.data_states import of_states, protocol_of, shown_states

    for store in stores:
        others: dict[tuple[int, int], dict[Path, None]] = {}
        for record in of_states(store.records(), shown_states(store)):
            for protocol in {protocol_of(record, e) for e in record.evaluations} - {record.config.protocol}:
                others.setdefault((protocol, record.config.protocol), {})[record.folder] = None
        for (protocol, current), folders in others.items():
            paths = list(folders)
            yield (
                f"{_records(paths)} of protocol {protocol} shown apart, this version follows {current}: "
                f"{_names(paths)}"
            )


def _records(paths: list[Path]) -> str:
    return f"{len(paths):,} record{'s' * (len(paths) != 1)}"


def _names(paths: list[Path]) -> str:
    return ", ".join([*map(str, paths[:_NAMED]), *(["..."] if len(paths) > _NAMED else [])])
