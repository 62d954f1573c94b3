"""Classifiers: of recorded runs, of support pictures, of saved files."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sla_bench.config import FewShotRun, RunConfig
from sla_bench.data.depth import Depth
from sla_bench.data.folder_tree import PictureFolder
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError, first_names, unknown, whole_number
from sla_bench.grids.tasks import form_of
from sla_bench.models.weights import put_weights, read_weights
from sla_bench.records.record_files import WEIGHTS, kept_weights, read_training
from sla_bench.registry import BACKBONES, LEARNERS, SCENARIOS, TRANSFORMS
from sla_bench.scenarios.base import ANY_TRANSFORM, build_backbone, load_members, member_states
from sla_bench.scenarios.classify.classifier import ClassifierModel
from sla_bench.scenarios.classify.prediction import Classifier, Images, PictureReader, as_list, name_of
from sla_bench.scenarios.fewshot.frozen import FrozenReader
from sla_bench.scenarios.fewshot.prediction import (
    FORMAT,
    MODES,
    NO_DATA,
    NOTE,
    FewShotClassifier,
    Setup,
    embedded,
)
from sla_bench.scenarios.pretraining import complete
from sla_bench.words import from_home, nearest_path

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


def _support_of(support: str | Path | Mapping[str, Images]) -> dict[str, list[Any]]:
    """Class -> its pictures: the folders in a folder, or as they are given.

    Raises:
        UserError: not a folder, or a class without a picture.
    """
    if isinstance(support, Mapping):
        found = {name: as_list(images) for name, images in support.items()}
    else:
        path = from_home(support)
        if not path.is_dir():
            raise UserError(f"--support: {path} is not a folder of class folders{nearest_path(path)}")
        found = {folder.name: list(folder.walk()) for folder in PictureFolder(path).folders}
    empty = [name for name, images in found.items() if not images]
    if empty:
        raise UserError(f"the support has no picture of {first_names(empty)}")
    return found


def few_shot_classifier(
    support: str | Path | Mapping[str, Images],
    backbone: str | Path = "pretrained:lite0",
    method: str = "si",
    learner: str | None = None,
    weights: str | None = None,
    size: int | None = None,
    transform: str = "rotation",
    device: str | torch.device = "cpu",
) -> FewShotClassifier:
    """Fit a few-shot classifier on a few pictures of each class; nothing is trained, nothing downloaded.

    Args:
        support: a folder with a folder of pictures for each class, or class -> pictures in any form.
        backbone: a network with pretrained weights (`pretrained:NAME`, `timm:NAME`, `torchvision:NAME`), or
            the folder of a recorded few-shot run.
        method: "si", upright pictures; "ag", SLA with joint labels, in all views; "tta", the mean over the
            views; "flip", over the picture and its mirror image.
        learner: the head; None: "finetune", or that of the run.
        weights: as `--weights`; None: "default".
        size: pixels that pictures are scaled to; None: those of the pretraining, or of the run.
        transform: the views of "ag" and "tta".
        device: where to compute.

    Raises:
        UserError: an unknown name, missing weights, fewer than two classes, or a picture that cannot be read.
    """  # noqa: DOC501
    if method not in MODES:
        raise unknown("method", method, MODES)
    TRANSFORMS.check(transform)
    if size is not None:
        whole_number("--support", "size", size, 1)
    if learner is not None:
        LEARNERS.check(learner)
    pictures = _support_of(support)
    if len(pictures) < 2:
        raise UserError(f"the support has {len(pictures)} class; it takes at least two")
    run, state = _network(str(backbone), weights, learner)
    if LEARNERS[run.learner].needs_learn2learn:
        raise UserError(f"learner {run.learner!r} adapts the network; take finetune or protonet")
    if size is None and state is None:
        from sla_bench.models.backbones.libraries import library_size

        size = library_size(run.backbone)
    setup = Setup(run.model_dump(mode="json"), size, method, transform)
    network = build_backbone(run, setup.properties)
    if state is not None:
        put_weights(network, state)
    network = network.to(device).eval()
    reader = PictureReader(setup.properties)
    given = [image for images in pictures.values() for image in images]
    labels = torch.tensor([k for k, images in enumerate(pictures.values()) for _ in images])
    fit_method, row = MODES[method]
    _, views = FrozenReader(fit_method, TRANSFORMS.load(transform)).row_and_views(row)
    features = [embedded(network, views, part, setup.properties, run) for part in reader.pixels(given)]
    names = tuple(name_of(image, place) for place, image in enumerate(given))
    return FewShotClassifier(setup, network, torch.cat(features), labels, tuple(pictures), names)


def _network(
    name: str, weights: str | None, learner: str | None
) -> tuple[FewShotRun, dict[str, Tensor] | None]:
    """The run that describes a network, and the state of the network of a recorded run."""
    if name.partition(":")[0] in BACKBONES.arguments:
        BACKBONES.check(name)
        values: dict[str, Any] = {"dataset": NO_DATA, "backbone": name}
        asked = {"backbone": name, "weights": weights or "default", "train": "none"}
        complete("fewshot", values, asked)
        return FewShotRun(**values, learner=learner or "finetune"), None
    if weights is not None:
        raise UserError(f"--weights has no effect with the run {name}, which has its own")
    folder = from_home(name)
    run, _ = read_record(folder)
    if not isinstance(run, FewShotRun):
        raise UserError(f"run {folder.name} is of the scenario {run.scenario}; take a few-shot run")
    member = member_states(read_weights(kept_weights(folder)))[0]
    own = {n.removeprefix("backbone."): t for n, t in member.items() if n.startswith("backbone.")}
    if learner is not None:
        run = run.model_copy(update={"learner": learner, "learner_options": {}})
    return run, own


def load_few_shot_classifier(path: str | Path, device: str | torch.device = "cpu") -> FewShotClassifier:
    """Load what `FewShotClassifier.save` wrote.

    Args:
        path: the file.
        device: where to compute.

    Raises:
        UserError: missing, damaged or another file, or its pretrained weights are missing or have changed.
    """  # noqa: DOC501
    path = from_home(path)
    try:
        with safe_open(path, "pt") as opened:
            about = json.loads((opened.metadata() or {})[NOTE])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        if about["format"] != FORMAT:
            raise UserError(f"{path} is of format {about['format']!r:.30}, this version reads {FORMAT}")
        setup = Setup(**about["setup"])
        run = setup.config
        support, labels = tensors.pop("support"), tensors.pop("labels")
        names, support_names = tuple(about["class_names"]), tuple(about["support_names"])
        if not len(support) == len(labels) == len(support_names) or int(labels.max()) >= len(names):
            raise ValueError("supports, labels and names do not belong together")
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"{path} is missing, damaged or not a few-shot classifier ({error})") from None
    backbone = build_backbone(run, setup.properties)
    put_weights(backbone, {name.removeprefix("backbone."): tensor for name, tensor in tensors.items()})
    return FewShotClassifier(setup, backbone.to(device).eval(), support, labels, names, support_names)
