"""Records without weights to and from one compact archive."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sla_bench.errors import UserError
from sla_bench.records.archive import (
    EVALUATION_FILES,
    RUN_FILES,
    TUNING,
    ArchivedRun,
    Member,
    open_archive,
)
from sla_bench.records.files import is_plain_file, write_bytes, write_output
from sla_bench.records.in_progress import RunClaimedError, claim
from sla_bench.records.record_checks import check_run, check_tuning
from sla_bench.records.record_files import compact_samples, samples_bytes
from sla_bench.records.store import EvaluationRecord, RunRecord, Store
from sla_bench.records.tuning_file import TuningFile

Samples = Mapping[str, np.ndarray]
KeptSamples = Callable[[str, EvaluationRecord], Samples]
NeededRuns = Callable[[Sequence[RunRecord]], Collection[str]]


@dataclass
class Exchanged:
    """How much was written.

    Args:
        runs: trainings.
        evaluations: of these and of trainings that were there already.
        there: trainings that were there already.
        claimed: trainings that were left out, another process works on them.
    """

    runs: int = 0
    evaluations: int = 0
    there: int = 0
    claimed: int = 0


def all_samples(scenario: str, evaluation: EvaluationRecord) -> Samples:
    """Every array of an evaluation."""
    del scenario
    return evaluation.samples


def export_records(
    stores: Sequence[Store],
    path: Path,
    kept: KeptSamples = all_samples,
    needed: NeededRuns = lambda records: (),
) -> Exchanged:
    """Write all tested records of the stores, and what was tuned, to an archive, samples small, no weights.

    The same records give the same bytes.

    Args:
        stores: whose records.
        path: the archive, NAME.zip, as `write_output` takes it; one that is there is replaced when the new
            one is whole.
        kept: (scenario, evaluation) -> the samples that go into it; default: all.
        needed: records of a scenario -> ids of those that are written without a test, too.

    Raises:
        UserError: another suffix, a file of a record can't be read, or the archive can't be written.
    """
    if path.suffix != ".zip" and is_plain_file(path):
        raise UserError(f"{path}: an export is a zip file; call it {path.stem or 'records'}.zip")
    written = Exchanged()

    def write(file: Any) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for store in stores:
                if (tuning := TuningFile(store.folder).path).exists():
                    _add(archive, f"{store.scenario}/{TUNING}", _bytes_of(tuning))
                records = store.records()
                # Weights are not exported: most untested records are useless elsewhere.
                untested = needed(records)
                for record in (one for one in records if one.evaluations or one.run_id in untested):
                    _write_record(archive, store, record, kept)
                    written.runs += 1
                    written.evaluations += len(record.evaluations)

    write_output(path, write)
    return written


def _write_record(archive: zipfile.ZipFile, store: Store, record: RunRecord, kept: KeptSamples) -> None:
    where = f"{store.scenario}/runs/{record.run_id}"
    for name in RUN_FILES:
        _add(archive, f"{where}/{name}", _bytes_of(record.folder / name))
    for evaluation in record.evaluations:
        below = f"{where}/evaluations/{evaluation.folder.name}"
        for name in ("config.json", "metrics.json"):
            _add(archive, f"{below}/{name}", _bytes_of(evaluation.folder / name))
        try:
            samples = kept(store.scenario, evaluation)
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(f"can't read {evaluation.folder / 'samples.npz'}: {error}") from None
        _add(archive, f"{below}/samples.npz", samples_bytes(compact_samples(samples)))


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".npz") else zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    archive.writestr(info, content)


def import_records(path: Path, root: Path) -> Exchanged:
    """Add the records and tuned rates of an archive that are not there yet; what is there stays as it is.

    Everything is checked before the first file is written. A run that another process works on is left out.

    Args:
        path: the archive.
        root: `results/`.

    Raises:
        UserError: as `RecordArchive`; a file that is not what its name says, a record of another protocol or
            under a wrong id; or no permission to write.
    """
    added = Exchanged()
    with open_archive(path) as archive:
        for run in archive.runs:
            check_run(run)
        trials = {scenario: check_tuning(file) for scenario, file in archive.tunings.items()}
        for run in archive.runs:
            store = Store(root, run.scenario)
            if _is_there(run, store):
                added.there += 1
                continue
            try:
                with claim(store.lock_file(run.run_id)):
                    _add_run(run, store, added)
            except RunClaimedError:
                added.claimed += 1
    for scenario, rows in trials.items():
        TuningFile(root / scenario).add(rows)
    return added


def _is_there(run: ArchivedRun, store: Store) -> bool:
    return store.has_run(run.run_id) and all(store.has_evaluation(run.run_id, e) for e in run.evaluations)


def _add_run(run: ArchivedRun, store: Store, added: Exchanged) -> None:
    """Write what is missing; the file that makes a record valid comes last."""
    new, folder = not store.has_run(run.run_id), store.run_folder(run.run_id)
    if new:
        _copy(run.folder, folder, RUN_FILES[:-1])
    for eval_id, evaluation in run.evaluations.items():
        if not store.has_evaluation(run.run_id, eval_id):
            _copy(evaluation, store.evaluation_folder(run.run_id, eval_id), EVALUATION_FILES)
            added.evaluations += 1
    if new:
        _copy(run.folder, folder, RUN_FILES[-1:])
    added.runs += new
    added.there += not new


def _copy(source: Member, folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        write_bytes(folder / name, (source / name).read_bytes())
