"""Options, budgets and checks of the standard scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sla_bench.config import EvalConfig, RunConfig, StandardEvaluation, StandardRun
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.registry import METHODS, TRANSFORMS
from sla_bench.scenarios import fast
from sla_bench.scenarios.form import LARGE_IMAGES, Form, check_colors, image_unit

_QUICK: dict[str, Any] = {
    **fast.PLAIN,
    "backbone": "resnet8",
    "selection": "last",
    "val_fraction": 0.1,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "milestones": {},
    "label_smoothing": 0.0,
    "steps": 1200,
    "batch_size": 64,
    "validations": 10,
    "images_per_class": None,
}
_SMOKE: dict[str, Any] = {**_QUICK, "steps": 20, "batch_size": 32, "validations": 2, "images_per_class": 30}

# SLA's published code, train.py and datasets.py: 80,000 steps of 128 images, the rate divided by 10 at 1/2
# and 3/4, a validation each 1,000 steps on a tenth of the training images.
_PAPER: dict[str, Any] = {
    **_QUICK,
    "backbone": "resnet32-sla",
    "selection": "validation",
    "schedule": "steps",
    "milestones": {"1/2": 0.1, "3/4": 0.01},
    "steps": 80_000,
    "batch_size": 128,
    "validations": 80,
}
_IMAGENET: dict[str, Any] = {
    "milestones": {"1/3": 0.1, "2/3": 0.01},
    "steps": 900_000,
    "validations": 900,
}
_PAPER_BY_DATASET = {"imagenet": _IMAGENET, "imagenet_lt": _IMAGENET, "inaturalist2018": _IMAGENET}


def _budgets(name: str, dataset: str, loss: str | None) -> dict[str, Any]:
    del loss
    if name == "fast":
        return fast.standard(dataset)
    if name == "paper":
        large = dataset_named(dataset).properties.size >= LARGE_IMAGES
        backbone = {"backbone": "resnet18"} if large else {}
        return {**_PAPER, **backbone, **_PAPER_BY_DATASET.get(dataset, {})}
    return dict({"smoke": _SMOKE, "quick": _QUICK}[name])


def _complete(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    if "joint" not in METHODS.load(values["method"]).layers:
        values["loss_reduction"] = "mean"
    views = TRANSFORMS[values["transform"]].num_views
    if values["method"] == "baseline" and 1 < values.get("ensemble", 1) == views:
        values |= {"method": "ens-M", "ensemble": 1}
    _complete_validation(values, given)


def _complete_validation(values: dict[str, Any], given: Mapping[str, Any]) -> None:
    if values.get("val_indices") is not None:
        from sla_bench.data.splits import with_hash

        for name in ("val_fraction", "val_seed"):
            if given.get(name):
                option = name.replace("_", "-")
                raise UserError(f"--{option} has no effect with --val-indices, which names the images")
        values |= {"val_indices": with_hash(values["val_indices"]), "val_fraction": 0.0, "val_seed": 0}
        return
    if values["val_fraction"] == 0:
        if given.get("val_seed"):
            raise UserError("--val-seed has no effect with --val-fraction 0")
        values["val_seed"] = 0
        if values["selection"] == "validation":
            raise UserError(
                "--selection validation needs images to validate on: --val-fraction above 0, or --val-indices"
            )


def _relative_images(run: RunConfig) -> float:
    assert isinstance(run, StandardRun)
    return float(run.steps * run.batch_size * run.ensemble)


def _trial(run: RunConfig) -> dict[str, Any]:
    assert isinstance(run, StandardRun)
    if run.val_indices is None and not run.val_fraction:
        raise UserError("--val-fraction 0 leaves no images to validate on")
    return {}


def _units(run: RunConfig) -> int:
    assert isinstance(run, StandardRun)
    return run.batch_size


def _departures(run: RunConfig, test: EvalConfig, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Images that are held out."""
    del test
    assert isinstance(run, StandardRun)
    if run.val_indices is not None:
        return {"val_indices": run.val_indices_hash}
    return {"val_fraction": run.val_fraction or 0} if run.val_fraction != recipe["val_fraction"] else {}


FORM = Form(
    run=StandardRun,
    evaluation=StandardEvaluation,
    order=("dataset", "backbone", "transform", "mix", "ensemble", "seed", "method"),
    default_methods=("baseline", "sla"),
    budgets=_budgets,
    complete=_complete,
    check=check_colors,
    relative_images=_relative_images,
    unit=image_unit,
    units=_units,
    length="steps",
    follows=frozenset({"val_indices", "val_fraction"}),
    departures=_departures,
    same_cost=("mix",),
    trial=_trial,
)
