import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_records import write_records

from sla_bench.reporting.leaderboard import leaderboard
from sla_bench.reporting.markdown import markdown
from sla_bench.reporting.summaries import gains_over_cells, over_datasets, primary_contrasts
from sla_bench.reporting.table_texts import HEADINGS, best_rows, blocks, cells_of, notes, rows_of

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
        }
    ).to_dict("records")


def test_gains_over_cells_are_summarised_as_numbers_say():
    (sentence,) = gains_over_cells(gains([-9.0, 1.0, 2.0, 6.0, 100.0]))
    assert "interquartile mean of the gains +3.0 %" in sentence
    assert "median +2.0 %" in sentence
    assert "loses in 1 of 5 cells (20 %)" in sentence
    assert gains_over_cells(gains([1.0])) == []
    assert gains_over_cells(gains([1.0, 2.0], method="baseline-xM")) == []


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


def test_every_contrast_shows_how_many_holm_counted_and_the_least_p(tmp_path):
    store, _ = write_records(tmp_path, {**BOTH, "ens-M": 0.55}, seeds=(0, 1, 2))
    table = leaderboard(store.records())
    for row in rows_of(table[table["reference"].notna()]):
        texts = dict(zip(HEADINGS, cells_of(row), strict=True))
        m = {"baseline": 3, "ens-M": 1}[row["reference"]]
        assert row["holm_contrasts"] == m
        assert texts["p (Holm, m)"].endswith(f" ({m})")
        assert texts["sign flips p (least)"].endswith(" (0.25)")
    assert table[table["reference"].isna()]["holm_contrasts"].isna().all()


def test_the_best_is_bold_only_where_it_gains_significantly(tmp_path):
    accuracies = {**BOTH, "baseline-xM+TTA": 0.7, "baseline-xM": 0.69}
    store, _ = write_records(tmp_path, accuracies, seeds=range(4))
    table = leaderboard(store.records())
    bold = table.loc[best_rows(rows_of(table))]
    assert set(bold["method"]) == {"baseline-xM+TTA"}
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
            "p_holm": [np.nan, 0.001, 0.4, 0.001],
            "relative_gain_pct": [np.nan, 20.0, 1.0, 10.0],
            "interval_kind": "crossed",
            "gain_interval_kind": "crossed",
            "gain_seeds": 3,
            "train_shots": np.nan,
        }
    )
    assert list(best_rows(rows_of(rows))) == [1]
    assert list(best_rows(rows_of(rows.assign(train_shots=[1, 1, 1, 5])))) == [1, 3]
    assert list(best_rows(rows_of(rows.assign(gain_interval_kind="test-only")))) == []


def test_rows_of_one_seed_are_marked_and_never_bold(tmp_path):
    store, _ = write_records(tmp_path, BOTH)
    table = leaderboard(store.records())
    text = markdown(table)
    rows = [line for line in text.splitlines() if line.startswith("| 5-way")]
    assert all("\N{DAGGER}" in line for line in rows)
    assert "**" not in text
    assert text.count("\N{DAGGER} One seed") == 1
    several, _ = write_records(tmp_path / "b", BOTH, seeds=range(5))
    text = markdown(leaderboard(several.records()))
    assert "\N{DAGGER}" not in text
    assert "**" in text


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
