"""Learning rates chosen on validation data: which trials are run, and what they say.

Every method and control gets the same trials, the recipe's rate times `FACTORS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sla_bench.config import RunConfig
from sla_bench.errors import UserError
from sla_bench.grid import Task, form_of, recipe_of

FACTORS = (Fraction(1, 3), Fraction(1), Fraction(3))


@dataclass(frozen=True)
class Trial:
    """A training that tells how good a learning rate is.

    Args:
        group: of the trainings that the chosen rate is for.
        factor: of the recipe's rate, one of FACTORS.
        run: what is trained.
        takes_best: it is judged by its best validation, as the weights are chosen; else by its last.
    """

    group: str
    factor: Fraction
    run: RunConfig
    takes_best: bool


def at_recipe_rate(run: RunConfig) -> RunConfig:
    """The run with the learning rate of its budget."""
    return run.model_copy(update={"learning_rate": recipe_of(run)["learning_rate"]})


def group_of(run: RunConfig) -> str:
    """Trainings that share it differ in seed and learning rate only."""
    seeds = dict.fromkeys(form_of(run.scenario).seed_fields, 0)
    return at_recipe_rate(run).model_copy(update=seeds).digest()


def trials_of(tasks: Iterable[Task]) -> list[Trial]:
    """Return the trials for all methods of some tasks, at the first seed of each group.

    Raises:
        UserError: a learning rate is given already, or there is nothing to validate on.
    """
    found: dict[str, list[Trial]] = {}
    for task in tasks:
        run, group = task.run, group_of(task.run)
        rate = at_recipe_rate(run).learning_rate
        if run.learning_rate != rate:
            raise UserError(
                f"tune chooses the learning rate itself; leave learning_rate={run.learning_rate:g} away"
            )
        trial = form_of(run.scenario).trial
        if trial is None:
            raise UserError(f"tune {run.scenario}: no validation images are set aside there")
        if group not in found:
            changes = trial(run)
            found[group] = [
                Trial(
                    group,
                    factor,
                    run.model_copy(update={**changes, "learning_rate": rate * float(factor)}),
                    takes_best=getattr(run, "selection", "last") == "validation",
                )
                for factor in FACTORS
            ]
    return [trial for trials in found.values() for trial in trials]


def chosen_factor(accuracies: Mapping[Fraction, float]) -> Fraction:
    """The factor with the best accuracy; of equals that nearest to the recipe's rate, then the smaller.

    Args:
        accuracies: factor -> validation accuracy; below 0 for a training that diverged.
    """
    return max(accuracies, key=lambda factor: (accuracies[factor], -abs(FACTORS.index(factor) - 1), -factor))


def tuned_tasks(tasks: Sequence[Task], rates: Mapping[str, float]) -> list[Task]:
    """The same tasks with the rates of their groups, as far as these differ from the recipe's.

    Args:
        tasks: with the recipe's rates.
        rates: group -> learning rate.
    """
    return [
        Task(task.run.model_copy(update={"learning_rate": rate}), task.evaluations)
        for task in tasks
        if (rate := rates.get(group_of(task.run), task.run.learning_rate)) != task.run.learning_rate
    ]
