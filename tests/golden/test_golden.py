import copy

import pytest
from golden_comparison import ABSENT, differences, identical, lines_of, near
from golden_markdown import table_differences, tables_of
from golden_runs import SCENARIOS, machine, make_runs, read_files, read_results, write_files

from sla_bench.grids.tasks import method_refusal
from sla_bench.registry import METHODS


@pytest.fixture(scope="module")
def kept():
    return read_files()[0]


def changed(content, path, value=ABSENT):
    """A copy in which the value at the path is another or, without a value, taken out."""
    (key, *rest), copied = path, content.copy()
    if rest:
        copied[key] = changed(content[key], rest, value)
    elif value is ABSENT:
        del copied[key]
    else:
        copied[key] = value
    return copied


def one_of_each(kept, scenario):
    """The last run and the last row of a scenario."""
    last = {part: dict([list(kept[scenario][part].items())[-1]]) for part in ("runs", "csv")}
    return {scenario: {**last, "markdown": []}}


def leaves(content, path=()):
    if isinstance(content, dict) and content:
        for key, value in content.items():
            yield from leaves(value, (*path, key))
    else:
        yield path, content


@pytest.mark.slow
def test_runs_of_all_scenarios_are_as_they_were(tmp_path):
    old, written_on = read_files()
    make_runs(tmp_path / "data", tmp_path / "out")
    here = machine()
    new = read_results(tmp_path / "out")
    equal = identical if written_on == here else near(old, new)
    found = lines_of(differences(old, new, equal))
    assert not found, "\n".join(["meant? python tests/golden/write.py", *found])


def test_all_methods_and_controls_are_among_them(kept):
    for scenario in SCENARIOS:
        methods = {run["config"]["method"] for run in kept[scenario]["runs"].values()}
        assert methods >= {name for name in METHODS if not method_refusal(name, scenario)}
    assert len({run["config"]["learner"] for run in kept["fewshot"]["runs"].values()}) == 3
    assert len({run["config"]["loss"] for run in kept["imbalanced"]["runs"].values()}) == 3


def test_the_same_is_no_difference_and_new_keys_may_come(kept):
    new = copy.deepcopy(kept)
    for content in new.values():
        for run in content["runs"].values():
            run["config"]["new"] = 1
        for row in content["csv"].values():
            row["new"] = "1"
        content["runs"]["new"] = {}
        for table in content["markdown"]:
            for cells in table.values():
                cells.insert(2, [7.0, 8.0])
            table["new row"] = [[1.0]]
        content["markdown"].insert(0, {"new table": [[1.0]]})
    assert list(differences(kept, new, identical)) == []
    assert list(differences(kept, new, near(kept, new))) == []


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_missing_key_is_a_difference(scenario, kept):
    content = one_of_each(kept, scenario)
    paths = [path for path, _ in leaves(content) if path[1] != "markdown"]
    paths += [(scenario, part, next(iter(content[scenario][part]))) for part in ("runs", "csv")]
    assert len(paths) > 80
    for path in paths:
        new = changed(content, path)
        for equal in (identical, near(content, new)):
            assert [(p, n) for p, _, n in differences(content, new, equal)] == [(path, ABSENT)]


def other_digit(value):
    """The value with the last of its digits that counts raised; of a list, that of its last value."""
    if isinstance(value, list):
        return [*value[:-1], other_digit(value[-1])]
    if isinstance(value, bool) or value is None:
        return not value
    text = str(value)
    for i in reversed([i for i, letter in enumerate(text) if letter.isdigit()]):
        other = type(value)(text[:i] + str((int(text[i]) + 1) % 10) + text[i + 1 :])
        # The 17th digit need not change a float.
        if not identical((), value, other):
            return other
    return text + "x"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_changed_digit_is_a_difference(scenario, kept):
    content = one_of_each(kept, scenario)
    for path, value in leaves(content):
        if value not in ({}, []):
            other = other_digit(value)
            new = changed(content, path, other)
            assert list(differences(content, new, identical)) == [(path, value, other)]


def test_another_processor_may_move_some_values_but_no_others(kept):
    content = one_of_each(kept, "imbalanced")
    name, run = next(iter(content["imbalanced"]["runs"].items()))
    (evaluation,) = run["evaluations"]
    row = next(iter(run["evaluations"][evaluation]["metrics"]["rows"]))
    start = ("imbalanced", "runs", name)
    step = (*start, "history", next(iter(run["history"])))
    read = (*start, "evaluations", evaluation)
    metrics, samples = (*read, "metrics", "rows", row), (*read, "samples")
    predictions = run["evaluations"][evaluation]["samples"][f"predictions/{row}"]
    labels = run["evaluations"][evaluation]["samples"]["labels"]
    loss = float(run["history"][step[-1]]["train_loss"])
    accuracy = run["evaluations"][evaluation]["metrics"]["rows"][row]["accuracy"]
    passes = run["evaluations"][evaluation]["metrics"]["rows"][row]["query_passes"]
    table_row = next(iter(content["imbalanced"]["csv"]))
    value = content["imbalanced"]["csv"][table_row]["value"]
    for path, other, allowed in (
        ((*step, "train_loss"), str(loss * 1.005), True),
        ((*step, "train_loss"), str(loss * 1.02), False),
        ((*step, "step"), "5", False),
        ((*metrics, "accuracy"), accuracy + 0.04, True),
        ((*metrics, "accuracy"), accuracy + 0.06, False),
        ((*metrics, "query_passes"), passes + 1, False),
        ((*samples, f"predictions/{row}"), [p + (i < 20) for i, p in enumerate(predictions)], True),
        ((*samples, f"predictions/{row}"), [p + 5 for p in predictions], False),
        ((*samples, f"predictions/{row}"), predictions[:-1], False),
        ((*samples, "labels"), [*labels[:-1], labels[-1] - 1], False),
        ((*start, "run_id"), "0" * 12, False),
        ((*start, "config", "learning_rate"), 0.1 + 1e-16, False),
        ((*start, "done", "data_hash"), "0" * 16, False),
        (("imbalanced", "csv", table_row, "value"), str(float(value) + 9), True),
        (("imbalanced", "csv", table_row, "value"), str(float(value) + 11), False),
        (("imbalanced", "csv", table_row, "value"), "", False),
        (("imbalanced", "csv", table_row, "run_ids"), "0" * 12, False),
    ):
        new = changed(content, path, other)
        found = list(differences(content, new, near(content, new)))
        assert [p for p, _, _ in found] == ([] if allowed else [path])


def test_the_clock_and_the_place_are_left_out(kept):
    paths = [path for path, _ in leaves(kept)]
    assert len(paths) > 10_000
    assert not [path for path in paths if path[-1].endswith("seconds")]
    assert "/tmp" not in str(kept)


PAGE = """
# Leaderboard

| setting | method | accuracy % | train s | against | gain % | published |
| --- | --- | --- | --- | --- | --- | --- |
| 5-way 5-shot | SLA+AG | 24.10 +- 0.65 † | 12 | baseline | +22.1 (-3.0) | |
| 5-way 5-shot | ens-M | 23.00 +- 0.60 † | 15 | | | |

| method | NLL |
| --- | --- |
| SLA+AG | 1.5 |
"""
NAMES = {"5-way 5-shot", "SLA+AG", "ens-M", "baseline"}


def page_differences(new):
    tables = tables_of(PAGE, NAMES)
    there = tables_of(new, NAMES)
    return [d for table in tables for d in table_differences(table, there, lambda a, b: a == b)]


def test_numbers_of_markdown_are_kept_by_row_and_column():
    first, second = tables_of(PAGE, NAMES)
    assert first == {
        "5-way 5-shot | SLA+AG | baseline": [[], [], [24.1, 0.65], [], [22.1, -3.0], []],
        "5-way 5-shot | ens-M": [[], [], [23.0, 0.6], [], [], []],
    }
    assert second == {"SLA+AG": [[], [1.5]]}


def test_words_headings_and_new_columns_of_markdown_are_no_differences():
    new = (
        PAGE.replace("accuracy %", "hits of 100").replace(" +- ", " ± ").replace("# Leaderboard", "# Results")
    )
    new = (
        new.replace("| NLL |", "| ECE | NLL |")
        .replace("| 1.5 |", "| 24.1 | 1.5 |")
        .replace("| 12 |", "| 99 |")
    )
    new = new.replace("---\n| SLA", "--- | --- |\n| SLA").replace(
        "|\n| --- | --- |\n| S", "|\n| --- | --- | --- |\n| S"
    )
    assert new.count("ECE") == 1
    assert page_differences(new) == []


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("24.10", "24.11", "5-way 5-shot | SLA+AG | baseline, column 3"),
        ("(-3.0)", "(+3.0)", "5-way 5-shot | SLA+AG | baseline, column 5"),
        ("0.60", "0.61", "5-way 5-shot | ens-M, column 3"),
        ("1.5", "1.6", "SLA+AG, column 2"),
        ("| ens-M |", "| ens-N |", "5-way 5-shot | ens-M"),
        ("| +22.1 (-3.0) |", "| |", "5-way 5-shot | SLA+AG | baseline, column 5"),
    ],
)
def test_a_changed_digit_a_missing_row_or_number_of_markdown_is_a_difference(before, after, where):
    assert PAGE.count(before) == 1
    assert [row for row, _, _ in page_differences(PAGE.replace(before, after))] == [where]


def test_a_missing_table_of_markdown_is_a_difference():
    assert [row for row, _, new in page_differences(PAGE[: PAGE.index("| method | NLL")]) if new is None] == [
        "SLA+AG"
    ]


def test_each_digit_of_the_kept_markdown_counts(kept):
    for scenario in SCENARIOS:
        tables = kept[scenario]["markdown"]
        content = {scenario: {"runs": {}, "csv": {}, "markdown": tables}}
        for place, table in enumerate(tables):
            row, cells = list(table.items())[-1]
            path = (scenario, "markdown", place, row)
            assert [new for _, _, new in differences(content, changed(content, path), identical)] == [ABSENT]
            for column, numbers in enumerate(cells):
                for i, value in enumerate(numbers):
                    cell = [*numbers[:i], other_digit(value), *numbers[i + 1 :]]
                    new = changed(content, (*path, column), cell)
                    assert [d[1:] for d in differences(content, new, identical)] == [(numbers, cell)]


def test_what_is_written_is_read_back(kept, tmp_path):
    write_files(kept, tmp_path)
    results, written_on = read_files(tmp_path)
    assert results == kept
    assert written_on == machine()


@pytest.mark.parametrize(
    ("file", "before", "after"),
    [
        ("fewshot.json", '"accuracy": 0.20', '"accuracy": 0.21'),
        ("imbalanced.json", '"val_accuracy": ', '"accuracy_of_val": '),
        ("standard.csv", ",accuracy,1,", ",accuracy,2,"),
        ("imbalanced.csv", ",gain_points,", ",points,"),
    ],
)
def test_a_digit_or_a_key_that_a_file_has_otherwise_is_found(file, before, after, kept, tmp_path):
    write_files(kept, tmp_path)
    text = (tmp_path / file).read_text()
    (tmp_path / file).write_text(text.replace(before, after, 1))
    other, _ = read_files(tmp_path)
    assert list(differences(other, kept, identical))
    assert list(differences(kept, other, identical))
