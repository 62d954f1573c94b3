"""A task is a plain function: what it does on a node is tested without Ray."""

import platform
import shutil
import signal
from dataclasses import replace

import pytest
import real_formats
from tiny_jobs import assert_same_contents, contents, tiny_jobs

from sla_bench.harness.jobs import perform
from sla_bench.harness.ray_worker import Ticket, work_and_tell
from sla_bench.harness.record_transfer import pack, unpack


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A job, done here."""
    root = tmp_path_factory.mktemp("recorded")
    (job,) = tiny_jobs(root / "data", root / "out")
    perform(job, lambda *a, **k: None)
    return job


def ticket(job, tmp_path, shared, **further):
    token = tmp_path / "token"
    if shared:
        token.touch()
    return Ticket(job, token, platform.node(), tmp_path, **further)


@pytest.fixture(autouse=True)
def stay_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_without_the_results_folder_the_record_comes_back(recorded, tmp_path):
    job, news = replace(recorded, out=tmp_path / "out"), []
    outcome = work_and_tell(ticket(job, tmp_path, shared=False), news.append)
    assert outcome.news.kind == "done"
    assert {n.kind for n in news} == {"started", "progress"}
    assert not job.out.exists()
    unpack(outcome.record, job)
    assert_same_contents(contents(job.out), contents(recorded.out))


@pytest.mark.slow
def test_with_the_results_folder_nothing_comes_back(recorded, tmp_path):
    job = replace(recorded, out=tmp_path / "out")
    outcome = work_and_tell(ticket(job, tmp_path, shared=True), lambda _: None)
    assert (outcome.news.kind, outcome.record) == ("done", {})
    assert_same_contents(contents(job.out), contents(recorded.out))


@pytest.mark.slow
def test_an_evaluation_elsewhere_asks_for_the_training_and_does_not_repeat_it(recorded, tmp_path):
    job = replace(recorded, out=tmp_path / "out")
    unpack(pack(recorded), job)
    shutil.rmtree(job.store.run_folder(job.run_id) / "evaluations")
    blank = ticket(job, tmp_path, shared=False, trained=True)
    news = []
    assert work_and_tell(blank, news.append).news is None
    assert not news
    outcome = work_and_tell(replace(blank, record=pack(job)), news.append)
    assert outcome.news.kind == "done"
    assert "training" not in {n.phase for n in news}
    unpack(outcome.record, job)
    assert_same_contents(contents(job.out), contents(recorded.out))


def test_a_node_with_other_data_refuses(recorded, tmp_path):
    real_formats.write_cifar10(tmp_path / "data", train_per_class=11)
    other = replace(recorded, data_root=tmp_path / "data", out=tmp_path / "out")
    outcome = work_and_tell(replace(ticket(other, tmp_path, True), host="elsewhere"), lambda _: None)
    assert (outcome.news.kind, outcome.news.exit_code) == ("failed", 2)
    assert "other data" in outcome.news.note
    assert not (tmp_path / "out").exists()


def test_a_node_without_the_data_root_looks_in_its_own(recorded, tmp_path, monkeypatch):
    away = replace(recorded, data_root=tmp_path / "nowhere", out=tmp_path / "out")
    outcome = work_and_tell(ticket(away, tmp_path, True), lambda _: None)
    assert (outcome.news.kind, outcome.news.exit_code) == ("failed", 2)
    monkeypatch.setenv("SLA_BENCH_DATA", str(recorded.data_root))
    given = replace(ticket(away, tmp_path, True), host="elsewhere")
    assert work_and_tell(given, lambda _: None).news.kind == "done"


@pytest.mark.slow
def test_a_task_that_is_cancelled_leaves_a_checkpoint(tmp_path):
    (job,) = tiny_jobs(tmp_path / "data", tmp_path / "out", epochs=100_000, checkpoint_seconds=1e9)

    def cancel(news):
        if news.phase == "training":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        work_and_tell(ticket(job, tmp_path, shared=True), cancel)
    assert list(job.store.checkpoint_folder(job.run_id).glob("0/step-*.pt"))
