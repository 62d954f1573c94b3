"""Respects in which two trainings are equal; rows at another batch."""

import pytest
from real_formats import write_cifar10
from spanned import tasks_of

from sla_bench.cli.app import run_command_line
from sla_bench.grids.asked import asked_of
from sla_bench.records.store import Store
from sla_bench.registry import SCENARIOS
from sla_bench.scenarios.classify.reading import ClassifierReading
from sla_bench.scenarios.fewshot.reading import READING as FEWSHOT
from sla_bench.tables import files
from sla_bench.tables.comparisons import Cost, comparison, cost_of, is_matched_and_tuned
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.table_texts import blocks, rows_of, title_of

BASELINE = Cost(images=64_000, drawn=64_000, updates=1000, batch=64)
LONGER = Cost(images=256_000, drawn=256_000, updates=4000, batch=64)
SLA = Cost(images=256_000, drawn=64_000, updates=1000, batch=256)
SQUARE = Cost(images=256_000, drawn=64_000, updates=4000, batch=64)


@pytest.mark.parametrize(
    ("theirs", "ours", "tuned", "words"),
    [
        (BASELINE, SLA, False, "4 x the images, equal updates"),
        (LONGER, SLA, False, "equal images"),
        (LONGER, SQUARE, False, "equal images, updates and batch"),
        (BASELINE, SQUARE, False, "4 x the images, equal batch"),
        (LONGER, SLA, True, "equal images, both tuned"),
        (LONGER, SQUARE, True, "equal images, both tuned"),
        (BASELINE, SLA, True, "4 x the images, both tuned"),
    ],
)
def test_a_comparison_says_what_is_equal_and_a_verdict_rests_on_tuned_rows_of_equal_images(
    theirs, ours, tuned, words
):
    assert comparison(ours, theirs, tuned) == words
    assert is_matched_and_tuned(words) == (words == "equal images, both tuned")


def test_images_are_equal_within_a_twentieth():
    for images, words in ((244_000, "equal images"), (240_000, "0.94 x the images, equal updates and batch")):
        assert comparison(Cost(images, images, 4000, 64), LONGER, tuned=False).startswith(words)


def test_the_paper_s_convention_and_the_square_stand_side_by_side(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    write_cifar10(tmp_path)
    folders = ["--data-root", str(tmp_path), "--out", str(tmp_path), "--workers", "1"]
    recipe = ["--set", "steps=4", "--set", "batch_size=8", "--set", "validations=1"]
    given = ["run", "standard", "--dataset", "cifar10", *recipe, *folders]
    methods = [word for name in ("baseline", "sla", "baseline-xM") for word in ("--method", name)]
    assert run_command_line([*given, *methods]) == 0
    assert run_command_line([*given, "--method", "sla", "--method", "baseline", "--batch-images", "8"]) == 0
    records = Store(tmp_path, "standard").records()
    assert len(records) == 4
    costs = {(r.config.method, r.config.batch_images): cost_of(r) for r in records}
    assert costs["sla", None] == Cost(images=128, drawn=32, updates=4, batch=32, epochs=32 / 90)
    assert costs["sla", 8] == Cost(images=128, drawn=32, updates=16, batch=8, epochs=32 / 90)
    assert costs["baseline-xM", None] == Cost(images=128, drawn=128, updates=16, batch=8, epochs=128 / 90)
    table = leaderboard(records)
    assert all(title_of(part).endswith(", baseline of 0.356 epochs") for part in blocks(rows_of(table)))
    table = table[(table["metric"] == "accuracy") & (table["reference"] == "baseline-xM")]
    found = dict(zip(table["method"], table["comparison"], strict=True))
    assert found["SLA+SI"] == "equal images"
    assert found["SLA+SI (batch 8)"] == "equal images, updates and batch"


def test_without_a_training_there_is_nothing_to_tune():
    frozen = Cost(images=0, drawn=0, updates=1, batch=0)
    words = comparison(frozen, frozen, tuned=False)
    assert (words, is_matched_and_tuned(words)) == ("no training", True)
    trained = Cost(images=100, drawn=100, updates=10, batch=10)
    assert not is_matched_and_tuned(comparison(trained, trained, tuned=False))


@pytest.mark.parametrize(
    ("learner", "asks", "does_not"), [("protonet", "views+TTA", "DA+TTA"), ("simpleshot", "DA+TTA", "")]
)
def test_the_joint_label_is_asked_about_by_rows_that_saw_the_same_turns(learner, asks, does_not):
    references = FEWSHOT.references("SLA+AG", tasks_of("fewshot", learner=[learner], method=["sla"])[0].run)
    assert {asks, "baseline-xM+TTA", "baseline-xM+crops", "ens-M"} <= set(references)
    assert does_not not in references


def test_classifiers_are_matched_with_crops_and_ask_about_the_joint_label():
    assert ClassifierReading.matched_references["SLA+AG"] == ("baseline-xM+crops", "ens-M", "DA+TTA")
    assert ClassifierReading.matched_references["SLA+SD"] == ("baseline-xM", "DA+SD")


def test_a_head_of_stage_two_is_compared_with_the_same_head_on_the_references_backbone():
    run = tasks_of("imbalanced")[0].run
    reading = SCENARIOS.load("imbalanced", "reading")
    assert reading.references("SLA+SI, cRT", run) == ("baseline-xM, cRT",)
    assert reading.references("SLA-x1+SI, LWS", run) == ("baseline, LWS",)
    assert reading.references("baseline, NCM", run) == ()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_rows_at_the_baselines_cost_are_matched_with_it_and_it_is_no_control(scenario):
    reading = SCENARIOS.load(scenario, "reading")
    assert reading.matched_references["rot-x1"] == ("baseline",)
    assert {"baseline-x2", "ens-M"} <= reading.matched_controls
    assert not {"baseline", "baseline+TTA", "baseline+crops"} & reading.matched_controls


@pytest.mark.parametrize(("crops", "kind"), [(1, "primary"), (None, "primary"), (5, "confirmatory")])
def test_primary_contrasts_are_about_supports_as_they_are(crops, kind):
    row = {"metric": "accuracy", "dataset": "glyphs", "shots": 5, "queries": 15, "learner": "protonet"}
    row |= {
        "method": "SLA+AG",
        "reference": "baseline-NMway+TTA",
        "support_crops": crops,
        "test_dataset": None,
    }
    assert SCENARIOS.load("fewshot", "reading").contrast(row, matched=True) == kind


def test_turned_views_of_heads_that_never_saw_them_stay_out_of_tables():
    def hidden(**options):
        return {row for task in tasks_of("standard", **options) for row in asked_of(task.run).hidden}

    out = {"baseline+TTA", "baseline-xM+TTA", "ens-M+TTA", "rot-aux+TTA", "SLA+SD+TTA", "DA+SD+TTA"}
    assert out | {"baseline-repM+TTA", "SLA+U+TTA"} == hidden(method=["all", "controls"])
    assert hidden(method=["sla"], ensemble=[3]) == {"baseline+TTA ens-3"}
