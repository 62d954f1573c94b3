"""Budget `fast`: its recipes, and unchanged older budgets."""

from dataclasses import replace

import pytest
from real_formats import write_folder
from spanned import tasks_of

from sla_bench.cli.app import run_command_line
from sla_bench.cli.options import TrainingExecution
from sla_bench.cli.run import execute
from sla_bench.errors import UserError
from sla_bench.grids.asked import asked_of
from sla_bench.grids.tasks import evaluation_of, form_of
from sla_bench.records.jobs import Job
from sla_bench.records.store import Store
from sla_bench.registry import LEARNERS, SCENARIOS
from sla_bench.scenarios.fewshot.class_training import as_classifier_run
from sla_bench.scenarios.form import step_images

DATASETS = {
    "imbalanced": ["cifar100", "cifar10", "fashion_mnist", "glyphs20", "folder:/somewhere:32"],
    "standard": ["cifar100", "cifar10", "fashion_mnist", "glyphs20", "folder:/somewhere:32"],
    "fewshot": ["cifar_fs", "fc100", "mini_imagenet", "omniglot", "glyphs", "folder:/somewhere:32"],
}
PAIRS = [(scenario, dataset) for scenario, datasets in DATASETS.items() for dataset in datasets]
FROZEN = [name for name, entry in LEARNERS.items() if entry.trains_on == "classes"]
EPISODIC = ["protonet", "metaoptnet-rr", "metaoptnet-svm"]


def tasks(scenario, *settings, **options):
    given = {"budget": "fast", "method": ["baseline"], **options}
    return tasks_of(scenario, settings, **given)


def task(*arguments, **options):
    (one,) = tasks(*arguments, **options)
    return one


@pytest.mark.parametrize(("scenario", "dataset"), PAIRS)
def test_all_methods_and_controls_have_the_recipe_of_the_baseline(scenario, dataset):
    found = tasks(scenario, dataset=[dataset], method=["all", "controls"])
    own = {"method", "transform", "train_ways"}
    recipes = [one.run.model_dump(exclude=own) for one in found]
    assert len(recipes) > 5
    assert all(recipe == recipes[0] for recipe in recipes)
    assert recipes[0]["precision"] == "bf16"
    labels = {asked_of(one.run, test).label() for one in found for test in one.evaluations}
    assert labels == {"fast"}


@pytest.mark.parametrize(
    ("scenario", "options", "words"),
    [
        ("imbalanced", {"dataset": ["imagenet_lt"]}, "no recipe for imagenet_lt in the scenario imbalanced"),
        ("standard", {"dataset": ["tiny_imagenet"]}, "no recipe for tiny_imagenet in the scenario standard"),
        ("fewshot", {"dataset": ["tiered_imagenet"]}, "no recipe for tiered_imagenet in"),
        ("fewshot", {"dataset": ["fashion_mnist"], "ways": 3}, "no recipe for fashion_mnist"),
        ("fewshot", {"learner": ["maml"]}, "no recipe for the learner maml"),
    ],
)
def test_without_a_recipe_a_sentence_names_the_budgets_that_have_one(scenario, options, words):
    with pytest.raises(UserError) as error:
        tasks(scenario, **options)
    assert words in str(error.value)
    assert str(error.value).endswith("take --budget quick or paper")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("budget", ["smoke", "quick", "paper"])
def test_older_budgets_are_in_fp32_with_random_flips_and_whole_decay(scenario, budget):
    run = task(scenario, budget=budget).run
    assert (run.precision, run.flips, run.decay_biases, run.averaged) == ("fp32", "random", True, 0.0)
    # So their runs have the ids of versions without these fields.
    younger = {"flips", "decay_biases", "averaged", *({"batch_size"} if scenario == "fewshot" else ())}
    assert not younger & run.identity().keys()


def test_a_loss_has_the_rate_of_its_recipe_and_is_still_called_fast():
    found = tasks("imbalanced", loss=["ce", "cb-rw"], method=["baseline", "sla+sd"])
    rates = {(one.run.loss, one.run.learning_rate) for one in found}
    assert rates == {("ce", 0.2), ("cb-rw", 0.025)}
    assert {asked_of(one.run, one.evaluations[0]).label() for one in found} == {"fast"}


def test_each_seed_has_a_subset_and_an_order_of_classes_of_its_own():
    runs = [one.run for one in tasks("imbalanced", dataset=["cifar100"], seed=[0, 7])]
    assert [(r.class_order, r.order_shifts, r.subset_seed) for r in runs] == [
        ("permuted", 0, 0),
        ("permuted", 0, 7),
    ]
    published = {"class_order": "identity", "subset_seed": 0}
    runs = [one.run for one in tasks("imbalanced", dataset=["cifar100"], seed=[0, 7], **published)]
    assert [(r.class_order, r.subset_seed) for r in runs] == [("identity", 0)] * 2
    assert task("imbalanced", budget="quick", dataset=["cifar100"]).run.class_order == "identity"


@pytest.mark.parametrize("learner", FROZEN)
def test_a_classifier_has_batches_of_its_own_whatever_the_test(learner):
    one, other = (task("fewshot", learner=[learner], dataset=["cifar_fs"], ways=w) for w in (5, 10))
    assert as_classifier_run(one.run).batch_size == 128
    assert step_images(form_of("fewshot"), one.run) == 128
    assert one.run.model_dump(exclude={"val_ways"}) == other.run.model_dump(exclude={"val_ways"})
    (sla,) = tasks("fewshot", learner=[learner], dataset=["cifar_fs"], method=["sla"])
    assert step_images(form_of("fewshot"), sla.run) == 4 * 128
    (quick,) = tasks("fewshot", "batch_size=64", learner=[learner], budget="quick")
    assert as_classifier_run(quick.run).batch_size == 64


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        (["batch_size=64"], {"learner": ["protonet"]}, "learner 'protonet' trains on episodes"),
        (["batch_episodes=2"], {"learner": ["simpleshot"]}, "batch_episodes has no effect"),
        ([], {"learner": ["simpleshot"], "train_ways": 7}, "train_ways has no effect"),
        (["decay_biases=false"], {"budget": "quick"}, "unless weight_decay is above 0"),
    ],
)
def test_settings_that_would_change_nothing_are_refused(settings, options, words):
    with pytest.raises(UserError, match=words):
        tasks("fewshot", *settings, **options)


def test_nearest_means_train_with_more_ways_where_there_are_classes_enough():
    ways = {
        (learner, dataset): task("fewshot", learner=[learner], dataset=[dataset]).run.train_ways
        for learner in EPISODIC
        for dataset in DATASETS["fewshot"]
    }
    assert ways["protonet", "cifar_fs"] == 16
    assert ways["protonet", "folder:/somewhere:32"] == ways["metaoptnet-rr", "cifar_fs"] == 5
    (more,) = tasks("fewshot", dataset=["omniglot"], ways=20, shots=[1])
    assert more.run.train_ways == 20
    # A later test is the one that the training was validated for.
    assert evaluation_of(more.run, {}, []).evaluations == more.evaluations
    (plain,) = tasks("fewshot", dataset=["cifar_fs"])
    assert evaluation_of(plain.run, {}, []).evaluations == plain.evaluations
    # M times as many are to be had, for the control of as many ways.
    for dataset in ("cifar_fs", "fc100", "mini_imagenet", "omniglot", "glyphs"):
        tasks("fewshot", dataset=[dataset], method=["baseline-NMway"])


@pytest.mark.parametrize(
    ("instructions", "device", "driver", "starts"),
    [
        (True, "auto", False, True),
        (None, "auto", False, True),
        (False, "auto", False, False),
        (False, "cpu", True, False),
        (False, "auto", True, True),
        (False, "cuda", True, True),
    ],
)
def test_bf16_is_refused_on_a_processor_without_its_instructions(
    tmp_path, monkeypatch, instructions, device, driver, starts
):
    monkeypatch.setattr("sla_bench.records.readiness.has_bf16_instructions", lambda: instructions)
    monkeypatch.setattr("sla_bench.records.readiness.has_gpu_driver", lambda: driver)
    run = task("standard").run
    assert run.precision == "bf16"
    started = []

    def launch(jobs, settings):
        started.extend(job.run for job in jobs)
        yield from ()

    monkeypatch.setattr("sla_bench.cli.run.LAUNCHERS.load", lambda name: launch)
    job = Job("0", run, {}, "", "", tmp_path, tmp_path, device)
    store, execution = Store(tmp_path, "standard"), TrainingExecution(out=tmp_path)
    if starts:
        assert execute([job], store, execution) == []
    else:
        with pytest.raises(UserError, match=r"no bf16 instructions.*add --precision fp32"):
            execute([job], store, execution)
        plain = replace(job, run=run.model_copy(update={"precision": "fp32"}))
        assert [news.exit_code for news in execute([job, plain], store, execution)] == [2]
    assert [one.precision for one in started] == ["bf16" if starts else "fp32"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("imbalanced --dataset tiny_imagenet", "no recipe for tiny_imagenet"),
        ("standard --dataset {root}/pictures:20", "images of 20 px are too small for the backbone airbench"),
        (
            "standard --dataset {root}/pictures:28 --set backbone.width=0.01",
            "backbone.width=0.01 leaves no channel in the backbone airbench",
        ),
    ],
)
def test_what_cannot_be_trained_ends_with_a_sentence_and_exit_code_2(words, sentence, tmp_path, capsys):
    write_folder(tmp_path / "pictures", classes=2, per_class=12, size=32)
    given = words.format(root=f"folder:{tmp_path}").split()
    folders = ["--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--method", "baseline"]
    assert run_command_line(["run", *given, "--budget", "fast", *folders]) == 2
    assert sentence in capsys.readouterr().err
