import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import as_tuned, write_records

from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.markdown import markdown
from sla_bench.tables.summaries import gains_over_cells, over_datasets, primary_contrasts
from sla_bench.tables.table_texts import HEADINGS, best_rows, blocks, cells_of, notes, rows_of

BOTH = {"baseline": 0.5, "SLA+AG": 0.6, "SLA+SI": 0.58}


def gains(values, method="SLA+AG", reference="baseline"):
    return pd.DataFrame(
        {
            "metric": "accuracy",
            "dataset": [f"data{i}" for i in range(len(values))],
            "setting": "5-way 5-shot",
            "learner": "protonet",
            "train_shots": 5,
            "method": method,
            "reference": reference,
            "relative_gain_pct": values,
            "interval_kind": "crossed",
            "gain_interval_kind": "crossed",
            "gain_seeds": 3,
            "is_sla": method.startswith("SLA"),
        }
    ).to_dict("records")


def test_gains_over_cells_are_summarised_as_numbers_say():
    (sentence,) = gains_over_cells(gains([-9.0, 1.0, 2.0, 6.0, 100.0]))
    assert "interquartile mean of the gains +3.0 %" in sentence
    assert "median +2.0 %" in sentence
    assert "loses in 1 of 5 cells (20 %)" in sentence
    assert gains_over_cells(gains([1.0])) == []
    assert gains_over_cells(gains([1.0, 2.0], method="baseline-xM")) == []


def test_gains_of_one_seed_enter_no_summary():
    rows = gains([-9.0, 1.0, 2.0, 6.0, 100.0])
    for row in rows[:2]:
        row["gain_seeds"] = 1
    (sentence,) = gains_over_cells(rows)
    assert "median +6.0 %" in sentence
    assert "loses in 0 of 3 cells" in sentence
    assert gains_over_cells([row | {"gain_seeds": 1} for row in rows]) == []


@given(st.lists(st.floats(-50, 50).map(lambda v: round(v, 1)), min_size=2, max_size=30))
def test_a_summary_counts_every_loss_once(values):
    (sentence,) = gains_over_cells(gains(values))
    assert f"loses in {sum(v < 0 for v in values)} of {len(values)} cells" in sentence


def test_the_primary_contrast_stands_beside_its_table_and_only_there(tmp_path):
    accuracies = {**BOTH, "baseline-NMway": 0.57, "baseline-NMway+TTA": 0.62}
    write_records(tmp_path, accuracies, seeds=(0, 1, 2), shots=1)
    store, _ = write_records(tmp_path, accuracies, seeds=(0, 1, 2), shots=5)
    table = leaderboard(store.records())
    (block,) = blocks(rows_of(table))
    (sentence,) = primary_contrasts(block)
    assert "5-way 5-shot, protonet, SLA+AG against baseline-NMway+TTA: -" in sentence
    assert "3 seeds" in sentence
    assert sentence in markdown(table)
    assert primary_contrasts([row for row in block if row["reference"] != "baseline-NMway+TTA"]) == []
    assert primary_contrasts([row for row in block if row["setting"] == "5-way 1-shot"]) == []


def test_data_sets_that_were_trained_alike_are_summarised_together(tmp_path):
    write_records(tmp_path, BOTH, seeds=(0, 1))
    store, _ = write_records(tmp_path, BOTH, seeds=(0, 1), dataset=["glyphs-rot"])
    ((title, sentences),) = over_datasets(rows_of(leaderboard(store.records())))
    assert title == "glyphs, glyphs-rot, conv4, budget quick"
    assert all("of 2 cells" in sentence for sentence in sentences)
    write_records(tmp_path, BOTH, seeds=(0, 1), dataset=["glyphs-sym"], settings=("steps=7", "episodes=60"))
    ((title, _),) = over_datasets(rows_of(leaderboard(store.records())))
    assert "glyphs-sym" not in title


def test_only_confirmatory_contrasts_show_p_verdict_and_how_many_holm_counted(tmp_path):
    store, _ = write_records(tmp_path, {**BOTH, "ens-M": 0.55, "baseline-xM": 0.6}, seeds=(0, 1, 2))
    table = leaderboard(as_tuned(store))
    confirmatory = {("SLA+AG", "ens-M"), ("SLA+SI", "baseline-xM")}
    for row in rows_of(table[table["reference"].notna()]):
        texts = dict(zip(HEADINGS, cells_of(row), strict=True))
        if (row["method"], row["reference"]) in confirmatory:
            assert (row["contrast"], row["holm_contrasts"]) == ("confirmatory", 2)
            assert texts["p (Holm, m)"].endswith(" (2)")
            assert texts["sign flips p (least)"].endswith(" (0.25)")
            assert texts["verdict"] == row["verdict"] != ""
        else:
            assert texts["p (Holm, m)"] == texts["sign flips p (least)"] == texts["verdict"] == ""
    assert table[table["reference"].isna()]["holm_contrasts"].isna().all()


def test_the_best_is_bold_only_where_it_gains_significantly(tmp_path):
    accuracies = {**BOTH, "SLA+AG": 0.8, "baseline-xM+TTA": 0.7, "baseline-xM": 0.69}
    store, _ = write_records(tmp_path, accuracies, seeds=range(4))
    table = leaderboard(store.records())
    bold = table.loc[best_rows(rows_of(table))]
    assert bold[["method", "reference"]].to_numpy().tolist() == [["SLA+AG", "baseline-xM+TTA"]]
    table.loc[bold.index, "p_holm"] = 0.05
    assert len(best_rows(rows_of(table))) == 0
    table.loc[bold.index, "p_holm"] = 0.01
    table.loc[bold.index, "relative_gain_pct"] = -3.0
    assert len(best_rows(rows_of(table))) == 0


def test_the_best_is_bold_against_the_references_that_it_beats():
    rows = pd.DataFrame(
        {
            "setting": "5-way 5-shot",
            "learner": "protonet",
            "value": [50.0, 60.0, 60.0, 55.0],
            "contrast": ["confirmatory", "confirmatory", "primary", "confirmatory"],
            "p_holm": [np.nan, 0.001, np.nan, 0.001],
            "p_value": [np.nan, 0.0004, 0.2, 0.0004],
            "relative_gain_pct": [np.nan, 20.0, 1.0, 10.0],
            "interval_kind": "crossed",
            "gain_interval_kind": "crossed",
            "gain_seeds": 3,
            "train_shots": np.nan,
        }
    )
    assert list(best_rows(rows_of(rows))) == [1]
    assert list(best_rows(rows_of(rows.assign(train_shots=[1, 1, 1, 5])))) == [1, 3]
    assert list(best_rows(rows_of(rows.assign(p_value=0.01)))) == [1, 2]


def test_rows_of_one_seed_are_estimates_alone_and_never_bold(tmp_path):
    accuracies = {**BOTH, "SLA+AG": 0.8, "ens-M": 0.6}
    store, _ = write_records(tmp_path, accuracies)
    table = leaderboard(store.records())
    text = markdown(table)
    assert not any(" to " in cell for row in rows_of(table) for cell in no_common(cells_of(row)))
    assert "**" not in text
    assert text.count("One seed: the estimate alone.") == 1
    several, _ = write_records(tmp_path / "b", accuracies, seeds=range(5))
    table = leaderboard(several.records())
    text = markdown(table)
    assert "One seed" not in text
    assert "**" in text
    assert any(" to " in cell for row in rows_of(table) for cell in no_common(cells_of(row)))


def no_common(cells):
    """All texts but that of the accuracies on the common seeds."""
    return [cell for heading, cell in zip(HEADINGS, cells, strict=True) if heading != "common seeds %"]


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        ({}, "budget"),
        ({"budget": "paper"}, None),
        ({"budget": "paper", "selection": "last"}, "selection"),
        ({"budget": "paper", "precision": "bf16"}, "precision"),
        ({"budget": "paper", "transform": ["color_perm"]}, "transform"),
    ],
)
def test_published_figures_of_another_training_are_marked_and_explained(options, differs, tmp_path):
    given = {"dataset": ["fc100"], "backbone": ["resnet12"], "learner": ["metaoptnet-rr"], **options}
    store, _ = write_records(tmp_path, BOTH, seeds=(0, 1), **given)
    table = leaderboard(store.records())
    (row,) = (row for row in rows_of(table) if row["method"] == "SLA+AG")
    assert (row["published_differs"] if pd.notna(row["published_differs"]) else None) == differs
    cell = cells_of(row)[HEADINGS.index("published")]
    assert cell.startswith("59.20 (stated gain)")
    assert ("\N{DOUBLE DAGGER}" in cell) == (differs is not None)
    explained = [note for note in notes(rows_of(table)) if note.startswith("\N{DOUBLE DAGGER}")]
    assert len(explained) == (differs is not None)
    assert all(differs in note for note in explained)
