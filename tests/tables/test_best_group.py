import pytest
from made_up_records import write_records
from scipy.stats import t

from sla_bench.tables.latex import latex
from sla_bench.tables.leaderboard import leaderboard
from sla_bench.tables.markdown import markdown
from sla_bench.tables.report.details import Details
from sla_bench.tables.report.page import section_of

ROWS = {"baseline": 0.4, "baseline+TTA": 0.41, "SLA+AG": 0.6, "SLA+SI": 0.597}
SEEDS = (0, 1, 2, 3)


def words_of(table):
    rows = table.drop_duplicates(["budget", "method"])
    return dict(zip(rows["method"], rows["best_group"], strict=True))


def test_rows_are_best_tied_or_behind_in_all_tables(tmp_path):
    store, _ = write_records(tmp_path, ROWS, seeds=SEEDS)
    table = leaderboard(store.records())
    words = words_of(table)
    assert words == {"baseline": "behind", "baseline+TTA": "behind", "SLA+AG": "best", "SLA+SI": "tied"}
    lines = [[cell.strip() for cell in line.split("|")] for line in markdown(table).splitlines()]
    heading = next(line for line in lines if "method" in line)
    rows = [line for line in lines if len(line) == len(heading) and line[heading.index("method")] in ROWS]
    assert {row[heading.index("method")]: row[heading.index("best")] for row in rows} == words
    assert " & best & " in latex(table)
    assert "Tied: not told from the best" in latex(table)
    section = section_of(store, Details())
    assert {row.method: row.texts["best"] for row in section.rows} == words


def test_one_seed_has_no_group(tmp_path):
    store, _ = write_records(tmp_path, ROWS)
    table = leaderboard(store.records())
    assert table["best_group"].isna().all()
    assert "| best |" not in markdown(table)


def test_each_budget_has_its_own_best(tmp_path):
    write_records(tmp_path, ROWS, seeds=SEEDS, settings=("episodes=60", "steps=100"))
    store, _ = write_records(tmp_path, {name: 0.9 * rate for name, rate in ROWS.items()}, seeds=SEEDS)
    table = leaderboard(store.records()).drop_duplicates(["budget", "method"])
    best = table[table["best_group"] == "best"]
    assert sorted(best["budget"]) == sorted(table["budget"].unique())
    assert len(best) == 2


def test_details_split_the_variance_into_seeds_test_set_and_classes(tmp_path):
    store, _ = write_records(tmp_path, ROWS, seeds=SEEDS)
    (row,) = leaderboard(store.records()).query("method == 'SLA+AG'").to_dict("records")
    details = Details()
    section = section_of(store, details)
    (number,) = [r.number for r in section.rows if r.method == "SLA+AG"]
    facts = dict(details.content()["rows"][number]["gain"])
    squares = [row[name] ** 2 for name in ("gain_se_seeds", "gain_se_test")]
    shares = [f"{100 * one / sum(squares):.0f} %" for one in squares]
    assert facts["the variance comes from"] == f"seeds {shares[0]}, test set {shares[1]}"
    on_classes = max(row["gain_se_test"], row["gain_classes_se"]) ** 2
    share = 100 * on_classes / (squares[0] + on_classes)
    assert facts["the variance on other test classes comes from"] == (
        f"seeds {100 - share:.0f} %, classes and episodes {share:.0f} %"
    )
    error = (row["gain_ci95_high"] - row["gain_ci95_low"]) / 2 / t.ppf(0.975, len(SEEDS) - 1)
    assert sum(squares) ** 0.5 == pytest.approx(error, rel=0.1)
