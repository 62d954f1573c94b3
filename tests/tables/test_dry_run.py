from pathlib import Path

import pytest
from made_up_records import write_records
from spanned import tasks_of

from sla_bench.records.jobs import Job
from sla_bench.records.launch_options import Launch
from sla_bench.records.planning import Estimate, Plan, known_workers
from sla_bench.tables.dry_run import dry_run_lines, duration, words

ONE, TWO = Launch(workers=1, threads=1), Launch(workers=2, threads=1)


def jobs_of(out, settings=("episodes=60",), **given):
    tasks = tasks_of("fewshot", settings, **given)
    return [
        Job(
            t.run.digest(data="made up"),
            t.run,
            {e.digest(data="made up"): e for e in t.evaluations},
            "made up",
            "made up",
            Path("nowhere"),
            out,
            "cpu",
        )
        for t in tasks
    ]


def test_each_run_has_its_state_and_the_rest_an_estimate(tmp_path):
    store, ids = write_records(tmp_path, {"baseline": 0.5}, seeds=(0, 1))
    lines = list(dry_run_lines(jobs_of(tmp_path, seed=[0, 1, 2], method=["baseline"]), store, TWO))
    assert lines[0] == f"{ids[0]}  recorded     glyphs protonet 5-shot baseline seed 0"
    assert "to run       glyphs protonet 5-shot baseline seed 2" in lines[2]
    assert lines[3] == "3 runs: 2 recorded, 1 to run"
    assert lines[4] == "training takes about 2 s on 2 workers, judged by 2 recorded runs"
    (line, total) = dry_run_lines(
        jobs_of(tmp_path, ("episodes=61",), seed=[0], method=["baseline"]), store, TWO
    )
    assert "to evaluate" in line
    assert total == "1 runs: 1 to evaluate"


def test_what_differs_between_runs_is_told(tmp_path):
    store, _ = write_records(tmp_path, {"baseline": 0.5})
    both = jobs_of(tmp_path, method=["baseline"]) + jobs_of(
        tmp_path, ("steps=7",), method=["baseline"], precision="bf16", shots=[1]
    )
    lines = list(dry_run_lines(both, store, ONE))
    assert lines[0].endswith("baseline seed 0, 5-way 5-shot, precision fp32, budget quick")
    assert lines[1].endswith("baseline seed 0, 5-way 1-shot, precision bf16, budget quick, steps=7")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5400, "1.5 h"), (200_000, "2.3 days")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def planned(tmp_path, seconds, records=2):
    """A plan of jobs that take so many seconds; None: nothing is known of the job."""
    jobs = jobs_of(tmp_path, seed=list(range(len(seconds))), method=["baseline"])
    return Plan(jobs, Estimate(tuple(seconds), records))


def test_what_is_unknown_is_said(tmp_path):
    assert "can't be estimated" in words(planned(tmp_path, [None] * 4, 0), TWO)
    sentence = words(planned(tmp_path, [60, 40, 10, *[None] * 4]), ONE)
    assert sentence.startswith("training takes about 2 min on 1 worker, judged by 2 recorded runs;")
    assert sentence.endswith("4 other runs can't be estimated")
    sentence = words(planned(tmp_path, [60, 40, 10, None], 1), TWO)
    assert sentence.startswith("training takes about 60 s on 2 workers")
    assert sentence.endswith("judged by 1 recorded run; 1 other run can't be estimated")


def test_where_a_cluster_decides_the_time_is_that_of_one_worker(tmp_path):
    assert known_workers(Launch(launcher="ray")) is None
    assert known_workers(Launch(launcher="ray", workers=3)) == 3
    assert known_workers(Launch()) >= 1
    sentence = words(planned(tmp_path, [500, 500]), Launch(launcher="ray"))
    assert sentence.startswith("training takes about 17 min of one worker, judged by 2 ")
