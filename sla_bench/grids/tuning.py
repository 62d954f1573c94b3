"""Trials of learning rates and batches, and the choice among them."""

# Every method and control gets the same trials: the recipe's rate times `RATES`, in batches of the recipe's
# times `BATCHES`, counted in images through the network, at a part of the images of a training. The best two
# are repeated at all images.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

from sla_bench.config import RunConfig
from sla_bench.errors import UserError
from sla_bench.grids.tasks import Task, form_of, recipe_of
from sla_bench.registry import METHODS
from sla_bench.scenarios.form import plan_of, recipe_batch, step_images, with_whole_batch

RATES = (Fraction(1, 2), Fraction(1), Fraction(2))
BATCHES = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(4))
SHARES = {"quarter": Fraction(1, 4), "eighth": Fraction(1, 8)}
"""Parts of the images of a training that a trial sees; a quarter has a second round at all images."""
WHOLE = Fraction(1)
FINALISTS = 2
TRIAL_SEED = 999
"""Of all trials; no seed of a table."""


class Choice(NamedTuple):
    """What a group of trainings is tuned to; the batch in images through the network."""

    learning_rate: float
    batch_images: int


@dataclass(frozen=True, eq=False)
class Trial:
    """A training that tells how good a learning rate and a batch are.

    Args:
        group: of the trainings that the choice is for.
        factor: of the recipe's rate, one of RATES.
        share: of the images of a training.
        run: what is trained.
        length: of a whole training, in steps or epochs.
        takes_best: it is judged by its best validation, as the weights are chosen; else by its last.
    """

    group: str
    factor: Fraction
    share: Fraction
    run: RunConfig
    length: int
    takes_best: bool

    @property
    def choice(self) -> Choice:
        """What it tries."""
        return Choice(self.run.learning_rate, step_images(form_of(self.run.scenario), self.run))


def at_recipe_rate(run: RunConfig) -> RunConfig:
    """The run with the learning rate of its budget."""
    return run.model_copy(update={"learning_rate": recipe_of(run)["learning_rate"]})


def tuned_like(run: RunConfig) -> RunConfig:
    """The run whose trials serve a run: its own, or of an ensemble that of its members."""
    of_members = run.method in METHODS and METHODS.load(run.method).multiplies == "members"
    changes: dict[str, Any] = {"method": "baseline", "transform": None} if of_members else {}
    if getattr(run, "ensemble", 1) != 1:
        changes["ensemble"] = 1
    return run.model_copy(update=changes)


def group_of(run: RunConfig) -> str:
    """Trainings that share it differ in seed, rate and batch only; an ensemble is of its members' group."""
    changes = dict.fromkeys(form_of(run.scenario).seed_fields, 0)
    return at_recipe_rate(tuned_like(run)).model_copy(update={**changes, "batch_images": None}).digest()


def choice_of(run: RunConfig) -> Choice:
    """The rate and the batch of a run."""
    return Choice(run.learning_rate, step_images(form_of(run.scenario), run))


def trials_of(tasks: Iterable[Task], share: Fraction = SHARES["quarter"]) -> list[Trial]:
    """Return the trials of the first round for all methods of some tasks.

    A method gets the nearest batch of whole images in all their views, or of whole episodes, each once: an
    episode of SLA is not divided.

    Args:
        tasks: of one scenario.
        share: of the images of a training.

    Raises:
        UserError: a rate or a batch is given already, a seed is that of the trials, or there is nothing to
            validate on.
    """
    found: dict[str, list[Trial]] = {}
    for task in tasks:
        _check(task.run)
        run, group = tuned_like(task.run), group_of(task.run)
        if group in found:
            continue
        takes_best = getattr(run, "selection", "last") == "validation"
        length = getattr(run, form_of(run.scenario).length)
        found[group] = [
            Trial(group, factor, share, _at_rate(one, factor), length, takes_best)
            for one in _at_batches(_trial_run(run, share))
            for factor in RATES
        ]
    return [trial for trials in found.values() for trial in trials]


def _check(run: RunConfig) -> None:
    if run.learning_rate != at_recipe_rate(run).learning_rate:
        raise UserError(
            f"tune chooses the learning rate itself; leave learning_rate={run.learning_rate:g} away"
        )
    if run.batch_images is not None:
        raise UserError(f"tune chooses the batch itself; leave --batch-images {run.batch_images} away")
    if run.seed == TRIAL_SEED:
        raise UserError(f"--seed {TRIAL_SEED} is that of the trials of tune; take others")


def check_validated(run: RunConfig) -> None:
    """Refuse a training that holds no images out.

    Raises:
        UserError: it has nothing to validate on; the sentence says what would.
    """
    for name, value in _trial_fields(run).items():
        if getattr(run, name) != value:
            raise UserError(
                f"{name}={getattr(run, name)} leaves no images to validate on; take --{name} {value}"
            )


def _trial_fields(run: RunConfig) -> dict[str, Any]:
    """Fields that the run has where it is a trial.

    Raises:
        UserError: it has nothing to validate on.
    """
    return form_of(run.scenario).trial(run)


def validated(run: RunConfig) -> RunConfig:
    """The run with the images held out that trials hold out.

    Raises:
        UserError: it has nothing to validate on.
    """
    return run.model_copy(update=_trial_fields(run))


def _at_rate(run: RunConfig, factor: Fraction) -> RunConfig:
    return run.model_copy(update={"learning_rate": run.learning_rate * float(factor)})


def _trial_run(run: RunConfig, share: Fraction) -> RunConfig:
    """The run at the seed of trials, validated, with a part of its images.

    Raises:
        UserError: it has nothing to validate on.
    """
    form = form_of(run.scenario)
    seeded = form.with_seed(run, TRIAL_SEED)
    length = max(1, round(share * getattr(run, form.length)))
    return validated(seeded).model_copy(update={form.length: length})


def _at_batches(run: RunConfig) -> list[RunConfig]:
    """The run at the nearest whole batches, each once."""
    form, found = form_of(run.scenario), []
    for factor in BATCHES:
        asked = run.model_copy(update={"batch_images": round(recipe_batch(form, run) * factor)})
        one = with_whole_batch(form, asked)
        if one not in found and _is_long_enough(one):
            found.append(one)
    return found or [run]


def _is_long_enough(run: RunConfig) -> bool:
    form = form_of(run.scenario)
    if form.length != "steps":
        return True
    try:
        plan_of(run.batch_images, form.unit(run).images, form.units(run), getattr(run, form.length))
    except UserError:
        return False
    return True


def finalists(trials: Sequence[Trial], accuracies: Mapping[Trial, float]) -> list[Trial]:
    """Return the trials of the second round: the best two of each group, at all images.

    Args:
        trials: of the first round.
        accuracies: of each in validation; below 0 for a training that diverged.
    """
    groups: dict[str, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(trial.group, []).append(trial)
    return [
        replace(
            one, share=WHOLE, run=one.run.model_copy(update={form_of(one.run.scenario).length: one.length})
        )
        for own in groups.values()
        for one in _ranked(own, accuracies)[:FINALISTS]
        if accuracies[one] >= 0
    ]


def chosen_trial(trials: Sequence[Trial], accuracies: Mapping[Trial, float]) -> Trial:
    """The best trial of a group at most images; of equals that nearest to the recipe, then the smaller.

    Args:
        trials: of one group.
        accuracies: of each in validation; below 0 for a training that diverged.
    """
    share = max(trial.share for trial in trials if accuracies[trial] >= 0)
    return _ranked([trial for trial in trials if trial.share == share], accuracies)[0]


def _ranked(trials: Iterable[Trial], accuracies: Mapping[Trial, float]) -> list[Trial]:
    def key(trial: Trial) -> tuple[float, float, float, int]:
        form, batch = form_of(trial.run.scenario), trial.choice.batch_images
        recipes = recipe_batch(form, trial.run)
        distance = max(trial.factor, 1 / trial.factor) * max(
            Fraction(batch, recipes), Fraction(recipes, batch)
        )
        return -accuracies[trial], float(distance), float(trial.factor), batch

    return sorted(trials, key=key)


def tuned_tasks(tasks: Sequence[Task], choices: Mapping[str, Choice]) -> list[Task]:
    """The same tasks with the rates and batches of their groups, as far as these differ from the recipe's.

    Args:
        tasks: with the recipe's rates and batches.
        choices: group -> what was chosen.
    """
    found = []
    for task in tasks:
        if (choice := choices.get(group_of(task.run))) is None:
            continue
        changed = task.run.model_copy(update=choice._asdict())
        run = with_whole_batch(form_of(task.run.scenario), changed)
        if run != task.run:
            found.append(Task(run, task.evaluations))
    return found
