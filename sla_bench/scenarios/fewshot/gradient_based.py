"""Published recipes of gradient-based learners, as changes of a budget."""

from __future__ import annotations

from typing import Any

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

# Not published: docs/gradient-based.md says how the rate was chosen.
_ANIL_SMALL: dict[str, Any] = {
    "learner_options": {"inner_steps": 5, "inner_rate": 0.05, "first_order": False, "test_inner_steps": 10}
}
_MAML_SMALL: dict[str, Any] = {
    "backbone": "conv4-32",
    "learner_options": {"inner_steps": 3, "inner_rate": 0.05, "first_order": True, "test_inner_steps": 5},
}


def anil(budget: str, dataset: str) -> dict[str, Any]:
    """Return the fields of ANIL that differ from the scenario's budget, its options among them."""
    if budget == "paper":
        return dict(_LEARN2LEARN_ANIL.get(dataset, _FINN))
    return dict(_ANIL_SMALL)


def maml(budget: str, dataset: str) -> dict[str, Any]:
    """Return the fields of MAML that differ from the scenario's budget, its options among them."""
    del dataset
    if budget == "paper":
        return {**_FINN, **_FEWER_EPISODES, "validation_episodes": 200}
    if budget == "quick":
        return {**_MAML_SMALL, **_FEWER_EPISODES, "validation_episodes": 200}
    return {**_MAML_SMALL, "episodes": 100, "validation_episodes": 50}
