"""What records keep of what was asked for; records made before are read by the recipes of this version."""

import json

import pandas as pd
import pytest
from made_up_records import write_records
from real_formats import write_cifar10
from spanned import tasks_of

from sla_bench.cli.app import run_command_line
from sla_bench.config import RUNS
from sla_bench.errors import UserError
from sla_bench.fields import Added, fields_with
from sla_bench.grids import asked
from sla_bench.grids.asked import Asked, asked_of
from sla_bench.records.exchange import export_records, import_records
from sla_bench.registry import METHODS
from sla_bench.scenarios.fewshot import recipes
from sla_bench.tables import files
from sla_bench.tables.leaderboard import leaderboard

BOTH = {"baseline": 0.5, "baseline+TTA": 0.52, "SLA+AG": 0.6}


@pytest.fixture
def no_recipe_is_remembered():
    asked._recipe.cache_clear()
    yield
    asked._recipe.cache_clear()


def tell(store):
    """Write into the records what was asked for, as this version does."""
    for record in store.records():
        own = [(record.folder / "done.json", record.asked)]
        own += [(one.folder / "metrics.json", one.asked) for one in record.evaluations]
        for path, told in own:
            path.write_text(
                json.dumps({**json.loads(path.read_text()), "asked": told.model_dump(mode="json")})
            )


def first_of(scenario, settings=(), **options):
    task = tasks_of(scenario, settings, **options)[0]
    return task.run, task.evaluations[0]


@pytest.mark.parametrize("settings", [(), ("steps=7", "learner.scale=3", "method.joint_scope=view")])
def test_records_made_before_give_the_same_table(settings, tmp_path):
    store, _ = write_records(tmp_path, BOTH, seeds=(0, 1), settings=("episodes=60", *settings))
    before = leaderboard(store.records())
    tell(store)
    assert all(e.told is not None for record in store.records() for e in record.evaluations)
    pd.testing.assert_frame_equal(leaderboard(store.records()), before, check_exact=True)


def test_a_later_recipe_changes_no_row_and_shares_none(tmp_path, monkeypatch, no_recipe_is_remembered):
    told, _ = write_records(tmp_path / "told", BOTH, seeds=(0, 1))
    tell(told)
    untold, _ = write_records(tmp_path / "untold", BOTH)
    monkeypatch.setitem(recipes.QUICK, "steps", 123)
    asked._recipe.cache_clear()
    assert set(leaderboard(told.records())["budget"]) == {"quick"}
    assert set(leaderboard(untold.records())["budget"]) == {"quick, steps=800"}
    write_records(tmp_path / "told", BOTH, seeds=(2,))
    both = leaderboard(told.records())
    assert sorted(both[both["method"] == "SLA+AG"]["seeds"]) == [1, 2]
    hashes = {asked_of(*first_of("fewshot")).recipe, told.records()[0].asked.recipe}
    assert set(both["budget"]) <= {f"quick, recipe {name}" for name in hashes}


def test_a_field_that_is_younger_than_a_recipe_is_no_other_recipe(monkeypatch, no_recipe_is_remembered):
    hashes = {asked_of(*first_of("fewshot")).recipe}
    assert "warmup" in fields_with(RUNS["fewshot"][0], Added)
    for warmup in (0.0, 0.25):
        monkeypatch.setitem(recipes.QUICK, "warmup", warmup)
        asked._recipe.cache_clear()
        hashes.add(asked_of(*first_of("fewshot")).recipe)
    assert len(hashes) == 2


def test_rows_are_of_label_augmentation_where_joint_labels_are_learned():
    runs = [first_of("standard", method=[m])[0] for m in METHODS if not METHODS.load(m).not_on_classes]
    assert {run.method for run in runs if asked_of(run).is_sla} == {
        "sla",
        "sla+sd",
        "sla+u",
        "sla-x1",
        "sla-half",
        "ssp+sla",
    }
    told = asked_of(first_of("fewshot", method=["baseline-NMway"])[0])
    assert told.more_images
    assert told.averages_views == ("baseline-NMway+TTA", "baseline-NMway+crops")


@pytest.mark.parametrize(
    ("scenario", "options", "words", "left"),
    [
        ("fewshot", {"ways": 20, "shots": [1]}, "20-way 1-shot", "20-way"),
        ("fewshot", {"queries": 5}, "5-way 5-shot 5-query", "5-way 5-query"),
        ("imbalanced", {"ratio": [10.0], "imbalance": "step"}, "step ratio 10", "step"),
        ("imbalanced", {"imbalance": "none"}, "as it is", "as it is"),
        ("standard", {}, "full", "full"),
        ("standard", {"mix": ["cutmix"]}, "full, cutmix", "full, cutmix"),
    ],
)
def test_the_words_of_a_setting_are_those_of_its_parts(scenario, options, words, left):
    told = asked_of(*first_of(scenario, **options))
    assert told.words() == words
    assert told.words(("shots", "ratio")) == left
    assert Asked.model_validate_json(told.model_dump_json()) == told


def test_an_archive_whose_columns_are_not_those_of_its_configs_is_refused(tmp_path):
    store, _ = write_records(tmp_path / "from", {"baseline": 0.5})
    tell(store)
    export_records([store], tmp_path / "good.zip")
    assert import_records(tmp_path / "good.zip", tmp_path / "to").runs == 1
    (metrics,) = store.folder.glob("runs/*/evaluations/*/metrics.json")
    for wrong in ({"columns": {"learner": "simpleshot"}}, {"setting": {"shots": [1, "1-shot"]}}):
        content = json.loads(metrics.read_text())
        content["asked"] |= wrong
        path = tmp_path / f"{next(iter(wrong))}.zip"
        before = metrics.read_text()
        metrics.write_text(json.dumps(content))
        export_records([store], path)
        metrics.write_text(before)
        with pytest.raises(UserError, match=r"asked: (learner is 'simpleshot'|shots is 1), but"):
            import_records(path, tmp_path / "other")


def test_a_run_keeps_what_was_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "write_plots", lambda store, table: [])
    write_cifar10(tmp_path)
    folders = ["--data-root", str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "1"]
    given = ["--dataset", "cifar10", "--method", "sla", "--budget", "smoke"]
    short = ["--set", "steps=2", "--set", "validations=1"]
    assert run_command_line(["run", "standard", *given, *short, *folders]) == 0
    (done,) = (tmp_path / "out").glob("standard/runs/*/done.json")
    (metrics,) = done.parent.glob("evaluations/*/metrics.json")
    for path in (done, metrics):
        told = Asked.model_validate(json.loads(path.read_text())["asked"])
        assert (told.budget, told.departures, told.is_sla) == ("smoke", {"steps": 2, "validations": 1}, True)
        assert told.setting == {"train": ("all", ""), "mix": ("none", "full")}
