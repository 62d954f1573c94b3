"""A scenario for the command line: options, budgets, checks; without torch."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sla_bench.config import EvalConfig, RunConfig
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.registry import METHODS, TRANSFORMS

if TYPE_CHECKING:
    from sla_bench.data.base import Split

BUDGETS = ("smoke", "quick", "fast", "paper")
LENGTHS = frozenset({"epochs", "steps"})
"""Fields for the length of a training; each scenario has one of them."""
_ALSO_CALLED = {
    "lr": "learning_rate",
    "wd": "weight_decay",
    "bs": "batch_size",
    "bsz": "batch_size",
    "iters": "steps",
    "iterations": "steps",
    "optim": "optimizer",
    "scheduler": "schedule",
}
"""What other programs call a field -> its name here."""
LARGE_IMAGES = 64
"""From so many pixels on, the paper's backbone of a classifier is a ResNet of ImageNet."""


def field_called(name: str, fields: Collection[str]) -> str | None:
    """The field that a wrong name most likely means; None where none is near.

    >>> field_called("lr", ["learning_rate", "steps"]), field_called("epochs", ["learning_rate", "steps"])
    ('learning_rate', 'steps')
    """
    meant = _ALSO_CALLED.get(name, name)
    other_lengths = (LENGTHS - {meant}) & set(fields) if meant in LENGTHS else frozenset()
    for candidate in (meant, *other_lengths):
        if candidate in fields:
            return candidate
    return next(iter(difflib.get_close_matches(name, sorted(fields), n=1, cutoff=0.75)), None)


@dataclass(frozen=True)
class Unit:
    """The least part of a batch, in words, and its images through the network."""

    name: str
    images: int


@dataclass(frozen=True)
class Form:
    """One scenario's options, how they are completed, and what is refused.

    Args:
        run: fields of a training.
        evaluation: fields of an evaluation.
        order: the fields that span a grid; the last varies fastest.
        default_methods: what a plain run compares.
        budgets: (one of BUDGETS, data set, learner or loss, None: no matter which) -> field of `run` or
            `evaluation` -> value; it refuses data sets and learners that a budget has no recipe for.
        complete: fills in, in the first argument, what follows from other fields; the second holds what the
            user gave.
        refusal: why the pieces of a run don't go together, a sentence; None where they do. A method that a
            group names (`all`, `controls`) is left out there.
        check: refuses what the data set is known not to serve, with a sentence, before any file is read.
        relative_images: images that a training draws, up to a factor that runs agree on which agree in data
            set and `same_cost`; views and controls are not in it.
        unit: the least part of a batch.
        units: of them in a batch of the recipe.
        length: the field of a training that says how long it is.
        follows: fields whose usual value follows from others: `departures` tells them, or no table does.
        departures: (training, test, recipe) -> those of `follows` that are not as usual.
        train_shots: shots in training, where it is on episodes.
        evaluation_like_training: fields of the evaluation that a training suggests.
        same_cost: fields on which that factor, or the seconds of an image, depends.
        trial: fields of a training that differ where it only serves to choose rate and batch; None: it has no
            validation data.
        with_seed: the run at another seed, with what follows from it.
        seed_fields: fields that differ between the seeds of a training.
        check_sizes: refuses classes that are too few or too small, as the run would, from the sizes of the
            classes of a split; returns lines for the user. None: nothing is asked of them.
    """

    run: type[RunConfig]
    evaluation: type[EvalConfig]
    order: tuple[str, ...]
    default_methods: tuple[str, ...]
    budgets: Callable[[str, str, str | None], dict[str, Any]]
    complete: Callable[[dict[str, Any], Mapping[str, Any]], None]
    check: Callable[[RunConfig, EvalConfig], None]
    relative_images: Callable[[RunConfig], float]
    unit: Callable[[RunConfig], Unit]
    units: Callable[[RunConfig], int]
    length: str
    follows: frozenset[str]
    departures: Callable[[RunConfig, EvalConfig, Mapping[str, Any]], dict[str, Any]]
    train_shots: Callable[[RunConfig], int | None] = lambda run: None
    evaluation_like_training: Callable[[RunConfig], dict[str, Any]] = lambda run: {}
    refusal: Callable[[RunConfig], str | None] = lambda run: None
    same_cost: tuple[str, ...] = ()
    trial: Callable[[RunConfig], dict[str, Any]] | None = None
    with_seed: Callable[[RunConfig, int], RunConfig] = lambda run, seed: run.model_copy(update={"seed": seed})
    seed_fields: tuple[str, ...] = ("seed",)
    check_sizes: (
        Callable[[RunConfig, Iterable[EvalConfig], Callable[[Split], Mapping[str, int]]], list[str]] | None
    ) = None

    @property
    def scenario(self) -> str:
        """Its name in the registry."""
        return str(self.run.model_fields["scenario"].default)


def views_in_training(run: RunConfig) -> int:
    """Images through the network for each image that a training draws: views, or copies."""
    # A record may be of a method that is not known here.
    if run.transform is None or run.method not in METHODS or not METHODS.load(run.method).passes_views:
        return 1
    return TRANSFORMS[run.transform].num_views


def image_unit(run: RunConfig) -> Unit:
    """An image in as many views or copies as the method's training passes through the network."""
    views = views_in_training(run)
    return Unit("one image" if views == 1 else f"one image {views} times", views)


def check_colors(run: RunConfig, evaluation: EvalConfig) -> None:
    """Refuse colour permutations of grey images.

    Raises:
        UserError: the transform permutes colours where there are none.
    """
    if dataset_named(run.dataset).properties.grey and TRANSFORMS[evaluation.transform].uses_color:
        raise UserError(
            f"transform {evaluation.transform!r} permutes colours, but the images of {run.dataset} are grey; "
            "use rotation or rotation2"
        )
