from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sla_bench.errors import UserError
from sla_bench.grid import form_of, options_model, span
from sla_bench.tuning import FACTORS, at_recipe_rate, chosen_factor, group_of, trials_of, tuned_tasks


def tasks(scenario="fewshot", settings=(), **given):
    form = form_of(scenario)
    return span(form, options_model(form)(**given).model_dump(), settings)


@pytest.mark.parametrize("scenario", ["fewshot", "imbalanced", "standard"])
def test_a_group_is_all_but_seed_and_rate(scenario):
    one, other = (t.run for t in tasks(scenario, seed=[0, 1], method=["baseline"]))
    assert group_of(one) == group_of(other)
    assert group_of(one) == group_of(one.model_copy(update={"learning_rate": 7.0}))
    different = tasks(scenario, method=["sla"])[0].run
    assert group_of(one) != group_of(different)
    longer = tasks(scenario, ["validations=3"], method=["baseline"])[0].run
    assert group_of(one) != group_of(longer)


def test_every_method_has_as_many_trials_around_the_recipes_rate():
    wanted = tasks(method=["all", "controls"], seed=[2, 0])
    trials = trials_of(wanted)
    methods = {t.run.method for t in wanted}
    assert sorted((t.run.method, t.factor) for t in trials) == sorted(
        (m, f) for m in methods for f in FACTORS
    )
    for trial in trials:
        assert trial.run.seed == 2
        assert trial.run.learning_rate == pytest.approx(2e-3 * float(trial.factor))


def test_a_given_rate_is_refused():
    with pytest.raises(UserError, match=r"learning_rate=0\.5"):
        trials_of(tasks(settings=["learning_rate=0.5"]))


accuracies = st.fixed_dictionaries({factor: st.sampled_from([-1.0, 0.2, 0.5]) for factor in FACTORS})


@given(accuracies)
def test_the_best_wins_and_of_equals_the_recipes(found):
    chosen = chosen_factor(found)
    assert found[chosen] == max(found.values())
    if found[Fraction(1)] == found[chosen]:
        assert chosen == 1
    elif found[Fraction(1, 3)] == found[chosen]:
        assert chosen == Fraction(1, 3)


def test_tuned_tasks_are_those_whose_rate_is_another():
    wanted = tasks(method=["baseline", "sla"], seed=[0, 1])
    rates = {group_of(wanted[0].run): 2e-3, group_of(wanted[1].run): 6e-3}
    tuned = tuned_tasks(wanted, rates)
    assert [(t.run.method, t.run.seed, t.run.learning_rate) for t in tuned] == [
        ("sla", 0, 6e-3),
        ("sla", 1, 6e-3),
    ]
    assert [t.evaluations for t in tuned] == [wanted[1].evaluations, wanted[3].evaluations]
    assert at_recipe_rate(tuned[0].run) == wanted[1].run


def test_a_scenario_without_validation_images_is_refused():
    with pytest.raises(UserError, match="--val-fraction 0 leaves no images to validate on"):
        trials_of(tasks("standard", val_fraction=0))
    assert len(trials_of(tasks("standard"))) == 2 * len(FACTORS)


def test_trials_on_a_long_tail_set_training_images_aside():
    trials = trials_of(tasks("imbalanced", method=["baseline"]))
    assert [t.run.selection for t in trials] == ["validation"] * 3
    assert not any(t.takes_best for t in trials)
    assert all(t.takes_best for t in trials_of(tasks("imbalanced", selection="validation")))
