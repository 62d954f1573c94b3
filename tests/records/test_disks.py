"""Full disks, file limits, unwritable folders: one line, no finished run lost."""

import resource
import shutil
import subprocess
import sys

import pytest
import tiny_jobs
from mounts import disk

from sla_bench.records.jobs import perform
from sla_bench.records.launching import attempt
from sla_bench.records.store import Store
from sla_bench.training.loop import silent

ROOM = "size=64m"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What a run leaves on a disk with room, and where its data are."""
    root = tmp_path_factory.mktemp("whole")
    (job,) = tiny_jobs.tiny_jobs(root / "data", root / "out")
    perform(job, silent)
    return root


def fill_up(whole, folder, sizes):
    """Do a run on a disk of each size, then give it room and do it again.

    Returns:
        How often the disk was full.
    """
    expected, full = tiny_jobs.contents(whole / "out"), 0
    for size in sizes:
        with disk(folder, size) as remount:
            (job,) = tiny_jobs.tiny_jobs(whole / "data", folder, checkpoint_seconds=0)
            news = attempt(job, perform, lambda news: None, 1.0)
            if news.kind == "failed":
                assert (news.exit_code, news.log) == (2, "")
                assert news.note.startswith("the disk is full: could not write"), news.note
                full += 1
            assert Store(folder, tiny_jobs.SCENARIO).unreadable() == []
            remount(ROOM)
            perform(job, silent)
            tiny_jobs.assert_same_contents(expected, tiny_jobs.contents(folder))
            left = [p.name for p in folder.rglob(".*") if p.name != ".lock"]
            assert left == []
    return full


@pytest.mark.slow
def test_a_run_on_a_full_disk_says_so_and_ends_the_same_once_there_is_room(whole, tmp_path):
    # Hardly a folder fits, no checkpoint, not a third one beside two, everything.
    assert fill_up(whole, tmp_path / "disk", [8, 500, 1700, 16000]) == 3


@pytest.mark.campaign
def test_a_disk_that_is_full_at_any_moment_loses_nothing(whole, tmp_path, capsys):
    sizes = range(8, 4000, 160)
    full = fill_up(whole, tmp_path / "disk", sizes)
    with capsys.disabled():
        print(f"\n{len(sizes)} disks, {full} of them too small, none lost")  # noqa: T201
    assert full >= len(sizes) // 4


def command(whole, out, *arguments):
    return [sys.executable, "-m", "sla_bench", *tiny_jobs.tiny_command(whole / "data", out, *arguments)]


def run(arguments, **given):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=300, check=False, **given)


@pytest.mark.slow
def test_the_command_on_a_full_disk_names_each_run_and_the_reason(whole, tmp_path):
    with disk(tmp_path / "disk", 200):
        done = run(command(whole, tmp_path / "disk", "--method", "baseline", "--seed", "0", "--seed", "1"))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("FAILED: the disk is full: could not write") == 2
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_files_that_may_not_grow_are_one_line(whole, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = run(command(whole, tmp_path / "out", "--method", "baseline", "--seed", "0"), preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert "FAILED: could not write" in done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr


def test_folders_that_cannot_be_written_are_one_line_before_anything_is_trained(whole, tmp_path):
    with disk(tmp_path / "disk", 1000) as remount:
        remount("ro")
        done = run(command(whole, tmp_path / "disk", "--method", "baseline", "--seed", "0"))
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "no permission to write" in done.stderr


@pytest.mark.slow
def test_records_on_a_folder_that_cannot_be_written_are_read(whole, tmp_path):
    with disk(tmp_path / "disk", 64000) as remount:
        (job,) = tiny_jobs.tiny_jobs(whole / "data", tmp_path / "disk")
        perform(job, silent)
        remount("ro")
        tiny_jobs.assert_same_contents(
            tiny_jobs.contents(whole / "out"), tiny_jobs.contents(tmp_path / "disk")
        )
        listed = run([sys.executable, "-m", "sla_bench", "runs", "--out", str(tmp_path / "disk")])
        assert (listed.returncode, listed.stderr) == (0, "")
        assert job.run_id in listed.stdout
        table = run([sys.executable, "-m", "sla_bench", "leaderboard", "--out", str(tmp_path / "disk")])
        assert table.returncode == 2
        assert len(table.stderr.splitlines()) == 1, table.stderr
        assert "no permission to write" in table.stderr


@pytest.mark.slow
def test_data_on_a_folder_that_cannot_be_written_are_enough(whole, tmp_path):
    with disk(tmp_path / "disk", 64000) as remount:
        shutil.copytree(whole / "data", tmp_path / "disk" / "data", dirs_exist_ok=True)
        remount("ro")
        (job,) = tiny_jobs.tiny_jobs(tmp_path / "disk" / "data", tmp_path / "out")
        perform(job, silent)
    tiny_jobs.assert_same_contents(tiny_jobs.contents(whole / "out"), tiny_jobs.contents(tmp_path / "out"))
