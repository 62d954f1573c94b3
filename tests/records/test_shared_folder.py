"""A results folder on a network: late names, stale handles, two machines."""

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import tiny_jobs
from made_up_records import write_records
from real_formats import write_cifar10

from sla_bench.errors import UserError
from sla_bench.records import record_files
from sla_bench.records.files import write_text, write_together
from sla_bench.records.in_progress import claim
from sla_bench.records.jobs import perform
from sla_bench.records.store import Store
from sla_bench.training.loop import silent


def test_a_rename_that_was_done_though_its_answer_was_lost_is_done(tmp_path, monkeypatch):
    rename = Path.replace

    def asked_twice(self, target):
        rename(self, target)
        rename(self, target)

    monkeypatch.setattr(Path, "replace", asked_twice)
    write_together(tmp_path, {"a.json": b"1", "b.json": b"2"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a.json": b"1", "b.json": b"2"}


def test_a_rename_that_failed_is_not_taken_for_done(tmp_path, monkeypatch):
    write_text(tmp_path / "a.json", "old")

    def lost(self, target):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(Path, "replace", lost)
    with pytest.raises(UserError, match="could not write"):
        write_text(tmp_path / "a.json", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


@pytest.mark.parametrize("late", ["config.json", "history.csv", "evaluations", "done.json"])
def test_a_record_whose_names_come_late_is_read_once_they_are_there(late, tmp_path):
    """Another machine sees `done.json` before the others, or an evaluation later."""
    expected = write_records(tmp_path / "whole", {"baseline": 0.5}, seeds=(0, 1))[0].records()
    store, ids = write_records(tmp_path / "out", {"baseline": 0.5}, seeds=(0, 1))
    folder = store.run_folder(ids[0])
    (folder / late).rename(tmp_path / late)
    seen = {r.run_id: len(r.evaluations) for r in store.records()}
    assert seen[ids[1]] == 1
    assert seen.get(ids[0]) == {"evaluations": 0}.get(late)
    (tmp_path / late).rename(folder / late)
    assert [(r.run_id, r.done, len(r.evaluations)) for r in store.records()] == [
        (r.run_id, r.done, len(r.evaluations)) for r in expected
    ]
    assert store.unreadable() == []


def test_a_stale_handle_is_passed_over_and_named(tmp_path, monkeypatch):
    store, ids = write_records(tmp_path, {"baseline": 0.5}, seeds=(0, 1))
    stat = os.stat

    def stale(path, *further, **given):
        if f"{ids[0]}/config.json" in str(path):
            raise OSError(errno.ESTALE, "Stale file handle")
        return stat(path, *further, **given)

    monkeypatch.setattr(record_files.os, "stat", stale)
    assert [r.run_id for r in store.records()] == [ids[1]]
    assert [u.path for u in store.unreadable()] == [store.run_folder(ids[0])]
    monkeypatch.undo()
    assert len(store.records()) == 2


def test_a_training_that_another_machine_finished_unseen_is_done_again_and_kept_whole(tmp_path, monkeypatch):
    """A folder listing that is stale says that a run is not there."""
    (job,) = tiny_jobs.tiny_jobs(tmp_path / "data", tmp_path / "out")
    perform(job, silent)
    before = tiny_jobs.contents(tmp_path / "out")
    monkeypatch.setattr(Store, "has_run", lambda self, run_id: False)
    monkeypatch.setattr(Store, "has_evaluation", lambda self, run_id, eval_id: False)
    perform(job, silent)
    tiny_jobs.assert_same_contents(before, tiny_jobs.contents(tmp_path / "out"))


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
@pytest.mark.parametrize("take", [claim, partial(claim, wait=True)])
def test_a_file_system_without_locks_is_refused_in_one_line(code, take, tmp_path, monkeypatch):
    def absent(*args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", absent)
    refusal = r"has no locks \(flock: .*choose another folder with --out"
    with pytest.raises(UserError, match=refusal), take(tmp_path / "run" / ".lock"):
        pass


def test_a_file_that_is_replaced_while_the_clock_stands_is_read_again(tmp_path):
    store, ids = write_records(tmp_path, {"baseline": 0.5})
    (before,) = store.records()
    path = store.run_folder(ids[0]) / "done.json"
    stamp = path.stat().st_mtime_ns
    changed = path.read_text().replace("750", "751")
    assert changed != path.read_text()
    write_text(path, changed)
    os.utime(path, ns=(stamp, stamp))
    (after,) = store.records()
    assert (before.done["train_images"], after.done["train_images"]) == (750, 751)


@pytest.mark.parametrize("seconds", [-1e6, 1e9])
def test_files_from_another_time_are_read_like_any(seconds, tmp_path):
    store, _ = write_records(tmp_path, {"baseline": 0.5}, seeds=(0, 1))
    expected = [r.done for r in store.records()]
    for path in store.folder.rglob("*.*"):
        then = path.stat().st_mtime + seconds
        os.utime(path, (then, then))
    assert [r.done for r in store.records()] == expected
    assert store.unreadable() == []


BACKWARDS = """
import itertools, os, time
open(f"{__file__}.{os.getpid()}", "w").close()
ticks = itertools.count()
time.time = lambda: 1e9 - 3600 * next(ticks)
time.time_ns = lambda: int(1e9 * time.time())
"""


@pytest.mark.slow
def test_a_clock_that_runs_backwards_changes_nothing(tmp_path):
    """In the command and in its workers: each look at the clock shows an hour less than the one before."""
    (plain,) = tiny_jobs.tiny_jobs(tmp_path / "data", tmp_path / "plain")
    perform(plain, silent)
    (tmp_path / "sitecustomize.py").write_text(BACKWARDS)
    arguments = tiny_jobs.tiny_command(
        tmp_path / "data",
        tmp_path / "out",
        *("--method", "baseline", "--workers", "1", "--checkpoint-every", "0"),
    )
    done = subprocess.run(
        [sys.executable, "-m", "sla_bench", *arguments],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("sitecustomize.py.*"))
    (record,) = Store(tmp_path / "out", tiny_jobs.SCENARIO).records()
    assert 0 < record.done["train_seconds"] < 300
    assert record.history["seconds"].is_monotonic_increasing
    tiny_jobs.assert_same_contents(
        tiny_jobs.contents(tmp_path / "plain"), tiny_jobs.contents(tmp_path / "out")
    )


@pytest.mark.slow
def test_two_machines_on_one_folder_end_with_the_records_of_one(tmp_path):
    """Each command has a host name of its own, and sees no process of the other."""
    apart = ["unshare", "--uts", "--pid", "--fork", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*apart, "true"], check=False).returncode:
        pytest.skip("host names of one's own (unshare) are not allowed here")
    write_cifar10(tmp_path / "data")
    grid = ["--method", "baseline", "--method", "sla", "--seed", "0", "--seed", "1", "--workers", "1"]
    arguments = tiny_jobs.tiny_command(tmp_path / "data", tmp_path / "out", *grid, epochs=6)
    command = [*apart, "sh", "-c", 'hostname "$0" && exec "$@"']
    both = [
        subprocess.Popen(
            [*command, host, sys.executable, "-m", "sla_bench", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for host in ("first", "second")
    ]
    said = [process.communicate(timeout=600)[1] for process in both]
    assert [p.returncode for p in both] == [0, 0], said
    assert Store(tmp_path / "out", tiny_jobs.SCENARIO).unreadable() == []
    alone = tiny_jobs.tiny_jobs(
        tmp_path / "data", tmp_path / "alone", methods=("baseline", "sla"), seeds=(0, 1), epochs=6
    )
    for job in alone:
        perform(job, silent)
    tiny_jobs.assert_same_contents(
        tiny_jobs.contents(tmp_path / "alone"), tiny_jobs.contents(tmp_path / "out")
    )
