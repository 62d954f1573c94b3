"""Records without weights to and from one compact archive."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sla_bench.errors import UserError
from sla_bench.records.archive import EVALUATION_FILES, RUN_FILES, TUNING, unpack
from sla_bench.records.files import is_plain_file, write_bytes, write_output
from sla_bench.records.in_progress import RunClaimedError, claim
from sla_bench.records.record_checks import check_records
from sla_bench.records.record_files import compact_samples, samples_bytes
from sla_bench.records.store import RunRecord, Store
from sla_bench.records.tuning_file import TuningFile
from sla_bench.registry import SCENARIOS


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


def export_records(
    stores: Sequence[Store],
    path: Path,
    only_tables: bool = False,
    needed: Callable[[Sequence[RunRecord]], Collection[str]] = lambda records: (),
) -> Exchanged:
    """Write all tested records of the stores, and what was tuned, to an archive, samples small, no weights.

    The same records give the same bytes.

    Args:
        stores: whose records.
        path: the archive, NAME.zip, as `write_output` takes it; one that is there is replaced when the new
            one is whole.
        only_tables: keep only the samples that tables and pictures are made of.
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
                    _write_record(archive, store, record, only_tables)
                    written.runs += 1
                    written.evaluations += len(record.evaluations)

    write_output(path, write)
    return written


def _write_record(archive: zipfile.ZipFile, store: Store, record: RunRecord, only_tables: bool) -> None:
    where, reading = f"{store.scenario}/runs/{record.run_id}", SCENARIOS.load(store.scenario, "reading")
    for name in RUN_FILES:
        _add(archive, f"{where}/{name}", _bytes_of(record.folder / name))
    for evaluation in record.evaluations:
        below = f"{where}/evaluations/{evaluation.folder.name}"
        for name in ("config.json", "metrics.json"):
            _add(archive, f"{below}/{name}", _bytes_of(evaluation.folder / name))
        try:
            samples = reading.samples_of_tables(evaluation) if only_tables else evaluation.samples
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
        UserError: as `unpack` and `check_records`, or no permission to write.
    """
    added = Exchanged()
    with tempfile.TemporaryDirectory(prefix="sla-bench-") as temporary:
        folder = Path(temporary)
        unpack(path, folder)
        trials = check_records(folder, path)
        for run in sorted(folder.glob("*/runs/*")):
            store = Store(root, run.parent.parent.name)
            evaluations = sorted(run.glob("evaluations/*"))
            if store.has_run(run.name) and all(store.has_evaluation(run.name, e.name) for e in evaluations):
                added.there += 1
                continue
            try:
                with claim(store.lock_file(run.name)):
                    _add_run(run, evaluations, store, added)
            except RunClaimedError:
                added.claimed += 1
    for scenario, rows in trials.items():
        TuningFile(root / scenario).add(rows)
    return added


def _add_run(run: Path, evaluations: Sequence[Path], store: Store, added: Exchanged) -> None:
    """Write what is missing; the file that makes a record valid comes last."""
    new, folder = not store.has_run(run.name), store.run_folder(run.name)
    if new:
        _copy(run, folder, RUN_FILES[:-1])
    for evaluation in evaluations:
        if not store.has_evaluation(run.name, evaluation.name):
            _copy(evaluation, store.evaluation_folder(run.name, evaluation.name), EVALUATION_FILES)
            added.evaluations += 1
    if new:
        _copy(run, folder, RUN_FILES[-1:])
    added.runs += new
    added.there += not new


def _copy(source: Path, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        write_bytes(folder / name, (source / name).read_bytes())
