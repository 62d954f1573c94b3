"""Records that can be deleted: unfinished, damaged, earlier protocols, older states."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sla_bench.errors import UserError
from sla_bench.grids.tasks import form_of
from sla_bench.records.data_states import short
from sla_bench.records.in_progress import RunClaimedError, claim
from sla_bench.records.store import Store

Files = frozenset[tuple[str, int, int]]
"""Path, size and time of change of each file."""


@dataclass(frozen=True)
class Leftover:
    """Something to delete.

    Args:
        run: folder of the run that it belongs to.
        path: what would be deleted: that folder, or a part of it.
        why: in a few words.
        files: of the run, as they were found.
    """

    run: Path
    path: Path
    why: str
    files: Files


def leftovers(store: Store) -> list[Leftover]:
    """What `prune` would delete, in the order of the run ids; runs that are being worked on are left out.

    An unfinished training with a checkpoint is left over too: the same command would resume it. Records of a
    newer version are not.
    """
    folders = sorted(f for f in (store.folder / "runs").glob("*") if f.is_dir())
    files = {folder: _files(folder) for folder in folders}
    snapshot = store.snapshot()
    unreadable, records = snapshot.unreadable(), snapshot.records()
    newer = {u.path for u in unreadable if u.newer}
    damaged = {u.path for u in unreadable if not u.newer}
    current = form_of(store.scenario).run.protocol
    other = {r.folder: r.done["protocol"] for r in records if r.done["protocol"] != current}
    newer |= {folder for folder, protocol in other.items() if protocol > current}
    found: list[tuple[Path, Path, str]] = []
    for folder in folders:
        if folder in newer:
            continue
        if folder in damaged:
            found.append((folder, folder, "damaged"))
        elif folder in other:
            found.append((folder, folder, f"protocol {other[folder]}, this is {current}"))
        elif not (folder / "done.json").exists():
            step = " with a checkpoint" if any(folder.glob("checkpoints/*/*.pt")) else ""
            found.append((folder, folder, f"unfinished{step}"))
        else:
            found += [(folder, path, why) for path, why in _parts(folder)]
            found += [(folder, path, "damaged") for path in damaged if path.parent.parent == folder]
    return [Leftover(run, path, why, files[run]) for run, path, why in found if not _is_claimed(run)]


def of_states(store: Store, states: Collection[tuple[str, str]]) -> list[Leftover]:
    """The runs on some states of the data, in the order of their ids; without those being worked on.

    Of a run that was also tested on another state, only the evaluations on these states.

    Args:
        store: of the records.
        states: pairs of data set and state.
    """
    found = []
    for record in store.records():
        own = [e for e in record.evaluations if (e.data, e.state) in states]
        if own and not _is_claimed(record.folder):
            paths = [record.folder]
            if len(own) < len(record.evaluations):
                analyses = (record.folder / "analyses" / e.folder.name for e in own)
                paths = [*(e.folder for e in own), *(path for path in analyses if path.exists())]
            why = ", ".join(sorted({f"{e.data} in the state {short(e.state)}" for e in own}))
            files = _files(record.folder)
            found += [Leftover(record.folder, path, why, files) for path in paths]
    return found


def _files(folder: Path) -> Files:
    found = []
    for path in folder.rglob("*"):
        # Whoever claims a run makes the lock, and whoever works on it makes and removes files.
        with suppress(FileNotFoundError):
            if path.name != ".lock":
                about = path.stat()
                found.append((str(path), about.st_size, about.st_mtime_ns))
    return frozenset(found)


def _parts(folder: Path) -> Iterator[tuple[Path, str]]:
    """What a finished run does not need."""
    if (folder / "checkpoints").exists():
        yield (folder / "checkpoints", "checkpoints of a finished training")
    for kind, name in (("evaluations", "evaluation"), ("analyses", "analysis")):
        for part in sorted(folder.glob(f"{kind}/*")):
            if not (part / "metrics.json").exists():
                yield (part, f"unfinished {name}")


def _is_claimed(run: Path) -> bool:
    if not (run / ".lock").exists():
        return False
    try:
        with claim(run / ".lock"):
            return False
    except RunClaimedError:
        return True


def prune(found: Iterable[Leftover]) -> int:
    """Delete what `leftovers` found, but for runs that somebody has begun to work on, or has changed, since.

    Returns:
        How many were deleted.

    Raises:
        UserError: no permission.
    """
    deleted = 0
    for run, own in itertools.groupby(found, key=lambda leftover: leftover.run):
        with suppress(RunClaimedError), claim(run / ".lock"):
            files = _files(run)
            for leftover in own:
                if leftover.files == files:
                    _delete(leftover.path)
                    deleted += 1
    return deleted


def _delete(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except OSError as error:
        raise UserError(f"could not delete {path}: {error.strerror}") from error
