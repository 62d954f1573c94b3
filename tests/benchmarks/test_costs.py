import csv

import pytest

from benchmarks.speed.costs import COLUMNS, Cost, write_costs
from sla_bench.errors import UserError


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_figures_of_the_same_setting_are_replaced_and_those_of_others_stay(tmp_path):
    path = tmp_path / "new" / "costs.csv"
    write_costs(path, [Cost("resnet8", "step", 2.0, "ms", 1.0, 3.0), Cost("resnet8", "data", 0.5, "%")])
    write_costs(path, [Cost("resnet32", "step", 1e6 / 3, "ms")])
    write_costs(path, [Cost("resnet8", "step", 4.0, "ms")])
    rows = read(path)
    assert [(r["setting"], r["what"], r["value"], r["low"]) for r in rows] == [
        ("resnet32", "step", "333333", ""),
        ("resnet8", "step", "4", ""),
    ]
    assert tuple(rows[0]) == COLUMNS
    assert all(r["processor"] and float(r["load"]) >= 0 and r["date"] for r in rows)


def test_without_a_file_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_costs(None, [Cost("resnet8", "step", 2.0, "ms")])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file"):
        write_costs(tmp_path / "file" / "costs.csv", [Cost("resnet8", "step", 2.0, "ms")])
