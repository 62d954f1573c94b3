import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import psutil
import pytest
from ray_clusters import add_node, cluster, node_that_sees_nothing_of, ray, ray_folder, survivors
from tiny_jobs import assert_same_contents, contents, kinds, processes_with, tiny_command, tiny_jobs

from sla_bench.errors import UserError
from sla_bench.records import ray_tasks
from sla_bench.records.in_progress import stop_on
from sla_bench.records.launch_options import Launch
from sla_bench.records.launching import News
from sla_bench.registry import LAUNCHERS

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]


def launch(jobs, **settings):
    given = Launch(**settings)
    return LAUNCHERS.load(given.launcher)(jobs, given)


def in_shell(arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "sla_bench", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    )


def one_line(process, seconds, *fragments):
    _, err = process.communicate(timeout=seconds)
    assert process.returncode == 2, err
    assert len(err.strip().splitlines()) == 1, err
    for fragment in fragments:
        assert fragment in err


def test_records_depend_neither_on_the_launcher_nor_on_the_number_of_workers(tmp_path):
    ways = {
        "one": {"workers": 1},
        "two": {"workers": 2},
        "ray": {"launcher": "ray", "workers": 2},
    }
    found = {}
    with ray_folder():
        for name, settings in ways.items():
            grid = {"methods": ("baseline", "sla+sd"), "seeds": (0, 1)}
            jobs = tiny_jobs(tmp_path / "data", tmp_path / name, **grid)
            happened = list(launch(jobs, **settings))
            assert all(kinds(happened, job) == ["started", "done"] for job in jobs)
            assert any(n.kind == "progress" and n.phase == "training" for n in happened)
            found[name] = contents(tmp_path / name)
    assert len(found["one"]) == 4
    assert_same_contents(found["one"], found["two"])
    assert_same_contents(found["one"], found["ray"])
    assert {p.name for p in (tmp_path / "ray").iterdir()} == {"imbalanced"}


def test_a_grid_ends_complete_though_a_node_and_a_worker_die(tmp_path):
    grid = {"seeds": (0, 1, 2, 3), "epochs": 40}
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out", **grid)
    (wrong,) = tiny_jobs(tmp_path / "data", tmp_path / "out", settings=["learning_rate=1e30"])
    happened, trained = [], set()
    with cluster() as started:
        nodes = [add_node(started), add_node(started)]
        settings = {"launcher": "ray", "ray_address": started.address}
        with closing(launch([wrong, *jobs], **settings)) as all_news:
            for news in all_news:
                happened.append(news)
                if news.phase == "training" and news.job.run_id != wrong.run_id:
                    trained.add(news.job.run_id)
                if len(trained) == 1 and nodes[0] is not None:
                    kill_a_task(os.environ["RAY_TMPDIR"])
                    nodes[0] = None
                # Both nodes are at work, whichever of them is killed.
                if len(trained) == 3 and nodes[1] is not None:
                    started.remove_node(nodes[1], allow_graceful=False)
                    nodes[1] = None
    assert nodes == [None, None]
    # Its own process may be the one that is killed; its mistake is no reason to try again.
    assert kinds(happened, wrong)[-1] == "failed"
    assert [n.exit_code for n in happened if n.kind == "failed"] == [2]
    assert all(kinds(happened, job)[-1] == "done" for job in jobs)
    notes = {n.note for n in happened if n.kind == "retrying"}
    assert "its worker process died" in notes
    assert any("node" in note for note in notes)
    plain = tiny_jobs(tmp_path / "data", tmp_path / "plain", **grid)
    assert {n.kind for n in launch(plain, workers=2)} == {"started", "progress", "done"}
    assert_same_contents(contents(tmp_path / "out"), contents(tmp_path / "plain"))


def kill_a_task(folder):
    tasks = [p for p in processes_with("RAY_TMPDIR", folder) if p.cmdline()[0].startswith("ray::work")]
    assert tasks
    tasks[0].kill()


def test_a_node_without_the_results_folder_sends_its_records_back(tmp_path):
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out", seeds=(0, 1))
    (tmp_path / "out").mkdir()
    here = tiny_jobs(tmp_path / "data", tmp_path / "here", seeds=(0, 1))
    assert list(launch(here, workers=1))[-1].kind == "done"
    with cluster() as started, node_that_sees_nothing_of(tmp_path / "out", started):
        settings = {"launcher": "ray", "ray_address": started.address}
        happened = wait_for_room(jobs, settings)
        assert all(kinds(happened, job) == ["started", "done"] for job in jobs), happened
        assert_same_contents(contents(tmp_path / "out"), contents(tmp_path / "here"))
        environment = (jobs[0].store.run_folder(jobs[0].run_id) / "environment.json").stat().st_mtime_ns
        shutil.rmtree(jobs[0].store.run_folder(jobs[0].run_id) / "evaluations")
        assert kinds(list(launch(jobs[:1], **settings)), jobs[0]) == ["started", "done"]
    assert_same_contents(contents(tmp_path / "out"), contents(tmp_path / "here"))
    again = (jobs[0].store.run_folder(jobs[0].run_id) / "environment.json").stat().st_mtime_ns
    assert again == environment


def wait_for_room(jobs, settings, seconds=60):
    """The launcher refuses a cluster without room for a run; the node may still be starting."""
    end = time.monotonic() + seconds
    while True:
        try:
            return list(launch(jobs, **settings))
        except UserError as error:
            if "has room for a run" not in str(error) or time.monotonic() > end:
                raise


def test_a_cluster_that_does_not_answer_is_one_line(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    tiny_jobs(data, out)
    with socket.socket() as silent, socket.socket() as closed:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        closed.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in (silent, closed)]
        options = ["--launcher", "ray", "--ray-address"]
        processes = [in_shell(tiny_command(data, out, *options, a)) for a in addresses]
        processes.append(in_shell(tiny_command(data, out, "--launcher", "ray"), RAY_ADDRESS=addresses[0]))
        for process, address in zip(processes, [*addresses, addresses[0]], strict=True):
            # Ray itself gives up after two minutes.
            one_line(process, 90, "no Ray cluster answers at", address)


def test_a_cluster_of_another_version_is_one_line(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    tiny_jobs(data, out)
    (tmp_path / "sitecustomize.py").write_text("import ray\nray.__version__ = '1.2.3'\n")
    with cluster() as started:
        path = os.pathsep.join([str(tmp_path), *sys.path])
        arguments = tiny_command(data, out, "--launcher", "ray", "--ray-address", started.address)
        one_line(in_shell(arguments, PYTHONPATH=path), 60, "Version mismatch", "1.2.3")


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_whoever_ends_the_command_ends_the_cluster_that_it_started(how, code, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    tiny_jobs(data, out)
    with ray_folder() as folder:
        arguments = tiny_command(data, out, "--launcher", "ray", "--workers", "1", epochs=100_000)
        process = in_shell(arguments)
        end = time.monotonic() + 120
        while not any(p.cmdline()[:1] == ["ray::work"] for p in processes_with("RAY_TMPDIR", folder)):
            assert time.monotonic() < end
            assert process.poll() is None, process.communicate()
            time.sleep(0.2)
        time.sleep(3)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)
        else:
            psutil.Process(process.pid).send_signal(how)
        _, err = process.communicate(timeout=90)
        assert process.returncode == code, err
        if how != signal.SIGKILL:
            assert "finished runs are kept" in err.splitlines()[-1]
        assert "Traceback" not in err
        assert not survivors(folder)
    assert not list(out.glob(".shared-*")) or how == signal.SIGKILL


def test_tasks_over_the_limit_are_stopped_or_killed_and_the_others_finish(tmp_path, monkeypatch):
    """With tasks that only wait: one ends when it is asked to, one hangs in the system, one is quick."""
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out", seeds=(0, 1, 2), epochs=10)
    os.mkfifo(tmp_path / "pipe")

    def wait_instead(job, token, host, folder, desk):
        desk.put.remote(News(job, "started"))
        with stop_on(signal.SIGINT) as stop:
            if job.run.seed == 1:
                (tmp_path / "pipe").read_bytes()
            while job.run.seed == 0 and not stop.wanted:
                time.sleep(0.05)
        if stop.wanted:
            (tmp_path / "stopped").touch()
            raise KeyboardInterrupt
        return News(job, "done")

    monkeypatch.setattr(ray_tasks, "work", wait_instead)
    monkeypatch.setattr(ray_tasks, "GRACE_SECONDS", 3.0)
    with cluster(cpus=1) as started:
        ray.init(address=started.address, log_to_driver=False)
        try:
            settings = Launch(launcher="ray", workers=1, time_limit=2.0)
            tasks = ray_tasks.Tasks(ray, jobs, settings, tmp_path / "token")
            happened = list(tasks.news(stopped=lambda: False))
        finally:
            ray.shutdown()
    assert (tmp_path / "stopped").exists()
    assert [kinds(happened, job) for job in jobs] == [["started", "failed"]] * 2 + [["started", "done"]]
    for news in happened:
        if news.kind == "failed":
            assert news.note == "stopped, over its limit of 2 s (--time-limit); it has left no checkpoint"
            assert news.exit_code == 2


def test_a_run_that_no_node_could_take_is_refused(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    tiny_jobs(data, out)
    with ray_folder():
        arguments = tiny_command(data, out, "--launcher", "ray", "--gpus-per-run", "0.5")
        one_line(in_shell(arguments, CUDA_VISIBLE_DEVICES=""), 60, "GPU 0.5 (--gpus-per-run)", "GPU 0")
