"""A repeatedly killed grid ends with an undisturbed grid's records and tables."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import pandas as pd
import psutil
import pytest
import tiny_jobs
from real_formats import write_cifar10

from sla_bench.records.checkpoints import FileCheckpoints
from sla_bench.records.jobs import delete_spent_checkpoints, perform
from sla_bench.records.store import Store

TIMING = ["train_seconds"]
GRID = [
    *("--method", "baseline", "--method", "sla+sd", "--seed", "0", "--seed", "1"),
    *("--workers", "2", "--checkpoint-every", "0"),
]


def command(data_root, out):
    arguments = tiny_jobs.tiny_command(data_root, out, *GRID, epochs=8)
    return [sys.executable, "-m", "sla_bench", *arguments]


def finish(data_root, out):
    done = subprocess.run(command(data_root, out), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    return done


def kill_after(data_root, out, seconds, rng):
    """Start the grid and, after so many seconds, kill the command alone, a worker alone, or all of them.

    Or all of them are told to end and, a moment later, killed, as a batch scheduler does.

    Returns:
        Whether it was still running.
    """
    process = subprocess.Popen(
        command(data_root, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    time.sleep(seconds)
    running = process.poll() is None
    victims = rng.choice(["command", "worker", "all", "scheduler"])
    if victims == "scheduler" and running:
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(rng.uniform(0.0, 2.0))
    if victims in ("all", "scheduler") and running:
        # The command may have ended by then, and with it the group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    elif running:
        family = [psutil.Process(process.pid)]
        workers = [c for c in family[0].children() if "multiprocessing.spawn" in " ".join(c.cmdline())]
        for victim in workers[:1] if victims == "worker" and workers else family:
            victim.kill()
        process.kill()
    process.wait()
    return running


def tables(out):
    csv = pd.read_csv(out / tiny_jobs.SCENARIO / "leaderboard.csv").drop(columns=TIMING)
    return csv.to_csv(index=False)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Where data and results of a grid are that nobody has disturbed, and how many seconds it took."""
    root = tmp_path_factory.mktemp("undisturbed")
    write_cifar10(root / "data")
    started = time.monotonic()
    finish(root / "data", root / "whole")
    return root / "data", root / "whole", time.monotonic() - started


def assert_survives(kills, seed, undisturbed, tmp_path):
    """Kill so many times: each grid until it has come to its end, and as many grids as that takes."""
    data_root, whole, duration = undisturbed
    expected, rng = tiny_jobs.contents(whole), random.Random(seed)
    killed, grids = 0, 0
    while killed < kills:
        out = tmp_path / f"killed-{grids}"
        grids += 1
        while killed < kills and kill_after(data_root, out, rng.uniform(0.2, 1.0) * duration, rng):
            killed += 1
        finish(data_root, out)
        store = Store(out, tiny_jobs.SCENARIO)
        assert store.unreadable() == []
        tiny_jobs.assert_same_contents(expected, tiny_jobs.contents(out))
        assert tables(out) == tables(whole)
        runs = store.folder / "runs"
        assert {p.name for p in runs.iterdir()} == set(expected)
        # Nothing half-written and no checkpoint is left.
        left = [p for p in runs.rglob("*") if p.name.startswith(".") and p.name != ".lock"]
        assert left + list(runs.glob("*/checkpoints")) == []
    return killed, grids


@pytest.mark.slow
def test_a_grid_that_is_killed_again_and_again_loses_nothing(undisturbed, tmp_path):
    assert_survives(3, 0, undisturbed, tmp_path)


@pytest.mark.campaign
def test_a_grid_that_is_killed_two_hundred_times_loses_nothing(undisturbed, tmp_path, capsys):
    killed, grids = assert_survives(200, 1, undisturbed, tmp_path)
    with capsys.disabled():
        print(f"\n{grids} grids killed {killed} times, none lost")  # noqa: T201
    assert killed >= 200


@pytest.mark.slow
def test_two_commands_on_one_grid_end_with_its_records(undisturbed, tmp_path):
    data_root, alone, _ = undisturbed
    out = tmp_path / "out"
    both = [
        subprocess.Popen(command(data_root, out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=600) for process in both]
    assert [p.returncode for p in both] == [0, 0], said
    tiny_jobs.assert_same_contents(tiny_jobs.contents(alone), tiny_jobs.contents(out))
    assert tables(out) == tables(alone)


class KilledError(BaseException):
    """Ends a process as a kill would: nothing catches it."""


@pytest.mark.parametrize("keep_models", [True, False])
def test_checkpoints_of_a_run_that_was_killed_after_its_last_file_are_deleted(
    keep_models, tmp_path, monkeypatch
):
    (job,) = tiny_jobs.tiny_jobs(tmp_path / "data", tmp_path / "out", checkpoint_seconds=0.0)
    job = replace(job, keep_models=keep_models)
    checkpoints = job.store.checkpoint_folder(job.run_id)

    def die(self):
        raise KilledError

    monkeypatch.setattr(FileCheckpoints, "remove", die)
    with pytest.raises(KilledError):
        perform(job, lambda *_: None)
    assert job.is_recorded()
    assert list(checkpoints.rglob("*.pt"))
    delete_spent_checkpoints([job])
    assert not checkpoints.exists()


def test_checkpoints_of_an_unfinished_run_stay(tmp_path):
    (job,) = tiny_jobs.tiny_jobs(tmp_path / "data", tmp_path / "out")
    checkpoint = job.store.checkpoint_folder(job.run_id) / "0" / "step-1.pt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"")
    delete_spent_checkpoints([job])
    assert checkpoint.exists()
