"""Records of the standard scenario with analyses, whose predictions a test chooses."""

import numpy as np
from spanned import tasks_of

from sla_bench.evaluation.view_metrics import head_metrics
from sla_bench.records.analyses import ViewsOf, write_analysis
from sla_bench.records.store import Store

NAMES = ("six", "nine", "zero")
LABELS = np.repeat(np.arange(3), 20).astype(np.int32)
VIEWS = ViewsOf(("0°", "90°", "180°", "270°"), (0, 1, 2, 3))
TAUGHT = {"baseline": "upright", "da": "invariant", "mt": "invariant", "sla": "joint"}
HEADS = {"baseline": "baseline", "da": "DA", "mt": "MT", "sla": "SLA"}


def noisy(truth, right, classes, rng):
    """Each is the truth with probability `right`, else another class."""
    other = (truth + rng.integers(1, classes, truth.shape)) % classes
    return np.where(rng.random(truth.shape) < right, truth, other).astype(np.int32)


def samples_of(head, seed, labels=LABELS):
    """Predictions on four views: the upright one is read best."""
    rng = np.random.default_rng([seed, sorted(HEADS.values()).index(head)])
    truth = np.repeat(labels[:, None], 4, axis=1)
    classes = noisy(truth, np.array([0.8, 0.5, 0.6, 0.5]), 3, rng)
    found = {"labels": labels, f"classes/{head}": classes, f"aggregated/{head}": noisy(labels, 0.85, 3, rng)}
    views = noisy(np.tile(np.arange(4), (len(labels), 1)), 0.7, 4, rng)
    if head == "SLA":
        found["joint/SLA"] = classes * 4 + views
    if head == "MT":
        found["views/MT"] = views
    return found


def write_analyses(out, methods=tuple(HEADS), seeds=(0,), analysed=True, **options):
    """Write a run with an evaluation per method and seed, and its analysis."""
    store = Store(out, "standard")
    for task in tasks_of("standard", method=list(methods), seed=list(seeds), **options):
        run, (evaluation,) = task.run, task.evaluations
        run_id = run.digest(data="made up")
        head = HEADS[run.method]
        samples = samples_of(head, run.seed)
        history = [
            {"member": 0, "step": s, "train_accuracy": s / 20, "val_accuracy": s / 30} for s in (5, 10)
        ]
        summary = {"train_images": 10, "train_seconds": 1.0, "parameters": 10, "best_step": [10]}
        summary |= {"class_names": list(NAMES), "class_counts": [45] * 3, "groups": [1] * 3}
        store.write_run(run_id, run, None, history, {}, summary)
        rows = {"SLA": ("SLA+AG", "SLA+SI")}.get(head, (f"{head}+TTA", head))
        metrics, recorded = {}, {"labels": LABELS}
        for row, predictions in zip(
            rows, (samples[f"aggregated/{head}"], samples[f"classes/{head}"][:, 0]), strict=True
        ):
            recorded[f"predictions/{row}"] = predictions
            numbers = dict.fromkeys(("macro_f1", "g_mean", "ece", "nll"), 0.5)
            accuracy = float((predictions == LABELS).mean())
            metrics[row] = {"accuracy": accuracy, "group_accuracy": {}, "recalls": [0.5] * 3, **numbers}
            metrics[row] |= {"query_passes": 1, "shown": True}
        eval_id = evaluation.digest(data="made up")
        store.write_evaluation(run_id, eval_id, evaluation, metrics, recorded, "made up")
        if analysed:
            (record,) = [r for r in store.records() if r.run_id == run_id]
            figures = {head: {"taught": TAUGHT[run.method], **head_metrics(samples, head)}}
            write_analysis(record, record.evaluations[0], VIEWS, figures, samples)
    return store
