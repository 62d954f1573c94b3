"""Recipes by name: what `--budget` fills in where the user says nothing."""

from __future__ import annotations

from typing import Any

from sla_bench.errors import unknown

_FEW_SHOT_SMOKE: dict[str, Any] = {
    "backbone": "conv4-32",
    "train_ways": 5,
    "train_shots": 5,
    "train_queries": 10,
    "val_shots": 5,
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "milestones": {},
    "steps": 80,
    "batch_episodes": 1,
    "label_smoothing": 0.0,
    "validations": 2,
    "validation_episodes": 200,
    "validation_images": 30,
    "episodes": 200,
    "jackknife_episodes": 0,
    "images_per_class": 40,
}

_FEW_SHOT_QUICK: dict[str, Any] = {
    **_FEW_SHOT_SMOKE,
    "backbone": "conv4",
    "steps": 1000,
    "validations": 5,
    "validation_episodes": 2000,
    "validation_images": 100,
    "episodes": 2000,
    "jackknife_episodes": 10_000,
    "images_per_class": None,
}

# MetaOptNet, train.py and section 4.1 of arXiv 1904.03758: 60 epochs of 1,000 batches of 8 episodes; the
# factors change at the start of the 20th, 40th and 50th epoch.
_FEW_SHOT_PAPER: dict[str, Any] = {
    **_FEW_SHOT_QUICK,
    "backbone": "resnet12",
    "train_shots": 15,
    "train_queries": 6,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "schedule": "steps",
    "milestones": {"19/60": 0.06, "39/60": 0.012, "49/60": 0.0024},
    "steps": 60_000,
    "batch_episodes": 8,
    "validations": 60,
    "validation_images": None,
}
_FEW_SHOT_PAPER_BY_DATASET: dict[str, dict[str, Any]] = {
    "mini_imagenet": {"label_smoothing": 0.1},
    "tiered_imagenet": {"train_shots": 10},
    "cifar_fs": {"train_shots": 5},
}

BUDGETS = ("smoke", "quick", "paper")


def budget(name: str, dataset: str) -> dict[str, Any]:
    """Return the few-shot recipe `name` for a data set: field of RunConfig or EvalConfig -> value.

    Raises:
        UserError: no such budget.
    """
    if name not in BUDGETS:
        raise unknown("budget", name, BUDGETS)
    if name == "smoke":
        return dict(_FEW_SHOT_SMOKE)
    if name == "quick":
        return dict(_FEW_SHOT_QUICK)
    return {**_FEW_SHOT_PAPER, **_FEW_SHOT_PAPER_BY_DATASET.get(dataset, {})}
