import pytest

from sla_bench.errors import UserError
from sla_bench.grid import FewShotOptions, evaluation_of, span
from sla_bench.registry import BACKBONES, LEARNERS, METHODS, TRANSFORMS


def options(**given):
    return FewShotOptions(**given).model_dump()


def test_defaults_are_baseline_and_sla_on_glyphs_with_protonet():
    baseline, sla = span(options())
    assert [t.run.method for t in (baseline, sla)] == ["baseline", "sla"]
    assert {t.run.dataset for t in (baseline, sla)} == {"glyphs"}
    assert baseline.run.transform is None
    assert sla.run.transform == "rotation"
    assert baseline.evaluations == sla.evaluations
    assert (sla.evaluations[0].ways, sla.evaluations[0].shots, sla.evaluations[0].queries) == (5, 5, 15)
    assert sla.evaluations[0].episodes == 2000


def test_protonet_trains_at_the_test_shots_and_ridge_once_for_all():
    tasks = span(options(shots=[1, 5], learner=["protonet", "metaoptnet-rr"], method=["baseline"]))
    trained = [(t.run.learner, t.run.train_shots, [e.shots for e in t.evaluations]) for t in tasks]
    assert trained == [("protonet", 1, [1]), ("protonet", 5, [5]), ("metaoptnet-rr", 5, [1, 5])]


def test_one_baseline_serves_the_views_of_several_transformations():
    tasks = span(options(transform=["rotation", "color_perm"], method=["baseline", "sla"]))
    assert len(tasks) == 3
    assert [e.transform for e in tasks[0].evaluations] == ["rotation", "color_perm"]


def test_all_and_controls_name_the_groups():
    names = [t.run.method for t in span(options(method=["all", "controls"]))]
    assert names[:4] == ["baseline", "da", "mt", "sla"]
    assert {"baseline-xM", "baseline-repM", "ens-M", "baseline-NMway", "rotpool-NMway", "views"} <= set(names)
    assert "sla+sd" not in names
    assert len(names) == len(set(names))


def test_paper_budget_is_metaoptnets_recipe():
    (task,) = span(
        options(dataset=["mini_imagenet"], learner=["metaoptnet-rr"], method=["sla"], budget="paper")
    )
    run = task.run
    assert (run.backbone, run.steps, run.batch_episodes, run.train_shots) == ("resnet12", 60_000, 8, 15)
    assert (run.optimizer, run.learning_rate, run.weight_decay, run.nesterov) == ("sgd", 0.1, 5e-4, True)
    assert run.label_smoothing == 0.1
    (fc100,) = span(options(dataset=["fc100"], learner=["metaoptnet-rr"], method=["sla"], budget="paper"))
    assert fc100.run.label_smoothing == 0


def test_set_changes_any_field_and_the_run_id():
    (plain,) = span(options(method=["sla"]))
    (changed,) = span(options(method=["sla"]), ["steps=7", "learning_rate=1e-3", "episodes=9"])
    assert (changed.run.steps, changed.run.learning_rate, changed.evaluations[0].episodes) == (7, 1e-3, 9)
    assert changed.run.digest(data="x") != plain.run.digest(data="x")
    assert plain.run.digest(data="x") != plain.run.digest(data="y")


def test_options_of_a_piece_reach_only_the_pieces_that_take_them():
    tasks = span(options(learner=["protonet", "metaoptnet-svm"], method=["sla"]), ["learner.C=0.5"])
    assert [t.run.learner_options for t in tasks] == [{}, {"C": 0.5}]


@pytest.mark.parametrize(
    ("given", "settings", "sentence"),
    [
        ({"learner": ["protonett"]}, [], "did you mean 'protonet'"),
        ({"method": ["slaa"]}, [], "did you mean 'sla'"),
        ({"dataset": ["glyph"]}, [], "did you mean 'glyphs'"),
        ({"transform": ["rotatoin"]}, [], "did you mean 'rotation'"),
        ({"backbone": ["resnet-12"]}, [], "did you mean 'resnet12'"),
        ({"budget": "quik"}, [], "did you mean 'quick'"),
        ({"method": ["sla+sd"]}, [], "no fixed set of classes to distil into"),
        ({"ways": 21}, [], "20 val classes"),
        ({"method": ["baseline-NMway"], "ways": 16}, [], "too few for 64 ways"),
        ({"dataset": ["fashion_mnist"], "ways": 5}, [], "4 train classes"),
        ({"dataset": ["fashion_mnist"], "ways": 3, "transform": ["color_perm"]}, [], "grey"),
        ({"dataset": ["folder"]}, [], "folder:PATH"),
        ({}, ["stepps=3"], "did you mean 'steps'"),
        ({}, ["steps"], "key=value"),
        ({}, ["steps=-3"], "greater than or equal to 1"),
        ({}, ["learner.C=1"], "not an option of protonet"),
        ({"learner": ["metaoptnet-svm"]}, ["learner.c=1"], "did you mean 'C'"),
        ({}, ["lerner.C=1"], "did you mean 'learner'"),
        ({}, ["optimizer=adamm"], "did you mean 'adam'"),
        ({}, ["momentum=0.5"], "belongs to optimizer=sgd"),
        ({}, ["milestones={1/2: 0.1}"], "belongs to schedule=steps"),
        ({}, ["optimizer=sgd", "momentum=0"], "momentum above 0"),
        ({"shots": [0]}, [], "greater than or equal to 1"),
    ],
)
def test_refusals_say_what_would_be_right(given, settings, sentence):
    with pytest.raises(UserError, match="(?i)" + sentence.replace("+", r"\+")) as error:
        span(options(**given), settings)
    assert "\n" not in str(error.value)


OTHER_VALUES = {
    "dataset": ["fc100"],
    "learner": ["metaoptnet-rr"],
    "method": ["da"],
    "transform": ["color_perm3"],
    "backbone": ["resnet12"],
    "seed": [5],
    "budget": "smoke",
    "train_ways": 4,
    "train_shots": 2,
    "train_queries": 7,
    "val_shots": 2,
    "precision": "bf16",
    "threads": 2,
    "ways": 4,
    "shots": [3],
    "queries": 9,
    "episodes": 77,
    "test_seed": 8,
}


@pytest.mark.parametrize("option", FewShotOptions.model_fields)
def test_every_option_changes_the_run_or_its_evaluation(option):
    def identity(**given):
        (task,) = span(options(**{"method": ["sla"], **given}))
        return task.run.digest(), [e.digest() for e in task.evaluations]

    assert identity(**{option: OTHER_VALUES[option]}) != identity()


def test_evaluation_of_a_finished_training():
    (task,) = span(options(method=["sla"]))
    again = evaluation_of(task.run, {"shots": 1, "episodes": 10_000}, [])
    assert again.run == task.run
    assert (again.evaluations[0].shots, again.evaluations[0].episodes) == (1, 10_000)
    with pytest.raises(UserError, match="belongs to the training"):
        evaluation_of(task.run, {}, ["steps=3"])
    with pytest.raises(UserError, match="trained with rotation"):
        evaluation_of(task.run, {}, ["transform=color_perm"])


@pytest.mark.parametrize("registry", [LEARNERS, BACKBONES, METHODS, TRANSFORMS])
def test_every_registered_piece_loads_and_takes_its_options(registry):
    import inspect

    for name, entry in registry.items():
        piece = registry.load(name)
        if entry.options:
            assert set(entry.options) <= set(inspect.signature(piece).parameters), name


def test_the_registry_knows_the_number_of_views():
    for name, entry in TRANSFORMS.items():
        assert TRANSFORMS.load(name).num_views == entry.num_views, name
