"""A record as bytes, between machines without a shared results folder."""

from __future__ import annotations

import re

from sla_bench.errors import UserError
from sla_bench.records.files import write_bytes
from sla_bench.records.jobs import Job
from sla_bench.records.locks import claim

_PATTERNS = ("*.json", "*.csv", "*.safetensors", "evaluations/*/*.json", "evaluations/*/*.npz")
_NAME = re.compile(r"(evaluations/[0-9a-f]+/)?[a-z_]+\.(json|csv|npz|safetensors)")
_MARKS = ("metrics.json", "done.json")
"""Written after everything else, in this order: where they are missing, the record is not there."""

Record = dict[str, bytes]
"""Path below the folder of the run -> content; empty where nothing is finished."""


def pack(job: Job) -> Record:
    """Read the finished parts of a job's record: the training, and its finished evaluations."""
    folder = job.store.run_folder(job.run_id)
    if not job.store.has_run(job.run_id):
        return {}
    files = sorted(path for pattern in _PATTERNS for path in folder.glob(pattern))
    finished = [p for p in files if p.parent == folder or (p.parent / "metrics.json").exists()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in finished}


def unpack(record: Record, job: Job) -> None:
    """Write a record into the job's results folder, each mark after what it stands for.

    What is finished there already is left as it is.

    Raises:
        RunClaimedError: another process works on the run there; nothing is written.
        UserError: no permission, the disk is full, or a name that no file of a record has; then nothing is
            written.
    """
    for name in record:
        if not _NAME.fullmatch(name):
            raise UserError(f"run {job.run_id}: {name[:200]!r} is no file of a record; nothing was written")
    if record:
        with claim(job.store.lock_file(job.run_id)):
            _write(record, job)


def _write(record: Record, job: Job) -> None:
    folder, has_run = job.store.run_folder(job.run_id), job.store.has_run(job.run_id)
    present = {e for e in job.evaluations if job.store.has_evaluation(job.run_id, e)}
    for name in sorted(record, key=_rank):
        path = folder / name
        if has_run if path.parent == folder else path.parent.name in present:
            continue
        write_bytes(path, record[name])


def _rank(name: str) -> int:
    last = name.rpartition("/")[2]
    return _MARKS.index(last) + 1 if last in _MARKS else 0
