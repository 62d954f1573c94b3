"""Few-shot recipes: those of the budgets, and what gradient-based learners change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sla_bench.scenarios.form import FAST, PLAIN
from sla_bench.scenarios.form import PRETRAINED as OF_PRETRAINED

SMOKE: dict[str, Any] = {
    **PLAIN,
    "backbone": "conv4-32",
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
    "selection": "validation",
    "steps": 80,
    "batch_size": None,
    "batch_episodes": 1,
    "label_smoothing": 0.0,
    "validations": 2,
    "validation_episodes": 200,
    "validation_images": 30,
    "episodes": 200,
    "jackknife_episodes": 0,
    "images_per_class": 40,
}

QUICK: dict[str, Any] = {
    **SMOKE,
    "backbone": "conv4",
    "steps": 800,
    "validations": 5,
    "validation_episodes": 2000,
    "validation_images": 100,
    "episodes": 2000,
    "jackknife_episodes": 10_000,
    "images_per_class": None,
}

# MetaOptNet, train.py and section 4.1 of arXiv 1904.03758: 60 epochs of 1,000 batches of 8 episodes; the
# factors change at the start of the 20th, 40th and 50th epoch.
PAPER: dict[str, Any] = {
    **QUICK,
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
PAPER_BY_DATASET: dict[str, dict[str, Any]] = {
    "mini_imagenet": {"label_smoothing": 0.1},
    "tiered_imagenet": {"train_shots": 10},
    "cifar_fs": {"train_shots": 5},
    # MetaOptNet does not use it; a class has 20 images.
    "omniglot": {"train_shots": 10},
}

PRETRAINED: dict[str, Any] = {**QUICK, **OF_PRETRAINED, "steps": 100, "jackknife_episodes": 2000}

FAST_ON_CLASSES: dict[str, Any] = {
    **QUICK,
    **FAST,
    "weight_decay": 1.5e-3,
    "selection": "last",
    "steps": 3000,
    "validations": 4,
}
FAST_ON_EPISODES: dict[str, Any] = {**QUICK, "precision": "bf16", "steps": 4000}
# Nearest means gain by more ways in training than in the test; M times as many are to be had of 64 classes.
FAST_WAYS: dict[str, int | None] = {
    "cifar_fs": 16,
    "mini_imagenet": 16,
    "omniglot": 16,
    "fc100": 15,
    "glyphs": 15,
    "glyphs-rot": 15,
    "glyphs-pairs": 15,
    "glyphs-sym": 15,
    "folder": None,
}
# A picture of 84 px takes airbench seven times as long as one of 32 px.
FAST_BY_DATASET = {"mini_imagenet": {"backbone": "conv4"}}

_CONSTANT_RATE: dict[str, Any] = {
    "optimizer": "adam",
    "weight_decay": 0.0,
    "schedule": "steps",
    "milestones": {},
}

# Each test episode is a small training: Finn et al. test on 600.
_FEWER_EPISODES: dict[str, Any] = {"episodes": 600, "jackknife_episodes": 0}

# github.com/cbfinn/maml, main.py: its commands for miniImageNet, for 1 and 5 shots; 15 queries in training,
# 10 steps at test.
_FINN: dict[str, Any] = {
    **_CONSTANT_RATE,
    "backbone": "conv4-32",
    "learning_rate": 1e-3,
    "steps": 60_000,
    "batch_episodes": 4,
    "train_queries": 15,
    "label_smoothing": 0.0,
    "learner_options": {
        "inner_steps": 5,
        "inner_rate": 0.01,
        "first_order": False,
        "test_inner_steps": 10,
    },
}

_LEARN2LEARN_INNER = {"inner_steps": 5, "inner_rate": 0.1, "first_order": False, "test_inner_steps": 5}

# github.com/learnables/learn2learn, examples/vision: anil_fc100.py, and anilkfo_cifarfs.py without its
# learned update; of their 2 * shots images per class, half are queries.
_LEARN2LEARN_ANIL: dict[str, dict[str, Any]] = {
    "fc100": {
        **_CONSTANT_RATE,
        "backbone": "conv4",
        "learning_rate": 1e-3,
        "steps": 1000,
        "batch_episodes": 32,
        "train_queries": 5,
        "validations": 10,
        "label_smoothing": 0.0,
        "learner_options": _LEARN2LEARN_INNER,
    },
    "cifar_fs": {
        **_CONSTANT_RATE,
        "backbone": "conv4-32",
        "learning_rate": 3e-3,
        "steps": 10_000,
        "batch_episodes": 16,
        "train_queries": 5,
        "validations": 20,
        "label_smoothing": 0.0,
        "learner_options": _LEARN2LEARN_INNER,
    },
}

# Not published: docs/models.md says how the rate was chosen.
_ANIL_SMALL: dict[str, Any] = {
    "learner_options": {"inner_steps": 5, "inner_rate": 0.05, "first_order": False, "test_inner_steps": 10}
}
_MAML_SMALL: dict[str, Any] = {
    "backbone": "conv4-32",
    "learner_options": {"inner_steps": 3, "inner_rate": 0.05, "first_order": True, "test_inner_steps": 5},
}


def _anil(budget: str, dataset: str) -> dict[str, Any]:
    """Return the fields of ANIL that differ from the scenario's budget, its options among them."""
    if budget == "paper":
        return dict(_LEARN2LEARN_ANIL.get(dataset, _FINN))
    return dict(_ANIL_SMALL)


def _maml(budget: str, dataset: str) -> dict[str, Any]:
    """Return the fields of MAML that differ from the scenario's budget, its options among them."""
    del dataset
    if budget == "paper":
        return {**_FINN, **_FEWER_EPISODES, "validation_episodes": 200}
    if budget == "quick":
        return {**_MAML_SMALL, **_FEWER_EPISODES, "validation_episodes": 200}
    return {**_MAML_SMALL, "episodes": 100, "validation_episodes": 50}


BY_LEARNER: Mapping[str, Callable[[str, str], dict[str, Any]]] = {"anil": _anil, "maml": _maml}
"""Learner -> what it changes, a function `(budget, data set) -> field -> value`."""
