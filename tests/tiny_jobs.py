"""Real jobs of a second each, and comparable parts of their records."""

import json
import os
import time

import numpy as np
import pandas as pd
import psutil
import real_formats
from spanned import tasks_of

from sla_bench.records.jobs import make_jobs
from sla_bench.records.store import Store

SCENARIO = "imbalanced"


def tiny_options(epochs=2):
    settings = [f"epochs={epochs}", "batch_size=16", f"validations={min(2, epochs)}"]
    return {"dataset": ["cifar10"], "ratio": [5.0], "max_class_size": 10, "budget": "smoke"}, settings


def tiny_command(data_root, out, *arguments, epochs=2):
    given, settings = tiny_options(epochs)
    options = [f"--{key.replace('_', '-')}={v[0] if isinstance(v, list) else v}" for key, v in given.items()]
    folders = ["--data-root", str(data_root), "--out", str(out)]
    return ["run", SCENARIO, *options, *folders, *(f"--set={s}" for s in settings), *arguments]


def tiny_jobs(
    data_root, out, methods=("baseline",), seeds=(0,), epochs=2, settings=(), checkpoint_seconds=60.0, **given
):
    """Jobs on made-up CIFAR-10 files, which are written below `data_root` unless they are there."""
    if not data_root.exists():
        real_formats.write_cifar10(data_root)
    base, short = tiny_options(epochs)
    tasks = tasks_of(SCENARIO, [*short, *settings], **base, method=list(methods), seed=list(seeds), **given)
    return make_jobs(tasks, data_root, out, "auto", checkpoint_seconds=checkpoint_seconds)


def kinds(happened, job):
    """The kinds of news of a job, but for its progress."""
    return [n.kind for n in happened if n.job.run_id == job.run_id and n.kind != "progress"]


def contents(out):
    """All that a results folder holds of its runs, but for times and the machine."""
    found = {}
    for record in Store(out, SCENARIO).records():
        found[record.run_id] = {
            "config": record.config,
            "weights": (record.folder / "model.safetensors").read_bytes(),
            "history": record.history.drop(columns="seconds"),
            "done": without_times(record.done),
            "evaluations": {
                e.folder.name: (e.config, without_times(e.metrics), e.samples, e.data_hash)
                for e in record.evaluations
            },
        }
    return found


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if "seconds" not in k}
    return value


def assert_same_contents(one, other):
    assert one.keys() == other.keys()
    for run_id, first in one.items():
        second = other[run_id]
        for part in ("config", "weights", "done"):
            assert first[part] == second[part], (run_id, part)
        pd.testing.assert_frame_equal(first["history"], second["history"], check_exact=True)
        assert first["evaluations"].keys() == second["evaluations"].keys()
        for eval_id, (config, metrics, samples, data_hash) in first["evaluations"].items():
            again = second["evaluations"][eval_id]
            assert (config, data_hash) == (again[0], again[3])
            assert json.dumps(metrics) == json.dumps(again[1])
            assert samples.keys() == again[2].keys()
            assert all(np.array_equal(samples[name], again[2][name]) for name in samples)


def processes_with(variable, value):
    """Processes that have inherited an environment variable, but for this one and its resource tracker."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get(variable) == value:
                found.append(process)
        except psutil.Error:
            continue
    return [p for p in found if is_at_work(p)]


def is_at_work(process):
    try:
        tracker = "multiprocessing.resource_tracker" in " ".join(process.cmdline())
        return not tracker and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def workers():
    """The worker processes of this one, when each has become a program of its own."""
    itself, until = psutil.Process(), time.monotonic() + 10
    living = [child for child in itself.children() if child.status() != psutil.STATUS_ZOMBIE]
    while any(child.cmdline() in ([], itself.cmdline()) for child in living) and time.monotonic() < until:
        time.sleep(0.01)
    return [child for child in living if "spawn_main" in " ".join(child.cmdline())]
