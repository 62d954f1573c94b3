import contextlib
import json
import shutil
import sqlite3

import pandas as pd
import pytest
from made_up_records import write_records

from sla_bench.scenarios.fewshot.reading import FewShotReading
from sla_bench.tables import row_cache
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.row_cache import leaderboard_of

BOTH = {"baseline": 0.5, "SLA+AG": 0.6}


@pytest.fixture
def store(tmp_path):
    write_records(tmp_path, BOTH, seeds=(0, 1), shots=1)
    return write_records(tmp_path, BOTH, seeds=(0, 1, 2))[0]


@pytest.fixture
def read(monkeypatch):
    """Shots at test, and run, of the evaluations whose samples were read."""
    asked = set()
    values = FewShotReading.values

    def watched(self, evaluation, method):
        asked.add((evaluation.config.shots, evaluation.folder))
        return values(self, evaluation, method)

    monkeypatch.setattr(FewShotReading, "values", watched)
    return asked


def test_rows_that_were_kept_are_the_same_to_the_last_bit(store, read):
    worked_out = leaderboard(store.records())
    pd.testing.assert_frame_equal(leaderboard_of(store), worked_out, check_exact=True)
    read.clear()
    pd.testing.assert_frame_equal(leaderboard_of(store), worked_out, check_exact=True)
    assert read == set()


def test_only_a_setting_with_a_new_record_is_worked_out_again(store, tmp_path, read):
    leaderboard_of(store)
    read.clear()
    write_records(tmp_path, BOTH, seeds=(2,), shots=1)
    table = leaderboard_of(store)
    assert [shots for shots, _ in read] == [1] * len(read)
    assert len(read) == sum(e.config.shots == 1 for r in store.records() for e in r.evaluations)
    pd.testing.assert_frame_equal(table, leaderboard(store.records()), check_exact=True)


def test_a_record_that_goes_or_changes_is_noticed(store):
    leaderboard_of(store)
    first, second, *_ = (record for record in store.records() if record.config.seed == 0)
    shutil.rmtree(first.folder)
    path = second.evaluations[0].folder / "metrics.json"
    content = json.loads(path.read_bytes())
    for row in content["rows"].values():
        row["ci95_open"] = 0.5
    path.write_text(json.dumps(content))
    table = leaderboard_of(store)
    assert table["ci95_open"].max() == pytest.approx(18)
    assert not table["run_ids"].str.contains(first.run_id).any()
    pd.testing.assert_frame_equal(table, leaderboard(store.records()), check_exact=True)


def test_other_code_works_all_rows_out_again(store, read, monkeypatch):
    leaderboard_of(store)
    read.clear()
    monkeypatch.setattr(row_cache, "code_digest", lambda: "other")
    leaderboard_of(store)
    assert len(read) == len(store.records())


def other_program(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x, x, x, x FROM n"
        database.execute(f"CREATE VIEW cached (kind, name, signature, content) AS {endless}")
        database.execute("PRAGMA user_version = 2")


def edited(statement):
    def damage(path):
        with contextlib.closing(sqlite3.connect(path)) as database, database:
            database.execute(statement)

    return damage


DAMAGES = {
    "garbage": lambda path: path.write_bytes(b"garbage" * 1000),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "a view without end": other_program,
    "no table": edited("DROP TABLE cached"),
    "deep json": edited("UPDATE cached SET content = CAST(replace(hex(zeroblob(50000)), '0', '[') AS BLOB)"),
    "other values": edited("UPDATE cached SET content = CAST('[1]' AS BLOB)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_cache_that_is_damaged_is_made_anew(damage, store):
    expected = leaderboard_of(store)
    DAMAGES[damage](store.cache_file)
    for _ in range(2):
        pd.testing.assert_frame_equal(leaderboard_of(store), expected, check_exact=True)
        assert store.unreadable() == []
    with contextlib.closing(sqlite3.connect(store.cache_file)) as database:
        kinds = dict(database.execute("SELECT kind, count(*) FROM cached GROUP BY kind"))
    assert kinds["record"] == len(store.records())
    assert kinds["rows"] == 2
