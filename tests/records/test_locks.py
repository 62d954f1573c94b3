import subprocess
import sys
import threading
import time

import pytest
import real_formats
from counting_scenario import CountingScenario
from spanned import tasks_of

from sla_bench.records.in_progress import RunClaimedError, claim
from sla_bench.records.jobs import make_jobs, perform
from sla_bench.training.loop import silent

HOLD = """
import sys, time
from pathlib import Path
from sla_bench.records.in_progress import claim
with claim(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_run_is_claimed_once_and_a_killed_owner_loses_it(tmp_path):
    path = tmp_path / "run" / ".lock"
    owner = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout.readline() == "held\n"
    with pytest.raises(RunClaimedError), claim(path):
        pass
    owner.kill()
    owner.wait()
    with claim(path):
        pass
    with claim(path):
        pass


def test_two_that_share_a_grid_train_each_run_once_and_test_it_once(tmp_path):
    real_formats.write_category_pickles(tmp_path, "fc100", 20)
    given = {"dataset": ["fc100"], "method": ["baseline", "sla"], "seed": range(4), "episodes": 20}
    tasks = tasks_of("fewshot", **given)
    jobs = make_jobs(tasks, tmp_path, tmp_path / "out", "cpu")
    meeting = threading.Barrier(2)

    def slow(config):
        time.sleep(0.03)
        return [0.5]

    def work_through(scenario):
        waiting = list(jobs)
        meeting.wait()
        while waiting:
            job = waiting.pop(0)
            try:
                perform(job, silent, scenario)
            except RunClaimedError:
                waiting.append(job)

    scenarios = [CountingScenario(slow), CountingScenario(slow)]
    workers = [threading.Thread(target=work_through, args=(s,)) for s in scenarios]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    wanted = sorted(job.run.digest() for job in jobs)
    assert sorted(run.digest() for s in scenarios for run in s.trained) == wanted
    assert sorted(run.digest() for s in scenarios for run in s.tested) == wanted
    assert all(s.trained for s in scenarios)
