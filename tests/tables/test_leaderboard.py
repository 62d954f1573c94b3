import json

import numpy as np
import pandas as pd
import pytest
from made_up_records import as_tuned, hits_of, write_records

from sla_bench.evaluation.verdicts import holm
from sla_bench.scenarios.fewshot.reading import FewShotReading
from sla_bench.tables.comparisons import PublishedValues, published_figures
from sla_bench.tables.files import histories, write_leaderboard
from sla_bench.tables.leaderboard import COLUMNS, leaderboard
from sla_bench.tables.markdown import markdown
from sla_bench.tables.table_texts import HEADINGS, ONE_SEED, blocks, cells_of, notes, rows_of, title_of
from sla_bench.tables.terminal import print_table

BOTH = {"baseline": 0.5, "baseline+TTA": 0.55, "SLA+AG": 0.6, "SLA+SI": 0.58}


def row_of(table, method, reference="baseline"):
    rows = table[table["method"] == method]
    rows = rows[rows["reference"].isna()] if reference is None else rows[rows["reference"] == reference]
    assert len(rows) == 1
    return rows.iloc[0]


def test_the_baseline_comes_first_and_settings_stay_together(tmp_path):
    write_records(tmp_path, BOTH, seeds=(0, 1, 2), shots=5)
    store, _ = write_records(tmp_path, BOTH, seeds=(0, 1, 2), shots=1)
    table = leaderboard(store.records())
    assert list(table["setting"]) == ["5-way 1-shot"] * 4 + ["5-way 5-shot"] * 4
    assert list(table["method"][:4]) == ["baseline", "baseline+TTA", "SLA+AG", "SLA+SI"]


CONTROLS = {"baseline-xM": 0.57, "baseline-xM+TTA": 0.62, "baseline-NMway": 0.56, "baseline-NMway+TTA": 0.63}


def test_the_family_of_a_table_are_its_matched_contrasts_and_the_primary_one_stands_outside(tmp_path):
    write_records(tmp_path, {**BOTH, **CONTROLS, "ens-M": 0.61}, seeds=(0, 1, 2), shots=1)
    store, _ = write_records(tmp_path, {**BOTH, **CONTROLS, "ens-M": 0.61}, seeds=(0, 1, 2), shots=5)
    table = leaderboard(store.records())
    assert list(table[table["contrast"] == "primary"]["setting"]) == ["5-way 5-shot"]
    family = table[table["contrast"] == "confirmatory"]
    pairs = {("SLA+SI", "baseline-xM"), ("SLA+SI", "baseline-NMway"), ("SLA+AG", "baseline-xM+TTA")}
    pairs |= {("SLA+AG", "ens-M"), ("SLA+AG", "baseline-NMway+TTA")}
    assert set(zip(family["method"], family["reference"], strict=True)) == pairs
    assert set(family["holm_contrasts"]) == {len(family)} == {9}
    assert family["p_holm"].to_numpy() == pytest.approx(holm(family["p_value"]))
    others = table[table["contrast"] != "confirmatory"]
    assert others[["p_holm", "holm_contrasts"]].isna().all(axis=None)
    explored = table[table["contrast"].isna()]
    assert explored[["p_value", "p_sign_flip", "verdict"]].isna().all(axis=None)


def test_a_contrast_that_repeats_another_one_is_not_counted_again(tmp_path, monkeypatch):
    """For ProtoNet SLA+plain is SLA+SI: here its hits are those of the same generator."""
    matched = {"SLA+SI": ("baseline-xM",), "SLA+plain": ("baseline-xM",)}
    monkeypatch.setattr(FewShotReading, "matched_references", matched)
    accuracies = {"baseline": 0.5, "SLA+SI": 0.6, "SLA+plain": 0.6, "baseline-xM": 0.55}
    store, _ = write_records(tmp_path, accuracies, seeds=(0, 1, 2))
    table = leaderboard(store.records())
    kept, repeated = (row_of(table, name, "baseline-xM") for name in ("SLA+SI", "SLA+plain"))
    assert kept["relative_gain_pct"] == repeated["relative_gain_pct"]
    assert kept["holm_contrasts"] == 1
    assert repeated[["contrast", "verdict", "p_value", "p_holm", "p_sign_flip"]].isna().all()


def test_a_row_prints_both_accuracies_of_its_gain_on_the_common_seeds(tmp_path):
    write_records(tmp_path, {"baseline": 0.5}, seeds=range(5))
    store, _ = write_records(tmp_path, {"SLA+AG": 0.6}, seeds=(3, 4, 5))
    row = row_of(leaderboard(store.records()), "SLA+AG")
    base, own = (100 * np.mean([hits_of(a, seed=s).mean() / 15 for s in (3, 4)]) for a in (0.5, 0.6))
    assert (row["reference_value"], row["gain_value"]) == pytest.approx((base, own))
    assert row["relative_gain_pct"] == pytest.approx(100 * (own / base - 1))
    assert row["gain_points"] == pytest.approx(own - base)
    assert row["value"] != pytest.approx(own, abs=1e-3)
    texts = dict(zip(HEADINGS, cells_of(row), strict=True))
    assert texts["common seeds %"] == f"{base:.2f} to {own:.2f}"


def test_a_reference_without_a_common_seed_gives_neither_gain_nor_contrast(tmp_path):
    write_records(tmp_path, {"baseline": 0.5, "ens-M": 0.55}, seeds=(0, 1))
    store, _ = write_records(tmp_path, {"SLA+AG": 0.6}, seeds=(2, 3))
    table = leaderboard(store.records())
    row = row_of(table, "SLA+AG")
    columns = ["gain_seeds", "reference_value", "gain_value", "relative_gain_pct", "contrast", "p_value"]
    assert row[columns].isna().all()
    assert "ens-M" not in set(table["reference"])
    assert "SLA+AG" in markdown(table)


def test_a_reference_that_is_never_right_has_no_relative_gain(tmp_path):
    store, _ = write_records(tmp_path, {"baseline": 0.0, "SLA+AG": 0.6}, seeds=(0, 1, 2))
    row = row_of(leaderboard(store.records()), "SLA+AG")
    assert row["reference_value"] == 0
    assert row["gain_points"] == pytest.approx(row["value"])
    assert row[["relative_gain_pct", "gain_ci95_low", "p_value"]].isna().all()


def test_records_without_classes_have_neither_an_interval_on_other_classes_nor_a_verdict(tmp_path):
    store, _ = write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6, "ens-M": 0.45}, seeds=(0, 1, 2))
    for record in store.records():
        for evaluation in record.evaluations:
            kept = {name: hits for name, hits in evaluation.samples.items() if name != "classes"}
            np.savez(evaluation.folder / "samples.npz", **kept)
    row = row_of(leaderboard(as_tuned(store)), "SLA+AG", "ens-M")
    assert row[["gain_classes_low", "gain_classes_se", "verdict"]].isna().all()
    assert row["p_value"] < 0.05


def test_seeds_that_split_the_classes_themselves_have_no_jackknife_and_a_verdict(tmp_path):
    store, _ = write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6, "ens-M": 0.45}, seeds=(0, 1, 2))
    for record in store.records():
        for evaluation in record.evaluations:
            samples = dict(evaluation.samples)
            samples["classes"] = samples["classes"] + 10 * record.config.seed
            np.savez(evaluation.folder / "samples.npz", **samples)
    row = row_of(leaderboard(as_tuned(store)), "SLA+AG", "ens-M")
    assert pd.isna(row["gain_classes_low"])
    assert row["verdict"] == "gains"


def test_only_common_seeds_are_compared(tmp_path):
    write_records(tmp_path, {"baseline": 0.5}, seeds=(0, 1))
    store, _ = write_records(tmp_path, {"SLA+AG": 0.6}, seeds=(1, 2))
    row = row_of(leaderboard(store.records()), "SLA+AG")
    assert row["gain_seeds"] == 1
    assert row["gain_interval_kind"] == ONE_SEED
    assert row[["p_value", "gain_ci95_low"]].isna().all()
    assert (row["seeds"], row["interval_kind"]) == (2, "crossed")
    texts = dict(zip(HEADINGS, cells_of(row), strict=True))
    assert texts["seeds"] == "2 (gain: 1)"
    assert texts["95 % interval"] == ""
    assert " to " in texts["accuracy %"]


def test_a_method_without_its_baseline_has_a_row_without_gain(tmp_path):
    store, _ = write_records(tmp_path, {"SLA+AG": 0.6})
    assert pd.isna(row_of(leaderboard(store.records()), "SLA+AG")["relative_gain_pct"])


def test_other_recipes_do_not_mix(tmp_path):
    write_records(tmp_path, {"baseline": 0.5})
    store, _ = write_records(tmp_path, {"SLA+AG": 0.6}, settings=("episodes=60", "learning_rate=0.1"))
    table = leaderboard(store.records())
    assert set(table["budget"]) == {"quick", "quick, learning_rate=0.1"}
    assert pd.isna(row_of(table, "SLA+AG")["relative_gain_pct"])


def test_of_two_evaluations_the_one_with_more_episodes_counts(tmp_path):
    write_records(tmp_path, BOTH)
    store, _ = write_records(tmp_path, BOTH, settings=("episodes=90",))
    table = leaderboard(store.records())
    assert set(table["test_samples"]) == {90}


def test_rows_of_an_older_protocol_stand_in_a_table_of_their_own(tmp_path):
    store, ids = write_records(tmp_path, BOTH, seeds=(0, 1))
    for run_id in ids[:2]:
        for path in (
            store.run_folder(run_id) / "done.json",
            *store.run_folder(run_id).glob("*/*/metrics.json"),
        ):
            path.write_text(json.dumps({**json.loads(path.read_text()), "protocol": 2}))
    table = leaderboard(store.records())
    current = store.records()[-1].config.protocol
    assert set(table["protocol"]) == {2, current}
    old = {record.run_id for record in store.records() if record.done["protocol"] == 2}
    for protocol, rows in table.groupby("protocol"):
        for run_ids in rows["run_ids"]:
            assert set(run_ids.split()) <= old if protocol == 2 else not set(run_ids.split()) & old
    parts = blocks(rows_of(table))
    assert [len({row["protocol"] for row in part}) for part in parts] == [1, 1]
    assert sum("protocol 2" in title_of(part) for part in parts) == 1


def test_published_figures_stand_beside_the_same_setting_only(tmp_path):
    options = {"dataset": ["fc100"], "backbone": ["resnet12"], "learner": ["metaoptnet-rr"]}
    store, _ = write_records(tmp_path, BOTH, **options)
    table = leaderboard(store.records())
    assert row_of(table, "baseline", None)["published"] == 55.3
    row = row_of(table, "SLA+AG")
    assert (row["published"], row["published_status"]) == (59.2, "stated gain")
    assert pd.isna(row_of(table, "SLA+SI")["published"])
    write_records(tmp_path, BOTH, shots=1)
    conv4 = leaderboard(store.records())
    assert conv4[conv4["dataset"] == "glyphs"]["published"].isna().all()


def test_published_figures_name_their_source_and_status():
    table = published_figures()
    assert table["source"].notna().all()
    known = {"verified", "second-hand", "recalled", "stated gain", "selected on test", "rerun", "reported"}
    assert set(table["status"]) == known
    key = ["scenario", "dataset", "setting", "learner", "method", "backbone", "departures"]
    assert not table.duplicated(key).any()


def test_a_published_training_of_another_recipe_stands_beside_that_recipe():
    values, training = PublishedValues(), {"budget": "paper", "selection": "last"}
    row = {"scenario": "imbalanced", "dataset": "cifar100", "setting": "exp ratio 100", "learner": "ce"}
    row |= {"backbone": "resnet32-ldam", "metric": "accuracy", "selection": "last"}

    def beside(method, budget):
        found = values.beside({**row, "method": method, "budget": budget}, training)
        return found["published"], found["published_differs"]

    assert beside("baseline", "paper") == (38.32, None)
    assert beside("baseline", "paper, mix=mixup") == (39.5, None)
    assert beside("baseline", "fast") == (38.32, "budget")
    assert beside("baseline, LAS", "paper, mix=mixup") == (47.0, None)
    assert beside("baseline, LAS", "paper") == (47.0, "budget")


def test_csv_and_markdown_are_written_and_say_what_one_seed_means(tmp_path):
    store, _ = write_records(tmp_path, BOTH)
    table = write_leaderboard(store)
    read = pd.read_csv(store.folder / "leaderboard.csv")
    assert list(read.columns) == COLUMNS
    assert len(read) == len(table)
    text = (store.folder / "leaderboard.md").read_text()
    assert "One seed: the estimate alone." in text
    assert "SLA+AG" in text


def test_splits_by_seed_are_marked_as_a_demonstration(tmp_path):
    store, _ = write_records(tmp_path, BOTH, seeds=(0, 1), dataset=["fashion_mnist"], ways=3)
    demonstrations = [n for n in notes(rows_of(leaderboard(store.records()))) if "demonstration" in n]
    assert len(demonstrations) == 1
    many, _ = write_records(tmp_path / "many", BOTH, seeds=range(10), dataset=["fashion_mnist"], ways=3)
    assert not [n for n in notes(rows_of(leaderboard(many.records()))) if "demonstration" in n]


def test_the_curve_of_an_ensemble_is_its_first_member(tmp_path):
    store, ids = write_records(tmp_path, {"ens-M": 0.5})
    rows = [
        {"member": m, "step": s, "train_accuracy": 0.5, "val_accuracy": 0.4} for m in (0, 1) for s in (5, 10)
    ]
    (store.run_folder(ids[0]) / "history.csv").write_text(pd.DataFrame(rows).to_csv(index=False))
    curve = histories(store.records())
    assert list(curve["step"]) == [5, 10]
    assert list(curve["images"]) == [750 / 4, 750 / 2]


def test_an_empty_store_gives_an_empty_table(capsys):
    empty = leaderboard([])
    assert empty.empty
    print_table(empty)
    assert "no tests to show" in capsys.readouterr().out
    assert "No finished runs" in markdown(empty)


def test_one_run_that_was_tested_on_more_episodes_is_read_on_those_that_all_have(tmp_path):
    write_records(tmp_path, BOTH, seeds=(0, 1, 2))
    store, _ = write_records(tmp_path, BOTH, seeds=(0,), settings=("episodes=90",))
    table = leaderboard(store.records())
    assert set(table["test_samples"]) == {60}
    assert set(table["seeds"]) == {3}


def test_seeds_and_methods_are_compared_on_the_same_test_only(tmp_path):
    accuracies = {"baseline": 0.5, "SLA+AG": 0.6}
    write_records(tmp_path, accuracies, seeds=(0, 1))
    write_records(tmp_path, {"baseline": 0.5}, seeds=(2, 3), settings=("episodes=60",))
    store, _ = write_records(tmp_path, {"SLA+AG": 0.6}, seeds=(2, 3, 4), settings=("episodes=90",))
    table = leaderboard(store.records())
    row = row_of(table, "SLA+AG")
    assert (row["test_samples"], len(row["run_ids"].split())) == (90, 3)
    assert pd.isna(row["relative_gain_pct"])
    assert row_of(table, "baseline", None)["seeds"] == 4


def test_tests_on_other_data_are_not_paired(tmp_path):
    store, _ = write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6}, seeds=(0, 1, 2))
    record = next(r for r in store.records() if r.config.method == "sla" and r.config.seed == 1)
    path = record.evaluations[0].folder / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_hash": "other"}))
    assert_apart(leaderboard(store.records()), record.run_id)


def test_trainings_on_other_data_are_not_paired(tmp_path):
    store, _ = write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6}, seeds=(0, 1, 2))
    record = next(r for r in store.records() if r.config.method == "sla" and r.config.seed == 1)
    path = record.folder / "done.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_hash": "other"}))
    assert_apart(leaderboard(store.records()), record.run_id)


def assert_apart(table, run_id):
    """The run on other data is in no mean and no gain with the others."""
    rows = table[table["method"] == "SLA+AG"].set_index("seeds")
    assert set(rows.index) == {1, 2}
    assert rows.loc[1, "run_ids"] == run_id
    assert pd.isna(rows.loc[1, "gain_points"])
    assert (rows.loc[2, "gain_seeds"], rows["data_state"].nunique()) == (2, 2)


def test_trainings_with_other_shots_have_a_table_of_their_own(tmp_path, capsys):
    write_records(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6}, shots=1)
    store, _ = write_records(
        tmp_path, {"baseline": 0.4, "SLA+AG": 0.5}, shots=1, settings=("episodes=60", "train_shots=5")
    )
    print_table(leaderboard(store.records()))
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("glyphs, ")]
    assert len(titles) == 2
    assert titles[0].startswith("glyphs, 5-way 1-shot, protonet")
    assert titles[1].startswith("glyphs, 5-way 1-shot, trained 5-shot, protonet")


def test_a_method_that_is_not_known_here_comes_last(tmp_path):
    store, ids = write_records(tmp_path, BOTH, seeds=(0, 1))
    for run_id in ids:
        path = store.run_folder(run_id) / "config.json"
        path.write_text(path.read_text().replace('"method": "baseline"', '"method": "=cmd()"'))
    assert list(leaderboard(store.records())["method"])[-1] == "baseline+TTA"
