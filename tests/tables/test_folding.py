from made_up_records import write_records

from sla_bench.tables.folding import folded, names_of
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.table_texts import rows_of

ROWS = {"baseline": 0.5, "SLA+AG": 0.6, "SLA+SI": 0.55}


def folded_names(out, rows):
    store, _ = write_records(out, rows, seeds=(0, 1))
    table = rows_of(leaderboard(store.records()))
    return [names_of(row) for row in folded(table)], [row["method"] for row in table]


def test_rows_that_are_equal_by_construction_become_one_with_both_names(tmp_path):
    names, before = folded_names(tmp_path, ROWS | {"SLA+plain": 0.55, "SLA+plain+TTA": 0.6})
    assert before == ["baseline", "SLA+AG", "SLA+SI", "SLA+plain", "SLA+plain+TTA"]
    assert names == ["baseline", "SLA+AG = SLA+plain+TTA", "SLA+SI = SLA+plain"]


def test_a_learner_that_makes_them_different_keeps_both(tmp_path):
    names, before = folded_names(tmp_path, ROWS | {"SLA+plain": 0.56, "SLA+plain+TTA": 0.6})
    assert names == ["baseline", "SLA+AG = SLA+plain+TTA", "SLA+SI", "SLA+plain"]
    assert len(before) == 5


def test_other_rows_of_equal_values_stay(tmp_path):
    names, before = folded_names(tmp_path, {"baseline": 0.5, "SLA+AG": 0.6, "baseline-NMway+TTA": 0.6})
    assert names == before


def test_folding_twice_changes_nothing(tmp_path):
    store, _ = write_records(tmp_path, ROWS | {"SLA+plain": 0.55}, seeds=(0, 1))
    once = folded(rows_of(leaderboard(store.records())))
    assert folded(once) == once
