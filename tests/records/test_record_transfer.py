import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_records import write_records

from sla_bench.errors import UserError
from sla_bench.records.in_progress import RunClaimedError, claim
from sla_bench.records.jobs import Job
from sla_bench.records.ray_worker import pack, unpack


def job_of(store, run_id):
    record = next(r for r in store.records() if r.run_id == run_id)
    evaluations = {e.folder.name: e.config for e in record.evaluations}
    return Job(
        run_id, record.config, evaluations, "made up", "made up", Path("data"), store.folder.parent, "cpu"
    )


def files_below(folder):
    files = [p for p in folder.rglob("*") if p.is_file() and p.name != ".lock"]
    return {p.relative_to(folder): p.read_bytes() for p in files}


def test_a_record_arrives_whole_and_only_the_record(tmp_path):
    store, (run_id,) = write_records(tmp_path / "here", {"baseline": 0.5})
    job = job_of(store, run_id)
    before = files_below(job.store.run_folder(run_id))
    (job.store.run_folder(run_id) / "run.lock").touch()
    (job.store.run_folder(run_id) / ".done.json.x7").touch()
    there = replace(job, out=tmp_path / "there")
    unpack(pack(job), there)
    assert files_below(there.store.run_folder(run_id)) == before


def test_what_is_unfinished_is_not_sent(tmp_path):
    store, (run_id,) = write_records(tmp_path / "here", {"baseline": 0.5})
    job = job_of(store, run_id)
    (evaluation,) = (job.store.run_folder(run_id) / "evaluations").iterdir()
    (evaluation / "metrics.json").unlink()
    assert not [name for name in pack(job) if name.startswith("evaluations")]
    (job.store.run_folder(run_id) / "done.json").unlink()
    assert pack(job) == {}


def test_what_is_recorded_already_is_left_as_it_is(tmp_path):
    store, (run_id,) = write_records(tmp_path / "here", {"baseline": 0.5})
    job = job_of(store, run_id)
    before = files_below(store.folder)
    unpack(dict.fromkeys(pack(job), b"other"), job)
    assert files_below(store.folder) == before


def test_a_run_that_another_process_works_on_is_left_to_it(tmp_path):
    store, (run_id,) = write_records(tmp_path / "here", {"baseline": 0.5})
    job = job_of(store, run_id)
    there = replace(job, out=tmp_path / "there")
    with claim(there.store.lock_file(run_id)):
        with pytest.raises(RunClaimedError):
            unpack(pack(job), there)
        unpack({}, there)
    assert files_below(there.out) == {}


@pytest.mark.parametrize("writes", range(1, 8))
def test_a_record_that_can_not_be_written_whole_is_not_there(writes, tmp_path, monkeypatch):
    store, (run_id,) = write_records(tmp_path / "here", {"baseline": 0.5})
    job = job_of(store, run_id)
    record = pack(job)
    assert len(record) == 8
    there = replace(job, out=tmp_path / "there")
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sla_bench.records.files.os.fsync", full)
    with pytest.raises(UserError, match="disk is full"):
        unpack(record, there)
    assert not there.store.has_run(run_id)
    assert list(there.store.records()) == []


@pytest.mark.parametrize("name", ["../x.json", "/tmp/x.json", "x.py", "done.json\n", "x/done.json"])
def test_names_that_no_file_of_a_record_has_are_refused_before_anything_is_written(name, tmp_path):
    store, (run_id,) = write_records(tmp_path / "here", {"baseline": 0.5})
    job = job_of(store, run_id)
    there = replace(job, out=tmp_path / "there" / "deep")
    with pytest.raises(UserError, match="is not a file of a record; nothing was written"):
        unpack({**pack(job), name: b"x"}, there)
    assert not (tmp_path / "there").exists()
