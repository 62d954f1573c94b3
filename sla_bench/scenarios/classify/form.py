"""Options, budgets and checks of scenarios with fixed classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from sla_bench.config import (
    ClassifierEvaluation,
    ClassifierRun,
    ImbalancedEvaluation,
    ImbalancedRun,
    StandardEvaluation,
    StandardRun,
)
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.registry import METHODS, TRANSFORMS
from sla_bench.scenarios.form import FAST, PLAIN, PRETRAINED, ScenarioForm, fast_value

_QUICK: dict[str, Any] = {
    **PLAIN,
    "backbone": "resnet8",
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "nesterov": False,
    "schedule": "cosine",
    "milestones": {},
    "batch_size": 64,
    "images_per_class": None,
}
_LARGE_IMAGES = 64
"""From so many pixels on, the paper's backbone is a ResNet of ImageNet."""
_LARGE_BACKBONES = {"imagenet_lt": "resnet50", "inaturalist2018": "resnet50"}

RunT = TypeVar("RunT", bound=ClassifierRun)
EvalT = TypeVar("EvalT", bound=ClassifierEvaluation)


class ClassifierForm(ScenarioForm[RunT, EvalT]):
    """What the scenarios share."""

    def complete(self, values: dict[str, Any], given: Mapping[str, Any]) -> None:
        """A loss without joint labels has no reduction over the views."""
        del given
        if "joint" not in METHODS.load(values["method"]).layers:
            values["loss_reduction"] = "mean"

    def units(self, run: RunT) -> int:
        """Images."""
        return run.batch_size


def _large_backbone(dataset: str, backbones: Mapping[str, str]) -> dict[str, Any]:
    """The paper's backbone of large images."""
    large = dataset_named(dataset).properties.size >= _LARGE_IMAGES
    return {"backbone": backbones.get(dataset, "resnet18")} if large else {}


_IMBALANCED: dict[str, Any] = {
    **_QUICK,
    "ratio": 100.0,
    "max_class_size": None,
    "order_shifts": 0,
    "weight_decay": 2e-4,
    "warmup": 1 / 8,
    "epochs": 40,
    "validations": 20,
}
_PRETRAINED = {name: value for name, value in PRETRAINED.items() if name != "selection"}
_LARGE_CLASSES = ("fashion_mnist", "cifar10")
_GLYPHS = ("glyphs", "glyphs20", "glyphs-rot", "glyphs-pairs", "glyphs-sym")
_EVEN_CLASSES = (*_GLYPHS, "cifar100")
# So that 40 epochs take minutes.
_QUICK_CLASS_SIZES = dict.fromkeys(_LARGE_CLASSES, 1000) | dict.fromkeys(_GLYPHS, 400)

# LDAM-DRW, cifar_train.py: 200 epochs of batches of 128, the rate rises over the first five epochs and falls
# after 160 and 180. It rises in one stair per epoch, not linearly: this warm-up is a part of the milestones.
_IMBALANCED_PAPER: dict[str, Any] = {
    **_IMBALANCED,
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
# Chosen for the baseline on held-out images of CIFAR-100-LT: benchmarks/recipe-imbalanced.yaml.
_FAST_LONG_TAIL = {**FAST, "weight_decay": 1.5e-3}
_FAST_EPOCHS = {"cifar100": 40, "cifar10": 40, "fashion_mnist": 40, "glyphs20": 80, "folder": 40}
# The few images of small classes with large weights make the steps of cb-rw noisy.
_FAST_BY_LOSS = {"cb-rw": {"learning_rate": 0.025}}


class ImbalancedForm(ClassifierForm[ImbalancedRun, ImbalancedEvaluation]):
    """Long tails: the subset and the order of the classes follow from data set, budget and seed."""

    run = ImbalancedRun
    evaluation = ImbalancedEvaluation
    order = (
        *("dataset", "backbone", "weights", "train", "transform", "ratio", "loss", "mix", "stage_two"),
        *("seed", "method"),
    )
    default_methods = ("baseline", "sla+sd")
    length = "epochs"
    follows = frozenset({"class_order", "subset_seed", "order_shifts"})
    same_cost = ("imbalance", "ratio", "max_class_size", "batch_size", "mix")
    seed_fields = ("seed", "subset_seed")

    def budgets(self, name: str, dataset: str, piece: str | None) -> dict[str, Any]:
        """In `fast` a loss may have a rate of its own."""
        if name == "fast":
            epochs = fast_value(_FAST_EPOCHS, dataset, self.scenario)
            own = {"class_order": "permuted", "epochs": epochs, **_FAST_BY_LOSS.get(piece or "", {})}
            return {**_IMBALANCED, **_FAST_LONG_TAIL, **own}
        if name == "paper":
            return {**_IMBALANCED_PAPER, **_large_backbone(dataset, _LARGE_BACKBONES)}
        if name == "quick":
            return {**_IMBALANCED, "max_class_size": _QUICK_CLASS_SIZES.get(dataset)}
        if name == "pretrained":
            return {**_IMBALANCED, **_PRETRAINED, "warmup": 0.0, "epochs": 20}
        known = dataset in _LARGE_CLASSES + _EVEN_CLASSES
        smoke = {"epochs": 2, "warmup": 0.0, "order_shifts": 5, "validations": 2, "images_per_class": 30}
        return {**_IMBALANCED, **smoke, "max_class_size": 100 if known else None}

    def complete(self, values: dict[str, Any], given: Mapping[str, Any]) -> None:
        """Shape, order and subset; without a long tail of ours they have no effect."""
        super().complete(values, given)
        dataset = dataset_named(values["dataset"])
        values.setdefault("imbalance", "none" if dataset.long_tailed else "exp")
        values.setdefault("class_order", dataset.class_order)
        if values["imbalance"] == "none":
            if "ratio" in given:
                raise UserError(
                    f"--ratio {given['ratio']:g} has no effect with --imbalance none; "
                    "add --imbalance exp or step"
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

    def test_refusal(self, run: ImbalancedRun, evaluation: ImbalancedEvaluation) -> str | None:
        """A stage-two head needs one backbone, and held-out training images."""
        if evaluation.stage_two is None:
            return None
        option = f"--stage-two {evaluation.stage_two}"
        if METHODS.load(run.method).multiplies == "members":
            return f"{option}: method {run.method!r} averages several networks, a stage-two head needs one"
        if run.selection == "best-test":
            return (
                f"{option}: --selection best-test makes the test images its validation images; leave it out"
            )
        even = run.imbalance == "none" or run.ratio == 1
        if run.selection != "validation" and even and run.max_class_size is None:
            return (
                f"{option}: the backbone saw all training images, none is left to choose hyper-parameters; "
                "add --selection validation"
            )
        return None

    def relative_images(self, run: ImbalancedRun) -> float:
        """Its epochs."""
        return float(run.epochs)

    def departures(
        self, run: ImbalancedRun, test: ImbalancedEvaluation, recipe: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Class order and subset other than the data set's and the seed's."""
        del test
        found: dict[str, Any] = {}
        usual_order = recipe.get("class_order", dataset_named(run.dataset).class_order)
        if run.imbalance != "none" and run.class_order != usual_order:
            found["class_order"] = run.class_order
        if run.subset_seed != _subset_seed(run):
            found["subset_seed"] = run.subset_seed
        if run.class_order == "permuted" and run.order_shifts != recipe["order_shifts"]:
            found["order_shifts"] = run.order_shifts
        return found

    def trial(self, run: ImbalancedRun) -> dict[str, Any]:
        """Validated on training images that are held out."""
        del run
        return {"selection": "validation"}

    def with_seed(self, run: ImbalancedRun, seed: int) -> ImbalancedRun:
        """With the subset of the seed, unless the user chose one."""
        changed = super().with_seed(run, seed)
        if run.subset_seed == _subset_seed(run):
            changed = changed.model_copy(update={"subset_seed": _subset_seed(changed)})
        return changed


def _subset_seed(run: ImbalancedRun) -> int:
    """The seed of the subset where the user gives none: 0 in the paper's budget, else the run's."""
    return _usual_subset_seed(run.budget, run.seed, run.imbalance == "none" and run.max_class_size is None)


def _usual_subset_seed(budget: str, seed: int, whole: bool) -> int:
    return 0 if whole or budget == "paper" else seed


_STANDARD: dict[str, Any] = {
    **_QUICK,
    "selection": "last",
    "val_fraction": 0.1,
    "weight_decay": 1e-4,
    "label_smoothing": 0.0,
    "steps": 1200,
    "validations": 10,
}
_STANDARD_SMOKE: dict[str, Any] = {
    **_STANDARD,
    "steps": 20,
    "batch_size": 32,
    "validations": 2,
    "images_per_class": 30,
}

# SLA's published code, train.py and datasets.py: 80,000 steps of 128 images, the rate divided by 10 at 1/2
# and 3/4, a validation each 1,000 steps on a tenth of the training images.
_STANDARD_PAPER: dict[str, Any] = {
    **_STANDARD,
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
_FAST_STEPS = {"cifar100": 7000, "cifar10": 7000, "fashion_mnist": 7000, "glyphs20": 2000, "folder": 2000}


class StandardForm(ClassifierForm[StandardRun, StandardEvaluation]):
    """Whole data sets: the images that are held out follow from a share or a file."""

    run = StandardRun
    evaluation = StandardEvaluation
    order = ("dataset", "backbone", "weights", "train", "transform", "mix", "ensemble", "seed", "method")
    default_methods = ("baseline", "sla")
    length = "steps"
    follows = frozenset({"val_indices", "val_fraction"})
    same_cost = ("mix",)

    def budgets(self, name: str, dataset: str, piece: str | None) -> dict[str, Any]:
        """The same for every loss."""
        del piece
        if name == "fast":
            return {**_STANDARD, **FAST, "steps": fast_value(_FAST_STEPS, dataset, self.scenario)}
        if name == "paper":
            return {**_STANDARD_PAPER, **_large_backbone(dataset, {}), **_PAPER_BY_DATASET.get(dataset, {})}
        pretrained = {**_STANDARD, **PRETRAINED, "steps": 200}
        return dict({"smoke": _STANDARD_SMOKE, "quick": _STANDARD, "pretrained": pretrained}[name])

    def complete(self, values: dict[str, Any], given: Mapping[str, Any]) -> None:
        """An ensemble of as many baselines as views is a control; images held out."""
        super().complete(values, given)
        views = TRANSFORMS.load(values["transform"]).num_views
        if values["method"] == "baseline" and 1 < values.get("ensemble", 1) == views:
            values |= {"method": "ens-M", "ensemble": 1}
        _complete_validation(values, given)

    def relative_images(self, run: StandardRun) -> float:
        """Those of all members."""
        return float(run.steps * run.batch_size * run.ensemble)

    def departures(
        self, run: StandardRun, test: StandardEvaluation, recipe: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Images that are held out."""
        del test
        if run.val_indices is not None:
            return {"val_indices": run.val_indices_hash}
        return {"val_fraction": run.val_fraction or 0} if run.val_fraction != recipe["val_fraction"] else {}

    def trial(self, run: StandardRun) -> dict[str, Any]:
        """Validated on the images that the run holds out."""
        if run.val_indices is None and not run.val_fraction:
            raise UserError("--val-fraction 0 leaves no images to validate on")
        return {}


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


IMBALANCED = ImbalancedForm()
STANDARD = StandardForm()
