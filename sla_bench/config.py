"""The fields of a training and of an evaluation."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import math
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from sla_bench.fields import (
    Added,
    Adds,
    Axis,
    Column,
    FromBudget,
    FromDataset,
    FromOthers,
    OfMethod,
    Part,
    SetOnly,
    fields_with,
)

PROTOCOL_VERSION = 2
"""Part of every run_id. Bump when an unchanged config would give different numbers."""
FEWSHOT_PROTOCOL = 3
"""3: one checkpoint for all rows of SLA, chosen with single inference; protocol 2 chose with SLA+AG."""


Precision = Literal["fp32", "bf16"]
TRAINED_WORDS = {"none": "frozen", "head": "frozen, head trained", "last-stage": "last stage trained"}
"""Trained part of a network -> its words in a setting."""
Acceleration = Literal["eager", "compiled", "captured"]
"""How a backbone is run in training; it is part of a record's environment, not of a run's id."""
OptionValue = bool | int | float | str
_MIX = "augmentation on top of crop and flip"


class Settings(BaseModel):
    """Immutable settings with a short hash."""

    # Validators are built when first used: help and listings need the fields only.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)
    protocol: ClassVar[int] = PROTOCOL_VERSION

    def identity(self) -> dict[str, Any]:
        """The fields that tell these settings from others."""
        fields = type(self).model_fields
        unchanged = {n for n in fields_with(type(self), Added) if getattr(self, n) == fields[n].default}
        return self.model_dump(mode="json", exclude=unchanged)

    def digest(self, **facts: Any) -> str:
        """Return 12 hex digits of the SHA-256 of these settings, other `facts` and the protocol version.

        A run's id is this hash of the training's fields and of its data, an evaluation's that of the test's.
        A record of an older protocol gives its protocol as a fact.
        """
        content = {**self.identity(), "protocol": self.protocol, **facts}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _starts_as_text(value: object) -> object:
    return {str(start): factor for start, factor in value.items()} if isinstance(value, dict) else value


def _within_the_training(value: dict[str, float]) -> dict[str, float]:
    for start, factor in value.items():
        within = False
        with contextlib.suppress(ValueError, ZeroDivisionError):
            within = 0 <= Fraction(start) < 1
        if not within or not 0 <= factor < math.inf:
            raise ValueError(
                "a milestone is a fraction of the training from 0 to below 1, such as 1/2, and a factor of "
                f"the learning rate of at least 0, not {start}: {factor:g}"
            )
    return value


Milestones = Annotated[
    dict[str, float], BeforeValidator(_starts_as_text), AfterValidator(_within_the_training)
]
"""Start as a fraction of the training ("19/60") -> factor of the learning rate from there on."""


class Recipe(Settings):
    """Optimiser and schedule of a training, in any scenario."""

    optimizer: Annotated[Literal["adam", "sgd"], FromBudget(), SetOnly()] = "adam"
    learning_rate: Annotated[float, FromBudget(), SetOnly()] = Field(2e-3, gt=0)
    momentum: Annotated[float, FromBudget(), SetOnly()] = Field(0.9, ge=0, lt=1)
    nesterov: Annotated[bool, FromBudget(), SetOnly()] = True
    weight_decay: Annotated[float, FromBudget(), SetOnly()] = Field(0.0, ge=0)
    decay_biases: Annotated[bool, FromBudget(), SetOnly(), Added()] = True
    schedule: Annotated[Literal["cosine", "linear", "steps"], FromBudget(), SetOnly()] = "cosine"
    milestones: Annotated[Milestones, FromBudget(), SetOnly()] = Field(default_factory=dict)
    warmup: Annotated[float, FromBudget(), SetOnly(), Added()] = Field(0.0, ge=0, lt=1)
    averaged: Annotated[float, FromBudget(), SetOnly(), Added()] = Field(0.0, ge=0, le=1)
    validations: Annotated[int, FromBudget(), SetOnly()] = Field(1, ge=1)


class RunConfig(Recipe):
    """One training: all fields that can change the trained weights. Each scenario adds fields."""

    scenario: str
    dataset: Annotated[str, Axis()] = Field(description="data set; `datasets` lists them")
    method: Annotated[str, Axis()] = Field(
        "baseline",
        description="method or control; `all`: the paper's methods, `controls`: all controls, `relatives`: "
        "other methods beside SLA, and their controls",
    )
    transform: Annotated[str | None, Axis()] = Field(
        "rotation", description="transform that makes the views, of SLA and of +TTA"
    )
    backbone: Annotated[str, Axis(), FromBudget()] = Field("conv4", description="network")
    seed: Annotated[int, Axis()] = Field(0, ge=0, lt=2**31, description="initial weights and data order")
    budget: str = Field("quick", description="recipe: smoke, quick, fast or paper")
    batch_images: Annotated[int | None, Added()] = Field(
        None,
        ge=2,
        description="images through the network in a step, views counted; the number of steps follows, so "
        "that the images of the training stay [default: the budget's batch before the transform]",
    )
    flips: Annotated[Literal["random", "alternating"], FromBudget(), SetOnly(), Added()] = "random"
    precision: Annotated[Precision, FromBudget(), Column()] = Field(
        "fp32",
        description="precision of the backbone (heads: fp32); bf16 needs a CPU or GPU that computes in it",
    )
    method_options: Annotated[dict[str, OptionValue], SetOnly(), OfMethod()] = Field(default_factory=dict)
    backbone_options: Annotated[dict[str, OptionValue], SetOnly()] = Field(default_factory=dict)
    weights: Annotated[str | None, Axis(), FromOthers(), Added()] = Field(
        None,
        description="weights of a network of a library: default (as found on this machine), none, or a file "
        "[default: of pretrained:NAME default, else none]",
    )
    pretrained_on: Annotated[str, SetOnly(), Column(), Added()] = "nothing"
    train: Annotated[
        Literal["all", "last-stage", "head", "none"],
        Axis(),
        FromOthers(),
        Part("{}", silent=True, called=TRAINED_WORDS),
        Added(),
    ] = Field("all", description="trained part [default: of pretrained weights none or head, else all]")

    @model_validator(mode="before")
    @staticmethod
    def _without_threads(values: Any) -> Any:
        """Records of older versions tell the threads here, and not in their environment alone."""
        return {k: v for k, v in values.items() if k != "threads"} if isinstance(values, dict) else values

    @property
    def members(self) -> int:
        """How many models of its method a training averages at test."""
        return 1

    def identity(self) -> dict[str, Any]:
        """All fields; of pretrained weights the hash alone, and one thread, which ids of old records have."""
        own = {"weights": self.weights.rpartition("#")[2]} if self.weights else {}
        return {**super().identity(), "threads": 1, **own}


class EvalConfig(Settings):
    """One evaluation of a trained model. Each scenario adds fields."""

    transform: str = "rotation"

    @property
    def tested_elsewhere(self) -> str | None:
        """The data set of the test; None: that of the training."""
        return getattr(self, "test_dataset", None)


class ClassifierRun(RunConfig):
    """A training on a fixed set of classes."""

    loss_reduction: Annotated[Literal["mean", "sum"], OfMethod()] = Field(
        "mean", description="reduction of the joint loss over the views; sum: M times the mean"
    )
    batch_size: Annotated[int, FromBudget(), SetOnly()] = Field(64, ge=2)


class ClassifierEvaluation(EvalConfig):
    """The test images of all classes."""

    images_per_class: Annotated[int | None, FromBudget(), SetOnly()] = Field(None, ge=2)
    test_seed: Annotated[int, Added()] = Field(0, ge=0, lt=2**31, description="draws the crops of +crops")


class FewShotRun(RunConfig):
    """A training on episodes."""

    protocol: ClassVar[int] = FEWSHOT_PROTOCOL
    scenario: Literal["fewshot"] = "fewshot"
    dataset: Annotated[str, Axis()] = Field("glyphs", description="data set; `datasets` lists them")
    learner: Annotated[str, Axis()] = Field("protonet", description="few-shot learner (head)")
    train_ways: Annotated[int, FromBudget()] = Field(5, ge=2, description="ways of a training episode")
    train_shots: Annotated[int, FromBudget()] = Field(
        5, ge=1, description="shots in training; some learners: those of the test [default: the recipe's]"
    )
    train_queries: Annotated[int, FromBudget()] = Field(10, ge=1, description="queries per class in training")
    val_ways: Annotated[int | None, Added()] = Field(
        None, ge=2, description="ways of a validation episode [default: the test's]"
    )
    val_shots: Annotated[int, FromBudget()] = Field(
        5, ge=1, description="shots in validation; some learners: those of the test [default: 5]"
    )
    selection: Annotated[Literal["validation", "last"], FromBudget(), Column()] = Field(
        "validation", description="weights of the best validation, or of the last step"
    )
    steps: Annotated[int, FromBudget(), SetOnly()] = Field(1, ge=1)
    batch_size: Annotated[int | None, FromBudget(), SetOnly(), Added()] = Field(None, ge=2)
    batch_episodes: Annotated[int, FromBudget(), SetOnly()] = Field(1, ge=1)
    label_smoothing: Annotated[float, FromBudget(), SetOnly()] = Field(0.0, ge=0, lt=1)
    validation_episodes: Annotated[int, FromBudget(), SetOnly()] = Field(2000, ge=1)
    validation_images: Annotated[int | None, FromBudget(), SetOnly()] = Field(None, ge=1)
    learner_options: Annotated[dict[str, OptionValue], SetOnly()] = Field(default_factory=dict)
    allow_seen_classes: Annotated[bool, Added()] = Field(
        False, description="run even if the pretraining saw the test classes; every row says so"
    )


class FewShotEvaluation(EvalConfig):
    """The test episodes."""

    protocol: ClassVar[int] = FEWSHOT_PROTOCOL
    ways: Annotated[int, Part("{}-way")] = Field(5, ge=2, description="ways of a test episode")
    shots: Annotated[int, Axis(), Part("{}-shot")] = Field(
        5, ge=1, description="support images per class at test; some learners train with as many"
    )
    queries: Annotated[int, Part("{}-query", silent=True)] = Field(
        15, ge=1, le=255, description="query images per class at test"
    )
    support_crops: Annotated[int, Part("{} crops a shot", silent=True), Added()] = Field(
        1, ge=1, description="crops and flips of each support image; 1: the image as it is"
    )
    episodes: Annotated[int, FromBudget()] = Field(2000, ge=2, description="test episodes")
    test_seed: int = Field(0, ge=0, lt=2**31, description="chooses the test episodes")
    test_dataset: Annotated[str | None, Part("on {}", silent=True), Added()] = Field(
        None, description="data set of the test episodes [default: that of the training]"
    )
    jackknife_episodes: Annotated[int, FromBudget(), SetOnly()] = Field(10_000, ge=0)
    images_per_class: Annotated[int | None, FromBudget(), SetOnly()] = Field(None, ge=2)


class ImbalancedRun(ClassifierRun):
    """A training on a long-tailed part of a data set with fixed classes."""

    scenario: Literal["imbalanced"] = "imbalanced"
    dataset: Annotated[str, Axis()] = Field("glyphs20", description="data set; `datasets` lists them")
    loss: Annotated[str, Axis()] = Field("ce", description="loss, see docs/models.md")
    imbalance: Annotated[Literal["exp", "step", "none"], FromDataset(), Part("{}", none="as it is")] = Field(
        "exp", description="shape of the class sizes; none: the data as they are"
    )
    ratio: Annotated[float, Axis(), FromBudget(), Part("ratio {:g}")] = Field(
        100.0, ge=1, description="largest class / smallest class"
    )
    max_class_size: Annotated[int | None, FromBudget()] = Field(
        None, ge=1, description="images of the largest class"
    )
    subset_seed: Annotated[int, FromBudget()] = Field(
        0, ge=0, lt=2**32, description="chooses the images; quick and fast: the seed, paper: 0"
    )
    class_order: Annotated[Literal["identity", "permuted"], FromDataset()] = Field(
        "permuted", description="order of the classes by size; permuted: a random order for each seed"
    )
    order_seed: int = Field(0, ge=0, lt=2**31, description="chooses the random class orders")
    sampler: Annotated[Literal["uniform", "class-balanced", "sqrt"], Column()] = Field(
        "uniform", description="draws the training images: all alike, classes alike, or by root of class size"
    )
    selection: Annotated[Literal["last", "validation", "best-test"], Column()] = Field(
        "last",
        description="weights of the last epoch, or of the best validation on held-out training images "
        "(the largest class loses a tenth); best-test sees the test images and flatters",
    )
    epochs: Annotated[int, FromBudget(), SetOnly()] = Field(1, ge=1)
    order_shifts: Annotated[int, FromBudget(), SetOnly()] = Field(5, ge=0)
    loss_options: Annotated[dict[str, OptionValue], SetOnly()] = Field(default_factory=dict)
    mix: Annotated[str, Axis(), Added()] = Field("none", description=_MIX)
    mix_options: Annotated[dict[str, OptionValue], SetOnly(), Added()] = Field({})


class ImbalancedEvaluation(ClassifierEvaluation):
    """The balanced test images."""

    stage_two: Annotated[str | None, Axis(), Adds(), Added()] = Field(
        None, description="adds rows of a head fitted afterwards: crt, tau-norm, lws, los, las or ncm"
    )


class StandardRun(ClassifierRun):
    """A training on all images of a data set with fixed classes, except images held out for validation."""

    scenario: Literal["standard"] = "standard"
    dataset: Annotated[str, Axis()] = Field("glyphs20", description="data set; `datasets` lists them")
    mix: Annotated[str, Axis(), Part("full, {}", none="full")] = Field("none", description=_MIX)
    ensemble: Annotated[int, Axis(), Adds(method="baseline")] = Field(
        1, ge=1, description="adds this many baselines, averaged; as many as views make the control ens-M"
    )
    selection: Annotated[Literal["validation", "last"], FromBudget(), Column()] = Field(
        "last", description="weights of the best validation, or of the last step"
    )
    val_indices: str | None = Field(
        None, description="file with positions of the validation images (.npy, .json, else one per line)"
    )
    val_fraction: Annotated[float, FromBudget()] = Field(
        0.1, ge=0, lt=1, description="share of each class's training images that is held out for validation"
    )
    val_seed: int = Field(0, ge=0, lt=2**32, description="chooses the held-out images, alike for all seeds")
    steps: Annotated[int, FromBudget(), SetOnly()] = Field(1, ge=1)
    label_smoothing: Annotated[float, FromBudget(), SetOnly(), Added()] = Field(0.0, ge=0, lt=1)
    mix_options: Annotated[dict[str, OptionValue], SetOnly()] = Field(default_factory=dict)

    @property
    def members(self) -> int:
        """Size of the ensemble."""
        return self.ensemble

    @property
    def val_indices_hash(self) -> str | None:
        """Hash of the file of positions, the end of `val_indices`: "PATH#HASH"."""
        return self.val_indices.rpartition("#")[2] if self.val_indices is not None else None

    def identity(self) -> dict[str, Any]:
        """All fields, with the hash of the file of positions instead of its path."""
        return {**super().identity(), "val_indices": self.val_indices_hash}


class StandardEvaluation(ClassifierEvaluation):
    """The test images."""


RUNS: dict[str, tuple[type[RunConfig], type[EvalConfig]]] = {
    "fewshot": (FewShotRun, FewShotEvaluation),
    "imbalanced": (ImbalancedRun, ImbalancedEvaluation),
    "standard": (StandardRun, StandardEvaluation),
}
"""Scenario -> its trainings and evaluations."""


@functools.cache
def columns(scenario: str = "") -> dict[str, Any]:
    """Field with a column of its own -> its default in a scenario, else in the first that has the field."""
    found: dict[str, Any] = {}
    for own in filter(None, (scenario, *RUNS)):
        model, _ = RUNS[own]
        for name in fields_with(model, Column):
            found.setdefault(name, model.model_fields[name].default)
    return found
