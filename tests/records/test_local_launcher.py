from contextlib import closing
from dataclasses import replace

import pytest
from tiny_jobs import contents, kinds, tiny_jobs, workers

from sla_bench.records.launch_options import Launch
from sla_bench.records.local_launcher import launch


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_once_and_the_others_go_on(tmp_path):
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out", seeds=(0, 1, 2))
    happened, killed = [], []
    with closing(launch(jobs, Launch(workers=1))) as all_news:
        for news in all_news:
            happened.append(news)
            deaths = {jobs[0].run_id: 1, jobs[1].run_id: 2}.get(news.job.run_id, 0)
            if news.kind == "started" and killed.count(news.job) < deaths:
                killed.append(news.job)
                (worker,) = workers()
                worker.kill()
    assert kinds(happened, jobs[0]) == ["started", "retrying", "started", "done"]
    assert kinds(happened, jobs[1]) == ["started", "retrying", "started", "failed"]
    assert kinds(happened, jobs[2]) == ["started", "done"]
    (failed,) = [n for n in happened if n.kind == "failed"]
    assert failed.exit_code == 1
    assert "exit code -9" in failed.note
    assert "2 times" in failed.note
    assert contents(tmp_path / "out").keys() == {jobs[0].run_id, jobs[2].run_id}
    assert not workers()


@pytest.mark.slow
def test_what_the_user_can_mend_is_not_tried_again(tmp_path):
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out", settings=["learning_rate=1e30"])
    happened = list(launch(jobs, Launch(workers=1)))
    assert kinds(happened, jobs[0]) == ["started", "failed"]
    assert happened[-1].exit_code == 2


def test_workers_fill_the_cores_and_never_more(tmp_path, monkeypatch):
    (job,) = tiny_jobs(tmp_path / "data", tmp_path / "out")
    monkeypatch.setattr("sla_bench.records.planning.usable_cores", lambda: 5)
    for threads, expected in ((1, 5), (2, 2), (8, 1)):
        jobs = [replace(job, run_id=str(i), threads=threads) for i in range(9)]
        with closing(launch(jobs, Launch())) as all_news:
            seen = [next(all_news).kind for _ in range(expected)]
            environments = [w.environ() for w in workers()]
        assert seen == ["started"] * expected
        assert [e["OMP_NUM_THREADS"] for e in environments] == [str(threads)] * expected
        assert not workers()
