"""One training and one evaluation, fully described.

The options of the command line, the keys of a grid file and the fields of a record are these fields.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sla_bench.errors import UserError, nearest

PROTOCOL_VERSION = 1
"""Rises when the same config would give another figure; part of every run_id."""


class Axis:
    """Marks a field whose option may be given several times; a command spans the product."""


class SetOnly:
    """Marks a field that is changed by `--set name=value` and has no option of its own."""


class FromBudget:
    """Marks a field whose default is the budget's."""


Precision = Literal["fp32", "bf16"]
OptionValue = bool | int | float | str


class Settings(BaseModel):
    """Immutable settings that know their own short hash."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def digest(self, **further: Any) -> str:
        """Return 12 hex digits of the SHA-256 of these settings, `further` facts and the protocol version."""
        content = {**self.model_dump(mode="json"), **further, "protocol": PROTOCOL_VERSION}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def as_user_error(error: ValidationError) -> UserError:
    """Say in one line which option has which wrong value, with the nearest right one if there is a list."""
    first = error.errors()[0]
    option = "--" + ".".join(str(p) for p in first["loc"] if isinstance(p, str)).replace("_", "-")
    if first["type"] == "literal_error":
        known = [k.strip("' ") for k in first["ctx"]["expected"].replace(" or ", ",").split(",")]
        return UserError(f"{option}: unknown value {first['input']!r}; {nearest(str(first['input']), known)}")
    if first["type"] == "extra_forbidden":
        return UserError(f"{option}: no such field")
    return UserError(f"{option} {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}")


class Recipe(Settings):
    """How a training goes: optimiser, schedule and lengths, in any scenario."""

    optimizer: Annotated[Literal["adam", "sgd"], FromBudget(), SetOnly()] = "adam"
    learning_rate: Annotated[float, FromBudget(), SetOnly()] = Field(2e-3, gt=0)
    momentum: Annotated[float, FromBudget(), SetOnly()] = Field(0.9, ge=0, lt=1)
    nesterov: Annotated[bool, FromBudget(), SetOnly()] = True
    weight_decay: Annotated[float, FromBudget(), SetOnly()] = Field(0.0, ge=0)
    schedule: Annotated[Literal["cosine", "steps"], FromBudget(), SetOnly()] = "cosine"
    milestones: Annotated[dict[str, float], FromBudget(), SetOnly()] = Field(default_factory=dict)
    steps: Annotated[int, FromBudget(), SetOnly()] = Field(1, ge=1)
    validations: Annotated[int, FromBudget(), SetOnly()] = Field(1, ge=1)


class RunConfig(Recipe):
    """One training: everything that can change the trained weights."""

    scenario: Literal["fewshot"] = "fewshot"
    dataset: Annotated[str, Axis()] = Field("glyphs", description="data set, see `datasets`")
    learner: Annotated[str, Axis()] = Field("protonet", description="few-shot head")
    method: Annotated[str, Axis()] = Field(
        "baseline", description="objective or control; `all`: those of the paper, `controls`: the controls"
    )
    transform: Annotated[str | None, Axis()] = Field(
        "rotation", description="label augmentation, also the views of +TTA"
    )
    backbone: Annotated[str, Axis(), FromBudget()] = Field("conv4", description="network")
    seed: Annotated[int, Axis()] = Field(
        0, ge=0, lt=2**31, description="initial weights and training data order"
    )
    budget: str = Field("quick", description="recipe: smoke, quick or paper")

    train_ways: Annotated[int, FromBudget()] = Field(5, ge=2, description="ways of a training episode")
    train_shots: Annotated[int, FromBudget()] = Field(
        5, ge=1, description="shots in training; protonet: the test's, others: the recipe's"
    )
    train_queries: Annotated[int, FromBudget()] = Field(10, ge=1, description="queries per class in training")
    val_shots: Annotated[int, FromBudget()] = Field(
        5, ge=1, description="shots in validation; protonet: as in training, others: 5"
    )
    precision: Precision = Field("fp32", description="of the backbone; heads stay in fp32")
    threads: int = Field(1, ge=1, description="CPU threads of a run (results on CPU depend on it)")

    batch_episodes: Annotated[int, FromBudget(), SetOnly()] = Field(1, ge=1)
    label_smoothing: Annotated[float, FromBudget(), SetOnly()] = Field(0.0, ge=0, lt=1)
    validation_episodes: Annotated[int, FromBudget(), SetOnly()] = Field(2000, ge=1)
    validation_images: Annotated[int | None, FromBudget(), SetOnly()] = Field(None, ge=1)
    learner_options: Annotated[dict[str, OptionValue], SetOnly()] = Field(default_factory=dict)
    method_options: Annotated[dict[str, OptionValue], SetOnly()] = Field(default_factory=dict)
    backbone_options: Annotated[dict[str, OptionValue], SetOnly()] = Field(default_factory=dict)


class EvalConfig(Settings):
    """One evaluation of a trained model: the test episodes and how they are read."""

    ways: int = Field(5, ge=2, description="ways of a test episode")
    shots: Annotated[int, Axis()] = Field(5, ge=1, description="support images per class at test")
    queries: int = Field(15, ge=1, description="query images per class at test")
    episodes: Annotated[int, FromBudget()] = Field(2000, ge=2, description="test episodes")
    test_seed: int = Field(0, ge=0, lt=2**31, description="chooses the test episodes")
    transform: str = "rotation"
    jackknife_episodes: Annotated[int, FromBudget(), SetOnly()] = Field(10_000, ge=0)
    images_per_class: Annotated[int | None, FromBudget(), SetOnly()] = Field(None, ge=2)
