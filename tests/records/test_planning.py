"""Order and threads of jobs, against all choices of threads and a launcher's own promises."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_jobs import assert_same_contents, contents, tiny_jobs

from sla_bench.records.in_progress import Stop, StoppedError, Way, keep_way, way_of_checkpoints
from sla_bench.records.jobs import perform
from sla_bench.records.launch_options import Launch
from sla_bench.records.planning import Room, plan, room_of, seconds_on, wall_seconds
from sla_bench.records.store import Store

TWO = Room(2, 2)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr("sla_bench.records.planning.usable_cores", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@given(st.lists(st.floats(0.1, 100), min_size=1, max_size=30), st.integers(1, 8))
def test_no_core_idles_at_the_end_for_longer_than_the_longest_run(seconds, cores):
    end, last = wall_seconds([(s, 1) for s in seconds], Room(cores, cores))
    assert max(*seconds, sum(seconds) / cores) <= end * (1 + 1e-9)
    # All cores work until the run that ends last begins.
    assert cores * (end - seconds[last]) <= (sum(seconds) - seconds[last]) * (1 + 1e-9)


def test_a_wide_run_waits_for_its_cores():
    assert wall_seconds([(10, 1), (10, 2), (10, 1)], TWO) == (pytest.approx(20 + seconds_on(2, 10)), 2)
    assert wall_seconds([(10, 5)], TWO)[0] == pytest.approx(seconds_on(5, 10))
    assert wall_seconds([], TWO) == (0, -1)


def jobs_of(tmp_path, seconds, seeds=(0,), **given):
    """Jobs of so many epochs, and so of seconds in proportion."""
    found = []
    for epochs in seconds:
        found += tiny_jobs(tmp_path / "data", tmp_path / "out", epochs=epochs, seeds=seeds, **given)
    return sorted(found, key=lambda job: job.run.seed)


def words(jobs):
    return [(job.run.seed, job.run.epochs, job.threads) for job in jobs]


def test_the_longest_start_first_within_a_seed_and_threads_end_the_whole_earlier(tmp_path):
    jobs = jobs_of(tmp_path, [2, 9], seeds=(1, 0))
    planned = plan(jobs, [], Launch()).jobs
    assert [job[:2] for job in words(planned)] == [(0, 9), (0, 2), (1, 9), (1, 2)]
    assert sorted(j.run_id for j in planned) == sorted(j.run_id for j in jobs)
    # The example of the long run on two cores, then the short one.
    assert words(plan(jobs_of(tmp_path, [43, 207]), [], Launch()).jobs) == [(0, 207, 2), (0, 43, 2)]
    assert words(plan(jobs_of(tmp_path, [40, 41]), [], Launch()).jobs) == [(0, 41, 1), (0, 40, 1)]


@pytest.mark.parametrize("seconds", [(43, 207), (5,), (10, 10), (1, 1, 1), (9, 7, 2, 1), (30, 3, 3, 3, 3)])
def test_planned_threads_are_never_worse_than_one_each_and_near_the_best(seconds, tmp_path):
    planned = plan(jobs_of(tmp_path, seconds), [], Launch()).jobs
    work = [float(job.run.epochs) for job in planned]
    end, _ = wall_seconds(zip(work, [job.threads for job in planned], strict=True), TWO)
    ends = [
        wall_seconds(zip(work, threads, strict=True), TWO)[0]
        for threads in itertools.product((1, 2), repeat=len(work))
    ]
    assert end <= ends[0]
    assert end <= 1.1 * min(ends)


def test_threads_that_are_told_and_those_that_a_process_may_use_are_kept_to(tmp_path, monkeypatch):
    jobs = jobs_of(tmp_path, [5])
    assert plan(jobs, [], Launch()).jobs[0].threads == 2
    assert plan(jobs, [], Launch(threads=1)).jobs[0].threads == 1
    assert plan(jobs, [], Launch(launcher="ray", ray_address="10.0.0.1:6379")).jobs[0].threads == 1
    # More processes than cores share these already.
    assert plan(jobs, [], Launch(workers=5)).jobs[0].threads == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert plan(jobs, [], Launch()).jobs[0].threads == 1


@pytest.mark.parametrize(
    ("given", "room"),
    [
        ({}, Room(2, 2)),
        ({"threads": 2}, Room(2, 1)),
        ({"workers": 1}, Room(2, 1)),
        ({"workers": 3}, Room(3, 3)),
    ],
)
def test_the_room_of_this_machine(given, room):
    assert room_of(Launch(**given)) == room


def test_a_training_of_two_threads_resumes_on_two_and_ends_with_the_same_bits(tmp_path):
    (job,) = tiny_jobs(tmp_path / "data", tmp_path / "whole", epochs=4, checkpoint_seconds=0)
    stopped = replace(job, out=tmp_path / "stopped")
    perform(replace(job, threads=2), lambda *args: None)
    stop = Stop()

    def after_three(phase, done, total, note=""):
        stop.wanted = done >= 3

    with pytest.raises(StoppedError):
        perform(replace(stopped, threads=2), after_three, stop=stop)
    (resumed,) = plan([stopped], [], Launch(threads=1)).jobs
    assert resumed.threads == 2
    # Even where another command began it since the job was planned.
    perform(replace(stopped, threads=1), lambda *args: None)
    whole, parts = contents(tmp_path / "whole"), contents(tmp_path / "stopped")
    assert_same_contents(whole, parts)
    assert parts[job.run_id]["done"]["threads"] == 2


def test_a_training_that_has_begun_and_a_test_of_a_finished_one_keep_their_threads(tmp_path):
    begun, finished, new = jobs_of(tmp_path, [1, 2, 3])
    folder = begun.store.checkpoint_folder(begun.run_id)
    way = Way(threads=2, acceleration="compiled")
    assert way_of_checkpoints(folder) is None
    keep_way(folder, way)
    assert way_of_checkpoints(folder) is None
    (folder / "0").mkdir()
    (folder / "0" / "step-000000001.pt").touch()
    assert way_of_checkpoints(folder) == way
    for damaged in ("?", '{"threads": 0}', '{"threads": 2, "acceleration": "magic"}'):
        (folder / "way.json").write_text(damaged)
        assert way_of_checkpoints(folder) == Way(threads=1, acceleration="eager")
    keep_way(folder, way)
    perform(replace(finished, threads=2), lambda *args: None)
    records = Store(tmp_path / "out", "imbalanced").records()
    assert [record.done["threads"] for record in records] == [2]
    assert records[0].environment["threads"] == 2
    planned = plan([begun, finished, new], records, Launch(threads=1), "captured").jobs
    ways = {job.run_id: (job.threads, job.acceleration) for job in planned}
    assert ways[begun.run_id] == (2, "compiled")
    assert ways[finished.run_id][0] == 2
    assert ways[new.run_id] == (1, "captured")
