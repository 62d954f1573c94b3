"""Batches in images through the network: requested, given, refused."""

from fractions import Fraction

import pytest
from spanned import runs_of
from training_factors import DRAWN

from sla_bench.config import RunConfig
from sla_bench.errors import UserError
from sla_bench.grids.tasks import form_of
from sla_bench.objectives.episodes import OnEpisodes
from sla_bench.registry import METHODS, SCENARIOS, TRANSFORMS
from sla_bench.scenarios.form import plan_of, recipe_batch


@pytest.mark.parametrize("factor", [Fraction(1, 4), Fraction(1, 3), Fraction(1, 2), 1, 3, 4])
@pytest.mark.parametrize("step_factor", [1, 4])
def test_images_stay_and_schedules_stretch_with_the_updates(factor, step_factor):
    unit, units, steps = 4, 48, 1200
    plan = plan_of(int(unit * units * factor), unit, units, steps, step_factor)
    assert plan.units == units * factor
    assert plan.updates == step_factor * steps / factor
    assert plan.stretch == plan.updates / Fraction(steps)
    assert plan.updates * plan.units * unit == steps * units * unit * step_factor


def test_a_training_of_few_steps_has_images_within_a_twentieth_or_says_so():
    assert plan_of(19, 1, 10, 21).updates == 11
    with pytest.raises(UserError, match=r"1\.5 steps of so large a batch"):
        plan_of(20, 1, 10, 3)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_batch_that_is_the_recipes_is_the_recipes_training(scenario):
    for method in ("baseline", "sla"):
        (usual,) = runs_of(scenario, method=[method])
        form = form_of(scenario)
        images = form.unit(usual).images * form.units(usual)
        assert usual.batch_images is None
        (again,) = runs_of(scenario, method=[method], batch_images=images)
        assert again.digest() == usual.digest()
        (other,) = runs_of(scenario, method=[method], batch_images=2 * images)
        assert other.digest() != usual.digest()


def test_records_without_the_field_have_the_recipes_batch():
    assert RunConfig.model_fields["batch_images"].default is None


@pytest.mark.parametrize(
    ("batch", "given", "sentence"),
    [
        (3, {"method": ["sla"]}, "least batch of method 'sla' is one image 4 times, 4 images"),
        (
            30,
            {"method": ["sla"]},
            "multiple of one image 4 times, 4 images through the network; take 28 or 32",
        ),
        (8, {"method": ["sla"], "transform": ["rot_color_perm12"], "dataset": ["cifar10"]}, "12 images"),
        (1, {"method": ["baseline"]}, "greater than or equal to 2"),
    ],
)
def test_a_batch_that_does_not_hold_whole_images_is_refused(batch, given, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        runs_of("standard", batch_images=batch, **given)
    assert "\n" not in str(error.value)


def test_a_batch_is_rounded_to_whole_images_within_a_twentieth():
    (run,) = runs_of("standard", method=["sla"], batch_images=101)
    assert run.batch_images == 100


def test_a_step_is_not_less_than_an_episode():
    with pytest.raises(UserError, match="least batch of method 'sla' is one episode, 300 images"):
        runs_of("fewshot", method=["sla"], batch_images=75)
    # A method that a group names is left out instead.
    found = runs_of("fewshot", method=["baseline", "controls"], batch_images=75)
    assert {run.method for run in found} == {"baseline", "baseline-xM", "ens-M"}


def test_the_recipes_batch_is_the_baselines_for_every_method():
    for scenario, images in (("standard", 64), ("imbalanced", 64), ("fewshot", 75)):
        found = runs_of(scenario, method=["all", "controls"], transform=["rotation"])
        assert {recipe_batch(form_of(scenario), run) for run in found} == {images}


@pytest.mark.parametrize("transform", ["rotation", "color_perm"])
def test_objectives_say_whether_they_pass_views(transform):
    views = TRANSFORMS.load(transform)
    for name in METHODS:
        method = METHODS.load(name)
        per_image = views.num_views if method.trains_on_views else DRAWN.get(name, 1)
        assert OnEpisodes(method, views).copies * per_image == method.images_per_image(views.num_views), name
