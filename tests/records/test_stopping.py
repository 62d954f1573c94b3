"""Runs that are stopped, hang, or lack memory; the others finish."""

import os
import signal
import time
from contextlib import closing
from dataclasses import replace
from multiprocessing.process import BaseProcess

import numpy as np
import psutil
import pytest
import torch
from tiny_jobs import assert_same_contents, contents, tiny_jobs, workers

from sla_bench.records import local_launcher
from sla_bench.records.checkpoints import FileCheckpoints
from sla_bench.records.in_progress import StoppedError, stop_on
from sla_bench.records.jobs import perform
from sla_bench.records.launch_options import Launch
from sla_bench.records.launching import attempt, crashed
from sla_bench.records.local_launcher import launch
from sla_bench.training.loop import silent

NEVER = 1e9
"""Seconds between checkpoints."""


def checkpoints_of(job):
    return list(job.store.checkpoint_folder(job.run_id).rglob("step-*.pt"))


def ended(happened):
    return {n.job.run_id: n for n in happened if n.kind in ("done", "failed")}


def test_a_signal_asks_and_is_what_it_was_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on(signal.SIGTERM) as stop:
        stop.check()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(StoppedError):
            stop.check()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_checkpoint_is_due_and_the_training_left_once_a_stop_is_wanted(tmp_path):
    with stop_on(signal.SIGTERM) as stop:
        checkpoints = FileCheckpoints(tmp_path, NEVER, stop).member(0)
        checkpoints.save(1, {"step": 1})
        assert not checkpoints.due()
        os.kill(os.getpid(), signal.SIGTERM)
        assert checkpoints.due()
        with pytest.raises(StoppedError):
            checkpoints.save(2, {"step": 2})
    assert FileCheckpoints(tmp_path, NEVER).member(0).load()["step"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(1, 5))
def test_a_run_that_is_stopped_at_any_moment_goes_on_with_the_same_bits(moment, tmp_path):
    (plain,) = tiny_jobs(tmp_path / "data", tmp_path / "plain", epochs=3)
    perform(plain, silent)
    (job,) = tiny_jobs(tmp_path / "data", tmp_path / "out", epochs=3, checkpoint_seconds=NEVER)
    told = 0

    def stop_later(phase, done, total, note=""):
        nonlocal told
        told += 1
        # The last of these is in the test: the training is recorded.
        if told == moment * 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with stop_on(signal.SIGTERM) as stop, pytest.raises(StoppedError):
        perform(job, stop_later, stop=stop)
    assert checkpoints_of(job) or job.store.has_run(job.run_id)
    perform(job, silent)
    assert not checkpoints_of(job)
    assert_same_contents(contents(tmp_path / "plain"), contents(tmp_path / "out"))


@pytest.mark.slow
def test_whoever_leaves_the_launcher_finds_a_checkpoint(tmp_path):
    grid = {"seeds": (0, 1), "epochs": 12, "checkpoint_seconds": NEVER}
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out", **grid)
    with closing(launch(jobs, Launch(workers=1))) as all_news:
        assert any(news.phase == "training" for news in all_news)
    assert not workers()
    assert checkpoints_of(jobs[0])
    assert {n.kind for n in ended(launch(jobs, Launch(workers=1))).values()} == {"done"}
    for job in tiny_jobs(tmp_path / "data", tmp_path / "plain", **grid):
        perform(job, silent)
    assert_same_contents(contents(tmp_path / "plain"), contents(tmp_path / "out"))


@pytest.mark.slow
def test_runs_over_the_limit_are_stopped_or_killed_and_the_others_finish(tmp_path, monkeypatch):
    monkeypatch.setattr(local_launcher, "GRACE_SECONDS", 2.0)
    (short,) = tiny_jobs(tmp_path / "data", tmp_path / "out", seeds=(2,))
    started = time.monotonic()
    assert ended(launch([replace(short, out=tmp_path / "before")], Launch(workers=1)))
    limit = 2 * (time.monotonic() - started) + 1
    endless = {"epochs": 100_000, "checkpoint_seconds": NEVER}
    slow, hangs = tiny_jobs(tmp_path / "data", tmp_path / "out", seeds=(0, 1), **endless)
    with closing(launch([slow, hangs, short], Launch(workers=1, time_limit=limit))) as all_news:
        happened = []
        for news in all_news:
            happened.append(news)
            if news.job == hangs and news.phase == "training":
                (worker,) = workers()
                worker.suspend()
    last = ended(happened)
    assert [last[job.run_id].kind for job in (slow, hangs, short)] == ["failed", "failed", "done"]
    for job in (slow, hangs):
        assert last[job.run_id].note.startswith(f"stopped, over its limit of {limit:g} s (--time-limit); ")
        assert last[job.run_id].exit_code == 2
    assert last[slow.run_id].note.endswith("the same command resumes from its checkpoint")
    assert last[hangs.run_id].note.endswith("it has left no checkpoint")
    assert checkpoints_of(slow)
    assert not checkpoints_of(hangs)
    assert not workers()


@pytest.mark.slow
def test_a_second_interrupt_waits_for_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(local_launcher, "GRACE_SECONDS", 600.0)
    (job,) = tiny_jobs(tmp_path / "data", tmp_path / "out", epochs=100_000)
    all_news = launch([job], Launch(workers=1))
    assert any(news.phase == "training" for news in all_news)
    (worker,) = workers()
    worker.suspend()
    join = BaseProcess.join

    def interrupted(process, timeout=None):
        if timeout is not None:
            raise KeyboardInterrupt
        join(process)

    monkeypatch.setattr(BaseProcess, "join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        all_news.close()
    assert not workers()


def huge_array():
    return np.empty(2**60, dtype=np.uint8)


def huge_tensor():
    return torch.empty(2**60, dtype=torch.uint8)


@pytest.mark.parametrize("allocate", [huge_array, huge_tensor])
def test_memory_that_runs_out_is_no_bug_of_the_run(allocate):
    news = attempt(None, lambda job, progress: allocate(), lambda news: None, 1.0)
    assert (news.kind, news.out_of_memory, news.exit_code) == ("failed", True, 1)
    assert "fewer --workers" in news.note
    assert allocate.__name__ in news.log
    last = crashed(None, 2, 1, news.note, news.log)
    assert (last.kind, last.log) == ("failed", news.log)
    assert last.note.endswith(", 2 times")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(psutil.Process, "rlimit"), reason="limits of another process: Linux only")
def test_a_worker_without_memory_is_replaced_and_its_run_done_again(tmp_path):
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out", seeds=(0, 1), epochs=12)
    happened, limited = [], False
    with closing(launch(jobs, Launch(workers=1))) as all_news:
        for news in all_news:
            happened.append(news)
            if news.phase == "training" and not limited:
                limited = True
                (worker,) = workers()
                worker.rlimit(psutil.RLIMIT_AS, (worker.memory_info().vms,) * 2)
    first = [n.kind for n in happened if n.job == jobs[0] and n.kind != "progress"]
    assert first == ["started", "retrying", "started", "done"]
    assert ended(happened)[jobs[1].run_id].kind == "done"
    (retrying,) = [n for n in happened if n.kind == "retrying"]
    assert "memory" in retrying.note or "died" in retrying.note


def test_a_second_signal_does_not_cut_the_first_short():
    """Batch schedulers tell each process of the group, and again."""
    from sla_bench.cli import app as cli

    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, cli._terminate)
    try:
        with pytest.raises(cli.Terminated):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
