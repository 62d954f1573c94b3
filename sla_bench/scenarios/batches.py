"""Batches counted in images through the network, and the updates that follow."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from sla_bench.config import RunConfig
from sla_bench.errors import UserError
from sla_bench.scenarios.form import Form

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
