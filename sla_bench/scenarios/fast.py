"""Budget `fast`: trained to the end in minutes on a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sla_bench.errors import UserError
from sla_bench.registry import DATASETS

PLAIN: dict[str, Any] = {
    "precision": "fp32",
    "flips": "random",
    "warmup": 0.0,
    "decay_biases": True,
    "averaged": 0.0,
}
"""Fields of a recipe as the other budgets have them."""

_SHARED: dict[str, Any] = {
    **PLAIN,
    "backbone": "airbench",
    "precision": "bf16",
    "optimizer": "sgd",
    "learning_rate": 0.2,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "decay_biases": False,
    "schedule": "linear",
    "milestones": {},
    "warmup": 0.2,
    "batch_size": 128,
}

_IMBALANCED: dict[str, Any] = {
    **_SHARED,
    "ratio": 100.0,
    "max_class_size": None,
    "class_order": "permuted",
    "order_shifts": 0,
    "validations": 20,
    "images_per_class": None,
}
# So many that a training has one to two thousand steps at a ratio of 100.
_EPOCHS = {"cifar100": 20, "cifar10": 20, "fashion_mnist": 20, "glyphs20": 80, "folder": 40}
# The few images of small classes with large weights make the steps of cb-rw noisy.
_BY_LOSS = {"cb-rw": {"learning_rate": 0.05}}

_STANDARD: dict[str, Any] = {
    **_SHARED,
    "selection": "last",
    "val_fraction": 0.1,
    "label_smoothing": 0.0,
    "validations": 10,
    "images_per_class": None,
}
_STEPS = {"cifar100": 7000, "cifar10": 7000, "fashion_mnist": 7000, "glyphs20": 2000, "folder": 2000}

_FEWSHOT: dict[str, Any] = {
    "train_shots": 5,
    "train_queries": 10,
    "val_shots": 5,
    "label_smoothing": 0.0,
    "validation_episodes": 2000,
    "validation_images": 100,
    "episodes": 2000,
    "jackknife_episodes": 10_000,
    "images_per_class": None,
}
_ON_CLASSES: dict[str, Any] = {
    **_SHARED,
    **_FEWSHOT,
    "batch_episodes": 1,
    "selection": "last",
    "steps": 3000,
    "validations": 4,
}
_ON_EPISODES: dict[str, Any] = {
    **PLAIN,
    **_FEWSHOT,
    "backbone": "conv4",
    "precision": "bf16",
    "optimizer": "adam",
    "learning_rate": 2e-3,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "milestones": {},
    "batch_size": None,
    "batch_episodes": 1,
    "selection": "validation",
    "steps": 4000,
    "validations": 5,
}
# Nearest means gain by more ways in training than in the test; M times as many are to be had of 64 classes.
_PROTONET_WAYS = {
    "cifar_fs": 16,
    "mini_imagenet": 16,
    "omniglot": 16,
    "fc100": 15,
    "glyphs": 15,
    "glyphs-rot": 15,
    "glyphs-pairs": 15,
    "glyphs-sym": 15,
}
# A picture of 84 px takes airbench seven times as long as one of 32 px.
_BACKBONES = {"mini_imagenet": "conv4"}


def imbalanced(dataset: str, loss: str | None) -> dict[str, Any]:
    """Return the recipe of long tails; a loss may have a rate of its own.

    Raises:
        UserError: there is none for the data set.
    """
    epochs = _of(_EPOCHS, dataset, "imbalanced")
    return {**_IMBALANCED, "epochs": epochs, **_BY_LOSS.get(loss or "", {})}


def standard(dataset: str) -> dict[str, Any]:
    """Return the recipe of whole data sets.

    Raises:
        UserError: there is none for the data set.
    """
    return {**_STANDARD, "steps": _of(_STEPS, dataset, "standard")}


def fewshot(dataset: str, trains_on: str, learner: str | None) -> dict[str, Any]:
    """Return the recipe of a learner whose backbone is trained on "classes" or "episodes".

    Raises:
        UserError: there is none for the data set.
    """
    ways = _of({**_PROTONET_WAYS, "folder": None}, dataset, "fewshot")
    backbone = _BACKBONES.get(DATASETS.like(dataset))
    of_dataset = {} if backbone is None else {"backbone": backbone}
    if trains_on == "classes":
        return {**_ON_CLASSES, **of_dataset}
    of_learner = {"train_ways": ways} if learner == "protonet" and ways is not None else {}
    return {**_ON_EPISODES, **of_learner}


def _of(table: Mapping[str, Any], dataset: str, scenario: str) -> Any:
    """The entry of a data set, or of the word before its colon."""
    name = DATASETS.like(dataset).partition(":")[0]
    if name not in table:
        raise UserError(
            f"--budget fast has no recipe for {dataset} in the scenario {scenario}, it has some for "
            f"{', '.join(table)}; take --budget quick or paper"
        )
    return table[name]
