"""What lies in a results folder and serves no table: unfinished, damaged, of another protocol, left over."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sla_bench.config import PROTOCOL_VERSION
from sla_bench.errors import UserError
from sla_bench.harness.locks import RunClaimedError, claim
from sla_bench.harness.store import Store


@dataclass(frozen=True)
class Leftover:
    """Something to delete.

    Args:
        run: folder of the run that it belongs to.
        path: what would be deleted: that folder, or a part of it.
        why: in a few words.
    """

    run: Path
    path: Path
    why: str


def leftovers(store: Store) -> list[Leftover]:
    """What `prune` would delete, in the order of the run ids; runs that are being worked on are left out.

    An unfinished training with a checkpoint is left over too: the same command would go on with it.
    """
    snapshot = store.snapshot()
    records, damaged = snapshot.records(), set(snapshot.damaged())
    other = {r.folder: r.done["protocol"] for r in records if r.done["protocol"] != PROTOCOL_VERSION}
    found: list[Leftover] = []
    for folder in sorted(f for f in (store.folder / "runs").glob("*") if f.is_dir()):
        if folder in damaged:
            whole = Leftover(folder, folder, "damaged")
        elif folder in other:
            whole = Leftover(folder, folder, f"protocol {other[folder]}, this is {PROTOCOL_VERSION}")
        elif not (folder / "done.json").exists():
            step = " with a checkpoint" if any(folder.glob("checkpoints/*/*.pt")) else ""
            whole = Leftover(folder, folder, f"unfinished{step}")
        else:
            found += _parts(folder)
            continue
        found.append(whole)
    return [leftover for leftover in found if not _is_claimed(leftover.run)]


def _parts(folder: Path) -> Iterator[Leftover]:
    """What a finished run does not need."""
    if (folder / "checkpoints").exists():
        yield Leftover(folder, folder / "checkpoints", "checkpoints of a finished training")
    for kind, name in (("evaluations", "evaluation"), ("analyses", "analysis")):
        for part in sorted(folder.glob(f"{kind}/*")):
            if not (part / "metrics.json").exists():
                yield Leftover(folder, part, f"unfinished {name}")


def _is_claimed(run: Path) -> bool:
    if not (run / ".lock").exists():
        return False
    try:
        with claim(run / ".lock"):
            return False
    except RunClaimedError:
        return True


def prune(found: list[Leftover]) -> int:
    """Delete what `leftovers` found, but for runs that somebody has begun to work on since.

    Returns:
        How many were deleted.

    Raises:
        UserError: no permission.
    """
    deleted = 0
    for leftover in found:
        with suppress(RunClaimedError), claim(leftover.run / ".lock"):
            try:
                shutil.rmtree(leftover.path)
            except OSError as error:
                raise UserError(f"could not delete {leftover.path}: {error.strerror}") from error
            deleted += 1
    return deleted
