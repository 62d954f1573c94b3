"""Options, budgets and checks of the imbalanced scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sla_bench.config import EvalConfig, ImbalancedEvaluation, ImbalancedRun, RunConfig
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.registry import METHODS
from sla_bench.scenarios import fast
from sla_bench.scenarios.form import LARGE_IMAGES, Form, check_colors, image_unit

_QUICK: dict[str, Any] = {
    **fast.PLAIN,
    "backbone": "resnet8",
    "ratio": 100.0,
    "max_class_size": None,
    "order_shifts": 0,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 2e-4,
    "schedule": "cosine",
    "milestones": {},
    "warmup": 1 / 8,
    "epochs": 40,
    "batch_size": 64,
    "validations": 20,
    "images_per_class": None,
}
_LARGE_CLASSES = ("fashion_mnist", "cifar10")
_GLYPHS = ("glyphs", "glyphs20", "glyphs-rot", "glyphs-pairs", "glyphs-sym")
_EVEN_CLASSES = (*_GLYPHS, "cifar100")
# So that 40 epochs take minutes.
_QUICK_CLASS_SIZES = dict.fromkeys(_LARGE_CLASSES, 1000) | dict.fromkeys(_GLYPHS, 400)

# LDAM-DRW, cifar_train.py: 200 epochs of batches of 128, the rate rises over the first five epochs and falls
# after 160 and 180. It rises in one stair per epoch, not linearly: this warm-up is a part of the milestones.
_PAPER: dict[str, Any] = {
    **_QUICK,
    "backbone": "resnet32-ldam",
    "order_shifts": 5,
    "schedule": "steps",
    "warmup": 0.0,
    "milestones": {
        "0": 0.2,
        "1/200": 0.4,
        "2/200": 0.6,
        "3/200": 0.8,
        "4/200": 1.0,
        "160/200": 0.01,
        "180/200": 0.0001,
    },
    "epochs": 200,
    "batch_size": 128,
    "validations": 200,
}
_LARGE_BACKBONES = {"imagenet_lt": "resnet50", "inaturalist2018": "resnet50"}


def _budgets(name: str, dataset: str, loss: str | None) -> dict[str, Any]:
    if name == "fast":
        return fast.imbalanced(dataset, loss)
    if name == "paper":
        large = dataset_named(dataset).properties.size >= LARGE_IMAGES
        return {**_PAPER, **({"backbone": _LARGE_BACKBONES.get(dataset, "resnet18")} if large else {})}
    if name == "quick":
        return {**_QUICK, "max_class_size": _QUICK_CLASS_SIZES.get(dataset)}
    known = dataset in _LARGE_CLASSES + _EVEN_CLASSES
    smoke = {"epochs": 2, "warmup": 0.0, "order_shifts": 5, "validations": 2, "images_per_class": 30}
    return {**_QUICK, **smoke, "max_class_size": 100 if known else None}


def _complete(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    dataset = dataset_named(values["dataset"])
    values.setdefault("imbalance", "none" if dataset.long_tailed else "exp")
    values.setdefault("class_order", dataset.class_order)
    if "joint" not in METHODS.load(values["method"]).layers:
        values["loss_reduction"] = "mean"
    if values["imbalance"] == "none":
        if "ratio" in given:
            raise UserError(
                f"--ratio {given['ratio']:g} has no effect with --imbalance none; add --imbalance exp or step"
            )
        values |= {"ratio": 1.0, "class_order": "identity"}
    if values["class_order"] == "identity":
        if given.get("order_seed"):
            raise UserError("--order-seed has no effect with --class-order identity")
        values |= {"order_seed": 0, "order_shifts": ImbalancedRun.model_fields["order_shifts"].default}
    whole = values["imbalance"] == "none" and values["max_class_size"] is None
    if whole and given.get("subset_seed"):
        raise UserError("--subset-seed has no effect where all images are used")
    if whole or "subset_seed" not in given:
        values["subset_seed"] = _usual_subset_seed(values["budget"], values["seed"], whole)


def usual_subset_seed(run: ImbalancedRun) -> int:
    """The seed of the subset where the user gives none: 0 in the paper's budget, else the run's."""
    return _usual_subset_seed(run.budget, run.seed, run.imbalance == "none" and run.max_class_size is None)


def _usual_subset_seed(budget: str, seed: int, whole: bool) -> int:
    return 0 if whole or budget == "paper" else seed


def _with_seed(run: RunConfig, seed: int) -> RunConfig:
    assert isinstance(run, ImbalancedRun)
    changed = run.model_copy(update={"seed": seed})
    if run.subset_seed == usual_subset_seed(run):
        changed = changed.model_copy(update={"subset_seed": usual_subset_seed(changed)})
    return changed


def _relative_images(run: RunConfig) -> float:
    assert isinstance(run, ImbalancedRun)
    return float(run.epochs)


def _units(run: RunConfig) -> int:
    assert isinstance(run, ImbalancedRun)
    return run.batch_size


def _departures(run: RunConfig, test: EvalConfig, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Class order and subset other than the data set's and the seed's."""
    del test
    assert isinstance(run, ImbalancedRun)
    found: dict[str, Any] = {}
    usual_order = recipe.get("class_order", dataset_named(run.dataset).class_order)
    if run.imbalance != "none" and run.class_order != usual_order:
        found["class_order"] = run.class_order
    if run.subset_seed != usual_subset_seed(run):
        found["subset_seed"] = run.subset_seed
    if run.class_order == "permuted" and run.order_shifts != recipe["order_shifts"]:
        found["order_shifts"] = run.order_shifts
    return found


FORM = Form(
    run=ImbalancedRun,
    evaluation=ImbalancedEvaluation,
    order=("dataset", "backbone", "transform", "ratio", "loss", "seed", "method"),
    default_methods=("baseline", "sla+sd"),
    budgets=_budgets,
    complete=_complete,
    check=check_colors,
    relative_images=_relative_images,
    unit=image_unit,
    units=_units,
    length="epochs",
    follows=frozenset({"class_order", "subset_seed", "order_shifts"}),
    departures=_departures,
    trial=lambda run: {"selection": "validation"},
    with_seed=_with_seed,
    seed_fields=("seed", "subset_seed"),
    same_cost=("imbalance", "ratio", "max_class_size", "batch_size"),
)
