"""Tasks on a scripted cluster; real clusters are in `test_ray_launcher.py`."""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from tiny_jobs import tiny_jobs

from sla_bench.errors import UserError
from sla_bench.records import ray_tasks
from sla_bench.records.launch_options import Launch
from sla_bench.records.launching import News

ERRORS = {"RayError": type("RayError", (Exception,), {})}
for error in ("LocalRayletDiedError", "RayTaskError", "WorkerCrashedError", "NodeDiedError", "Unheard"):
    ERRORS[error] = type(error, (ERRORS["RayError"],), {})


class ScriptedRay(MagicMock):
    """A cluster on which the tries of each run end as told, or not until they are killed."""

    def play(self, ends):
        self.exceptions = SimpleNamespace(**ERRORS)
        self.remote.return_value.return_value.options.return_value.remote = lambda job, *_: job.run_id
        self.wait = lambda refs, **_: ([ref for ref in refs if ends[ref]], [])

        def get(ref, timeout=None):
            if timeout:
                return dict.fromkeys(ends, SimpleNamespace(kind="started"))
            if isinstance(end := ends[ref].pop(0), Exception):
                raise end
            return end

        def cancel(ref, force=False):
            ends[ref] += [ERRORS["WorkerCrashedError"]()] if force else []

        self.get, self.cancel = get, cancel
        return self


def happened(tmp_path, ends, **settings):
    """Seed, kind and note of all news, in their order."""
    jobs = tiny_jobs(tmp_path / "data", tmp_path / "out", seeds=range(len(ends)))
    script = {
        job.run_id: [e if isinstance(e, Exception) else News(job, **e) for e in end]
        for job, end in zip(jobs, ends, strict=True)
    }
    given = Launch(launcher="ray", workers=1, **settings)
    tasks = ray_tasks.Tasks(ScriptedRay().play(script), jobs, given, tmp_path / "token")
    return [(n.job.run.seed, n.kind, n.note) for n in tasks.news(stopped=lambda: False)]


DONE = {"kind": "done"}


@pytest.mark.parametrize(
    ("death", "note"),
    [
        (ERRORS["NodeDiedError"](), "the node that it ran on died"),
        (ERRORS["WorkerCrashedError"](), "its worker process died"),
        (ERRORS["Unheard"]("x\ny"), "Unheard: x y"),
        ({"kind": "failed", "note": "out of memory", "out_of_memory": True}, "out of memory"),
    ],
)
def test_a_run_whose_node_or_process_dies_is_started_again_three_times(death, note, tmp_path):
    again = [(0, "started", ""), (0, "retrying", note)]
    done = [(0, "started", ""), (0, "done", ""), (1, "started", ""), (1, "done", "")]
    assert happened(tmp_path, [[death, death, death, DONE], [DONE]]) == [*again * 3, *done]
    given_up = [(0, "started", ""), (0, "failed", f"{note}, 4 times")]
    assert happened(tmp_path, [[death] * 4, [DONE]]) == [*again * 3, *given_up, *done[2:]]


@pytest.mark.parametrize(
    "end",
    [ERRORS["RayTaskError"]("Traceback\nValueError: wrong"), {"kind": "failed", "note": "ValueError: wrong"}],
)
def test_a_run_that_fails_by_itself_is_not_started_again(end, tmp_path):
    assert happened(tmp_path, [[end]]) == [(0, "started", ""), (0, "failed", "ValueError: wrong")]


def test_a_node_without_the_package_is_a_line(tmp_path):
    end = ERRORS["RayTaskError"]("Traceback\nModuleNotFoundError: No module named 'sla_bench'")
    (_, failed) = happened(tmp_path, [[end]])
    assert failed[1:] == (
        "failed",
        "a node of the Ray cluster has no sla_bench; install the same version on each",
    )


def test_a_run_of_another_process_comes_last(tmp_path):
    assert happened(tmp_path, [[{"kind": "elsewhere"}, DONE], [DONE]]) == [
        (seed, kind, "")
        for seed, last in [(0, "elsewhere"), (1, "done"), (0, "done")]
        for kind in ("started", last)
    ]


def test_without_the_node_of_this_machine_nothing_goes_on(tmp_path):
    with pytest.raises(UserError, match="node of this machine died"):
        happened(tmp_path, [[ERRORS["LocalRayletDiedError"]()], [DONE]])


def test_a_run_that_hangs_over_its_limit_is_killed_and_not_started_again(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_tasks, "GRACE_SECONDS", 0.0)
    note = "stopped, over its limit of 1e-09 s (--time-limit); it has left no checkpoint"
    assert happened(tmp_path, [[], [DONE]], time_limit=1e-9) == [
        (0, "started", ""),
        (0, "failed", note),
        (1, "started", ""),
        (1, "done", ""),
    ]
