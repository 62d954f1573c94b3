"""A scenario for the command line: options, budgets, batches, checks; without torch."""

from __future__ import annotations

import dataclasses
import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from sla_bench.config import EvalConfig, RunConfig
from sla_bench.data.named import dataset_named
from sla_bench.errors import UserError
from sla_bench.registry import BACKBONES, DATASETS, METHODS, TRANSFORMS

if TYPE_CHECKING:
    from sla_bench.data.base import Split
    from sla_bench.objectives.objective import Objective

BUDGETS = ("smoke", "quick", "fast", "paper", "pretrained")
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
PLAIN: dict[str, Any] = {
    "precision": "fp32",
    "flips": "random",
    "warmup": 0.0,
    "decay_biases": True,
    "averaged": 0.0,
}
"""Fields of a recipe as all budgets but `fast` have them."""
FAST: dict[str, Any] = {
    **PLAIN,
    "backbone": "airbench",
    "precision": "bf16",
    "optimizer": "sgd",
    "learning_rate": 0.2,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "decay_biases": False,
    "schedule": "linear",
    "milestones": {},
    "warmup": 0.2,
    "batch_size": 128,
}
"""A classifier of budget `fast`: trained to the end in minutes on a CPU."""

PRETRAINED: dict[str, Any] = {
    "backbone": "pretrained:lite0",
    "optimizer": "adam",
    "learning_rate": 3e-3,
    "weight_decay": 0.0,
    "schedule": "cosine",
    "milestones": {},
    "selection": "validation",
    "validations": 4,
}
"""Short training of a pretrained network; the rate is that of new layers, its own layers have a tenth."""


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


RunT = TypeVar("RunT", bound=RunConfig)
EvalT = TypeVar("EvalT", bound=EvalConfig)


class ScenarioForm(ABC, Generic[RunT, EvalT]):
    """One scenario's options, how they are completed, and what is refused.

    Attributes:
        run: fields of a training.
        evaluation: fields of an evaluation.
        order: the fields that span a grid; the last varies fastest.
        default_methods: what a plain run compares.
        length: the field of a training that says how long it is.
        follows: fields whose usual value follows from others: `departures` tells them, or no table does.
        same_cost: fields on which the factor of `relative_images`, or the seconds of an image, depends.
        seed_fields: fields that differ between the seeds of a training.
    """

    run: type[RunT]
    evaluation: type[EvalT]
    order: tuple[str, ...]
    default_methods: tuple[str, ...]
    length: str
    follows: frozenset[str]
    same_cost: tuple[str, ...] = ()
    seed_fields: tuple[str, ...] = ("seed",)

    @property
    def scenario(self) -> str:
        """Its name in the registry."""
        return str(self.run.model_fields["scenario"].default)

    @abstractmethod
    def budgets(self, name: str, dataset: str, piece: str | None) -> dict[str, Any]:
        """Return the recipe of a budget: field of a training or an evaluation -> value.

        Args:
            name: one of BUDGETS.
            dataset: its name.
            piece: learner or loss; None: no matter which.

        Raises:
            UserError: the budget has no recipe for the data set or the learner.
        """

    @abstractmethod
    def complete(self, values: dict[str, Any], given: Mapping[str, Any]) -> None:
        """Fill in, in `values`, what follows from other fields.

        Args:
            values: of the budget and of the user.
            given: those of the user.

        Raises:
            UserError: something that the user gave has no effect.
        """

    def complete_test(self, dataset: str, values: dict[str, Any]) -> None:
        """Fill in, in `values` of a test, what follows from the data set of the training.

        Raises:
            UserError: a name is wrong.
        """
        del dataset, values

    def refusal(self, run: RunT) -> str | None:
        """Say why the pieces of a run don't go together, in a sentence; None where they do.

        A method that a group names (`all`, `controls`, `relatives`) is left out there.

        Raises:
            UserError: an option of the method has a wrong value.
        """
        method: Objective = dataclasses.replace(METHODS.load(run.method), **run.method_options)
        if run.transform is None:
            return None
        name = run.backbone.partition(":")[0]
        if method.needs_stages and (name in BACKBONES.arguments or BACKBONES[name].needs_learn2learn):
            return (
                f"method {run.method!r} needs the stages of its backbone, which {run.backbone} does not "
                "tell; take airbench, conv4 or a ResNet"
            )
        size = dataset_named(run.dataset).properties.size
        sentence = method.refusal(TRANSFORMS.load(run.transform), size)
        return sentence and f"method {run.method!r} cannot be used here: {sentence}"

    def test_refusal(self, run: RunT, evaluation: EvalT) -> str | None:
        """Say why a training cannot be tested so, in a sentence; None where it can. Used as `refusal`."""
        del run, evaluation
        return None

    def check(self, run: RunT, evaluation: EvalT) -> None:
        """Refuse what the data set is known not to serve, before any file is read.

        Raises:
            UserError: the transform permutes colours where there are none.
        """
        for name in dict.fromkeys((run.dataset, evaluation.tested_elsewhere or run.dataset)):
            if dataset_named(name).properties.grey and TRANSFORMS.load(evaluation.transform).uses_color:
                raise UserError(
                    f"transform {evaluation.transform!r} permutes colours, but the images of {name} are "
                    "grey; use rotation or rotation2"
                )

    def check_sizes(
        self, run: RunT, evaluations: Iterable[EvalT], sizes_of: Callable[[str, Split], Mapping[str, int]]
    ) -> list[str]:
        """Refuse classes that are too few or too small, as the run would, from the sizes in a split.

        Args:
            run: the training.
            evaluations: its tests.
            sizes_of: name of a data set and split -> images of each class.

        Returns:
            Lines for the user.

        Raises:
            UserError: the run would refuse the classes.
        """
        del run, evaluations, sizes_of
        return []

    @abstractmethod
    def relative_images(self, run: RunT) -> float:
        """Images that a training draws, up to a factor; views and controls are not in it.

        Runs that agree in data set and `same_cost` agree in the factor.
        """

    def unit(self, run: RunT) -> Unit:
        """The least part of a batch: an image in as many views or copies as pass through the network."""
        views = views_in_training(run)
        return Unit("one image" if views == 1 else f"one image {views} times", views)

    @abstractmethod
    def units(self, run: RunT) -> int:
        """Units in a batch of the recipe."""

    @abstractmethod
    def departures(self, run: RunT, test: EvalT, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Fields of `follows` that are not as usual -> their values."""

    def train_shots(self, run: RunT) -> int | None:
        """Shots in training, where it is on episodes."""
        del run
        return None

    def evaluation_like_training(self, run: RunT) -> dict[str, Any]:
        """Fields of the evaluation that a training suggests."""
        del run
        return {}

    @abstractmethod
    def trial(self, run: RunT) -> dict[str, Any]:
        """Fields of a training that differ where it only serves to choose rate and batch.

        Raises:
            UserError: it has nothing to validate on.
        """

    def with_seed(self, run: RunT, seed: int) -> RunT:
        """The run at another seed, with what follows from it."""
        return run.model_copy(update={"seed": seed})


Form: TypeAlias = ScenarioForm[RunConfig, EvalConfig]


def fast_value(table: Mapping[str, Any], dataset: str, scenario: str) -> Any:
    """The entry of a data set, or of the word before its colon, in a table of budget `fast`.

    Raises:
        UserError: there is none.
    """
    name = DATASETS.like(dataset).partition(":")[0]
    if name not in table:
        raise UserError(
            f"--budget fast has no recipe for {dataset} in the scenario {scenario}, it has some for "
            f"{', '.join(table)}; take --budget quick or paper"
        )
    return table[name]


def views_in_training(run: RunConfig) -> int:
    """Images through the network for each image of a batch: views, or copies."""
    return 1 if (bound := _method_and_views(run)) is None else bound[0].images_per_image(bound[1])


def drawn_share(run: RunConfig) -> Fraction:
    """Of the images through the network in a training, those that count each image once for all its views."""
    if (bound := _method_and_views(run)) is None:
        return Fraction(1)
    method, views = bound
    return Fraction(method.cost(views, once=True), method.cost(views))


def _method_and_views(run: RunConfig) -> tuple[Objective, int] | None:
    """None where the training knows no views; a record may be of a method that is not known here."""
    if run.transform is None or run.method not in METHODS:
        return None
    return METHODS.load(run.method), TRANSFORMS.load(run.transform).num_views


TOLERANCE = Fraction(1, 20)
"""Numbers of images that differ by less count as equal."""


@dataclass(frozen=True)
class Plan:
    """How many updates a training makes, of which batch.

    Args:
        units: in a batch: images before the transform, or episodes.
        updates: of the optimiser.
        stretch: a schedule that counts the recipe's steps is so many times as long.
    """

    units: int
    updates: int
    stretch: Fraction


def plan_of(
    batch_images: int | None, unit: int, units: int, steps: int | None = None, step_factor: int = 1
) -> Plan:
    """Return the plan of a training whose images stay those of its recipe, whatever the batch.

    Args:
        batch_images: images through the network in a step, a multiple of `unit`; None: the recipe's batch.
        unit: images through the network of the least part of a batch: an image in all its views, an episode.
        units: in a batch of the recipe.
        steps: of the recipe; None: they are not known, and `updates` is 0.
        step_factor: of the method.

    Raises:
        UserError: the training is so short that no number of updates gives its images within 5 %.
    """
    own = units if batch_images is None else batch_images // unit
    stretch = Fraction(step_factor * units, own)
    if steps is None:
        return Plan(own, 0, stretch)
    updates = max(1, round(steps * stretch))
    if abs(updates - steps * stretch) > TOLERANCE * steps * stretch:
        raise UserError(
            f"--batch-images {batch_images}: {steps * step_factor} steps of {units * unit} images are "
            f"{float(steps * stretch):.3g} steps of so large a batch; take a smaller batch"
        )
    return Plan(own, updates, stretch)


def step_images(form: Form, run: RunConfig) -> int:
    """Images through the network in a step of a run."""
    return run.batch_images or form.unit(run).images * form.units(run)


def recipe_batch(form: Form, run: RunConfig) -> int:
    """Images through the network in a step of the run's baseline at the recipe's batch."""
    baseline = run.model_copy(update={"method": "baseline", "transform": None})
    return form.unit(baseline).images * form.units(baseline)


def batch_refusal(form: Form, run: RunConfig) -> str | None:
    """Say why the method can't have the batch that is asked for, in a sentence; None where it can.

    A batch holds whole units; the nearest number of them must have the images that are asked for within 5 %.
    """
    if run.batch_images is None:
        return None
    unit, asked = form.unit(run), run.batch_images
    nearest = _nearest(asked, unit.images)
    if abs(nearest - asked) <= TOLERANCE * asked:
        return None
    if asked < unit.images:
        return (
            f"--batch-images {asked}: the least batch of method {run.method!r} is {unit.name}, "
            f"{unit.images} images through the network; take at least these"
        )
    least = asked // unit.images * unit.images
    return (
        f"--batch-images {asked}: a batch of method {run.method!r} is a multiple of {unit.name}, "
        f"{unit.images} images through the network; take {least} or {least + unit.images}"
    )


def with_whole_batch(form: Form, run: RunConfig) -> RunConfig:
    """The run with the batch that it gets: whole units, and none of its own where it is the recipe's."""
    if run.batch_images is None:
        return run
    unit = form.unit(run).images
    images = _nearest(run.batch_images, unit)
    is_recipes = images == unit * form.units(run)
    return run.model_copy(update={"batch_images": None if is_recipes else images})


def _nearest(images: int, unit: int) -> int:
    return max(1, round(Fraction(images, unit))) * unit
