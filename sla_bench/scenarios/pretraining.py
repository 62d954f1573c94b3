"""Pretrained networks in any scenario: fields, refusals, notes; without torch."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sla_bench.config import RunConfig
from sla_bench.data.folder_names import PREFIX, parse
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError, first_names, whole_number
from sla_bench.objectives.objective import Objective
from sla_bench.registry import BACKBONES, DATASETS, LEARNERS, METHODS, SCENARIOS

BUDGET = "pretrained"
FROZEN_METHODS = ("baseline", "da", "sla")
"""Methods that differ in the test of a frozen few-shot network."""

_IMAGES_OF_IMAGENET = frozenset(
    {"mini_imagenet", "tiered_imagenet", "tiny_imagenet", "imagenet", "imagenet_lt", "stanford_dogs"}
)
_SOME_IMAGES = {
    "cub200": "22 of its 5,794 test images were found in ImageNet, its makers warn",
    "imagenet_lt": "its classes are those of ImageNet; its test images are not in the usual training images",
}
_OF_WEIGHTS = {
    "train": "--train",
    "pretrained_on": "--set pretrained_on",
    "allow_seen_classes": "--allow-seen-classes",
}
"""Field that has a meaning with pretrained weights alone -> its option."""
SEEN, SOME_SEEN = "test classes seen", "some test images seen"


def is_library(backbone: str) -> bool:
    """The backbone is a network of a library, which pretrained weights exist for."""
    return backbone.partition(":")[0] in BACKBONES.arguments


def _asked_weights(backbone: str, weights: str | None) -> str | None:
    """The weights that are asked for; None: random ones."""
    if weights is None:
        weights = "default" if backbone.startswith("pretrained:") else "none"
    return None if weights == "none" else weights


def with_budget(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that the user gave; with pretrained weights, the budget quick becomes that of these."""
    backbone = given.get("backbone", "")
    pretrained = is_library(backbone) and _asked_weights(backbone, given.get("weights"))
    return {**given, "budget": BUDGET} if pretrained and given["budget"] == "quick" else given


def complete(scenario: str, values: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Fill in weights with their hash, the data of the pretraining, and the trained part.

    Args:
        scenario: its name.
        values: of the budget and of the user.
        given: those of the user.

    Raises:
        UserError: weights that are missing or wrong, or an option that has no effect.
    """
    backbone, train = values["backbone"], given.get("train")
    library = is_library(backbone)
    if (size := values.get("backbone_options", {}).get("input_size")) is not None:
        whole_number(backbone, "input_size", size, 1)
    asked = _asked_weights(backbone, given.get("weights"))
    if asked and not library:
        raise UserError(
            f"--weights {asked} has no effect on backbone {backbone!r}, which has no pretrained weights; "
            "take pretrained:NAME, timm:NAME or torchvision:NAME"
        )
    if not asked:
        if backbone.startswith("pretrained:"):
            raise UserError(f"{backbone} has no use for --weights none; take timm:NAME to train from scratch")
        for name, option in _OF_WEIGHTS.items():
            if given.get(name) not in (None, "all", False):
                raise UserError(f"{option} {given[name]} has no effect without --weights")
        if library:
            from sla_bench.models.backbones.libraries import check_network

            check_network(backbone)
        values |= {"weights": None, "train": "all"}
        return
    from sla_bench.models.backbones.libraries import resolve_weights

    weights, data = resolve_weights(backbone, asked)
    data = given.get("pretrained_on") or data
    digest = weights.rpartition("#")[2]
    if f"({digest[:8]})" not in data:
        seen = _seen(scenario, values["dataset"], data)
        data = ", ".join([f"{data} ({digest[:8]})", *([seen] if seen else [])])
    values |= {
        "weights": weights,
        "pretrained_on": data,
        "train": train or ("none" if SCENARIOS[scenario].by == "classes" else "head"),
    }


def _seen(scenario: str, dataset: str, data: str) -> str | None:
    like = DATASETS.like(dataset)
    if "ImageNet" not in data:
        return None
    if like in _SOME_IMAGES:
        return SOME_SEEN
    return SEEN if like in _IMAGES_OF_IMAGENET and SCENARIOS[scenario].by == "classes" else None


def refusal(run: RunConfig) -> str | None:
    """Say why a pretrained network can't serve a run, in a sentence; None where it can."""
    if run.weights is None:
        return None
    few_shot = SCENARIOS[run.scenario].by == "classes"
    if few_shot and SEEN in run.pretrained_on and not getattr(run, "allow_seen_classes", False):
        return (
            f"weights of {run.backbone} were trained on {run.pretrained_on}: images of {run.dataset} and its "
            "test classes were among them, so its few-shot accuracy says nothing about new classes; "
            "--allow-seen-classes runs it all the same, and every row says so"
        )
    if few_shot and run.train == "head":
        return "--train head: a few-shot head is fitted on each episode and not trained; take --train none"
    if not few_shot and run.train == "none":
        return "--train none: a classifier of fixed classes needs a head; take --train head"
    if run.train not in ("none", "head"):
        return None
    method: Objective = METHODS.load(run.method)
    if few_shot and run.method not in FROZEN_METHODS:
        return (
            f"method {run.method!r} with --train none: nothing is trained, so it is the same network as "
            f"baseline; methods that differ at test are {', '.join(FROZEN_METHODS)}"
        )
    if few_shot and LEARNERS[getattr(run, "learner", "protonet")].needs_learn2learn:
        return f"learner {getattr(run, 'learner', '')!r} adapts the network; take --train all"
    if method.draws is not None or method.pretext is not None:
        return f"method {run.method!r} with --train {run.train}: it trains the network; take --train all"
    if method.multiplies == "copies" or getattr(run, "mix", "none") != "none":
        return "--train head works on features of images and their views; take mix none, and no copies"
    return None


def frozen_twins(run: RunConfig) -> Iterator[dict[str, Any]]:
    """Yield the fields of the frozen run that belongs in the table of a fine-tuned one, if it has one."""
    learner = getattr(run, "learner", None)
    adapts = learner is not None and LEARNERS[learner].needs_learn2learn
    if run.weights is not None and run.train not in ("none", "head") and not adapts:
        frozen = "head" if learner is None else "none"
        yield {"train": frozen, "method": "baseline", "batch_images": None, "mix": "none"}


def notes(run: RunConfig, test_classes: Callable[[], Collection[str]]) -> Iterator[str]:
    """Yield lines about the size of the images and about classes that the pretraining saw.

    Args:
        run: of any network.
        test_classes: names of the classes of the test.
    """
    if run.weights is None:
        return
    from sla_bench.models.backbones.libraries import library_size

    size = int(run.backbone_options.get("input_size") or dataset_named(run.dataset).properties.size)
    trained = library_size(run.backbone)
    if 2 * size <= trained:
        larger = ""
        if run.dataset.startswith(PREFIX):
            folder = replace(parse(run.dataset.removeprefix(PREFIX)), size=trained)
            larger = f"; {PREFIX}{folder} keeps more of each picture"
        yield (
            f"{run.backbone} sees {run.dataset} at {size} px, less than half of the {trained} px of its "
            f"pretraining; size often matters more than the method{larger}"
        )
    if reason := _SOME_IMAGES.get(DATASETS.like(run.dataset)):
        yield f"{run.dataset}: {reason}"
    elif "ImageNet" not in run.pretrained_on:
        yield f"{run.dataset}: whether the pretraining saw its classes is not known ({run.pretrained_on})"
    elif known := seen_classes(names := list(test_classes())):
        yield (
            f"{run.dataset}: {len(known)} of {len(names)} test classes have the name of a class of ImageNet, "
            f"which the pretraining saw: {first_names(known)}"
        )


def seen_classes(names: Collection[str]) -> list[str]:
    """The names that are names of ImageNet's 1,000 classes, case, plural and punctuation aside."""
    known = _imagenet_names()
    return [name for name in names if _forms(name) & known]


@functools.cache
def _imagenet_names() -> frozenset[str]:
    from timm.data import ImageNetInfo

    info = ImageNetInfo("imagenet-1k")
    synonyms = (info.index_to_description(k).split(",") for k in range(info.num_classes()))
    return frozenset(form for words in synonyms for word in words for form in _forms(word))


def _forms(name: str) -> frozenset[str]:
    """The letters of a name, and those of its singular."""
    letters = re.sub(r"[^a-z]", "", name.lower())
    return frozenset({letters, letters.removesuffix("s")} - {""})
