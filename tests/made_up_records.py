"""Records as a run writes them, with accuracies chosen by a test."""

from dataclasses import replace

import numpy as np
from spanned import tasks_of

from sla_bench.config import EvalConfig
from sla_bench.grids.tuning import choice_of, group_of
from sla_bench.records.store import Store
from sla_bench.records.tuning_file import TrialRow, TuningFile

ROWS = {
    "baseline": ("baseline", "baseline+TTA"),
    "sla": ("SLA+AG", "SLA+SI", "SLA+plain", "SLA+plain+TTA"),
    "baseline-xM": ("baseline-xM", "baseline-xM+TTA"),
    "baseline-NMway": ("baseline-NMway", "baseline-NMway+TTA"),
}


def hits_of(accuracy, episodes=60, ways=5, queries=15, seed=0):
    """Correct queries per way, (T, W), with mean `accuracy`."""
    return np.random.default_rng(seed).binomial(queries, accuracy, (episodes, ways)).astype(np.uint8)


def classes_of(episodes=60, ways=5, classes=8):
    """Distinct classes of each episode, (T, W)."""
    order = np.random.default_rng(0).random((episodes, classes)).argsort(axis=1)
    return order[:, :ways].astype(np.int16)


def write_records(
    out, accuracies, seeds=(0,), shots=5, settings=("episodes=60",), data="made up", state="", **options
):
    """Write a run per method and seed.

    `accuracies`: row name -> mean accuracy; methods are those that have a row in it. `data`: hash of the test
    data; text or a function of the seed.
    """
    store = Store(out, "fewshot")
    run_ids = []
    methods = [m for m, rows in ROWS.items() if set(rows) & set(accuracies)]
    methods += [m for m in accuracies if m not in {r for rows in ROWS.values() for r in rows}]
    for task in tasks_of("fewshot", settings, method=methods, seed=list(seeds), shots=[shots], **options):
        own = data(task.run.seed) if callable(data) else data
        run_id = task.run.digest(data=own)
        run_ids.append(run_id)
        rows = [r for r in ROWS.get(task.run.method, (task.run.method,)) if r in accuracies]
        history = [{"member": 0, "step": 10, "train_loss": 1.0, "train_accuracy": 0.5, "val_accuracy": 0.4}]
        summary = {"train_images": 750, "train_seconds": 1.5, "parameters": 10, "best_step": [10]}
        store.write_run(run_id, task.run, b"weights", history, {"versions": {}}, summary)
        for evaluation in task.evaluations:
            write_evaluation(
                store, run_id, evaluation, {r: accuracies[r] for r in rows}, task.run.seed, own, state
            )
    return store, run_ids


def write_evaluation(
    store: Store, run_id: str, evaluation: EvalConfig, accuracies, seed, data_hash="made up", state=""
):
    """Add one evaluation; its episodes do not depend on anything but their number."""
    samples = {"classes": classes_of(evaluation.episodes, evaluation.ways)}
    metrics = {}
    for row, accuracy in accuracies.items():
        samples[f"hits/{row}"] = hits_of(accuracy, evaluation.episodes, seed=seed)
        samples[f"open_hits/{row}"] = hits_of(accuracy, 40, seed=seed)
        metrics[row] = {
            "accuracy": accuracy,
            "ci95_open": 0.02,
            "jackknife_se": None,
            "support_passes": 1,
            "query_passes": 1,
        }
    eval_id = evaluation.digest(data=data_hash)
    store.write_evaluation(run_id, eval_id, evaluation, metrics, samples, data_hash, state)


def as_tuned(store):
    """The records of a store as if rate and batch of all had been chosen on validation data."""
    return [replace(record, tuned=True) for record in store.records()]


TRIAL = TrialRow(
    group="a" * 12,
    training="glyphs protonet 5-shot",
    share="1",
    factor="1",
    learning_rate=0.002,
    batch_images=300,
    validation_accuracy=0.5,
    run_id="b" * 12,
    chosen=True,
    data_state="0" * 16,
)


def tune_rates(store, rates):
    """Write the tuning file of a store whose records are the trainings; `rates`: method -> chosen rate."""
    rows = {
        group_of(record.config): TRIAL.model_copy(
            update={
                "group": group_of(record.config),
                "learning_rate": rates[record.config.method],
                "batch_images": choice_of(record.config).batch_images,
                "data_state": record.evaluations[0].state,
            }
        )
        for record in store.records()
    }
    TuningFile(store.folder).put(list(rows.values()))
