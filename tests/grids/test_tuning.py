"""Which trials methods get, and what is chosen of them."""

from fractions import Fraction

import pytest
from spanned import tasks_of

from sla_bench.errors import UserError
from sla_bench.grids.tasks import form_of
from sla_bench.grids.tuning import (
    BATCHES,
    RATES,
    TRIAL_SEED,
    WHOLE,
    Choice,
    choice_of,
    chosen_trial,
    finalists,
    group_of,
    trials_of,
    tuned_tasks,
)


@pytest.mark.parametrize(("scenario", "length"), [("standard", 300), ("imbalanced", 10)])
def test_twelve_trials_at_a_quarter_of_the_images_for_every_method_and_control(scenario, length):
    every = tasks_of(scenario, method=["all", "controls"], seed=[0, 1])
    trials = trials_of(every)
    methods = {task.run.method for task in every} - {"ens-M"}
    assert {trial.run.method for trial in trials} == methods
    for method in methods:
        own = [trial for trial in trials if trial.run.method == method]
        wanted = {(float(0.1 * rate), int(64 * batch)) for rate in map(float, RATES) for batch in BATCHES}
        assert {tuple(trial.choice) for trial in own} == wanted
        assert len(own) == len(wanted) == 12
    assert {getattr(trial.run, form_of(scenario).length) for trial in trials} == {length}
    assert {trial.run.seed for trial in trials} == {TRIAL_SEED}
    if scenario == "imbalanced":
        assert {trial.run.subset_seed for trial in trials} == {TRIAL_SEED}
        assert {trial.run.selection for trial in trials} == {"validation"}


def test_classifiers_of_few_shot_learning_get_their_own_batches():
    trials = trials_of(tasks_of("fewshot", method=["sla"], learner=["simpleshot"]))
    # Of 75 images a quarter, a half, all and four times: the nearest multiples of four views.
    assert sorted({trial.choice.batch_images for trial in trials}) == [20, 40, 76, 300]


def test_where_no_batch_holds_an_episode_the_rates_are_tried_at_the_recipes():
    trials = trials_of(
        tasks_of("fewshot", method=["sla"], transform=["rot_color_perm12"], dataset=["cifar_fs"])
    )
    assert [trial.run.batch_images for trial in trials] == [None] * 3
    assert {trial.choice.batch_images for trial in trials} == {900}


def test_an_ensemble_takes_the_choice_of_its_members():
    baseline, ensemble = tasks_of("standard", method=["baseline", "ens-M"])
    assert group_of(ensemble.run) == group_of(baseline.run)
    assert {trial.run.method for trial in trials_of([ensemble])} == {"baseline"}
    choice = Choice(0.2, 16)
    first, second = tuned_tasks([baseline, ensemble], {group_of(baseline.run): choice})
    assert choice_of(first.run) == choice_of(second.run) == choice
    assert (first.run.method, second.run.method) == ("baseline", "ens-M")


def test_the_best_two_of_a_group_are_tried_again_and_the_better_of_them_is_chosen():
    trials = trials_of(tasks_of("standard", method=["sla"]))
    scores = {trial: k / 100 for k, trial in enumerate(trials)}
    first, second = finalists(trials, scores)
    assert [first.choice, second.choice] == [trials[-1].choice, trials[-2].choice]
    assert {trial.share for trial in (first, second)} == {WHOLE}
    assert {trial.run.steps for trial in (first, second)} == {1200}
    scores |= {first: 0.05, second: 0.06}
    assert chosen_trial([*trials, first, second], scores) is second
    # Where both diverged at all images, the best at a quarter counts.
    scores |= {first: -1.0, second: -1.0}
    assert chosen_trial([*trials, first, second], scores) is trials[-1]


def test_of_equals_the_recipes_own_is_chosen_and_one_that_diverged_is_no_finalist():
    trials = trials_of(tasks_of("standard", method=["baseline"]))
    assert chosen_trial(trials, dict.fromkeys(trials, 0.5)).choice == Choice(0.1, 64)
    alone = {trial: 0.5 if k == 3 else -1.0 for k, trial in enumerate(trials)}
    assert [trial.choice for trial in finalists(trials, alone)] == [trials[3].choice]


def test_a_choice_that_is_the_recipes_is_no_further_training():
    (task,) = tasks_of("standard", method=["sla"])
    assert tuned_tasks([task], {group_of(task.run): Choice(0.1, 256)}) == []
    (tuned,) = tuned_tasks([task], {group_of(task.run): Choice(0.1, 64)})
    assert (tuned.run.batch_images, tuned.run.learning_rate) == (64, 0.1)


def test_an_eighth_is_an_eighth():
    (trial, *_) = trials_of(tasks_of("standard", method=["sla"]), Fraction(1, 8))
    assert (trial.run.steps, trial.share) == (150, Fraction(1, 8))


def test_a_batch_or_the_seed_of_the_trials_is_refused():
    for given, sentence in (({"batch_images": 128}, "leave --batch-images"), ({"seed": [999]}, "--seed 999")):
        with pytest.raises(UserError, match=sentence):
            trials_of(tasks_of("standard", method=["sla"], **given))
