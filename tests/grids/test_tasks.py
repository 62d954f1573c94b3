from fractions import Fraction

import pytest
from spanned import tasks_of

from sla_bench.errors import UserError
from sla_bench.grids.tasks import evaluation_of, form_of, method_refusal, options_model
from sla_bench.registry import BACKBONES, LEARNERS, LOSSES, METHODS, SCENARIOS, TRANSFORMS
from sla_bench.scenarios.fewshot.form import validation_ways
from sla_bench.training.loop import learning_rate_factor


def test_defaults_are_baseline_and_sla_on_glyphs_with_protonet():
    baseline, sla = tasks_of("fewshot")
    assert [t.run.method for t in (baseline, sla)] == ["baseline", "sla"]
    assert {t.run.dataset for t in (baseline, sla)} == {"glyphs"}
    assert baseline.run.transform is None
    assert sla.run.transform == "rotation"
    assert baseline.evaluations == sla.evaluations
    assert (sla.evaluations[0].ways, sla.evaluations[0].shots, sla.evaluations[0].queries) == (5, 5, 15)
    assert sla.evaluations[0].episodes == 2000


def test_protonet_trains_at_the_test_shots_and_ridge_once_for_all():
    tasks = tasks_of("fewshot", shots=[1, 5], learner=["protonet", "metaoptnet-rr"], method=["baseline"])
    trained = [(t.run.learner, t.run.train_shots, [e.shots for e in t.evaluations]) for t in tasks]
    assert trained == [("protonet", 1, [1]), ("protonet", 5, [5]), ("metaoptnet-rr", 5, [1, 5])]


def test_one_baseline_serves_the_views_of_several_transformations():
    tasks = tasks_of("fewshot", transform=["rotation", "color_perm"], method=["baseline", "sla"])
    assert len(tasks) == 3
    assert [e.transform for e in tasks[0].evaluations] == ["rotation", "color_perm"]


def test_all_and_controls_name_the_groups():
    names = [t.run.method for t in tasks_of("fewshot", method=["all", "controls"])]
    assert names[:4] == ["baseline", "da", "mt", "sla"]
    assert {"baseline-xM", "baseline-repM", "ens-M", "baseline-NMway", "rotpool-NMway", "views"} <= set(names)
    assert "sla+sd" not in names
    assert len(names) == len(set(names))


def test_controls_that_a_data_set_has_too_few_classes_for_are_left_out_of_their_group():
    given = {"dataset": ["fashion_mnist"], "ways": 3}
    names = {t.run.method for t in tasks_of("fewshot", method=["baseline", "controls"], **given)}
    assert {"baseline", "baseline-xM", "ens-M", "rotpool-NMway", "views"} <= names
    assert "baseline-NMway" not in names
    with pytest.raises(UserError, match=r"has 4 train classes, too few for 12 ways: .*4 times the ways"):
        tasks_of("fewshot", method=["baseline", "baseline-NMway"], **given)


def test_paper_budget_is_metaoptnets_recipe():
    (task,) = tasks_of(
        "fewshot", dataset=["mini_imagenet"], learner=["metaoptnet-rr"], method=["sla"], budget="paper"
    )
    run = task.run
    assert (run.backbone, run.steps, run.batch_episodes, run.train_shots) == ("resnet12", 60_000, 8, 15)
    assert (run.optimizer, run.learning_rate, run.weight_decay, run.nesterov) == ("sgd", 0.1, 5e-4, True)
    assert run.label_smoothing == 0.1
    (fc100,) = tasks_of(
        "fewshot", dataset=["fc100"], learner=["metaoptnet-rr"], method=["sla"], budget="paper"
    )
    assert fc100.run.label_smoothing == 0


def test_set_changes_any_field_and_the_run_id():
    (plain,) = tasks_of("fewshot", method=["sla"])
    (changed,) = tasks_of("fewshot", ["steps=7", "learning_rate=1e-3", "episodes=9"], method=["sla"])
    assert (changed.run.steps, changed.run.learning_rate, changed.evaluations[0].episodes) == (7, 1e-3, 9)
    assert changed.run.digest(data="x") != plain.run.digest(data="x")
    assert plain.run.digest(data="x") != plain.run.digest(data="y")


def test_options_of_a_piece_reach_only_the_pieces_that_take_them():
    tasks = tasks_of("fewshot", ["learner.C=0.5"], learner=["protonet", "metaoptnet-svm"], method=["sla"])
    assert [t.run.learner_options for t in tasks] == [{}, {"C": 0.5}]


def test_validation_has_the_ways_of_the_test_however_many_train():
    (task,) = tasks_of("fewshot", method=["baseline"], dataset=["cifar_fs"], train_ways=20)
    assert (task.run.train_ways, validation_ways(task.run), task.evaluations[0].ways) == (20, 5, 5)
    (same,) = tasks_of("fewshot", method=["baseline"], dataset=["cifar_fs"], train_ways=16, val_ways=16)
    assert (same.run.val_ways, validation_ways(same.run)) == (None, 16)
    (usual,) = tasks_of("fewshot", method=["baseline"])
    assert usual.run.val_ways is None
    with pytest.raises(UserError, match="16 val classes, too few for 17 ways: --val-ways 17"):
        tasks_of("fewshot", method=["baseline"], dataset=["cifar_fs"], val_ways=17)


OTHER_VALUES = {
    "fewshot": {
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
        "val_ways": 3,
        "val_shots": 2,
        "selection": "last",
        "precision": "bf16",
        "batch_images": 600,
        "ways": 4,
        "shots": [3],
        "queries": 9,
        "episodes": 77,
        "test_seed": 8,
        "test_dataset": "omniglot",
        "support_crops": 3,
    },
    "imbalanced": {
        "dataset": ["glyphs"],
        "method": ["da"],
        "transform": ["color_perm3"],
        "backbone": ["resnet20-ldam"],
        "seed": [5],
        "budget": "smoke",
        "precision": "bf16",
        "batch_images": 64,
        "loss": ["ldam-drw"],
        "mix": ["cutmix"],
        "stage_two": ["ncm"],
        "imbalance": "step",
        "ratio": [10.0],
        "max_class_size": 50,
        "subset_seed": 3,
        "class_order": "identity",
        "order_seed": 2,
        "sampler": "sqrt",
        "loss_reduction": "sum",
        "selection": "best-test",
        "test_seed": 8,
    },
    "standard": {
        "dataset": ["glyphs"],
        "method": ["da"],
        "transform": ["color_perm3"],
        "mix": ["cutmix"],
        "ensemble": [3],
        "backbone": ["resnet20-sla"],
        "seed": [5],
        "budget": "smoke",
        "precision": "bf16",
        "batch_images": 64,
        "loss_reduction": "sum",
        "selection": "validation",
        "val_indices": "positions.txt#0123456789abcdef",
        "val_fraction": 0.2,
        "val_seed": 4,
        "test_seed": 8,
    },
}


def every_option():
    # Those of pretrained networks, which need files: tests/scenarios/test_pretraining.py.
    apart = ("weights", "train", "allow_seen_classes")
    fields = {name: options_model(form_of(name)).model_fields for name in SCENARIOS}
    return [(name, option) for name, own in fields.items() for option in own if option not in apart]


@pytest.mark.parametrize(("scenario", "option"), every_option())
def test_every_option_changes_the_run_or_its_evaluation(scenario, option):
    def identity(**given):
        tasks = tasks_of(scenario, **{"method": ["sla"], **given})
        return [(task.run.digest(), [e.digest() for e in task.evaluations]) for task in tasks]

    assert identity(**{option: OTHER_VALUES[scenario][option]}) != identity()


def test_evaluation_of_a_finished_training():
    (task,) = tasks_of("fewshot", method=["sla"])
    again = evaluation_of(task.run, {"shots": 1, "episodes": 10_000}, [])
    assert again.run == task.run
    assert (again.evaluations[0].shots, again.evaluations[0].episodes) == (1, 10_000)
    with pytest.raises(UserError, match="the training is finished"):
        evaluation_of(task.run, {}, ["steps=3"])
    with pytest.raises(UserError, match="trained with rotation"):
        evaluation_of(task.run, {}, ["transform=color_perm"])


@pytest.mark.parametrize("registry", [LEARNERS, LOSSES, BACKBONES, METHODS, TRANSFORMS])
def test_every_registered_piece_loads_and_takes_its_options(registry):
    import inspect

    for name, entry in registry.items():
        piece = registry.load(f"{name}:lite0" if name in registry.arguments else name)
        if entry.options:
            made_by = type(piece) if registry is METHODS else piece
            assert set(entry.options) <= set(inspect.signature(made_by).parameters), name


def test_which_methods_a_scenario_refuses():
    refused = {s: {n for n in METHODS if method_refusal(n, s)} for s in SCENARIOS}
    about_episodes = {"views", "baseline-NMway", "rotpool-NMway"}
    assert refused == {
        "fewshot": {"sla+sd", "sla+u", "da+sd", "ssp", "ssp+sla"},
        "imbalanced": about_episodes,
        "standard": about_episodes,
    }


def test_a_plain_imbalanced_command_compares_baseline_and_distilled_sla():
    baseline, distilled = tasks_of("imbalanced")
    assert (baseline.run.method, distilled.run.method) == ("baseline", "sla+sd")
    assert baseline.run.dataset == "glyphs20"
    assert (baseline.run.ratio, baseline.run.loss, baseline.run.class_order) == (100.0, "ce", "permuted")
    assert baseline.run.epochs >= 40


@pytest.mark.parametrize("loss", ["ce", "ldam-drw"])
def test_the_quick_long_tail_warms_up_whatever_the_method_and_other_recipes_do_not(loss):
    tasks = tasks_of("imbalanced", method=["all", "controls"], loss=[loss])
    assert {t.run.warmup for t in tasks} == {1 / 8}
    assert {t.run.warmup for budget in ("smoke", "paper") for t in tasks_of("imbalanced", budget=budget)} == {
        0
    }


def test_in_quick_runs_each_seed_has_an_order_of_its_own_and_identity_stays_a_setting():
    assert {t.run.order_shifts for t in tasks_of("imbalanced", seed=[0, 1])} == {0}
    (published,) = tasks_of("imbalanced", method=["sla"], seed=[3], class_order="identity", subset_seed=0)
    assert (published.run.class_order, published.run.subset_seed) == ("identity", 0)


def test_the_subset_follows_the_seed_in_quick_runs_and_is_fixed_in_the_papers():
    quick = tasks_of("imbalanced", seed=[0, 3], method=["sla"])
    assert [t.run.subset_seed for t in quick] == [0, 3]
    paper = tasks_of("imbalanced", seed=[0, 3], method=["sla"], budget="paper", dataset=["cifar100"])
    assert [t.run.subset_seed for t in paper] == [0, 0]
    assert {t.run.backbone for t in paper} == {"resnet32-ldam"}
    assert {t.run.class_order for t in paper} == {"identity"}


@pytest.mark.parametrize(
    ("dataset", "backbone"),
    [
        ("cifar10", "resnet32-ldam"),
        ("cub200", "resnet18"),
        ("folder:photographs", "resnet18"),
        ("folder:icons:32", "resnet32-ldam"),
        ("imagenet_lt", "resnet50"),
    ],
)
def test_paper_budget_takes_the_backbone_that_suits_the_size_of_the_images(dataset, backbone):
    (task,) = tasks_of("imbalanced", method=["baseline"], budget="paper", dataset=[dataset])
    assert task.run.backbone == backbone


def test_paper_budget_is_ldam_drws_schedule():
    (task,) = tasks_of("imbalanced", method=["baseline"], budget="paper", dataset=["cifar10"])
    run = task.run
    rates = [
        run.learning_rate * learning_rate_factor(run.schedule, run.milestones, Fraction(epoch, 200))
        for epoch in range(200)
    ]
    expected = [0.1 * (e + 1) / 5 for e in range(5)] + [0.1] * 155 + [1e-3] * 20 + [1e-5] * 20
    assert rates == pytest.approx(expected)
    assert (run.epochs, run.batch_size, run.weight_decay, run.momentum) == (200, 128, 2e-4, 0.9)


def test_data_that_are_imbalanced_already_are_used_as_they_are():
    (task,) = tasks_of("imbalanced", method=["sla"], dataset=["folder:/somewhere"])
    assert (task.run.imbalance, task.run.ratio, task.run.class_order) == ("none", 1.0, "identity")
    (task,) = tasks_of(
        "imbalanced", method=["sla"], dataset=["folder:/somewhere"], imbalance="exp", ratio=[20]
    )
    assert (task.run.imbalance, task.run.ratio) == ("exp", 20.0)


def test_baselines_do_not_depend_on_the_reduction_of_a_joint_loss():
    mean, total = (
        tasks_of("imbalanced", method=["baseline", "sla"], loss_reduction=r) for r in ("mean", "sum")
    )
    assert [a.run == b.run for a, b in zip(mean, total, strict=True)] == [True, False]


def test_a_plain_standard_command_compares_baseline_and_sla():
    baseline, sla = tasks_of("standard")
    assert (baseline.run.method, sla.run.method) == ("baseline", "sla")
    assert baseline.run.dataset == "glyphs20"
    assert (baseline.run.selection, baseline.run.val_fraction, baseline.run.mix) == ("last", 0.1, "none")
    assert (baseline.run.transform, baseline.evaluations) == (None, sla.evaluations)


@pytest.mark.parametrize(
    ("dataset", "backbone", "steps", "falls"),
    [
        ("cifar100", "resnet32-sla", 80_000, (1 / 2, 3 / 4)),
        ("folder:/somewhere", "resnet18", 80_000, (1 / 2, 3 / 4)),
        ("inaturalist2018", "resnet18", 900_000, (1 / 3, 2 / 3)),
    ],
)
def test_the_papers_budget_is_slas_schedule(dataset, backbone, steps, falls):
    (task,) = tasks_of("standard", method=["baseline"], budget="paper", dataset=[dataset])
    run = task.run
    rates = {
        run.learning_rate * learning_rate_factor(run.schedule, run.milestones, Fraction(step, steps))
        for step in (0, round(falls[0] * steps) - 1)
    }
    later = [
        learning_rate_factor(run.schedule, run.milestones, Fraction(round(f * steps), steps)) for f in falls
    ]
    assert rates == {0.1}
    assert later == pytest.approx([0.1, 0.01])
    assert (run.steps, run.backbone, run.batch_size) == (steps, backbone, 128)
    assert (run.optimizer, run.momentum, run.nesterov, run.weight_decay) == ("sgd", 0.9, False, 1e-4)
    assert (run.selection, run.steps / run.validations) == ("validation", 1000)


def test_an_ensemble_is_added_to_what_is_asked_for():
    (alone,) = tasks_of("standard", method=["sla"])
    added = tasks_of("standard", method=["sla"], ensemble=[6, 3], seed=[1, 0])
    assert alone in added
    ensembles = [(t.run.method, t.run.ensemble, t.run.seed) for t in added if t.run.method != "sla"]
    assert ensembles == [("baseline", size, seed) for size in (6, 3) for seed in (1, 0)]


def test_the_content_of_an_index_file_makes_the_run_not_its_name(tmp_path):
    ids = set()
    for name, text in {"a.txt": "3\n5\n", "b.json": "[5, 3]", "c.txt": "3\n6\n"}.items():
        (tmp_path / name).write_text(text)
        (task,) = tasks_of("standard", method=["sla"], val_indices=str(tmp_path / name))
        assert (task.run.val_fraction, task.run.val_indices.partition("#")[0]) == (0, str(tmp_path / name))
        ids.add(task.run.digest())
    assert len(ids) == 2


REFUSALS = {
    "fewshot": [
        ({"learner": ["protonett"]}, [], "did you mean 'protonet'"),
        ({"method": ["contrls"]}, [], "did you mean 'controls'"),
        ({"method": ["sla+sd"]}, [], "no fixed set of classes to distil into"),
        ({"ways": 21}, [], "20 test classes"),
        ({"method": ["baseline-NMway"], "ways": 16}, [], "too few for 64 ways"),
        ({"dataset": ["fashion_mnist"], "ways": 5}, [], "4 train classes"),
        ({"dataset": ["fashion_mnist"], "ways": 3, "transform": ["color_perm"]}, [], "grey"),
        ({"dataset": ["folder"]}, [], "folder:PATH"),
        ({}, ["stepps=3"], "did you mean 'steps'"),
        ({}, ["steps=-3"], "greater than or equal to 1"),
        ({}, ["learner.C=1"], "not an option of protonet"),
        ({}, ["lerner.C=1"], "did you mean 'learner'"),
        ({}, ["momentum=0.5"], "no effect unless optimizer=sgd"),
        ({}, ["backbone.drop_rate=0.3"], "not an option of conv4"),
        ({"queries": 256}, [], "less than or equal to 255"),
        ({}, ["schedule=steps", "milestones={50: 0.1}"], "fraction of the training from 0 to below 1"),
        ({}, ["schedule=steps", "milestones={1/0: 0.1}"], "fraction of the training from 0 to below 1"),
        ({}, ["schedule=steps", "milestones={1/2: -0.1}"], "of at least 0, not 1/2: -0.1"),
        ({}, ["milestones={1/2: 0.1}"], "no effect unless schedule=steps"),
        ({}, ["optimizer=sgd", "momentum=0"], "momentum above 0"),
    ],
    "imbalanced": [
        ({"loss": ["ldam-drv"]}, [], "did you mean 'ldam-drw'"),
        ({"ratio": [0.5]}, [], "--ratio 0.5: input should be greater than or equal to 1"),
        ({"imbalance": "none", "ratio": [10.0]}, [], "has no effect with --imbalance none"),
        ({"class_order": "identity", "order_seed": 3}, [], "has no effect with --class-order identity"),
        ({"method": ["baseline-NMway"]}, [], "refused for imbalanced learning: it is about episodes"),
        ({"dataset": ["fashion_mnist"], "transform": ["color_perm"]}, [], "are grey"),
        ({"loss": ["ce"]}, ["loss.beta=0.9"], "not an option of ce"),
        ({}, ["learner.C=1"], "unknown piece 'learner'"),
        ({}, ["shots=1"], "no such field"),
    ],
    "standard": [
        ({"mix": ["cutout"]}, ["mix.alpha=1"], "--set mix.alpha: not an option of cutout"),
        ({"ensemble": [0]}, [], "--ensemble 0: input should be greater than or equal to 1"),
        ({"method": ["views"]}, [], "refused for fully supervised learning: it is about episodes"),
        ({"selection": "validation", "val_fraction": 0}, [], "needs images to validate on"),
        ({"val_fraction": 1}, [], "--val-fraction 1.0: input should be less than 1"),
        ({"val_fraction": 0, "val_seed": 1}, [], "--val-seed has no effect with --val-fraction 0"),
        ({"val_indices": "/nowhere/a.txt"}, [], "--val-indices /nowhere/a.txt: it can't be read"),
        (
            {"val_indices": "a#0123456789abcdef", "val_fraction": 0.2},
            [],
            "--val-fraction has no effect with --val-indices",
        ),
        ({"val_indices": "a#0123456789abcdef", "val_seed": 2}, [], "--val-seed has no effect"),
    ],
}


@pytest.mark.parametrize(
    ("scenario", "given", "settings", "sentence"),
    [(scenario, *case) for scenario, cases in REFUSALS.items() for case in cases],
)
def test_refusals_say_in_one_line_what_would_be_right(scenario, given, settings, sentence):
    with pytest.raises(UserError) as error:
        tasks_of(scenario, settings, **given)
    assert sentence.lower() in str(error.value).lower()
    assert "\n" not in str(error.value)
