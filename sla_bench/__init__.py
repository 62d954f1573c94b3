"""How much does self-supervised label augmentation (SLA) gain over a baseline?"""

# The public names load on first use; importing the package imports no torch.

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from sla_bench.errors import UserError

if TYPE_CHECKING:
    from sla_bench.adapters.learn2learn_tasks import TasksetEpisodes, to_metadataset, to_taskset
    from sla_bench.adapters.pieces import get_learner, get_loss, get_transform
    from sla_bench.adapters.torch_datasets import from_torch_dataset
    from sla_bench.data.named import load_dataset
    from sla_bench.evaluation.statistics import paired_relative_gain
    from sla_bench.objectives.scores import aggregate, joint_labels
    from sla_bench.objectives.sla import SLA
    from sla_bench.records.classifiers import few_shot_classifier, load_classifier, load_few_shot_classifier
    from sla_bench.training.episodes import EpisodeSampler
    from sla_bench.training.long_tail import long_tailed_counts, long_tailed_indices

__version__ = "0.1.0"

_HOMES = {
    "TasksetEpisodes": "sla_bench.adapters.learn2learn_tasks",
    "to_metadataset": "sla_bench.adapters.learn2learn_tasks",
    "to_taskset": "sla_bench.adapters.learn2learn_tasks",
    "from_torch_dataset": "sla_bench.adapters.torch_datasets",
    "load_dataset": "sla_bench.data.named",
    "EpisodeSampler": "sla_bench.training.episodes",
    "SLA": "sla_bench.objectives.sla",
    "aggregate": "sla_bench.objectives.scores",
    "joint_labels": "sla_bench.objectives.scores",
    "load_classifier": "sla_bench.records.classifiers",
    "few_shot_classifier": "sla_bench.records.classifiers",
    "load_few_shot_classifier": "sla_bench.records.classifiers",
    "long_tailed_counts": "sla_bench.training.long_tail",
    "long_tailed_indices": "sla_bench.training.long_tail",
    "get_learner": "sla_bench.adapters.pieces",
    "get_loss": "sla_bench.adapters.pieces",
    "get_transform": "sla_bench.adapters.pieces",
    "paired_relative_gain": "sla_bench.evaluation.statistics",
}

__all__ = [
    "SLA",
    "EpisodeSampler",
    "TasksetEpisodes",
    "UserError",
    "aggregate",
    "few_shot_classifier",
    "from_torch_dataset",
    "get_learner",
    "get_loss",
    "get_transform",
    "joint_labels",
    "load_classifier",
    "load_dataset",
    "load_few_shot_classifier",
    "long_tailed_counts",
    "long_tailed_indices",
    "paired_relative_gain",
    "to_metadataset",
    "to_taskset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
