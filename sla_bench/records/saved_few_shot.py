"""Few-shot classifiers from support pictures, recorded runs and saved files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from sla_bench.config import FewShotRun
from sla_bench.data.folder_tree import PictureFolder
from sla_bench.errors import UserError, first_names, unknown, whole_number
from sla_bench.models.weights import put_weights, read_weights
from sla_bench.paths import from_home, nearest_path
from sla_bench.records.record_files import kept_weights
from sla_bench.records.saved_classifier import read_record
from sla_bench.registry import BACKBONES, LEARNERS, TRANSFORMS
from sla_bench.scenarios.base import build_backbone, member_states
from sla_bench.scenarios.classify.prediction import Images, PictureReader, as_list, name_of
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
