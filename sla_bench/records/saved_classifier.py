"""Recorded runs as classifiers."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sla_bench.config import RunConfig
from sla_bench.data.depth import Depth
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.grids.tasks import form_of
from sla_bench.models.weights import read_weights
from sla_bench.paths import from_home
from sla_bench.records.record_files import WEIGHTS, kept_weights, read_training
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.base import ANY_TRANSFORM
from sla_bench.scenarios.classify.classifier import ClassifierModel, load_members
from sla_bench.scenarios.classify.prediction import Classifier

MOST_CLASSES = 50_000
"""The head grows with them, whatever the file of weights holds; iNaturalist 2018 has 8,142."""


class SavedModels(NamedTuple):
    """What a recorded training left: how it was trained, its class names (N,), its models in eval mode.

    `depth` is the range of training images of more than 8 bits; None: there were none.
    """

    config: RunConfig
    class_names: tuple[str, ...]
    models: list[ClassifierModel]
    depth: Depth | None = None


def load_classifier(path: str | Path, device: str | torch.device = "cpu") -> Classifier:
    """Load the classifier of a recorded run.

    Size, normalisation and kind of the images are those of the data set that the run names; its files are not
    needed. A training without views gets those of "rotation" for the mode "tta".

    Args:
        path: `results/<scenario>/runs/<run_id>` of a scenario with a fixed set of classes, or the
            `model.safetensors` in it.
        device: where to compute.

    Raises:
        UserError: the folder of no finished run, or of one without weights, of a scenario without a
            classifier, of another protocol, or with files that are damaged.
    """
    saved = load_models(path, device)
    properties = dataset_named(saved.config.dataset).properties
    return Classifier(saved.models, saved.class_names, properties, saved.config.precision, saved.depth)


def load_models(
    path: str | Path, device: str | torch.device = "cpu", transform: str | None = None
) -> SavedModels:
    """Load the models of a recorded run; the data set's files are not needed.

    Args:
        path: as `load_classifier`.
        device: where to compute.
        transform: the views of a training without views; None: those of "rotation".

    Raises:
        UserError: as `load_classifier`.
    """  # noqa: DOC501
    folder = from_home(path)
    folder = folder.parent if folder.name == WEIGHTS else folder
    config, summary = read_record(folder)
    build_model = _builder(config, folder)
    weights = kept_weights(folder)
    dataset, state = dataset_named(config.dataset), read_weights(weights)
    try:
        names, counts = tuple(summary["class_names"]), np.asarray(summary["class_counts"], np.int64)
        if not 0 < len(names) == len(counts) <= MOST_CLASSES:
            raise ValueError(
                f"{len(names):,} names and {len(counts):,} counts of at most {MOST_CLASSES:,} classes"
            )
        views = config.transform or transform or ANY_TRANSFORM
        build = functools.partial(build_model, config, dataset, counts, views, config.seed)
        depth = Depth(*summary["pixel_range"]) if summary.get("pixel_range") else None
        return SavedModels(config, names, load_members(state, build, device), depth)
    except UserError as error:
        raise UserError(f"{weights}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, IndexError, RuntimeError, OverflowError) as error:
        raise _damaged(folder, error) from None


def _builder(config: RunConfig, folder: Path) -> Any:
    if not SCENARIOS[config.scenario].fixed_classes:
        able = ", ".join(name for name, entry in SCENARIOS.items() if entry.fixed_classes)
        raise UserError(
            f"run {folder.name} is of the scenario {config.scenario}, whose classes are new in each test "
            f"episode, so there is none to predict; take a run of {able}, or name pictures of your classes: "
            "predict --support FOLDER"
        )
    return SCENARIOS.load(config.scenario).build_model


def read_record(folder: Path) -> tuple[RunConfig, dict[str, Any]]:
    """The training and what it left in done.json.

    Raises:
        UserError: the folder of no finished run, a damaged one, or one of another protocol.
    """  # noqa: DOC501
    if not (folder / "config.json").is_file() or not (folder / "done.json").is_file():
        raise UserError(
            f"{folder} is not the folder of a finished run, results/<scenario>/runs/<run_id>; "
            "`runs` lists them"
        )
    try:
        content = read_training(folder)
        summary, kind = content["done"], form_of(content["config"]["scenario"]).run
        # Another protocol may have other fields: that is no damage.
        if summary["protocol"] == kind.protocol:
            return kind.model_validate(content["config"]), summary
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(folder, error) from None
    raise UserError(
        f"run {folder.name} was made under protocol {summary['protocol']}, this version follows "
        f"{kind.protocol}; train it again"
    )


def _damaged(folder: Path, error: Exception) -> UserError:
    first_line = str(error).strip().partition("\n")[0]
    return UserError(f"the record {folder} is damaged ({type(error).__name__}: {first_line})")
