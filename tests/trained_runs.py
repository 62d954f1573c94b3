"""Recorded runs of the imbalanced scenario, trained for a moment on small files in the format of CIFAR-10."""

from real_formats import write_cifar10

from sla_bench.grid import form_of, options_model, span
from sla_bench.harness.jobs import make_jobs, perform
from sla_bench.training import silent

SETTINGS = ("epochs=1", "batch_size=16", "validations=1")


def train_runs(folder, keep_models=True, **options):
    """Train below `folder` and return, for each run, its folder."""
    data_root, out = folder / "data", folder / "results"
    if not data_root.exists():
        write_cifar10(data_root)
    form = form_of("imbalanced")
    given = {"dataset": ["cifar10"], "ratio": [5.0], "max_class_size": 10, **options}
    tasks = span(form, options_model(form)(**given).model_dump(), SETTINGS)
    jobs = make_jobs(tasks, data_root, out, "cpu", keep_models=keep_models)
    for job in jobs:
        perform(job, silent)
    return [job.store.run_folder(job.run_id) for job in jobs]
