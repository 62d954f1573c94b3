"""The work of a Ray task, tested without Ray."""

import platform
import shutil
import signal
from dataclasses import replace

import pytest
import real_formats
from tiny_jobs import assert_same_contents, contents, tiny_jobs

from sla_bench.errors import UserError
from sla_bench.records.in_progress import claim
from sla_bench.records.jobs import perform
from sla_bench.records.launching import News
from sla_bench.records.ray_worker import Desk, pack, unpack, work_here


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A job, done here."""
    root = tmp_path_factory.mktemp("recorded")
    (job,) = tiny_jobs(root / "data", root / "out")
    perform(job, lambda *a, **k: None)
    return job


@pytest.fixture(autouse=True)
def stay_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def work(job, tmp_path, shared, tell=lambda _: None, host=None, asked=None):
    asked = [] if asked is None else asked
    token, desk = tmp_path / "token", Desk()
    if shared:
        token.touch()

    def ask(method, *arguments):
        asked.append(method)
        return getattr(desk, method)(*arguments)

    return work_here(job, token, host or platform.node(), tmp_path, tell, ask)


def test_a_desk_keeps_the_latest_news_of_each_run(recorded):
    desk, other = Desk(), replace(recorded, run_id="other")
    for news in (News(recorded, "started"), News(other, "started"), News(recorded, "progress")):
        desk.put(news)
    assert {run_id: news.kind for run_id, news in desk.take().items()} == {
        recorded.run_id: "progress",
        "other": "started",
    }
    assert desk.take() == {}


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False])
def test_the_record_is_where_the_command_is(recorded, tmp_path, shared):
    job, news, asked = replace(recorded, out=tmp_path / "out"), [], []
    assert work(job, tmp_path, shared, news.append, asked=asked).kind == "done"
    assert {n.kind for n in news} == {"started", "progress"}
    assert asked == ([] if shared else ["read", "write"])
    assert_same_contents(contents(job.out), contents(recorded.out))


@pytest.mark.slow
def test_an_evaluation_elsewhere_asks_for_the_training_and_does_not_repeat_it(recorded, tmp_path):
    job, news = replace(recorded, out=tmp_path / "out"), []
    unpack(pack(recorded), job)
    shutil.rmtree(job.store.run_folder(job.run_id) / "evaluations")
    assert work(job, tmp_path, False, news.append).kind == "done"
    assert "training" not in {n.phase for n in news}
    assert_same_contents(contents(job.out), contents(recorded.out))


@pytest.mark.slow
def test_a_training_elsewhere_is_kept_though_its_evaluation_fails(recorded, tmp_path, monkeypatch):
    job = replace(recorded, out=tmp_path / "out")

    def fail(*_):
        raise UserError("no test")

    monkeypatch.setattr("sla_bench.scenarios.classify.run.ClassifierScenario.evaluate", fail)
    news = work(job, tmp_path, False)
    assert (news.kind, news.note) == ("failed", "no test")
    assert job.store.has_run(job.run_id)
    assert job.open_evaluations() == job.evaluations


def test_a_record_waits_while_another_command_works_on_its_run(recorded, tmp_path):
    job = replace(recorded, out=tmp_path / "out")
    with claim(job.store.lock_file(job.run_id)):
        assert work(job, tmp_path, False).kind == "elsewhere"
    assert not job.store.has_run(job.run_id)


def test_a_node_with_other_data_refuses(recorded, tmp_path):
    real_formats.write_cifar10(tmp_path / "data", train_per_class=11)
    other = replace(recorded, data_root=tmp_path / "data", out=tmp_path / "out")
    news = work(other, tmp_path, True, host="elsewhere")
    assert (news.kind, news.exit_code) == ("failed", 2)
    assert "other data" in news.note
    assert not (tmp_path / "out").exists()


def test_a_node_without_the_data_root_looks_in_its_own(recorded, tmp_path, monkeypatch):
    away = replace(recorded, data_root=tmp_path / "nowhere", out=tmp_path / "out")
    news = work(away, tmp_path, True)
    assert (news.kind, news.exit_code) == ("failed", 2)
    monkeypatch.setenv("SLA_BENCH_DATA", str(recorded.data_root))
    assert work(away, tmp_path, True, host="elsewhere").kind == "done"


@pytest.mark.slow
def test_a_task_that_is_cancelled_leaves_a_checkpoint(tmp_path):
    (job,) = tiny_jobs(tmp_path / "data", tmp_path / "out", epochs=100_000, checkpoint_seconds=1e9)

    def cancel(news):
        if news.phase == "training":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        work(job, tmp_path, True, cancel)
    assert list(job.store.checkpoint_folder(job.run_id).glob("0/step-*.pt"))
