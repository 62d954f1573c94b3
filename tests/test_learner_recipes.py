"""Learners with their own recipes, and pieces that need missing libraries."""

import pytest
from spanned import tasks_of

from sla_bench.cli.options import TrainingExecution
from sla_bench.cli.run import execute
from sla_bench.errors import UserError
from sla_bench.grids.asked import asked_of
from sla_bench.grids.tasks import evaluation_of
from sla_bench.records import readiness
from sla_bench.records.jobs import Job
from sla_bench.records.store import Store
from sla_bench.scenarios.fewshot.form import FORM
from sla_bench.scenarios.fewshot.recipes import BY_LEARNER
from sla_bench.tables.run_list import command_of


def tasks(*settings, **options):
    given = {"method": ["baseline"], **options}
    return tasks_of("fewshot", settings, **given)


def test_published_recipes():
    (maml,) = tasks(learner=["maml"], budget="paper", dataset=["mini_imagenet"])
    run = maml.run
    assert run.learner_options == {
        "inner_steps": 5,
        "inner_rate": 0.01,
        "first_order": False,
        "test_inner_steps": 10,
    }
    assert (run.backbone, run.steps, run.batch_episodes, run.learning_rate) == ("conv4-32", 60_000, 4, 1e-3)
    assert (run.optimizer, run.schedule, run.milestones) == ("adam", "steps", {})
    assert maml.evaluations[0].episodes == 600
    (anil,) = tasks(learner=["anil"], budget="paper", dataset=["fc100"])
    assert (anil.run.backbone, anil.run.steps, anil.run.batch_episodes) == ("conv4", 1000, 32)
    assert anil.run.learner_options["inner_rate"] == 0.1
    (cifar,) = tasks(learner=["anil"], budget="paper", dataset=["cifar_fs"])
    assert (cifar.run.learning_rate, cifar.run.batch_episodes) == (3e-3, 16)


def test_files_of_learn2learn_have_the_recipe_of_their_data_set():
    (theirs,) = tasks(learner=["anil"], budget="paper", dataset=["learn2learn:FC100"])
    (ours,) = tasks(learner=["anil"], budget="paper", dataset=["fc100"])
    assert theirs.run.model_dump(exclude={"dataset"}) == ours.run.model_dump(exclude={"dataset"})


def test_they_train_at_the_shots_of_the_test():
    for learner in ("anil", "maml"):
        (one,) = tasks(learner=[learner], shots=[1])
        assert (one.run.train_shots, one.run.val_shots) == (1, 1)


@pytest.mark.parametrize("learner", BY_LEARNER)
@pytest.mark.parametrize("budget", ["smoke", "quick", "paper"])
def test_records_name_the_recipe_by_the_budget_and_their_command_makes_them_again(learner, budget):
    (plain,) = tasks(learner=[learner], budget=budget)
    assert asked_of(plain.run, plain.evaluations[0]).label() == budget
    (changed,) = tasks("learner.inner_steps=2", learner=[learner], budget=budget)
    assert asked_of(changed.run, changed.evaluations[0]).label() == f"{budget}, learner.inner_steps=2"
    command = command_of(changed.run, changed.evaluations[0])
    assert command.count("learner.") == 1
    assert command.count("--set") == 1
    assert "--set" not in command_of(plain.run, plain.evaluations[0])


def test_an_option_of_a_learner_and_the_field_of_its_name_are_told_apart():
    labels = []
    for setting in ("learner.learning_rate=0.02", "learning_rate=0.02"):
        (one,) = tasks(setting, learner=["cosine"])
        labels.append(asked_of(one.run, one.evaluations[0]).label())
    assert labels == [f"quick, {s}" for s in ("learner.learning_rate=0.02", "learning_rate=0.02")]


def test_a_later_evaluation_has_as_many_episodes_as_the_recipe_says():
    (one,) = tasks(learner=["maml"])
    again = evaluation_of(one.run, {"shots": 1}, [])
    assert (again.evaluations[0].shots, again.evaluations[0].episodes) == (1, 600)


def test_inner_steps_count_in_the_estimate():
    few, many = (tasks(f"learner.inner_steps={n}", learner=["maml"])[0].run for n in (0, 4))
    supports = few.steps * few.batch_episodes * few.train_ways * few.train_shots
    assert FORM.relative_images(many) - FORM.relative_images(few) == 4 * supports


def jobs_of(found, tmp_path):
    return [Job(str(n), t.run, {}, "", "", tmp_path, tmp_path, "cpu") for n, t in enumerate(found)]


def test_jobs_that_need_a_missing_library_are_told_and_the_others_are_not_kept(tmp_path, monkeypatch):
    found = [*tasks(learner=["maml", "protonet"]), *tasks(learner=["protonet"], backbone=["l2l-cnn4"])]
    jobs = jobs_of(found, tmp_path)
    monkeypatch.setattr(readiness.importlib.util, "find_spec", lambda name: None)
    ready, lacking = readiness.split_by_requirements(jobs)
    assert [job.run.learner for job in ready] == ["protonet"]
    first, second = lacking
    assert first.startswith("learner 'maml' needs learn2learn; install it with: pip install")
    assert second.startswith("backbone 'l2l-cnn4' needs learn2learn")
    assert "\n" not in first
    monkeypatch.setattr(readiness.importlib.util, "find_spec", lambda name: object())
    assert readiness.split_by_requirements(jobs) == (jobs, {})


def test_a_command_with_nothing_else_ends_with_the_recipe_and_a_grid_goes_on(tmp_path, monkeypatch, capsys):
    started = []

    def launch(jobs, settings):
        started.extend(job.run.learner for job in jobs)
        yield from ()

    monkeypatch.setattr(readiness.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("sla_bench.cli.run.LAUNCHERS.load", lambda name: launch)
    jobs = jobs_of(tasks(learner=["maml", "protonet"]), tmp_path)
    store = Store(tmp_path, "fewshot")
    (failure,) = execute(jobs, store, TrainingExecution(out=tmp_path))
    assert (failure.job.run.learner, failure.exit_code, started) == ("maml", 2, ["protonet"])
    assert capsys.readouterr().err.startswith("learner 'maml' needs learn2learn; install it with: pip")
    with pytest.raises(UserError, match="learner 'maml' needs learn2learn; install it with: pip"):
        execute(jobs[:1], store, TrainingExecution(out=tmp_path))
    assert started == ["protonet"]
