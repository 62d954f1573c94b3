import json
import shutil

import pandas as pd
import pytest
from made_up_records import write_records

from sla_bench.reporting import figure_cache, row_cache
from sla_bench.reporting.figure_cache import leaderboard_of
from sla_bench.reporting.leaderboard import leaderboard

BOTH = {"baseline": 0.5, "SLA+AG": 0.6}


@pytest.fixture
def store(tmp_path):
    write_records(tmp_path, BOTH, seeds=(0, 1), shots=1)
    return write_records(tmp_path, BOTH, seeds=(0, 1, 2))[0]


@pytest.fixture
def read(monkeypatch):
    """Evaluations whose figures were asked for."""
    asked = []
    figures_of = figure_cache.FigureCache.of

    def watched(self, reading, record, evaluation):
        asked.append((evaluation.config.shots, record.config.seed))
        return figures_of(self, reading, record, evaluation)

    monkeypatch.setattr(figure_cache.FigureCache, "of", watched)
    return asked


def test_rows_that_were_kept_are_the_same_to_the_last_bit(store, read):
    worked_out = leaderboard(store.records())
    pd.testing.assert_frame_equal(leaderboard_of(store), worked_out, check_exact=True)
    read.clear()
    pd.testing.assert_frame_equal(leaderboard_of(store), worked_out, check_exact=True)
    assert read == []


def test_only_a_setting_with_a_new_record_is_worked_out_again(store, tmp_path, read):
    leaderboard_of(store)
    read.clear()
    write_records(tmp_path, BOTH, seeds=(2,), shots=1)
    table = leaderboard_of(store)
    assert set(read) == {(1, 0), (1, 1), (1, 2)}
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
