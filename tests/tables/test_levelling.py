"""Levelled off: gains at twice the length match the recorded accuracies."""

from dataclasses import replace
from fractions import Fraction

import pandas as pd
import pytest
from documented import ROOT
from made_up_records import tune_rates, write_evaluation
from spanned import tasks_of

from sla_bench.cli.app import run_command_line
from sla_bench.grids.files import read_grid_file
from sla_bench.grids.tasks import form_of
from sla_bench.records.store import Store
from sla_bench.tables.latex import latex
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.levelling import Levelling
from sla_bench.tables.markdown import markdown
from sla_bench.tables.report.page import write_report
from sla_bench.tables.row_cache import leaderboard_of
from sla_bench.tables.table_texts import HEADINGS, cells_of, notes, rows_of, shown_headings

TABLE = {"baseline": {"baseline": 0.5}, "sla": {"SLA+AG": 0.6, "SLA+SI": 0.55}, "ens-M": {"ens-M": 0.52}}
CLIMBS = "+20.0 climbs"


def write(
    out,
    accuracies,
    *settings,
    scenario="fewshot",
    seeds=(999,),
    methods=("baseline",),
    tested=False,
    summary=(),
    **given,
):
    """Write a run per method and seed.

    `accuracies`: of the validations, in their order, or seed -> these. `tested`: with an evaluation.
    """
    store = Store(out, scenario)
    for task in tasks_of(scenario, settings, method=list(methods), seed=list(seeds), **given):
        own = accuracies[task.run.seed] if isinstance(accuracies, dict) else accuracies
        history = [
            {"member": 0, "step": 10 * number, "train_loss": 1.0, "val_accuracy": accuracy}
            for number, accuracy in enumerate(own, 1)
        ]
        done = {"train_images": 100, "train_seconds": 1.0, "parameters": 1, **dict(summary)}
        run_id = task.run.digest(data="made up")
        store.write_run(run_id, task.run, None, history, {}, done)
        for evaluation in task.evaluations if tested else ():
            write_evaluation(store, run_id, evaluation, TABLE[task.run.method], task.run.seed)
    return store


def rows(out, **options):
    """Tested trainings of 800 steps, as budget quick has them, at two seeds."""
    return write(out, [0.9], seeds=(0, 1), tested=True, **options)


def gains(store):
    table = leaderboard(store.records())
    return table.drop_duplicates("method").set_index("method")["gain_at_twice"].to_dict()


def test_the_gain_is_that_of_the_means_on_the_seeds_that_both_lengths_have(tmp_path):
    store = rows(tmp_path)
    # Of the tested seeds 0 and 1, with 0.9 each, the second has a partner; 8 and 9 lack one of the lengths.
    write(tmp_path, {7: [0.3], 8: [0.1]}, "steps=800", seeds=(7, 8))
    write(tmp_path, {1: [0.6], 7: [0.6], 9: [1.0]}, "steps=1600", seeds=(1, 7, 9))
    assert gains(store) == {"baseline": pytest.approx(100 * (1.2 / 1.2 - 1))}
    write(tmp_path, [0.25], "steps=1600", seeds=(8,))
    assert gains(store) == {"baseline": pytest.approx(100 * (1.45 / 1.3 - 1))}


@pytest.mark.parametrize(("selection", "gain"), [("validation", 50), ("last", -50)])
def test_the_accuracies_are_of_the_weights_that_the_row_has(selection, gain, tmp_path):
    store = rows(tmp_path, selection=selection)
    write(tmp_path, [0.1, 0.4], "steps=800", selection=selection)
    write(tmp_path, [0.6, 0.2], "steps=1600", selection=selection)
    assert gains(store) == {"baseline": pytest.approx(gain)}


OTHERS = {
    "rate": ["steps=1600", "learning_rate=0.003"],
    "length": ["steps=1599"],
    "smoothing": ["steps=1600", "label_smoothing=0.1"],
    "validation": ["steps=1600", "validations=1"],
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_training_that_differs_in_more_than_the_length_is_not_a_partner(case, tmp_path):
    store = rows(tmp_path)
    write(tmp_path, [0.5])
    write(tmp_path, [0.6], *OTHERS[case])
    assert pd.isna(gains(store)["baseline"])
    write(tmp_path, [0.6], "steps=1600")
    assert gains(store) == {"baseline": pytest.approx(20)}


def test_a_partner_of_other_data_or_an_older_protocol_is_not_taken(tmp_path):
    store = rows(tmp_path, summary={"data_state": "a" * 16})
    write(tmp_path, [0.5], summary={"data_state": "a" * 16})
    write(tmp_path, [0.6], "steps=1600", summary={"data_state": "b" * 16})
    assert pd.isna(gains(store)["baseline"])
    write(tmp_path, [0.6], "steps=1600", summary={"data_state": "a" * 16})
    assert gains(store) == {"baseline": pytest.approx(20)}
    records = [
        replace(r, done={**r.done, "protocol": 2}) if r.config.steps == 1600 else r for r in store.records()
    ]
    assert [Levelling(records).gain(record) for record in records] == [None] * len(records)


def test_tuned_rows_take_the_partner_of_their_rate_and_batch(tmp_path):
    rate, batch = "learning_rate=0.004", 300
    recipe = rows(tmp_path)
    tuned = write(tmp_path, [0.9], rate, seeds=(0, 1), tested=True, batch_images=batch)
    tune_rates(tuned, {"baseline": 0.004})
    for length, accuracy in ((800, 0.5), (1600, 0.6)):
        write(tmp_path, [accuracy], f"steps={length}")
        write(tmp_path, [accuracy], f"steps={length}", rate)
    table = leaderboard_of(recipe)
    found = table.set_index("budget")["gain_at_twice"].to_dict()
    assert found == {"quick": pytest.approx(20), "quick, tuned": pytest.approx(float("nan"), nan_ok=True)}
    write(tmp_path, [0.5], "steps=800", rate, batch_images=batch)
    write(tmp_path, [0.505], "steps=1600", rate, batch_images=batch)
    found = leaderboard_of(recipe).set_index("budget")["gain_at_twice"].to_dict()
    assert found == {"quick": pytest.approx(20), "quick, tuned": pytest.approx(1)}


def test_an_ensemble_is_measured_on_the_method_of_its_members(tmp_path):
    store = rows(tmp_path, methods=["baseline", "sla", "ens-M"])
    write(tmp_path, [0.5])
    write(tmp_path, [0.6], "steps=1600")
    found = gains(store)
    assert found["baseline"] == found["ens-M"] == pytest.approx(20)
    assert pd.isna(found["SLA+AG"])


def test_an_ensemble_of_any_size_is_measured_on_one_of_its_members(tmp_path):
    store = write(tmp_path, [0.9], scenario="standard", seeds=(0,), ensemble=[3])
    write(tmp_path, [0.5], scenario="standard")
    write(tmp_path, [0.6], "steps=2400", scenario="standard")
    (ensemble,) = (record for record in store.records() if record.config.ensemble == 3)
    assert Levelling(store.records()).gain(ensemble) == pytest.approx(20)


def test_a_long_tail_is_measured_on_its_validated_twins(tmp_path):
    given = {"scenario": "imbalanced", "dataset": ["glyphs20"]}
    for epochs in (40, 80):
        # All images are trained on: there is nothing to validate on.
        write(tmp_path, [float("nan")], f"epochs={epochs}", **given, seeds=(0, 999))
    store = Store(tmp_path, "imbalanced")
    row = next(r for r in store.records() if r.config.epochs == 40 and r.config.seed == 0)
    assert Levelling(store.records()).gain(row) is None
    write(tmp_path, [0.7, 0.5], "epochs=40", **given, selection="validation")
    write(tmp_path, [0.7, 0.6], "epochs=80", **given, selection="validation")
    # The last epoch is tested, so that the better one before it does not count.
    assert Levelling(store.records()).gain(row) == pytest.approx(20)
    chosen = next(r for r in store.records() if r.config.selection == "validation" and r.config.epochs == 40)
    assert Levelling(store.records()).gain(chosen) == pytest.approx(0)


def test_without_validation_images_there_is_no_gain(tmp_path):
    given = {"scenario": "standard", "val_fraction": 0.0}
    write(tmp_path, [float("nan")], "steps=2400", **given)
    store = write(tmp_path, [float("nan")], **given)
    assert [Levelling(store.records()).gain(record) for record in store.records()] == [None, None]


def texts(row):
    return dict(zip(HEADINGS, cells_of(row), strict=True))["twice as long %"]


def test_tables_mark_what_climbs_and_what_was_not_tried(tmp_path):
    store = rows(tmp_path, methods=["baseline", "sla"])
    write(tmp_path, [0.5])
    write(tmp_path, [0.6], "steps=1600")
    table = leaderboard(store.records())
    found = rows_of(table)
    assert "twice as long %" in shown_headings(found)
    assert {row["method"]: texts(row) for row in found} == {"baseline": CLIMBS, "SLA+AG": "?", "SLA+SI": "?"}
    (note,) = [note for note in notes(found) if "twice" in note]
    assert "Below 1 % a row has levelled off; ?: not tried" in note
    for text in (markdown(table), latex(table).replace("$+$", "+")):
        assert CLIMBS in text
        assert "levelled off" in text
    write_report([store], tmp_path / "report.html")
    assert CLIMBS in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("gain", "text"), [(0.99, "+1.0"), (1.0, "+1.0 climbs"), (-0.01, "+0.0"), (-3.0, "-3.0"), (None, "?")]
)
def test_a_row_has_levelled_off_below_one_per_cent(gain, text, tmp_path):
    row = rows_of(leaderboard(rows(tmp_path).records()))[0]
    assert texts({**row, "gain_at_twice": gain}) == text


@pytest.mark.parametrize(
    ("budget", "settings", "is_noted"),
    [("fast", (), True), ("quick", (), False), ("smoke", (), False), ("fast", ("steps=750",), False)],
)
def test_where_nothing_was_tried_only_tables_of_budget_fast_say_so(budget, settings, is_noted, tmp_path):
    given = {"budget": budget, "dataset": ["cifar_fs"], "learner": ["simpleshot"]}
    store = write(tmp_path, [0.9], *settings, "episodes=60", seeds=(0, 1), tested=True, **given)
    found = rows_of(leaderboard(store.records()))
    assert "twice as long %" not in shown_headings(found)
    about = [note for note in notes(found) if "twice" in note]
    assert [note.partition(";")[0] for note in about] == [
        "Not tried at twice the length, so perhaps not levelled off: cifar_fs (fast)"
    ] * is_noted


def test_a_new_partner_shows_in_a_table_whose_rows_are_kept(tmp_path):
    store = rows(tmp_path)
    assert leaderboard_of(store)["gain_at_twice"].isna().all()
    write(tmp_path, [0.5])
    write(tmp_path, [0.6], "steps=1600")
    assert leaderboard_of(store)["gain_at_twice"].tolist() == [pytest.approx(20)]


def test_an_archive_takes_partners_along_and_no_other_untested_training(tmp_path, capsys):
    store = rows(tmp_path / "from")
    write(tmp_path / "from", [0.5])
    write(tmp_path / "from", [0.6], "steps=1600")
    write(tmp_path / "from", [0.4], "steps=3")
    archive = str(tmp_path / "records.zip")
    assert run_command_line(["export", archive, "--out", str(tmp_path / "from")]) == 0
    assert run_command_line(["import", archive, "--out", str(tmp_path / "to")]) == 0
    assert "added 4 runs and 2 evaluations" in capsys.readouterr().out
    pd.testing.assert_frame_equal(leaderboard_of(Store(tmp_path / "to", "fewshot")), leaderboard_of(store))


def test_the_grid_has_the_lengths_of_budget_fast():
    for scenario, found in read_grid_file(ROOT / "benchmarks" / "levelling.yaml").tasks().items():
        form = form_of(scenario)
        shares = {Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2)}
        for method in {task.run.method for task in found}:
            own = {getattr(task.run, form.length) for task in found if task.run.method == method}
            recipe = form.budgets("fast", found[0].run.dataset, getattr(found[0].run, "learner", "ce"))
            assert own == {share * recipe[form.length] for share in shares}
