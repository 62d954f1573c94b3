import errno
import json
import os
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from made_up_records import write_records

from sla_bench.errors import UserError
from sla_bench.records.files import write_atomically, write_text, write_together
from sla_bench.records.store import Store


def test_what_is_written_is_read_again(tmp_path):
    store, ids = write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6}, seeds=(0, 1))
    records = list(store.records())
    assert sorted(r.run_id for r in records) == sorted(ids)
    record = next(r for r in records if r.config.method == "sla")
    assert record.done["train_images"] == 750
    assert list(record.history["val_accuracy"]) == [0.4]
    (evaluation,) = record.evaluations
    assert evaluation.config.episodes == 60
    assert evaluation.samples["hits/SLA+AG"].shape == (60, 5)
    assert store.has_run(record.run_id)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("done.json", cut),
        ("history.csv", Path.unlink),
        ("history.csv", lambda path: path.write_text("member,st")),
        ("config.json", Path.unlink),
        ("evaluations/*/samples.npz", cut),
        ("evaluations/*/metrics.json", cut),
        ("evaluations/*/config.json", lambda path: path.write_text('{"shots": "many"}')),
    ],
)
@pytest.mark.parametrize("read_before", [True, False])
def test_a_file_that_is_missing_or_cut_is_found_before_it_is_used(pattern, damage, read_before, tmp_path):
    store, ids = write_records(tmp_path, {"baseline": 0.5}, seeds=(0, 1))
    if read_before:
        assert len(store.records()) == 2
    (path,) = store.run_folder(ids[0]).glob(pattern)
    damage(path)
    # An evaluation that is damaged does not take its training with it.
    part = path.parent
    tested = {r.run_id for r in store.records() if r.evaluations}
    assert (tested, [u.path for u in store.unreadable()]) == ({ids[1]}, [part])
    assert (ids[0] in {r.run_id for r in store.records()}) == (part != store.run_folder(ids[0]))


def test_what_was_read_before_is_the_same_as_what_is_read_anew(tmp_path):
    store, ids = write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6}, seeds=(0, 1))
    first, cached = store.records(), store.records()
    (tmp_path / "fewshot" / "cache.sqlite").unlink()
    assert first == cached == store.records()
    # A record that goes, or comes, is noticed.
    shutil.rmtree(store.run_folder(ids[0]))
    write_records(tmp_path, {"baseline": 0.5}, seeds=(7,))
    assert {r.config.seed for r in store.records()} == {0, 1, 7}
    assert ids[0] not in {r.run_id for r in store.records()}


def test_a_snapshot_reads_its_records_once(tmp_path):
    store, ids = write_records(tmp_path, {"baseline": 0.5}, seeds=(0, 1))
    snapshot = store.snapshot()
    assert snapshot.records() == store.records()
    (store.run_folder(ids[0]) / "config.json").write_text("{")
    assert (len(snapshot.records()), snapshot.unreadable()) == (2, [])
    assert [u.path for u in store.unreadable()] == [store.run_folder(ids[0])]
    assert (len(store.snapshot().records()), store.snapshot().unreadable()) == (1, store.unreadable())


def test_a_cache_that_can_not_be_read_is_no_harm(tmp_path):
    store, ids = write_records(tmp_path, {"baseline": 0.5})
    (tmp_path / "fewshot" / "cache.sqlite").write_bytes(b"no database")
    assert [r.run_id for r in store.records()] == ids
    assert [r.run_id for r in store.records()] == ids


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "file.json"
    write_text(path, "before")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sla_bench.records.files.os.fsync", full)
    with pytest.raises(UserError, match=r"disk is full: could not write .*file\.json"):
        write_text(path, "after")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_while_writing_a_record_loses_nothing_finished(tmp_path, monkeypatch):
    store, ids = write_records(tmp_path, {"baseline": 0.5})
    calls = []

    def full_at_the_third(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sla_bench.records.files.os.fsync", full_at_the_third)
    with pytest.raises(UserError, match="disk is full"):
        write_records(tmp_path, {"SLA+AG": 0.6})
    monkeypatch.undo()
    assert [r.run_id for r in store.records()] == ids
    assert not list(tmp_path.rglob(".*.??????*"))


def test_all_files_of_a_record_are_on_the_disk_before_one_of_them_gets_its_name(tmp_path, monkeypatch):
    names_at_sync, order = [], []
    sync, replace = os.fsync, Path.replace

    def watched_sync(descriptor):
        names_at_sync.append([path for path in tmp_path.rglob("*.*") if not path.name.startswith(".")])
        sync(descriptor)

    def watched_replace(path, target):
        order.append(target.name)
        return replace(path, target)

    monkeypatch.setattr("sla_bench.records.files.os.fsync", watched_sync)
    monkeypatch.setattr("sla_bench.records.files.Path.replace", watched_replace)
    write_together(tmp_path / "record", {"a.json": b"1", "b.csv": b"2", "done.json": b"3"})
    assert names_at_sync == [[], [], []]
    assert order == ["a.json", "b.csv", "done.json"]


@pytest.mark.parametrize("written", range(5))
def test_a_writer_that_dies_between_two_files_leaves_no_record(written, tmp_path, monkeypatch):
    replace, left = Path.replace, [written]

    class KilledError(BaseException):
        pass

    def dying_replace(path, target):
        if left[0] == 0:
            raise KilledError
        left[0] -= 1
        return replace(path, target)

    monkeypatch.setattr("sla_bench.records.files.Path.replace", dying_replace)
    with pytest.raises(KilledError):
        write_records(tmp_path, {"baseline": 0.5})
    monkeypatch.undo()
    store = Store(tmp_path, "fewshot")
    assert (store.records(), store.unreadable()) == ([], [])
    _, ids = write_records(tmp_path, {"baseline": 0.5})
    assert [record.run_id for record in store.records()] == ids


def test_files_have_the_permissions_of_ordinary_files(tmp_path):
    write_atomically(tmp_path / "a" / "b", lambda file: file.write(b"x"))
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o666 & ~mask


def test_no_permission_is_said_in_one_line(tmp_path, monkeypatch):
    def refused(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("sla_bench.records.files.tempfile.mkstemp", refused)
    with pytest.raises(UserError, match=r"no permission to write .*--out"):
        write_text(tmp_path / "x", "y")


def test_records_need_no_unpickling(tmp_path):
    store, ids = write_records(tmp_path, {"baseline": 0.5})
    (record,) = store.records()
    path = record.evaluations[0].folder / "samples.npz"
    np.savez(path, classes=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="not of numbers"):
        _ = record.evaluations[0].samples
    assert json.loads((store.run_folder(ids[0]) / "config.json").read_text())["method"] == "baseline"
