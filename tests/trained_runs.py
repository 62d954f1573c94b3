"""Recorded imbalanced runs, trained briefly on small CIFAR-10 files."""

import numpy as np
from real_formats import write_cifar10
from spanned import tasks_of

from sla_bench.records.jobs import make_jobs, perform
from sla_bench.training.loop import silent

SETTINGS = ("epochs=1", "batch_size=16", "validations=1")


def train_runs(folder, keep_models=True, **options):
    """Train below `folder` and return, for each run, its folder."""
    data_root, out = folder / "data", folder / "results"
    if not data_root.exists():
        write_cifar10(data_root)
    given = {"dataset": ["cifar10"], "ratio": [5.0], "max_class_size": 10, **options}
    tasks = tasks_of("imbalanced", SETTINGS, **given)
    jobs = make_jobs(tasks, data_root, out, "cpu", keep_models=keep_models)
    for job in jobs:
        perform(job, silent)
    return [job.store.run_folder(job.run_id) for job in jobs]


def random_run(folder):
    """Write a recorded run of the imbalanced scenario whose weights are random, and return its folder."""
    from sla_bench.data.named import dataset_named
    from sla_bench.models.weights import weights_bytes
    from sla_bench.records.store import Store
    from sla_bench.scenarios.classify.presets import IMBALANCED

    given = {"dataset": ["cifar10"], "ratio": [5.0], "max_class_size": 10, "method": ["sla"]}
    (task,) = tasks_of("imbalanced", SETTINGS, **given)
    dataset = dataset_named("cifar10")
    counts = list(range(10, 0, -1))
    model = IMBALANCED.build_model(task.run, dataset, np.array(counts), task.run.transform, 0)
    state = {f"members.0.{name}": value for name, value in model.state_dict().items()}
    summary = {"class_names": [f"kind {i}" for i in range(10)], "class_counts": counts}
    summary |= {"train_images": 1, "train_seconds": 1.0, "parameters": 1}
    store = Store(folder, "imbalanced")
    store.write_run("0" * 12, task.run, weights_bytes(state), [{"member": 0, "step": 1}], {}, summary)
    return store.run_folder("0" * 12)
